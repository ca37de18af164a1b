from __future__ import annotations

from pathlib import Path

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.doctor.patient import Patient
from kailash_mcp_prod.doctor.round_trip import _flags


def test_the_server_that_is_started_is_one_process_on_files_of_its_own(tmp_path: Path) -> None:
    config = ServerConfig.model_construct(workers=8, models="shop:db", database_url="sqlite:///x")
    settings = tmp_path / "settings.jsonc"

    flags = _flags(Patient(config, None, settings, {}), tmp_path)

    assert flags[:3] == ["--config", str(settings), "--no-auth"]
    chosen = dict(zip(flags[3::2], flags[4::2], strict=True))
    assert (chosen["--workers"], chosen["--models"]) == ("1", "shop:db")
    assert chosen["--database-url"] == f"sqlite:///{tmp_path}/doctor.db"
