from __future__ import annotations

from kailash_mcp_prod.records.sql.postgresql import columns_of


def test_rows_become_an_array_for_each_column() -> None:
    assert columns_of([("a", 1, None), ("b", 2, True)]) == [["a", "b"], [1, 2], [None, True]]
