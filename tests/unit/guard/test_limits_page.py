"""What docs/limits.md says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kailash_mcp_prod import errors
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_guard import GuardSettings
from kailash_mcp_prod.errors import ServerError
from tests.e2e.snippets import only, snippets

PAGE = Path(__file__).parents[3] / "docs" / "limits.md"


def test_the_settings_of_the_page_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = only(snippets(PAGE, "json"), "{")
    file = tmp_path / "settings.json"
    file.write_text(settings)
    monkeypatch.delenv("REDIS_URL", raising=False)

    config = ServerConfig.load({"enable_auth": False}, file)

    assert json.loads(config.model_dump_json(include=set(json.loads(settings)))) == json.loads(
        settings
    )


@pytest.mark.parametrize("key", GuardSettings.model_fields)
def test_every_setting_is_on_the_page(key: str) -> None:
    assert f"`{key}`" in PAGE.read_text()


@pytest.mark.parametrize(
    ("code", "status"),
    [(cells[1].strip(" `"), int(cells[2])) for line in PAGE.read_text().splitlines()
     if len(cells := line.strip("|").split("|")) == 3 and cells[2].strip().isdigit()],
)  # fmt: skip
def test_the_errors_have_the_statuses_of_the_page(code: str, status: int) -> None:
    [kind] = [
        each
        for each in vars(errors).values()
        if isinstance(each, type)
        and issubclass(each, ServerError)
        and each.__base__ is ServerError
        and each.code == code
        and each is not errors.InternalError
    ]

    assert (kind.http_status, kind.retryable) == (status, True)
