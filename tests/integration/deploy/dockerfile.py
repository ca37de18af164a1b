"""The instructions of a Dockerfile, as far as ours use them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction: `RUN`, and what follows it."""

    word: str
    rest: str


def stages(path: Path) -> dict[str, list[Instruction]]:
    """The instructions of each stage, by its name."""
    text = re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE)
    found: dict[str, list[Instruction]] = {}
    name = ""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            name = rest.split(" AS ")[-1]
        found.setdefault(name, []).append(Instruction(word, rest.strip()))
    return found


def variables(instructions: list[Instruction]) -> dict[str, str]:
    """What `ENV` sets."""
    return {
        name: value
        for each in instructions
        if each.word == "ENV"
        for name, value in re.findall(r"(\w+)=(\S+)", each.rest)
    }
