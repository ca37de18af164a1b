"""Whether the clock of another machine is ours."""

from __future__ import annotations

from typing import Final

from kailash_mcp_prod.doctor.finding import Finding, failed, ok, warning

_NOTICEABLE_SECONDS: Final = 2.0
_WRONG_SECONDS: Final = 30.0
_FIX: Final = "Let both machines keep time with NTP (timedatectl set-ntp true)."


def compare(whose: str, theirs: float, asked: float, answered: float) -> Finding:
    """How far a clock is from ours.

    Args:
        whose: Such as `database`.
        theirs: What it showed, in seconds since 1970.
        asked: When it was asked, by our clock.
        answered: When the answer was there.
    """
    check = f"clock ({whose})"
    # The answer was made at some time between.
    off = max(asked - theirs, theirs - answered, 0.0)
    if off < _NOTICEABLE_SECONDS:
        return ok(check, "It is the same as here.")
    text = f"It is {off:.0f} s {'behind' if theirs < asked else 'ahead of'} ours."
    if off < _WRONG_SECONDS:
        return warning(check, f"{text} Tokens, leases and rate limits end at other times.", _FIX)
    return failed(check, f"{text} Tokens, leases and rate limits are wrong by as much.", _FIX)
