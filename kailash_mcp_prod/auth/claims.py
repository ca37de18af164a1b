"""Values that stand for what a credential says: `$claims.NAME`, `$tenant`, `$subject`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kailash_mcp_prod.auth.principal import OF_ONE_TOKEN, Principal

MISSING: Final = object()
"""What a credential does not say."""

_CLAIMS: Final = "$claims."


class MissingClaimError(LookupError):
    """A rule needs something of the credential that it does not say."""

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        self.reference = reference


def is_reference(value: Any) -> bool:
    """Whether a value stands for something that the credential says."""
    return isinstance(value, str) and (
        value in {"$tenant", "$subject"}
        or (value.startswith(_CLAIMS) and len(value) > len(_CLAIMS))
    )


def is_of_one_token(reference: str) -> bool:
    """Whether a reference stands for what is another thing in each token of the same caller."""
    return reference.removeprefix(_CLAIMS).partition(".")[0] in OF_ONE_TOKEN


def referred(reference: str, principal: Principal) -> Any:
    """What a reference stands for: a text, number or boolean, or a list of them, else `MISSING`.

    An empty text or list counts as missing. Claims within claims are written with dots, as in
    `$claims.org.team`.
    """
    found: Any
    if reference == "$tenant":
        found = principal.tenant
    elif reference == "$subject":
        found = principal.subject
    else:
        found = principal.claims
        for name in reference.removeprefix(_CLAIMS).split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    # An empty value would mean the records without an owner, and an object could hold operators.
    several = isinstance(found, list | tuple) and found
    values = found if several else [found]
    fit = all(isinstance(each, str | int | float) and each != "" for each in values)
    return found if fit else MISSING


def bind(value: Any, principal: Principal) -> Any:
    """A JSON value with its references replaced.

    Raises:
        MissingClaimError: The credential does not say what one of them stands for.
    """

    def look_up(reference: str) -> Any:
        found = referred(reference, principal)
        if found is MISSING:
            raise MissingClaimError(reference)
        return found

    return replaced(value, look_up)


def replaced(value: Any, look_up: Callable[[str], Any]) -> Any:
    """A JSON value with each reference replaced by what `look_up` says of it."""
    if is_reference(value):
        return look_up(value)
    if isinstance(value, Mapping):
        return {name: replaced(each, look_up) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(each, look_up) for each in value]
    return value


def referred_values(value: Any, principal: Principal) -> list[tuple[str, str]]:
    """The references in a JSON value, and a text that tells apart what they stand for."""
    found: list[tuple[str, str]] = []

    def note(reference: str) -> Any:
        meant = referred(reference, principal)
        found.append((reference, "" if meant is MISSING else repr(meant)))
        return None

    replaced(value, note)
    return found
