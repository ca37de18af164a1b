"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How well something is; only a failure changes the exit code."""

    OK = "ok"
    SKIPPED = "skip"
    WARNING = "warn"
    FAILED = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result.

    Attributes:
        check: What was looked at.
        status: How it is.
        message: What was found; never an address with a password, or another secret.
        fix: What to do, if there is anything to do.
    """

    check: str
    status: Status
    message: str
    fix: str | None = None


def ok(check: str, message: str) -> Finding:
    """Something is as it should be."""
    return Finding(check, Status.OK, message)


def skipped(check: str, message: str) -> Finding:
    """Something is not needed, so that it was not looked at."""
    return Finding(check, Status.SKIPPED, message)


def warning(check: str, message: str, fix: str) -> Finding:
    """Something works, but not as well or as safely as it could."""
    return Finding(check, Status.WARNING, message, fix)


def failed(check: str, message: str, fix: str) -> Finding:
    """Something does not work."""
    return Finding(check, Status.FAILED, message, fix)
