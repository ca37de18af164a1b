"""The URIs of resources: each resource has one, and each URI is read in one way.

Values stand in them as RFC 6570 expands `{name}`: letters, digits and `- . _ ~` as they are, all
else percent-encoded. Other spellings of the same are no URIs of ours, because a subscription to
one would never hear anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

MODELS: Final = "dataflow://models"
HEALTH: Final = "server://health"
MODEL_TEMPLATE: Final = f"{MODELS}/{{model}}"
RECORD_TEMPLATE: Final = f"{MODELS}/{{model}}/{{id}}"

_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9\-._~]|%[0-9A-F]{2})+")
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Address:
    """What a URI under `dataflow://models/` names: a model, or one of its records."""

    model: str
    record: str | None = None


def model_uri(model: str) -> str:
    """The URI of a model's document."""
    return f"{MODELS}/{quote(model, safe='')}"


def record_uri(model: str, key: str | int) -> str:
    """The URI of a record, by its key as it stands in results."""
    return f"{model_uri(model)}/{quote(str(key), safe='')}"


def parse(uri: str) -> Address | None:
    """The model or record that a URI names; `None` for any other text.

    Example:
        `parse("dataflow://models/Company/a%2Fb")` gives `Address("Company", "a/b")`.
    """
    start, _, rest = uri.partition(f"{MODELS}/")
    segments = rest.split("/")
    if start or len(segments) > 2:
        return None
    values = [value for segment in segments if (value := _value(segment)) is not None]
    return Address(*values) if len(values) == len(segments) else None


def canonical(uri: str) -> str | None:
    """How a URI that `parse` refuses is to be written, if it can be told; a function of the text.

    Example:
        `canonical("dataflow://models/Company/a/b")` gives `dataflow://models/Company/a%2Fb`.
    """
    start, _, rest = uri.partition(f"{MODELS}/")
    model, _, key = rest.partition("/")
    if start or not model or _STRAY_PERCENT.search(rest):
        return None
    try:
        segments = [unquote_to_bytes(each).decode() for each in (model, key) if each]
    except UnicodeError:
        return None
    return "/".join([MODELS, *(quote(each, safe="") for each in segments)])


def _value(segment: str) -> str | None:
    if not _SEGMENT.fullmatch(segment):
        return None
    try:
        value = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    return value if quote(value, safe="") == segment else None
