from __future__ import annotations

import pytest

from kailash_mcp_prod.transports.http_guard import (
    LOOPBACK_HOSTS,
    LOOPBACK_ORIGINS,
    HostGuard,
)

GUARD = HostGuard(LOOPBACK_HOSTS, LOOPBACK_ORIGINS)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3001", "127.0.0.1:80", "[::1]:3001"])
def test_loopback_names_are_allowed_on_any_port(host: str) -> None:
    assert GUARD.allows_host(host)


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "localhost.evil.example", "127.0.0.1:x", "::1", "[::2]"]
)
def test_other_names_are_not(host: str | None) -> None:
    assert not GUARD.allows_host(host)


def test_a_host_with_a_port_is_allowed_on_that_port_only() -> None:
    guard = HostGuard({"mcp.example:8443", "api.example:*"}, set())

    assert guard.allows_host("mcp.example:8443")
    assert not guard.allows_host("mcp.example")
    assert not guard.allows_host("mcp.example:80")
    assert guard.allows_host("api.example:1")


def test_a_star_allows_everything() -> None:
    guard = HostGuard({"*"}, {"*"})

    assert guard.allows_host(None)
    assert guard.allows_origin("null")


@pytest.mark.parametrize(
    "origin", [None, "http://localhost:6274", "http://localhost", "https://[::1]:1"]
)
def test_loopback_pages_and_programs_are_allowed(origin: str | None) -> None:
    assert GUARD.allows_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://[",
        "http://evil.example",
        "http://localhost.evil.example:80",
        "ftp://localhost:1",
    ],
)
def test_other_pages_are_not(origin: str) -> None:
    assert not GUARD.allows_origin(origin)


def test_an_origin_without_a_port_means_the_port_of_its_scheme() -> None:
    guard = HostGuard(set(), {"https://App.example"})

    assert guard.allows_origin("https://app.example")
    assert guard.allows_origin("https://app.example:443")
    assert not guard.allows_origin("https://app.example:8443")
    assert not guard.allows_origin("http://app.example")
