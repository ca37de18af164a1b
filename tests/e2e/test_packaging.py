from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.interop.peers import install, make_environment, uv

ROOT = Path(__file__).parents[2]
LOCKS = [
    ROOT / "requirements.lock",
    ROOT / "requirements-build.lock",
    ROOT / "requirements-dev.lock",
    *sorted((ROOT / "tests" / "interop").glob("*.txt")),
]

IMPORT_AND_REPORT = """
import importlib, json, sys
from importlib.metadata import version
for module in sys.argv[1:]:
    importlib.import_module(module)
import kailash_mcp_prod
for name in getattr(kailash_mcp_prod, "__all__", ()):
    getattr(kailash_mcp_prod, name)
print(json.dumps({"mcp": version("mcp"), "home": kailash_mcp_prod.__file__}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", target],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )
    (built,) = target.glob("*.whl")
    return built


def pinned(lock: Path) -> dict[str, list[str]]:
    """The versions a lock file names, by package; several where they depend on the platform."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock.read_text(), re.MULTILINE):
        versions.setdefault(name, []).append(version)
    return versions


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_the_wheel_holds_the_typed_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    rooms = {name.split("/")[0] for name in names}
    assert "kailash_mcp_prod/py.typed" in names
    assert {room for room in rooms if not room.endswith(".dist-info")} == {"kailash_mcp_prod"}
    assert len(rooms) == 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("lock", "neighbours", "mcp_major"),
    [
        ("tests/interop/agent.txt", ["mcp", "kailash_mcp", "kaizen"], "1"),
        ("requirements.lock", ["mcp"], "2"),
    ],
)
def test_the_wheel_installs_and_imports_beside_either_major_version_of_the_sdk(
    lock: str, neighbours: list[str], mcp_major: str, wheel: Path, tmp_path: Path
) -> None:
    home = tmp_path / "environment"
    python = home / "bin" / "python"

    make_environment(home)
    install(python, "--require-hashes", "--requirements", str(ROOT / lock))
    install(python, str(wheel))
    uv("pip", "check", "--python", str(python))
    done = subprocess.run(
        [python, "-c", IMPORT_AND_REPORT, "kailash_mcp_prod", *neighbours],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    report = json.loads(done.stdout)
    assert report["mcp"].split(".")[0] == mcp_major
    assert Path(report["home"]).is_relative_to(home)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_pins_by_hash_and_names_no_place(lock: Path) -> None:
    statements = lock.read_text().replace("\\\n", " ").splitlines()
    requirements = [line for line in statements if line and not line.lstrip().startswith("#")]

    assert requirements
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+==[^/]+ --hash=sha256:[0-9a-f]{64}", requirement), requirement
    assert "://" not in lock.read_text()


def test_the_lock_files_satisfy_what_the_project_asks_for() -> None:
    extras = project()["optional-dependencies"]
    asked = {
        "requirements.lock": project()["dependencies"] + extras["postgres"] + extras["redis"],
        "requirements-dev.lock": project()["dependencies"] + extras["dev"],
        "tests/interop/agent.txt": project()["dependencies"] + extras["agent"],
    }

    for lock, requirements in asked.items():
        versions = pinned(ROOT / lock) | {"kailash-mcp-prod": []}
        for requirement in map(Requirement, requirements):
            assert requirement.name in versions, f"{lock} lacks {requirement}; run `make lock`"
            assert all(requirement.specifier.contains(v) for v in versions[requirement.name]), lock


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_serving_building_and_testing_use_the_same_versions(lock: str) -> None:
    some = pinned(ROOT / lock)
    testing = pinned(ROOT / "requirements-dev.lock")

    assert {name: testing.get(name) for name in some} == some


def test_what_builds_is_locked_by_itself() -> None:
    assert {"hatchling", "editables"} <= pinned(ROOT / "requirements-build.lock").keys()
    assert not {"hatchling", "editables"} & pinned(ROOT / "requirements.lock").keys()
