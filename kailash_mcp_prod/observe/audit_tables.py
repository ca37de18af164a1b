"""The tables of the audit: its entries, and the row that says where their chain ends.

The databases themselves refuse to change an entry, and to remove one that was not pruned. That
guards against accidents: whoever owns the tables can drop the triggers, and then the chain tells.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import DDL, BigInteger, Column, Double, Integer, String, Table, Text, event

from kailash_mcp_prod.observe.audit_chain import START
from kailash_mcp_prod.state.database import METADATA

entries = Table(
    "mcp_audit",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    # Each with a line of its own, and one that is empty before and after them.
    Column("ids", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("hash", String(64), nullable=False),
)

head = Table(
    "mcp_audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    # Entries up to this one were pruned.
    Column("base_seq", BigInteger, nullable=False),
)

TABLES: Final = (entries, head)

_PRUNED: Final = "OLD.seq <= (SELECT base_seq FROM mcp_audit_head WHERE id = 1)"

_ON_SQLITE: Final = (
    """CREATE TRIGGER mcp_audit_no_update BEFORE UPDATE ON mcp_audit
    BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END""",
    f"""CREATE TRIGGER mcp_audit_no_delete BEFORE DELETE ON mcp_audit WHEN NOT ({_PRUNED})
    BEGIN SELECT RAISE(ABORT, 'audit entries are never removed'); END""",
    """CREATE TRIGGER mcp_audit_head_no_delete BEFORE DELETE ON mcp_audit_head
    BEGIN SELECT RAISE(ABORT, 'the head of the audit is never removed'); END""",
)

_ON_POSTGRESQL: Final = (
    f"""CREATE OR REPLACE FUNCTION mcp_audit_refuse() RETURNS trigger AS $refuse$
    BEGIN
        IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'mcp_audit' THEN
            IF {_PRUNED} THEN RETURN OLD; END IF;
        END IF;
        RAISE EXCEPTION 'audit entries are never changed or removed';
    END $refuse$ LANGUAGE plpgsql""",
    """CREATE TRIGGER mcp_audit_no_change BEFORE UPDATE OR DELETE ON mcp_audit
    FOR EACH ROW EXECUTE FUNCTION mcp_audit_refuse()""",
    """CREATE TRIGGER mcp_audit_no_truncate BEFORE TRUNCATE ON mcp_audit
    FOR EACH STATEMENT EXECUTE FUNCTION mcp_audit_refuse()""",
    """CREATE TRIGGER mcp_audit_head_no_delete BEFORE DELETE ON mcp_audit_head
    FOR EACH ROW EXECUTE FUNCTION mcp_audit_refuse()""",
)


def _after_both(text: str, dialect: str) -> None:
    """Runs a statement once the second of the tables is there; `create_all` sorts by name."""
    statement = DDL(text)  # type: ignore[no-untyped-call]
    event.listen(head, "after_create", statement.execute_if(dialect=dialect))


_BEGIN: Final = f"INSERT INTO mcp_audit_head (id, seq, hash, base_seq) VALUES (1, 0, '{START}', 0)"  # noqa: S608
event.listen(head, "after_create", DDL(_BEGIN))  # type: ignore[no-untyped-call]
for _text in _ON_SQLITE:
    _after_both(_text, "sqlite")
for _text in _ON_POSTGRESQL:
    _after_both(_text, "postgresql")
