from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kailash_mcp_prod.cli import app
from kailash_mcp_prod.errors import ConfigError


@contextmanager
def answering(
    status: int, body: bytes = b'{"health_status": "healthy"}', prefix: str = ""
) -> Iterator[int]:
    """The port of a server that answers the path of readiness so, and others with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == f"{prefix}/health/ready" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_ready_server_is_zero() -> None:
    with answering(200) as port:
        done = CliRunner().invoke(app, ["health", "--url", f"http://127.0.0.1:{port}"])
    assert (done.exit_code, done.stdout) == (0, "ready\n")


@pytest.mark.parametrize(
    ("path", "prefix", "code"),
    [
        ("/shop/rest", "/shop/rest", 0),
        ("/shop/", "/shop", 0),
        ("/", "", 0),
        ("", "/shop", 1),
        ("/shop", "", 1),
    ],
)
def test_the_path_of_the_address_is_kept(path: str, prefix: str, code: int) -> None:
    with answering(200, prefix=prefix) as port:
        done = CliRunner().invoke(app, ["health", "--url", f"http://127.0.0.1:{port}{path}"])
    assert done.exit_code == code


def test_the_port_is_the_one_after_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as port:
        monkeypatch.setenv("MCP_PORT", str(port - 1))
        assert CliRunner().invoke(app, ["health"]).exit_code == 0


def test_the_port_is_the_one_after_that_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.jsonc"
    monkeypatch.delenv("MCP_PORT", raising=False)
    monkeypatch.setenv("MCP_CONFIG_FILE", str(file))
    with answering(200) as port:
        file.write_text(f'{{"host": "0.0.0.0", "port": {port - 1}, "nonsense": 1}}')
        assert CliRunner().invoke(app, ["health"]).exit_code == 0
        file.write_text(f'{{"host": "::", "port": {port - 1}}}')
        assert CliRunner().invoke(app, ["health"]).exit_code == 1


def test_the_environment_goes_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"host": "::", "port": 1}')
    monkeypatch.setenv("MCP_CONFIG_FILE", str(file))
    monkeypatch.setenv("MCP_HOST", "127.0.0.1")
    with answering(200) as port:
        monkeypatch.setenv("MCP_PORT", str(port - 1))
        assert CliRunner().invoke(app, ["health"]).exit_code == 0


def test_a_file_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MCP_CONFIG_FILE", str(tmp_path / "missing.json"))
    with pytest.raises(ConfigError, match=r"missing\.json does not exist"):
        CliRunner().invoke(app, ["health"], catch_exceptions=False)


def test_a_server_that_starts_or_drains_is_one() -> None:
    with answering(503) as port:
        done = CliRunner().invoke(app, ["health", "--url", f"http://127.0.0.1:{port}"])
    assert (done.exit_code, done.stderr) == (1, "not ready: 503\n")


@pytest.mark.parametrize("body", [b"", b"<html>", b"7", b"[]", b"{}"])
def test_another_program_is_one(body: bytes) -> None:
    with answering(200, body) as port:
        done = CliRunner().invoke(app, ["health", "--url", f"http://127.0.0.1:{port}"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "another program" in done.stderr


@pytest.mark.parametrize(("host", "code"), [("0.0.0.0", 0), ("127.0.0.1", 0), ("::", 1)])
def test_the_host_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, host: str, code: int
) -> None:
    with answering(200) as port:
        monkeypatch.setenv("MCP_PORT", str(port - 1))
        monkeypatch.setenv("MCP_HOST", host)
        assert CliRunner().invoke(app, ["health"]).exit_code == code


def test_no_server_is_one() -> None:
    with answering(200) as port:
        pass
    done = CliRunner().invoke(app, ["health", "--url", f"http://127.0.0.1:{port}"])
    assert (done.exit_code, done.stderr) == (1, "no answer: ConnectionRefusedError\n")


@pytest.mark.parametrize("url", ["127.0.0.1:3002", "ftp://host", "http://host:port", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert CliRunner().invoke(app, ["health", "--url", url]).exit_code == 2


def test_a_port_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_PORT", "tcp://10.0.0.1:3001")
    assert CliRunner().invoke(app, ["health"]).exit_code == 2


def test_what_can_be_no_host_is_one() -> None:
    done = CliRunner().invoke(app, ["health", "--url", "http://a..b:3002"])
    assert (done.exit_code, done.stderr) == (1, "no answer: UnicodeError\n")
