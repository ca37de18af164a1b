from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from kailash_mcp_prod.errors import ConfigError, ModelError
from kailash_mcp_prod.models_loader import absolute_sqlite_url, load_dataflow, load_sample_rows

# An object with as much of a DataFlow instance as the loader looks at.
APPLICATION = """
import os
from types import SimpleNamespace

url = os.environ.get("DATABASE_URL", "sqlite:////srv/own.db")
db = SimpleNamespace(
    list_models=list, config=SimpleNamespace(database=SimpleNamespace(url=url))
)
"""

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the working directory; all is forgotten in the end."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("DATABASE_URL", "sqlite:////srv/environment.db")

    def write(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_instance_is_found_in_the_working_directory(write: Write) -> None:
    write("shop/__init__.py", APPLICATION)

    assert load_dataflow("shop:db", None).config.database.url == "sqlite:////srv/environment.db"


def test_an_instance_is_found_in_a_module_of_a_package(write: Write) -> None:
    write("shop/__init__.py", "")
    write("shop/data.py", APPLICATION.replace("db =", "application ="))

    assert load_dataflow("shop.data:application", None).list_models() == []


def test_a_real_dataflow_instance_is_one(write: Write, tmp_path: Path) -> None:
    write(
        "shop.py",
        "import os\nfrom dataflow import DataFlow\n"
        "db = DataFlow(os.environ['DATABASE_URL'], enable_caching=False, "
        "enable_model_persistence=False)\n",
    )
    url = f"sqlite:///{tmp_path / 'shop.db'}"

    assert load_dataflow("shop:db", url).list_models() == []


def test_the_database_is_handed_over_in_the_environment(write: Write) -> None:
    write("shop.py", APPLICATION)

    db = load_dataflow("shop:db", "postgresql://db/app")

    assert db.config.database.url == os.environ["DATABASE_URL"] == "postgresql://db/app"


def test_a_relative_sqlite_url_is_handed_over_as_an_absolute_one(
    write: Write, tmp_path: Path
) -> None:
    write("shop.py", APPLICATION)

    db = load_dataflow("shop:db", "sqlite:///data/app.db")

    assert db.config.database.url == f"sqlite:///{tmp_path}/data/app.db"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////srv/app.db",
        "sqlite:///:memory:",
        "sqlite:///file:app?mode=memory",
        "sqlite:///",
        "sqlite://",
        "postgresql://db/app",
    ],
)
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert absolute_sqlite_url(url) == url


def test_an_application_with_another_database_is_refused(write: Write) -> None:
    write("shop.py", APPLICATION.replace("os.environ", "{}"))

    with pytest.raises(ConfigError, match="does not use the database") as refused:
        load_dataflow("shop:db", "postgresql://app:hunter2@db/app")
    assert "hunter2" not in str(refused.value)


def test_an_application_may_resolve_links_in_the_path_of_its_file(
    write: Write, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    resolved = f"sqlite:///{tmp_path.resolve()}/real/a.db"
    write("shop.py", APPLICATION + f"\ndb.config.database.url = {resolved!r}\n")

    db = load_dataflow("shop:db", f"sqlite:///{tmp_path}/link/a.db")

    assert db.config.database.url == resolved


@pytest.mark.parametrize("target", ["shop:nothing", "shop:number", "shop:function"])
def test_something_else_is_refused(write: Write, target: str) -> None:
    write("shop.py", "number = 1\ndef function(): ...\n")

    with pytest.raises(ConfigError, match=f"{target} is no DataFlow instance"):
        load_dataflow(target, None)


@pytest.mark.parametrize("target", ["absent:db", "absent.models:db", "shop.absent:db"])
def test_a_module_that_is_not_there_is_told_with_the_place_it_was_looked_for(
    write: Write, tmp_path: Path, target: str
) -> None:
    write("shop/__init__.py", APPLICATION)

    with pytest.raises(ConfigError, match="There is no module") as refused:
        load_dataflow(target, None)
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("needed", ["sh", "shop_prices", "prices"])
def test_a_library_that_the_models_need_is_named(write: Write, needed: str) -> None:
    write("shop.py", f"import {needed}\n")

    with pytest.raises(ModelError, match=f"shop can't be imported: it needs {needed}"):
        load_dataflow("shop:db", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ValueError('no stock')", "ValueError: no stock"),
        ("def broken(:", "SyntaxError"),
        ("from os import nothing", "ImportError"),
    ],
)
def test_a_module_that_fails_is_told_with_its_reason(write: Write, text: str, reason: str) -> None:
    write("shop.py", text)

    with pytest.raises(ModelError, match=f"shop can't be imported: {reason}"):
        load_dataflow("shop:db", None)


def test_sample_rows_stand_beside_the_models(write: Write) -> None:
    write("shop/__init__.py", APPLICATION)
    write("shop/sample_data.py", "SAMPLE_ROWS = {'Item': [{'name': 'a'}]}\n")
    load_dataflow("shop:db", None)

    assert load_sample_rows("shop:db") == {"Item": [{"name": "a"}]}


def test_an_application_without_sample_rows_has_none(write: Write) -> None:
    write("shop/__init__.py", APPLICATION)
    write("plain.py", APPLICATION)
    load_dataflow("shop:db", None)
    load_dataflow("plain:db", None)

    assert load_sample_rows("shop:db") == {}
    assert load_sample_rows("plain:db") == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import absent_library", "it needs absent_library"),
        ("ROWS = {}", "AttributeError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_sample_rows_that_fail_are_told_with_the_reason(
    write: Write, text: str, reason: str
) -> None:
    write("shop/__init__.py", APPLICATION)
    write("shop/sample_data.py", text)
    load_dataflow("shop:db", None)

    with pytest.raises(ModelError, match=f"shop.sample_data .*{reason}"):
        load_sample_rows("shop:db")


def test_the_working_directory_is_put_on_the_path_once(write: Write, tmp_path: Path) -> None:
    write("shop.py", APPLICATION)
    load_dataflow("shop:db", None)
    load_dataflow("shop:db", None)

    assert sys.path.count(str(tmp_path)) == 1
    assert isinstance(sys.modules["shop"].db, SimpleNamespace)
