"""What docs/cli.md says is done here as written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.main import get_command

from kailash_mcp_prod.cli import app
from tests.e2e.servers import ROOT
from tests.e2e.snippets import only, run_in, snippets

PAGE = ROOT / "docs" / "cli.md"
SHELL = snippets(PAGE, "sh")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where there is the application that the page makes."""
    path = tmp_path_factory.mktemp("cli-page")
    run_in(path, only(SHELL, "kailash-mcp-prod init"))
    return path


@pytest.fixture(scope="module")
def created(workdir: Path) -> str:
    """What the call of the page prints; it starts a server over stdio, which notes its tools."""
    return run_in(workdir, only(SHELL, "cd shop"), anew=True)


def test_every_command_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    command = get_command(app)

    for name in command.list_commands(None):
        assert f"`{name}`" in text.partition("\n## ")[0], name


def test_the_files_of_init_are_those_of_the_page(workdir: Path) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## init\n")[2].partition("\n## ")[0]
    written = [path for path in (workdir / "shop").rglob("*") if path.is_file()]

    assert len(written) == 11
    for path in written:
        name = str(path.relative_to(workdir / "shop"))
        assert name == ".gitignore" or f"`{name}`" in section, name


def test_every_check_of_the_doctor_is_on_the_page(workdir: Path) -> None:
    command = only(SHELL, "kailash-mcp-prod doctor")
    settings = {"MCP_ENABLE_AUTH": "0", "DATABASE_URL": "sqlite:///x.db", "MCP_PORT": "0"}
    checks = json.loads(run_in(workdir / "shop", command, **settings))["checks"]
    section = PAGE.read_text(encoding="utf-8").partition("\n## doctor\n")[2]

    assert len(checks) == 8
    for each in checks:
        assert f"| `{each['check']}` |" in section


def test_the_settings_are_shown_as_it_says(workdir: Path) -> None:
    command = only(SHELL, "kailash-mcp-prod config show")
    lines = run_in(workdir / "shop", command, JWT_SECRET="a" * 32).splitlines()

    assert [line.split() for line in lines] == [
        ["port", "option", "4001"],
        ["log_level", "environment", '"DEBUG"'],
        ["jwt_secret", "environment", '"***"'],
    ]


def test_the_schema_is_written_as_it_says(workdir: Path) -> None:
    file = workdir / "shop" / "settings.schema.json"
    before = file.read_text(encoding="utf-8")
    run_in(workdir / "shop", only(SHELL, "kailash-mcp-prod config schema"))

    assert file.read_text(encoding="utf-8") == before


def test_the_sections_of_the_demonstration_are_on_the_page(workdir: Path) -> None:
    output = run_in(workdir / "shop", only(SHELL, "kailash-mcp-prod demo"))
    section = PAGE.read_text(encoding="utf-8").partition("\n## demo\n")[2]

    titles = {line for line in output.splitlines() if line.isalpha()}
    assert len(titles) == 7
    assert [title for title in titles if f"| {title} |" not in section] == []
    assert output.endswith("28 ok\n")


def test_completion_is_installed_as_it_says(workdir: Path) -> None:
    command = only(SHELL, "kailash-mcp-prod --install").rstrip() + " bash"
    settings = {"HOME": str(workdir), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}

    assert "bash completion installed" in run_in(workdir, command, **settings)
    assert (workdir / ".bashrc").is_file()


def test_the_starter_application_is_called_as_it_says(created: str) -> None:
    assert json.loads(created)["name"] == "City library"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("call Task_bulk_u", ["Task_bulk_update", "Task_bulk_upsert"]),
        ("audit list --model P", ["Project"]),
        ("call --url http://127.0.0.1:1/mcp Task_bulk_u", []),
    ],
)
def test_names_are_completed_from_what_a_start_has_noted(
    line: str, names: list[str], workdir: Path, created: str
) -> None:
    words = f"kailash-mcp-prod {line}"
    asked = {
        "_KAILASH_MCP_PROD_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }

    assert run_in(workdir / "shop", "kailash-mcp-prod", anew=True, **asked).split() == names
