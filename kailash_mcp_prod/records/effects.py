"""What else a write changes in the database itself: by foreign keys that cascade, and by triggers.

Who caches reads has to know it: a company is deleted, and with it go its contacts.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records.connecting import (
    connected_to_postgresql,
    is_postgresql,
    sqlite_path,
)

# A cascade changes the table that refers; what a partition or a child holds, its parent shows.
_POSTGRESQL_LINKS = """
    SELECT confrelid::int8, conrelid::int8 FROM pg_constraint
    WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
    UNION SELECT inhrelid::int8, inhparent::int8 FROM pg_inherits
    UNION SELECT inhparent::int8, inhrelid::int8 FROM pg_inherits
"""
_POSTGRESQL_ACTIVE = """
    SELECT tgrelid::int8 FROM pg_trigger WHERE NOT tgisinternal
    UNION SELECT ev_class::int8 FROM pg_rewrite WHERE ev_type <> '1'
"""
_POSTGRESQL_TABLES = """
    SELECT wanted.name, pg_class.oid::int8, relkind IN ('r', 'p')
    FROM unnest($1::text[]) AS wanted (name)
    JOIN pg_class ON pg_class.oid = to_regclass(quote_ident(wanted.name))
"""

_SQLITE_LINKS = """
    SELECT lower(links."table"), lower(tables.name)
    FROM sqlite_master AS tables
    JOIN pragma_foreign_key_list(tables.name) AS links
    WHERE tables.type = 'table'
        AND (links.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
            OR links.on_update IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))
"""
_SQLITE_ACTIVE = "SELECT DISTINCT lower(tbl_name) FROM sqlite_master WHERE type = 'trigger'"
_SQLITE_TABLES = """
    SELECT wanted.value, lower(wanted.value), tables.type = 'table'
    FROM json_each(?) AS wanted
    JOIN sqlite_master AS tables
        ON tables.type IN ('table', 'view') AND tables.name = wanted.value COLLATE NOCASE
"""


@dataclass(frozen=True, slots=True)
class Effects:
    """By table, the tables whose rows a write of it may change, itself among them.

    `derived` are the names that are no plain tables: views show rows of others.
    """

    affected: Mapping[str, frozenset[str]]
    derived: frozenset[str]


async def reflect_effects(url: str, names: Iterable[str]) -> Effects:
    """What writes of these tables change, read over a connection of its own.

    Args:
        url: The address of the database, as DataFlow takes it.
        names: Names of tables or views, written as they are.

    Raises:
        DatabaseStartupError: The database doesn't answer.

    Example:
        `(await reflect_effects(url, ["a", "b"])).affected["a"] == {"a", "b"}`
    """
    wanted = list(dict.fromkeys(names))
    if not is_postgresql(url):
        return await asyncio.to_thread(_reflect_sqlite, url, wanted)
    async with connected_to_postgresql(url) as connection:
        links = await connection.fetch(_POSTGRESQL_LINKS)
        active = await connection.fetch(_POSTGRESQL_ACTIVE)
        tables = await connection.fetch(_POSTGRESQL_TABLES, wanted)
    return _effects(wanted, links, active, tables)


def _reflect_sqlite(url: str, wanted: list[str]) -> Effects:
    address = f"file:{quote(str(sqlite_path(url)))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            links = database.execute(_SQLITE_LINKS).fetchall()
            active = database.execute(_SQLITE_ACTIVE).fetchall()
            tables = database.execute(_SQLITE_TABLES, [json.dumps(wanted)]).fetchall()
    except sqlite3.Error as failure:
        raise DatabaseStartupError(f"The SQLite database can't be read: {failure}.") from failure
    return _effects(wanted, links, active, tables)


def _effects(
    wanted: list[str],
    links: Iterable[tuple[object, object]],
    active: Iterable[tuple[object]],
    tables: Iterable[tuple[str, object, bool]],
) -> Effects:
    changed_with: defaultdict[object, set[object]] = defaultdict(set)
    for changed, follows in links:
        changed_with[changed].add(follows)
    with_triggers = {each[0] for each in active}
    known = [(name, identity, bool(plain)) for name, identity, plain in tables]
    affected = {}
    for name, identity, plain in known:
        reached = _reachable(identity, changed_with)
        # What a trigger does, and what is behind a view, is not to be seen from here.
        unforeseeable = not plain or reached & with_triggers
        affected[name] = frozenset(
            wanted if unforeseeable else (other for other, its, _ in known if its in reached)
        )
    return Effects(affected, frozenset(name for name, _, plain in known if not plain))


def _reachable(start: object, links: Mapping[object, set[object]]) -> set[object]:
    reached = {start}
    ahead = [start]
    while ahead:
        further = links.get(ahead.pop(), set()) - reached
        reached |= further
        ahead += further
    return reached
