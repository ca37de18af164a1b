"""The command `kailash-mcp-prod audit`: what was written and denied, and whether that holds."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final, Optional

import typer

from kailash_mcp_prod.cli_completion import model_names, tool_names
from kailash_mcp_prod.cli_credentials import (
    AsJson,
    Config,
    Database,
    Models,
    open_state,
    print_json,
    run,
    seconds_of,
    settings,
)
from kailash_mcp_prod.errors import InvalidArgumentsError, UnavailableError

if TYPE_CHECKING:
    from kailash_mcp_prod.config import ServerConfig
    from kailash_mcp_prod.observe.audit_reading import AuditEntry, AuditFilter, AuditReader
    from kailash_mcp_prod.observe.audit_verification import Verification

app = typer.Typer(
    name="audit",
    no_args_is_help=True,
    add_completion=False,
    help="""Show, verify and export the audit: every write and every denial.

    The entries are in the application's database, in the table mcp_audit. They hang together by
    their hashes, so that what is removed, changed or reordered is found.
    """,
)

BROKEN: Final = 1
"""The exit code when the audit does not hold."""

_MOST: Final = 100_000
_ATTEMPTS: Final = 3
_ANCHOR: Final = re.compile(r"([1-9]\d{0,17}):([0-9a-f]{64})")
_SHOWN_IDS: Final = 3
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Format(StrEnum):
    """How entries are exported."""

    JSONL = "jsonl"
    CSV = "csv"


_Since = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it
    typer.Option(help="From this time on: 2026-11-25, 2026-11-25T08:00Z, or 24h for a day ago."),
]
_Until = Annotated[Optional[str], typer.Option(help="Before this time; as for --since.")]  # noqa: UP045
_Agent = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Who called: the agent's name, or the whole subject such as key:billing."),
]
_Tool = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="The tool, such as Company_create.", autocompletion=tool_names),
]
_Model = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="The model, such as Company.", autocompletion=model_names),
]
_Id = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--id", help="An id of what was to be changed."),
]
_Outcome = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="ok, or the code of the error, such as forbidden or conflict."),
]
_RequestId = Annotated[Optional[str], typer.Option(help="The request.")]  # noqa: UP045


@app.command("list")
def list_entries(
    *,
    since: _Since = None,
    until: _Until = None,
    agent: _Agent = None,
    tool: _Tool = None,
    model: _Model = None,
    target: _Id = None,
    outcome: _Outcome = None,
    request_id: _RequestId = None,
    limit: Annotated[
        int, typer.Option(min=1, max=_MOST, help="How many at most, the newest first.")
    ] = 50,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """List entries, the newest first.

    Example: kailash-mcp-prod audit list --model Company --id 7 --since 7d
    """

    async def find() -> tuple[list[AuditEntry], bool]:
        from kailash_mcp_prod.observe.audit_reading import MAX_PAGE

        wanted = _filter(
            since,
            until,
            agent=agent,
            tool=tool,
            model=model,
            target=target,
            outcome=outcome,
            request_id=request_id,
        )
        found: list[AuditEntry] = []
        before: int | None = None
        async with _open(settings(config, models, database_url)) as reader:
            while len(found) < limit:
                page = await reader.find(wanted, min(MAX_PAGE, limit - len(found)), before)
                found.extend(page.entries)
                before = page.before
                if before is None:
                    break
        return found, before is not None

    found, more = run(find, as_json=as_json)
    if as_json:
        print_json([each.to_dict() for each in found])
    else:
        for each in found:
            typer.echo(_line(each))
        typer.echo(f"{len(found)} entries", err=True)
    if more:
        typer.echo("There are older ones: see --limit.", err=True)


@app.command()
def verify(
    *,
    expect: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="SEQ:HASH",
            help="An anchor that was noted elsewhere: this entry must be there as it was. Several.",
        ),
    ] = None,
    allow_unsealed: Annotated[
        bool,
        typer.Option(
            "--allow-unsealed",
            help="Take entries without the secret's seal too, such as those from before there "
            "was a secret.",
        ),
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Verify that no entry was removed, changed or reordered. Exit code 1: one was.

    Prints an anchor. Note it where nobody who can write the database can write, and give it to
    --expect later: then it is also found when the newest entries were cut off.

    Seals are checked with the server's secret: set MCP_CURSOR_SECRET or JWT_SECRET as it has it.

    Example: kailash-mcp-prod audit verify --json
    """

    async def check() -> Verification:
        anchors = dict(_anchor(each) for each in expect or ())
        loaded = settings(config, models, database_url)
        async with _open(loaded) as reader:
            return await _verified(reader, loaded, anchors, allow_unsealed=allow_unsealed)

    found = run(check, as_json=as_json)
    if as_json:
        print_json(found.to_dict())
    else:
        _tell(found)
    if not found.holds:
        raise typer.Exit(BROKEN)


