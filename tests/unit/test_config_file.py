from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.config_file import read_settings
from kailash_mcp_prod.errors import ConfigError


def read(folder: Path, text: str) -> dict[str, Any]:
    file = folder / "settings.jsonc"
    file.write_text(text, encoding="utf-8")
    return read_settings(file)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ('{"port": 1}', {"port": 1}),
        ('// first\n{\n  // "host": "x",\n  "port": 1, // last\n}\n', {"port": 1}),
        ('{"port": /* a\nb "c" */ 1}', {"port": 1}),
        ('{"a": [1, 2, ], /* no more */ }', {"a": [1, 2]}),
        ('{"a": "http://x/*y*/ // z, ]", }', {"a": "http://x/*y*/ // z, ]"}),
        (r'{"a": "\"//", "b": "\\" // c' + "\n}", {"a": '"//', "b": "\\"}),
        ('{"a": "", "b": 2}', {"a": "", "b": 2}),
        ('{"$schema": "./schema.json", "port": 1}', {"port": 1}),
        ("{ // nothing\r\n}", {}),
    ],
)
def test_comments_and_last_commas_are_passed_over(
    tmp_path: Path, text: str, settings: dict[str, Any]
) -> None:
    assert read(tmp_path, text) == settings


@pytest.mark.parametrize("text", ["{,}", '{"a": 1 /* no end }', '{"a": 1,,}', "// nothing", "{#}"])
def test_what_is_no_json_even_so_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="not valid JSON"):
        read(tmp_path, text)


def test_the_refusal_says_where_and_not_what(tmp_path: Path) -> None:
    text = '{\n  /* two\n  lines */ "jwt_secret": hunter2\n}'

    with pytest.raises(ConfigError, match="see line 3, column 26") as refused:
        read(tmp_path, text)

    assert "hunter2" not in str(refused.value)


def test_a_file_in_another_encoding_is_read(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_bytes('{"tenant_claim": "Büro"}'.encode("utf-16"))

    assert read_settings(file) == {"tenant_claim": "Büro"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.json", "does not exist"),
        ("x" * 300, "can't be read: File name too long"),
        ("", "is no regular file"),
        ("pipe", "is no regular file"),
    ],
)
def test_what_is_no_file_is_told_as_what_it_is(tmp_path: Path, name: str, said: str) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ConfigError, match=said):
        read_settings(tmp_path / name)
