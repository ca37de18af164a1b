"""The shape of the house: which room may know which, and how large a module may grow."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "kailash_mcp_prod"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Anybody may import these, and they import no room.
LEAVES = {"errors", "auth.principal", "bounded", "delays", "spliced_gzip", "_version"}

# The rooms that may know only what is listed, beside themselves and the leaves.
MAY_IMPORT: dict[str, set[str]] = {
    "protocol": set(),
    "records": set(),
    "state": {"records"},
    "manifest": {"records"},
    "transports": {"protocol", "auth", "observe"},
    "content": {"tools", "records", "auth"},
}

# The rooms that may know anything but what is listed.
MUST_NOT_IMPORT: dict[str, set[str]] = {
    "tools": {"protocol", "transports", "content", "sessions"},
    "guard": {"sessions"},
    "sessions": {"protocol", "transports", "content"},
}

# The modules that put the rooms together; the package itself hands out their names.
ASSEMBLING = {"server", "serving", "workers", "nexus", "cli", "cli_explain", "__main__", ""}
MAY_IMPORT_SERVER = {"server", "workers", "nexus", "cli", "cli_explain", "__main__", ""}

LONGEST_MODULE = 400


def local_name(module: str) -> str:
    """The name inside the package: `records.store` for `kailash_mcp_prod.records.store`."""
    return module.removeprefix(PACKAGE.name).removeprefix(".")


def room_of(local: str) -> str:
    return local.partition(".")[0]


def is_leaf(local: str) -> bool:
    return any(local == leaf or local.startswith(f"{leaf}.") for leaf in LEAVES)


def local_imports(module: str) -> Iterator[str]:
    """The names inside the package that a module imports, wherever in its text it does so."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            origins = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            # `from package import name` may name a module or something a module defines.
            submodules = [f"{base}.{alias.name}" for alias in node.names]
            origins = [name if name in MODULES else base for name in submodules]
        else:
            continue
        yield from (
            local_name(origin)
            for origin in origins
            if origin == PACKAGE.name or origin.startswith(f"{PACKAGE.name}.")
        )


def foreign_rooms(module: str) -> set[str]:
    """The other rooms a module imports from, without the leaves."""
    own = room_of(local_name(module))
    return {
        room_of(imported)
        for imported in local_imports(module)
        if not is_leaf(imported) and room_of(imported) != own
    }


def modules_of(room: str) -> list[str]:
    found = [module for module in MODULES if room_of(local_name(module)) == room]
    assert found, f"there is no room {room}"
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_closed_room_imports_only_what_it_may(room: str) -> None:
    found = {module: foreign_rooms(module) - MAY_IMPORT[room] for module in modules_of(room)}

    assert {module: rooms for module, rooms in found.items() if rooms} == {}


@pytest.mark.parametrize("room", MUST_NOT_IMPORT)
def test_an_open_room_imports_nothing_it_must_not(room: str) -> None:
    found = {module: foreign_rooms(module) & MUST_NOT_IMPORT[room] for module in modules_of(room)}

    assert {module: rooms for module, rooms in found.items() if rooms} == {}


def test_the_leaves_import_no_room() -> None:
    found = {
        module: [name for name in local_imports(module) if not is_leaf(name)]
        for module in MODULES
        if is_leaf(local_name(module))
    }

    assert {module: names for module, names in found.items() if names} == {}


def test_only_the_front_doors_import_the_server() -> None:
    importing = {
        module
        for module in MODULES
        if room_of(local_name(module)) not in MAY_IMPORT_SERVER
        and "server" in foreign_rooms(module)
    }

    assert importing == set()


def test_only_the_assembling_modules_know_transports() -> None:
    importing = {
        module
        for module in MODULES
        if room_of(local_name(module)) not in ASSEMBLING and "transports" in foreign_rooms(module)
    }

    assert importing == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stays_small_enough_to_read(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= LONGEST_MODULE


def test_importing_the_package_imports_no_framework() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json, sys, kailash_mcp_prod; print(json.dumps(sorted(sys.modules)))",
        ],
        check=True,
        capture_output=True,
        text=True,
    )

    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert "kailash_mcp_prod" in loaded
    assert loaded & {"dataflow", "kailash", "mcp", "fastapi"} == set()
