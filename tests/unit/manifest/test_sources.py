from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kailash_mcp_prod.manifest import sources as manifest_sources
from kailash_mcp_prod.manifest.content import identity_of
from kailash_mcp_prod.manifest.entries import NotStorableError
from kailash_mcp_prod.manifest.sources import Sources, digest_of, sources_of


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that lies where installed ones do, and is imported from there."""
    place = tmp_path / "site-packages"
    for name in ("goods", "other"):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text("import os\nX = os.environ.get('GOODS_KIND')\n")
    (place / "goods-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])
    monkeypatch.chdir(tmp_path)
    import goods  # type: ignore[import-not-found] # noqa: F401
    import other  # type: ignore[import-not-found] # noqa: F401

    yield place
    for name in ("goods", "other"):
        del sys.modules[name]


def digest(sources: Sources, environment: dict[str, str] | None = None) -> str:
    return digest_of(sources.files, sources.variables, environment or {})


def test_the_models_own_package_counts_wherever_it_is(installed: Path) -> None:
    sources = sources_of("goods:db", {})

    assert str(installed / "goods" / "__init__.py") in sources.files
    assert str(installed / "other" / "__init__.py") not in sources.files
    assert str(Path(__file__)) in sources.files
    assert not any("/lib/python" in each for each in sources.files)
    assert "GOODS_KIND" in sources.variables
    assert "DATABASE_URL" not in sources.variables
    assert digest(sources) == sources.digest


def test_each_change_gives_another_digest(installed: Path, tmp_path: Path) -> None:
    sources = sources_of("goods:db", {})
    seen = {sources.digest}

    def changed() -> None:
        found = digest(sources)
        assert found not in seen
        seen.add(found)

    (installed / "goods" / "__init__.py").write_text("X = 2\n")
    changed()
    (installed / "goods" / "more.py").touch()
    changed()
    (installed / "goods" / "sub").mkdir()
    assert digest(sources) in seen
    (installed / "goods" / "sub" / "__init__.py").touch()
    changed()
    (installed / "goods-1.0.dist-info").rename(installed / "goods-1.1.dist-info")
    changed()
    (tmp_path / ".env").write_text("A=1")
    changed()
    assert digest(sources, {"GOODS_KIND": "b"}) not in seen
    assert digest(sources, {f"SOMETHING_{'ELSE'}": "b"}) in seen


def test_a_file_that_is_gone_is_an_error(installed: Path) -> None:
    sources = sources_of("goods:db", {})
    (installed / "goods" / "__init__.py").unlink()

    with pytest.raises(OSError, match="No such file"):
        digest(sources)


@pytest.mark.usefixtures("installed")
def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_sources, "MAX_FILES", 1)

    with pytest.raises(NotStorableError, match="more than 1 files"):
        sources_of("goods:db", {})


def test_a_path_and_a_variable_that_are_no_text_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    no_text = os.fsdecode(b"/srv/\xff")
    monkeypatch.setattr(sys, "path", [no_text, *sys.path])

    assert len(identity_of("models:db", None, {})) == 32
    assert digest_of([], ["A"], {"A": no_text}) != digest_of([], ["A"], {"A": "/srv"})
