"""What docs/records.md says is done here as written, on free ports and temporary paths."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from kailash_mcp_prod.client import connect_to_url
from tests.e2e.forked import commands
from tests.e2e.servers import ROOT, HttpServer, environment, forked, serving
from tests.e2e.snippets import only, run_in, snippets

PAGE = ROOT / "docs" / "records.md"
SHELL = snippets(PAGE, "sh")
PYTHON = snippets(PAGE, "python")
NORTH, SOUTH, NOBODY = "key-of-north", "key-of-south", "key-of-nobody"
COMPANIES = 250


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A folder with the application of the page."""
    (tmp_path / "ledger.py").write_text(only(PYTHON, "# ledger.py"), encoding="utf-8")
    return tmp_path


def caller(server: HttpServer, key: str) -> Callable[..., tuple[int, Any]]:
    def call(tool: str, **arguments: Any) -> tuple[int, Any]:
        url, headers = f"{server.rest}/tools/{tool}", {"X-API-Key": key}
        answer = httpx.post(url, json=arguments, headers=headers)
        return answer.status_code, answer.json()

    return call


def flags_of(command: str) -> list[str]:
    return shlex.split(command)[2:]


def test_every_shell_snippet_of_the_page_is_covered_by_a_test() -> None:
    assert [command.split("\n")[0].strip(" \\") for command in SHELL] == [
        """kailash-mcp-prod call get_dataflow_models_info '{"model": "Company"}'""",
        "export API_KEYS='{",
        "curl -s http://127.0.0.1:3002/tools/Invoice_create",
        "kailash-mcp-prod serve --no-auth --no-auto-migrate --wait-for-db 60",
        "make bench NAME=records",
    ]


def test_the_tool_says_how_a_model_is_reached(tmp_path: Path) -> None:
    told = json.loads(run_in(tmp_path, only(SHELL, "kailash-mcp-prod call")))

    [shown] = snippets(PAGE, "json")
    assert told["models"][0]["execution"] == json.loads(shown)["execution"]


def test_tenants_do_not_meet_and_a_key_without_one_is_forbidden(ledger: Path) -> None:
    block = only(SHELL, "export API_KEYS")
    [keys] = re.findall(r"export API_KEYS='(.*?)'", block, re.DOTALL)
    flags = flags_of(block[block.index("kailash-mcp-prod") :])
    with serving(ledger, *flags, settings={"API_KEYS": keys}) as server:
        create = only(SHELL, "curl -s").replace("http://127.0.0.1:3002", server.rest)
        invoice = json.loads(run_in(ledger, create))
        north, south, nobody = (caller(server, key) for key in (NORTH, SOUTH, NOBODY))

        assert invoice["number"] == "2026-001"
        assert "tenant_id" not in invoice
        assert north("Invoice_read", id=invoice["id"]) == (200, invoice)
        assert south("Invoice_list")[1]["records"] == []
        for tool, arguments in [
            ("Invoice_read", {}),
            ("Invoice_update", {"data": {"number": "stolen"}}),
            ("Invoice_delete", {}),
        ]:
            status, refused = south(tool, id=invoice["id"], **arguments)
            assert (status, refused["error"]["code"]) == (404, "not_found")
        status, own = south("Invoice_create", data={"number": "2026-001", "total": "7.00"})
        assert status == 200
        assert south("Invoice_list")[1]["records"] == [own]
        assert north("Invoice_list")[1]["records"] == [invoice]

        for tool, arguments in [
            ("Invoice_list", {}),
            ("Invoice_read", {"id": invoice["id"]}),
            ("Invoice_create", {"data": {"number": "2026-002", "total": "1.00"}}),
        ]:
            status, refused = nobody(tool, **arguments)
            assert (status, refused["error"]["code"]) == (403, "forbidden")
            assert "tenant" in refused["error"]["message"]
        assert nobody("Account_list")[0] == 200

        status, repeated = north("Invoice_create", data={"number": "2026-001", "total": "1.00"})
        assert (status, repeated["error"]["code"]) == (409, "conflict")


