"""What the server tells an agent about itself before anything else."""

from __future__ import annotations

from typing import Final

INSTRUCTIONS: Final = (
    "Each kind of record has tools named Kind_operation, such as Company_list. List before you "
    "change: ids come from lists. A failed call says in `error` which field is wrong and what to "
    "do. Bulk tools change all records or none. Times are ISO 8601 with an offset; send exact "
    "decimals as text. A write may be sent again safely with the argument `_idempotency_key`, a "
    "text that is new for each change."
)
