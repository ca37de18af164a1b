"""Whether the settings are right, and safe."""

from __future__ import annotations

import os
from typing import Final

from kailash_mcp_prod.config import misspelt_variables
from kailash_mcp_prod.doctor.finding import Finding, failed, ok, warning
from kailash_mcp_prod.doctor.patient import Patient

_CHECK: Final = "configuration"


async def check_configuration(patient: Patient) -> list[Finding]:
    """Are the settings taken, and is nothing misspelt?"""
    where = f"defaults, environment and {patient.file}" if patient.file else "no settings file"
    if patient.refusal is not None:
        found = [
            failed(
                _CHECK,
                f"The settings are refused ({where}): {patient.refusal}",
                "Change what it names. `kailash-mcp-prod config show` tells where each value comes "
                "from; docs/configuration.md has all keys.",
            )
        ]
    elif not patient.config.enable_auth and patient.config.transport != "stdio":
        found = [
            warning(
                _CHECK,
                f"The settings are good ({where}), and nobody is asked for a credential.",
                "That is fine for trying things out on this machine. For anything else set "
                "API_KEYS or JWT_SECRET, and enable_auth.",
            )
        ]
    else:
        found = [ok(_CHECK, f"The settings are good ({where}).")]
    for name, meant in misspelt_variables(os.environ).items():
        found.append(warning(_CHECK, f"The variable {name} is no setting.", f"Is {meant} meant?"))
    return found