@app.command()
def export(
    *,
    form: Annotated[
        Format, typer.Option("--format", help="JSON lines, or CSV for spreadsheets.")
    ] = Format.JSONL,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A file that is not there yet, for its owner only; by default stdout."),
    ] = None,
    since: _Since = None,
    until: _Until = None,
    agent: _Agent = None,
    tool: _Tool = None,
    model: _Model = None,
    target: _Id = None,
    outcome: _Outcome = None,
    request_id: _RequestId = None,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Export entries, the oldest first.

    In JSON lines each has its whole text and its hash, so the chain can be checked by others too.

    Example: kailash-mcp-prod audit export --since 30d --output audit.jsonl
    """

    async def write() -> int:
        wanted = _filter(
            since,
            until,
            agent=agent,
            tool=tool,
            model=model,
            target=target,
            outcome=outcome,
            request_id=request_id,
        )
        async with _open(settings(config, models, database_url)) as reader:
            if output is None:
                return await _export(reader, wanted, form, sys.stdout)
            with _made(output) as file:
                return await _export(reader, wanted, form, file)

    count = run(write, as_json=False)
    typer.echo(f"{count} entries", err=True)


@asynccontextmanager
async def _open(config: ServerConfig) -> AsyncIterator[AuditReader]:
    from kailash_mcp_prod.observe.audit_reading import AuditReader

    async with open_state(config) as database:
        yield AuditReader(database)


async def _verified(
    reader: AuditReader, config: ServerConfig, anchors: dict[int, str], *, allow_unsealed: bool
) -> Verification:
    from kailash_mcp_prod.observe.audit_chain import AuditSeals
    from kailash_mcp_prod.observe.audit_verification import Verifier, without_head

    seals = AuditSeals.of(config.cursor_key, config.former_audit_keys)
    for _ in range(_ATTEMPTS):
        head = await reader.head()
        if head is None:
            return without_head(anchors)
        verifier = Verifier(seals, head.base_seq, anchors, allow_unsealed=allow_unsealed)
        async for row in reader.rows(head.base_seq, head.seq):
            verifier.look_at(row)
        beyond = await reader.beyond(head.seq)
        now = await reader.head()
        # A server may have pruned meanwhile, and then what was looked at was not all there.
        if now is not None and now.base_seq == head.base_seq:
            if beyond is not None and now.seq < beyond:
                verifier.beyond(beyond)
            return verifier.finish(head.seq, head.hash)
    raise UnavailableError("The audit is being pruned. Try again.")


def _tell(found: Verification) -> None:
    for each in found.breaks:
        where = str(each.first) if each.first == each.last else f"{each.first}-{each.last}"
        typer.echo(f"{each.kind:12} {where:15} {each.text}")
    if found.further_breaks:
        typer.echo(f"... and {found.further_breaks} further breaks")
    span = f", {found.first} to {found.last}" if found.count else ""
    pruned = f"; up to {found.pruned} they were pruned" if found.pruned else ""
    verdict = "hold together" if found.holds else "do NOT hold together"
    typer.echo(
        f"{found.count} entries{span}, {found.sealed} of them sealed{pruned}: they {verdict}."
    )
    if found.holds:
        typer.echo(f"Anchor: {found.anchor}")


async def _export(reader: AuditReader, wanted: AuditFilter, form: Format, file: IO[str]) -> int:
    from kailash_mcp_prod.observe.audit_export import csv_head, csv_line, json_line

    count = 0
    if form is Format.CSV:
        file.write(csv_head())
    line_of = csv_line if form is Format.CSV else json_line
    head = await reader.head()
    if head is not None:
        async for row in reader.rows(head.base_seq, head.seq, wanted):
            file.write(line_of(row))
            count += 1
    file.flush()
    return count


@contextmanager
def _made(path: Path) -> Iterator[IO[str]]:
    """A new file, which is removed if the block fails: half of an audit looks like a whole one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidArgumentsError(f"{path} is there already. Name another file.") from None
    except OSError as problem:
        raise InvalidArgumentsError(f"{path} can't be written: {problem.strerror}.") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
    except BaseException as failure:
        path.unlink(missing_ok=True)
        if isinstance(failure, OSError) and failure.errno in _NO_ROOM:
            raise InvalidArgumentsError(
                f"{path} can't be written: {failure.strerror}. Nothing of it was kept."
            ) from None
        raise


def _filter(since: str | None, until: str | None, **wanted: str | None) -> AuditFilter:
    from kailash_mcp_prod.observe.audit_reading import AuditFilter

    return AuditFilter(since=_instant(since), until=_instant(until), **wanted)


def _instant(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    try:
        return time.time() - seconds_of(text)
    except InvalidArgumentsError:
        raise InvalidArgumentsError(
            f"{text!r} is no time. Use 2026-11-25, 2026-11-25T08:00Z, or 24h for a day ago."
        ) from None


def _anchor(text: str) -> tuple[int, str]:
    found = _ANCHOR.fullmatch(text.strip())
    if found is None:
        raise InvalidArgumentsError(
            "--expect takes SEQ:HASH as audit verify prints it: a number and 64 hexadecimal digits."
        )
    return int(found[1]), found[2]


def _line(entry: AuditEntry) -> str:
    from kailash_mcp_prod.observe.audit_export import time_of

    facts = entry.facts
    ids: list[Any] = list(facts.get("ids", ()))
    shown = " ".join(str(each) for each in ids[:_SHOWN_IDS])
    if len(ids) > _SHOWN_IDS:
        shown += f" and {facts.get('count', len(ids)) - _SHOWN_IDS} more"
    elif "count" in facts:
        shown += f" {facts['count']} times" if facts.get("since") else f" {facts['count']} in all"
    parts = (
        f"{entry.seq:>6}  {time_of(facts['at'])}  {facts['outcome']:17}  {facts['who']:20}",
        facts["tool"] or facts.get("transport", ""),
        shown.strip(),
        f"({', '.join(facts['fields'])})" if facts.get("fields") else "",
    )
    line = "  ".join(part for part in parts if part)
    return "".join(each if each.isprintable() else "?" for each in line)
