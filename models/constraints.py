"""Rules that several models share, in the form that DataFlow's `__validation__` documents."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Rules: TypeAlias = dict[str, Any]

NAME: Final[Rules] = {"min_length": 1, "max_length": 200}
SHORT_TEXT: Final[Rules] = {"max_length": 100}
LONG_TEXT: Final[Rules] = {"max_length": 4000}
EMAIL: Final[Rules] = {"validators": ["email"], "max_length": 254}
PHONE: Final[Rules] = {"validators": ["phone"]}
TAX_ID: Final[Rules] = {"pattern": r"^[A-Z]{2}[A-Z0-9]{2,16}$"}

ETIM_CLASS: Final[Rules] = {"pattern": r"^EC[0-9]{6}$"}
ETIM_FEATURE: Final[Rules] = {"pattern": r"^EF[0-9]{6}$"}
ETIM_UNIT: Final[Rules] = {"pattern": r"^EU[0-9]{6}$"}
ETIM_RELEASE: Final[Rules] = {"pattern": r"^ETIM-[0-9]{1,2}\.[0-9]$"}
DEFAULT_ETIM_RELEASE: Final = "ETIM-9.0"

SHARE: Final[Rules] = {"range": {"min": 0, "max": 1}}
NOT_NEGATIVE: Final[Rules] = {"range": {"min": 0}}
# PostgreSQL gives an int field four bytes.
COUNT: Final[Rules] = {"range": {"min": 0, "max": 2_147_483_647}}
PRIORITY: Final[Rules] = {"range": {"min": 0, "max": 1000}}
