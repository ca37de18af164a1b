"""DataFlow's validators by name, without importing DataFlow, which takes a second."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_MODULE = "dataflow.validation.field_validators"


def is_named_check(name: str, check: Callable[[Any], bool]) -> bool:
    """Whether a function is DataFlow's validator of that name, so that the name is enough."""
    return getattr(check, "__module__", None) == _MODULE and (
        getattr(sys.modules.get(_MODULE), f"{name}_validator", None) is check
    )


@dataclass(frozen=True, slots=True)
class NamedCheck:
    """DataFlow's validator of a name, looked up when it is first used.

    Example:
        `NamedCheck("email")("mara@example.com")` is true.
    """

    name: str

    def __call__(self, value: Any) -> bool:
        """Whether the validator accepts the value."""
        return bool(getattr(_validators(), f"{self.name}_validator")(value))


@cache
def _validators() -> ModuleType:
    """The module of the validators. It stands by itself, but its package imports all of DataFlow.

    Raises:
        ImportError: DataFlow has no such module.
    """
    loaded = sys.modules.get(_MODULE)
    if loaded is not None:
        return loaded
    package = importlib.util.find_spec("dataflow")
    folders = () if package is None else package.submodule_search_locations or ()
    for folder in folders:
        path = Path(folder, *_MODULE.split(".")[1:]).with_suffix(".py")
        spec = importlib.util.spec_from_file_location(f"{__name__}._dataflow", path)
        if path.is_file() and spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module(_MODULE)
