"""Two replicas on PostgreSQL and Redis behind a load balancer that knows no sessions."""

from __future__ import annotations

import configparser
import json
import re
import signal
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pytest
import yaml

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.transports.http_wire import PARTING_SECONDS
from tests.e2e.balancer import Balancer, Replica, balancing
from tests.e2e.load import load_on
from tests.e2e.servers import ONE_MODEL, ROOT, HttpServer, serving
from tests.e2e.snippets import snippets
from tests.postgres import running_postgres
from tests.redis_server import running_redis

SECRET = "a secret of both replicas, long enough for that"
FLAGS = ["--no-auth", "--rate-limit-per-minute", "1000000", "--shutdown-grace-seconds", "3"]
FLAGS += ONE_MODEL
READY_SECONDS = 90.0
PAGE = ROOT / "docs" / "deployment.md"


class Fleet:
    """Replicas that can be replaced one by one.

    Args:
        stack: Ends them.
        folder: Each works in a directory of its own there.
        balancer: Gets those that run.
        settings: Of all of them.
    """

    def __init__(
        self, stack: ExitStack, folder: Path, balancer: Balancer, settings: dict[str, str]
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._balancer = balancer
        self._settings = settings
        self._running: list[tuple[HttpServer, Replica]] = []

    def add(self) -> None:
        """Start another one, and wait until the balancer sends it clients."""
        workdir = self._folder / str(len(list(self._folder.iterdir())))
        workdir.mkdir()
        server = self._stack.enter_context(serving(workdir, *FLAGS, settings=self._settings))
        replica = Replica(*server.ports)
        self._balancer.replicas.append(replica)
        assert replica.changed.wait(READY_SECONDS)
        self._running.append((server, replica))

    def restart_oldest(self) -> None:
        """Stop the one that has run longest, and start it anew."""
        server, replica = self._running.pop(0)
        assert server.process.end(signal.SIGTERM) == 0
        self._balancer.replicas.remove(replica)
        self.add()

    def hurry(self) -> None:
        """Tell all that run to end, so that the next signal has them end at once."""
        for server, _ in self._running:
            server.process.process.terminate()


def stored(database: str) -> list[str]:
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM companies")
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.timeout(180)
def test_no_call_fails_while_replicas_are_restarted_one_after_another(tmp_path: Path) -> None:
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        database = stack.enter_context(postgres.database())
        redis = stack.enter_context(running_redis())
        balancer = stack.enter_context(balancing())
        settings = {
            "DATABASE_URL": database,
            "REDIS_URL": redis.url,
            "MCP_CURSOR_SECRET": SECRET,
        }
        servers = stack.enter_context(ExitStack())
        fleet = Fleet(servers, tmp_path, balancer, settings)
        fleet.add()
        fleet.add()
        mcp, rest = (f"http://127.0.0.1:{port}" for port in (balancer.mcp, balancer.rest))

        with load_on(f"{mcp}/mcp", rest) as load:
            load.wait_for_calls(50)
            fleet.restart_oldest()
            load.wait_for_calls(50)
            fleet.restart_oldest()
            load.wait_for_calls(50)

        assert load.failures == []
        assert sorted(stored(database)) == sorted(load.acknowledged)
        fleet.hurry()
        servers.close()


def test_the_times_on_the_page_fit_each_other() -> None:
    [settings] = (json.loads(block) for block in snippets(PAGE, "json"))
    config = ServerConfig.load({**settings, "jwt_secret": SECRET})
    grace, drain = config.shutdown_grace_seconds, config.drain_seconds

    [deployment] = (yaml.safe_load(block) for block in snippets(PAGE, "yaml"))
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    probe = container["readinessProbe"]
    assert probe["httpGet"] == {"path": "/health/ready", "port": config.port + 1}
    assert probe["periodSeconds"] * probe["failureThreshold"] < grace
    assert pod["terminationGracePeriodSeconds"] > grace + drain + 2

    [unit] = snippets(PAGE, "ini")
    parsed = configparser.RawConfigParser()
    parsed.read_string(unit)
    default = ServerConfig.load({"jwt_secret": SECRET})
    assert float(parsed["Service"]["TimeoutStopSec"]) > default.drain_seconds + 2

    [nginx] = snippets(PAGE, "nginx")
    [seconds] = re.findall(r"keepalive_timeout (\d+)s;", nginx)
    assert int(seconds) < PARTING_SECONDS < config.keep_alive_seconds
