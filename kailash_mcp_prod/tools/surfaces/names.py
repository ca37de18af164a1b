"""The names of surfaces, as URLs, settings and credentials have them."""

from __future__ import annotations

import re

FULL = "full"
COMPACT = "compact"
SEARCH = "search"
CHOICES = (FULL, COMPACT, SEARCH)
"""The surfaces that can be the default of a server."""

MODELS = "models/"
"""`models/Company,Quote` is the surface `full` with only these models' tools."""

MAX_NAME_LENGTH = 2_000
_MODEL_LIST = re.compile(r"[A-Za-z_]\w*(?:,[A-Za-z_]\w*)*", re.ASCII)


def models_in(name: str) -> frozenset[str] | None:
    """The models that a name such as `models/Company,Quote` lists; `None` for other names."""
    if len(name) > MAX_NAME_LENGTH or not name.startswith(MODELS):
        return None
    listed = name.removeprefix(MODELS)
    return frozenset(listed.split(",")) if _MODEL_LIST.fullmatch(listed) else None


def is_surface(name: str) -> bool:
    """Whether a credential may name this surface.

    Any well-formed list of models is one: credentials are made before the models are known.
    """
    return name in CHOICES or models_in(name) is not None
