from __future__ import annotations

import importlib.metadata

import pytest

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.doctor import installation
from kailash_mcp_prod.doctor.finding import Status
from kailash_mcp_prod.doctor.installation import check_extras, check_versions
from kailash_mcp_prod.doctor.patient import Patient


def patient(**settings: str) -> Patient:
    return Patient(ServerConfig.model_construct(**settings), None, None, {})


async def test_the_versions_of_the_lock_are_good() -> None:
    [found] = await check_versions(patient())

    assert found.status is Status.OK
    assert f"mcp {importlib.metadata.version('mcp')}" in found.message


async def test_old_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["pydantic>=99", "nowhere-to-be-found>=1", "other; extra == 'x'", "typer"]
    monkeypatch.setattr(installation, "requires", lambda _: needs)

    [found] = await check_versions(patient())

    assert found.status is Status.FAILED
    assert "pydantic is " in found.message
    assert "which is not >=99; nowhere-to-be-found is missing." in found.message


async def test_extras_are_needed_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    needy = patient(database_url="postgresql://h/d", redis_url="redis://h")
    [good] = await check_extras(needy)
    assert good.message == "What the settings need is installed: postgres, redis."

    monkeypatch.setattr(installation, "find_spec", lambda _: None)
    postgres, redis = await check_extras(needy)

    assert postgres.fix == "pip install 'kailash-mcp-prod[postgres]'"
    assert redis.message == "The settings need the extra redis: there is no redis."
    [unneeded] = await check_extras(patient())
    assert unneeded.status is Status.OK
