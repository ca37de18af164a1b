"""Settings from files of one directory, as containers get their secrets."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, SecretsSettingsSource
from pydantic_settings.exceptions import SettingsError

from kailash_mcp_prod.errors import ConfigError

SECRETS_DIR_VARIABLE = "MCP_SECRETS_DIR"


class SecretFiles(SecretsSettingsSource):
    """Each file is named like the variable of a setting and holds its value; case does not matter.

    Other files are left alone: orchestrators put their own beside them.

    Args:
        settings_cls: Whose settings they are.
        directory: Where the files are.
    """

    def __init__(self, settings_cls: type[BaseSettings], directory: Path) -> None:
        super().__init__(settings_cls, directory)
        self._directory = directory

    def __call__(self) -> dict[str, Any]:
        """The values by key.

        Raises:
            ConfigError: The directory or a file can't be read, or a value is malformed.
        """
        # os.path's: a folder above that can't be searched is no reason for a traceback either.
        if not os.path.isdir(self._directory):  # noqa: PTH112
            raise ConfigError(
                f"{SECRETS_DIR_VARIABLE}: {self._directory} is no directory that can be read."
            )
        try:
            with warnings.catch_warnings():
                # A secret that is left out by a warning would be missed much later.
                warnings.simplefilter("error")
                found = super().__call__()
        except (OSError, UnicodeDecodeError, UserWarning, SettingsError) as problem:
            # The text of the problem may quote what the file holds.
            raise ConfigError(
                f"{SECRETS_DIR_VARIABLE}: a file in {self._directory} can't be used "
                f"({type(problem).__name__}). Each must be a readable file with one value."
            ) from None
        return {key: value for key, value in found.items() if value != ""}
