"""The commands `key` and `token`, in this process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import pytest
from typer.testing import CliRunner, Result

from kailash_mcp_prod.auth.api_keys import minted_id
from kailash_mcp_prod.cli import app

SECRET = "a-secret-of-more-than-thirty-two-bytes"
runner = CliRunner()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    for name in ("API_KEYS", "MCP_KEY_STORE", "MCP_CONFIG_FILE", "MCP_JWT_EXPIRATION_HOURS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("JWT_SECRET", SECRET)


def command(*arguments: str, given: str | None = None) -> Result:
    return runner.invoke(app, [*arguments], input=given)


def told(*arguments: str, given: str | None = None) -> Any:
    """What a command says to a program."""
    done = command(*arguments, "--json", given=given)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*arguments: str, given: str | None = None, code: str, exit_code: int) -> str:
    """Why a command is refused; the same in both forms of output."""
    done = command(*arguments, "--json", given=given)
    assert (done.exit_code, done.stdout) == (exit_code, "")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == code
    plain = command(*arguments, given=given)
    assert (plain.exit_code, plain.stderr) == (exit_code, f"Error: {error['message']}\n")
    return str(error["message"])


def test_a_key_is_printed_once_alone_and_never_again() -> None:
    assert told("key", "list") == []
    done = command("key", "mint", "--permissions", "*:read, Company:write", "--label", "CRM")
    key = done.stdout.strip()
    key_id = minted_id(key)
    assert key_id is not None
    assert key not in done.stderr
    assert key_id in done.stderr
    assert "MCP_KEY_STORE" in done.stderr

    for output in (
        command("key", "list").output,
        command("key", "list", "--json").output,
        command("key", "inspect", key_id).output,
        command("key", "revoke", key_id).output,
        command("key", "list", "--all").output,
    ):
        assert key_id in output
        assert key not in output
        assert key.split("_", 2)[2] not in output


def test_a_key_is_minted_with_all_that_it_may_stand_for() -> None:
    minted = told(
        *("key", "mint", "--agent-id", "sales", "--permissions", "*:read", "--permissions", "x:y"),
        *(
            "--roles",
            "clerk,boss",
            "--tenant",
            "north",
            "--claim",
            "level=3",
            "--claim",
            "team=a=b",
        ),
        *("--read-only", "--rate-limit", "7", "--surface", "compact", "--expires", "30d"),
        *("--label", "CRM"),
    )
    key = minted.pop("key")

    shown = told("key", "inspect", minted["id"])
    assert shown == minted == told("key", "inspect", "-", given=f"{key}\n")
    assert shown["permissions"] == ["*:read", "x:y"]
    assert shown["roles"] == ["clerk", "boss"]
    assert shown["claims"] == {"level": 3, "team": "a=b"}
    assert (shown["read_only"], shown["rate_limit"], shown["surface"]) == (True, 7, "compact")
    assert (shown["state"], shown["tenant_id"]) == ("active", "north")
    assert shown["expires_at"] > shown["created_at"]


def test_rotation_hands_over_what_a_key_grants() -> None:
    old = told("key", "mint", "--agent-id", "a", "--permissions", "*", "--expires", "10d")
    new = told("key", "rotate", old["id"], "--overlap", "1h")
    before = told("key", "inspect", old["id"])

    changed = {"key", "id", "created_at", "expires_at"}
    assert {name: new[name] for name in new if name not in changed} == {
        name: old[name] for name in old if name not in changed
    }
    assert new["key"] != old["key"]
    assert before["replaced_by"] == new["id"]
    assert before["expires_at"] < new["expires_at"]
    message = refused("key", "rotate", old["id"], code="conflict", exit_code=5)
    assert new["id"] in message
    shorter = told("key", "rotate", new["id"], "--expires", "1h")
    assert shorter["expires_at"] < new["expires_at"]


def test_a_list_leaves_out_what_is_over_unless_asked() -> None:
    ids = [told("key", "mint", "--permissions", "*")["id"] for _ in range(2)]
    assert told("key", "revoke", ids[0])["state"] == "revoked"

    assert [each["id"] for each in told("key", "list")] == ids[1:]
    assert [each["id"] for each in told("key", "list", "--all")] == ids


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--permissions", " , "],
        ["--permissions", "*", "--expires", "soon"],
        ["--permissions", "*", "--expires", "0d"],
        ["--permissions", "*", "--expires", "9999d"],
        ["--permissions", "*", "--surface", "nonsense"],
        ["--permissions", "*", "--agent-id", ""],
        ["--permissions", "*", "--tenant", "x" * 256],
        ["--permissions", "*", "--claim", "novalue"],
        ["--permissions", "*", "--claim", f"x={'y' * 5000}"],
        ["--permissions", "*", "--label", "x" * 256],
    ],
)
def test_a_key_that_makes_no_sense_is_not_minted(options: list[str]) -> None:
    refused("key", "mint", *options, code="invalid_arguments", exit_code=2)
    assert told("key", "list") == []


def test_an_unknown_key_is_said_to_be_unknown() -> None:
    stranger = "kmp_0123456789abcdef_not-one-of-ours"
    for name in ("inspect", "revoke", "rotate"):
        refused("key", name, "0123456789abcdef", code="not_found", exit_code=5)
        message = refused("key", name, "-", given=stranger, code="not_found", exit_code=5)
        assert stranger not in message
    refused("key", "inspect", "-", given="", code="invalid_arguments", exit_code=2)


def test_a_database_that_does_not_answer_has_an_exit_code_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in refused("key", "list", code="unavailable", exit_code=4)
    monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/at/all.db")
    refused("key", "list", code="unavailable", exit_code=4)


@pytest.fixture
def without_rights(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> Iterator[None]:
    """A database with keys and tokens, and a user who may not read them."""
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    told("key", "mint", "--permissions", "*")
    told("token", "mint", "--subject", "a", "--permissions", "*")
    on_postgres(postgres_url, "DROP ROLE IF EXISTS kmp_nobody", "CREATE ROLE kmp_nobody LOGIN")
    monkeypatch.setenv("DATABASE_URL", postgres_url.replace("postgres@", "kmp_nobody@"))
    yield
    on_postgres(postgres_url, "DROP ROLE kmp_nobody")


def on_postgres(url: str, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for each in statements:
                await connection.execute(each)
        finally:
            await connection.close()

    asyncio.run(run())


@pytest.mark.usefixtures("without_rights")
def test_a_user_without_rights_is_told_so() -> None:
    for arguments in (
        ("key", "list"),
        ("key", "inspect", "abc"),
        ("key", "mint", "--permissions", "*"),
        ("key", "revoke", "abc"),
        ("token", "list"),
        ("token", "revoke", "--jti", "abc"),
        ("token", "mint", "--subject", "a", "--permissions", "*"),
    ):
        message = refused(*arguments, code="unavailable", exit_code=4)
        assert "may not" in message
    token = command("token", "mint", "--subject", "a", "--permissions", "*", "--unlisted").stdout
    assert "may not" in refused("token", "inspect", given=token, code="unavailable", exit_code=4)


def test_the_database_is_found_by_the_application(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sqlite_url: str
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    (tmp_path / "noisy_shop.py").write_text(
        "from types import SimpleNamespace as N\n"
        "print('I am imported')\n"
        f"db = N(list_models=list, config=N(database=N(url={sqlite_url!r})))\n"
    )
    monkeypatch.chdir(tmp_path)
    key = told("key", "mint", "--permissions", "*", "--models", "noisy_shop:db")

    assert [each["id"] for each in told("key", "list", "--database-url", sqlite_url)] == [key["id"]]


def test_a_token_is_minted_inspected_and_revoked() -> None:
    done = command("token", "mint", "--subject", "nightly", "--permissions", "Company:*")
    token = done.stdout.strip()
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert token not in done.stderr
    assert claims["jti"] in done.stderr
    assert claims["exp"] - claims["iat"] == 24 * 3600

    inspected = told("token", "inspect", given=token)
    assert inspected == {"good": True, "problem": None, "claims": claims}
    assert told("token", "revoke", given=token)["jti"] == claims["jti"]

    again = command("token", "inspect", given=token)
    assert again.exit_code == 5
    assert "revoked" in again.stdout
    assert token not in again.output


def test_a_token_is_minted_with_all_that_it_may_say() -> None:
    minted = told(
        *("token", "mint", "--subject", "a", "--roles", "clerk", "--tenant", "north"),
        *("--claim", "team=x", "--surface", "search", "--read-only", "--expires", "8h"),
    )

    claims = minted["claims"]
    assert jwt.decode(minted["token"], SECRET, algorithms=["HS256"]) == claims
    assert claims["exp"] - claims["iat"] == 8 * 3600
    assert (claims["roles"], claims["tenant_id"]) == (["clerk"], "north")
    assert (claims["team"], claims["surface"], claims["read_only"]) == ("x", "search", True)
    assert "permissions" not in claims


def test_a_minted_token_is_listed_until_it_has_expired_and_revoked_by_its_jti() -> None:
    assert told("token", "list", "--all") == []
    mint = ("token", "mint", "--subject", "nightly\n\x1b[2J", "--permissions")
    first = told(*mint, "*:read", "--expires", "1s")
    second = told(*mint, "*", "--roles", "clerk", "--read-only", "--label", "CRM")
    third = told(*mint, ",".join(f"Company{number}:read" for number in range(40)))
    assert told("token", "revoke", "--jti", second["claims"]["jti"])["expires_at"] is not None
    while time.time() <= first["claims"]["exp"]:
        assert told("token", "list", "--limit", "1")[0]["jti"] == third["claims"]["jti"]

    listed = told("token", "list")
    assert [each["jti"] for each in listed] == [each["claims"]["jti"] for each in (third, second)]
    assert listed[1] | {"created_at": 0, "expires_at": 0, "revoked_at": 0} == {
        "jti": second["claims"]["jti"],
        "state": "revoked",
        "subject": "nightly\n\x1b[2J",
        "tenant_id": None,
        "permissions": ["*"],
        "roles": ["clerk"],
        "read_only": True,
        "label": "CRM",
        "created_at": 0,
        "expires_at": 0,
        "revoked_at": 0,
    }
    assert [each["state"] for each in told("token", "list", "--all")] == [
        *("active", "revoked", "expired"),
    ]
    shown = command("token", "list")
    assert shown.stderr == "2 tokens\n"
    lines = shown.stdout.splitlines()
    assert lines[0].startswith(f"{third['claims']['jti']}  active   nightly??[2J ")
    assert "  *,role clerk  read-only  until 2" in lines[1]
    assert max(map(len, lines)) < 200
    cut = command("token", "list", "--limit", "1", "--json")
    assert len(json.loads(cut.stdout)) == 1
    assert "--limit" in cut.stderr


def test_nothing_of_a_token_that_could_be_used_is_noted(sqlite_url: str) -> None:
    token = told("token", "mint", "--subject", "a", "--permissions", "*")["token"]
    noted = Path(sqlite_url.removeprefix("sqlite:///"))
    kept = b"".join(each.read_bytes() for each in noted.parent.glob(f"{noted.name}*"))

    for part in (token, *token.split(".")):
        assert part.encode() not in kept
        assert hashlib.sha256(part.encode()).hexdigest().encode() not in kept


def test_no_token_is_handed_out_that_can_not_be_noted_unless_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mint = ("token", "mint", "--subject", "a", "--permissions", "*")
    away = "postgresql://nobody:hunter2@127.0.0.1:1/none"
    for url in (away, "sqlite:////nowhere/at/all.db", "sqlite:///:memory:"):
        monkeypatch.setenv("DATABASE_URL", url)
        message = refused(*mint, code="unavailable", exit_code=4)
        assert message.startswith("No token was handed out, because it can't be noted: ")
        assert "--unlisted" in message
        assert "hunter2" not in message
        claims = told(*mint, "--unlisted")["claims"]
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.chdir(tmp_path)
    nowhere = refused(
        *mint, "--models", "no_such_app:db", code="invalid_configuration", exit_code=2
    )
    assert "can't be noted: There is no module 'no_such_app'" in nowhere
    url = f"sqlite:///{tmp_path}/other.db"
    assert told("token", "list", "--database-url", url) == []

    unknown = command("token", "revoke", "--jti", claims["jti"], "--database-url", url)
    assert unknown.stdout == f"Token {claims['jti']} is revoked.\n"
    assert "kept for good" in unknown.stderr


def test_a_token_of_somebody_else_is_revoked_for_ever() -> None:
    foreign = jwt.encode(
        {"sub": "a", "jti": "theirs", "exp": time.time() + 5}, SECRET + "x", algorithm="HS256"
    )
    assert told("token", "revoke", given=foreign) == {
        "jti": "theirs",
        "revoked": True,
        "expires_at": None,
    }
    assert told("token", "revoke", "--jti", "another")["jti"] == "another"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["mint", "--subject", "a"], None),
        (["mint", "--subject", " ", "--permissions", "*"], None),
        (["mint", "--subject", "a", "--permissions", "*", "--expires", "400d"], None),
        (["mint", "--subject", "a", "--permissions", "*", "--claim", "exp=1"], None),
        (["mint", "--subject", "a", "--permissions", "*", "--label", "x" * 256], None),
        (["mint", "--subject", "a", "--permissions", "*", "--label", "x", "--unlisted"], None),
        (["inspect"], "no-token"),
        (["inspect"], ""),
        (["revoke"], jwt.encode({"sub": "a"}, SECRET, algorithm="HS256")),
        (["revoke", "--jti", "x" * 256], None),
        (["revoke", "--jti", ""], None),
    ],
)
def test_what_can_not_be_done_with_a_token_is_refused(
    arguments: list[str], given: str | None
) -> None:
    refused("token", *arguments, given=given, code="invalid_arguments", exit_code=2)


@pytest.mark.parametrize("secret", ["", "short"])
def test_no_token_is_signed_with_a_short_secret(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    mint = ["token", "mint", "--subject", "a", "--permissions", "*"]
    refused(*mint, code="invalid_configuration", exit_code=2)
