"""Enumerations of the trap models."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"
    BLUE = "blue"


class Rank(IntEnum):
    LOW = 1
    HIGH = 9
    HIGHEST = 10
