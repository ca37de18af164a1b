from __future__ import annotations

from pathlib import Path

import pytest

from models.database import resolve_database_url


def test_a_relative_sqlite_file_becomes_absolute_below_the_base(tmp_path: Path) -> None:
    url = resolve_database_url("sqlite:///.data/app.db", tmp_path)

    assert url == f"sqlite:///{tmp_path.resolve()}/.data/app.db"
    assert url.startswith("sqlite:////")


def test_the_directory_of_a_sqlite_file_is_created_and_the_file_is_not(tmp_path: Path) -> None:
    resolve_database_url("sqlite:///a/b/app.db", tmp_path)

    assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_an_absolute_sqlite_file_stays_where_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path.resolve()}/app.db"

    assert resolve_database_url(url, Path("elsewhere")) == url


def test_options_of_a_sqlite_url_are_kept(tmp_path: Path) -> None:
    url = resolve_database_url("sqlite:///app.db?timeout=5", tmp_path)

    assert url == f"sqlite:///{tmp_path.resolve()}/app.db?timeout=5"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///:memory:",
        "sqlite://",
        "sqlite:///file:shared?mode=memory&uri=true",
        "postgresql://user@db.example.com:5432/app",
        "postgres:///app",
    ],
)
def test_urls_without_a_relative_file_are_left_alone(url: str, tmp_path: Path) -> None:
    assert resolve_database_url(url, tmp_path) == url
    assert list(tmp_path.iterdir()) == []