def test_the_options_of_the_models_do_what_the_page_says(ledger: Path) -> None:
    flags = ["--models", "ledger:db", "--database-url", "sqlite:///ledger.db"]
    keys = json.dumps({NORTH: {"tenant_id": "north", "permissions": ["*"]}})
    with serving(ledger, *flags, settings={"API_KEYS": keys}) as server:
        call = caller(server, NORTH)
        _, invoice = call("Invoice_create", data={"number": "1", "total": "119.00"})
        assert call("Invoice_list", filter={"total": {"$gte": 100}})[1]["records"] == [invoice]
        assert call("Invoice_list", filter={"total": "119.0"})[1]["records"] == [invoice]

        assert call("Invoice_delete", id=invoice["id"])[0] == 200
        assert call("Invoice_read", id=invoice["id"])[0] == 404
        status, again = call("Invoice_create", data={"number": "1", "total": "1.00"})
        assert status == 409
        assert "perhaps a deleted one" in again["error"]["message"]
        with closing(sqlite3.connect(ledger / "ledger.db")) as database, database:
            rows = database.execute("SELECT tenant_id, deleted_at IS NULL FROM invoices").fetchall()
            assert rows == [("north", 0)]
            database.execute("UPDATE invoices SET deleted_at = NULL")
        assert call("Invoice_read", id=invoice["id"]) == (200, invoice)

        _, told = call("get_dataflow_models_info")
        entry = next(each for each in told["models"] if each["name"] == "Entry")
        assert [tool.removeprefix("Entry_") for tool in entry["tools"]] == [
            "create",
            "read",
            "list",
            "bulk_create",
        ]
        assert {each["execution"]["store"] for each in told["models"]} == {"sql"}


def test_the_pages_of_a_list_are_followed_as_the_page_does(
    development_server: HttpServer,
) -> None:
    program: dict[str, Any] = {}
    exec(only(PYTHON, "async def names_of_all"), program)
    names_of_all: Callable[..., Awaitable[list[str]]] = program["names_of_all"]
    data = [{"name": f"Paged {number:03d}"} for number in range(COMPANIES)]
    pages = []

    async def follow() -> list[str]:
        async with connect_to_url(development_server.mcp, api_key=None, token=None) as client:

            async def call_tool(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
                result, failed = await client.call(tool, arguments)
                assert not failed, result
                pages.append(result)
                return result

            await call_tool("Company_bulk_create", {"data": data})
            return await names_of_all(call_tool)

    names = asyncio.run(follow())

    assert [name for name in names if name.startswith("Paged")] == [each["name"] for each in data]
    assert names == sorted(names)
    assert [page["count"] for page in pages[1:-1]] == [100, 100]


def test_a_server_that_may_not_migrate_is_started_as_the_page_does(tmp_path: Path) -> None:
    flags = flags_of(only(SHELL, "kailash-mcp-prod serve --no-auth"))
    with forked(tmp_path, "--port", "0", *flags) as process:
        assert process.process.wait(30) == 4
        assert "The database lacks: table companies (Company)" in process.errors.finish()


def test_the_transaction_of_the_page_is_stored_or_undone_as_a_whole(ledger: Path) -> None:
    booking = only(PYTHON, "# booking.py")
    (ledger / "booking.py").write_text(booking, encoding="utf-8")
    spoilt = booking.replace('"amount": amount}', '"amount": amount, "id": "the same"}')
    assert spoilt != booking
    (ledger / "spoilt.py").write_text(spoilt, encoding="utf-8")

    def run(program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [commands() / "python-file", program],
            cwd=ledger,
            env=environment(DATABASE_URL=f"sqlite:///{ledger / 'ledger.db'}"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert run("booking.py").stdout == "119.00\n"
    assert run("spoilt.py").stdout == "238.00\n"
    failed = run("spoilt.py")

    assert failed.returncode == 1
    assert "ConflictError" in failed.stderr
    with closing(sqlite3.connect(ledger / "ledger.db")) as database:
        assert database.execute("SELECT id, balance FROM accounts").fetchall() == [
            ("till", "238.00")
        ]
        assert len(database.execute("SELECT id FROM entries").fetchall()) == 2


def test_the_benchmark_is_a_target_of_make() -> None:
    subprocess.run(
        [*shlex.split(only(SHELL, "make bench")), "--dry-run"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=30,
    )
