from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.agent_client.servers import HttpServer, StdioServer, servers_of
from kailash_mcp_prod.errors import InvalidArgumentsError

URL = "http://127.0.0.1:3001/mcp"
SECRET = "a-secret-of-some-length"


def http(**settings: Any) -> HttpServer:
    [server] = servers_of([{"url": URL, **settings}])
    assert isinstance(server, HttpServer)
    return server


def stdio(**settings: Any) -> StdioServer:
    [server] = servers_of([{"command": "python", **settings}])
    assert isinstance(server, StdioServer)
    return server


@pytest.mark.parametrize("transport", ["http", "streamable-http", "streamable_http"])
def test_every_name_of_http_means_the_same(transport: str) -> None:
    assert http(transport=transport) == http()


def test_the_transport_follows_from_the_keys_where_it_is_not_given() -> None:
    assert not http().sse
    assert stdio().args == ()


def test_the_older_transport_is_known() -> None:
    assert http(transport="sse").sse


def test_a_whole_entry_is_read() -> None:
    server = stdio(
        name="kailash",
        transport="stdio",
        args=["-m", "kailash_mcp_prod"],
        env={"DATABASE_URL": "sqlite:///app.db"},
        cwd="/srv",
        timeout=5,
    )

    assert server == StdioServer(
        name="kailash",
        command="python",
        args=("-m", "kailash_mcp_prod"),
        env={"DATABASE_URL": "sqlite:///app.db"},
        cwd="/srv",
        timeout=5.0,
    )


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "api_key", "key": SECRET}, "X-API-Key", SECRET),
        ({"type": "api_key", "key": SECRET, "header": "X-Key"}, "X-Key", SECRET),
        ({"type": "bearer", "token": SECRET}, "Authorization", f"Bearer {SECRET}"),
        ({"type": "jwt", "token": SECRET}, "Authorization", f"Bearer {SECRET}"),
        (
            {"type": "basic", "username": "user", "password": "pass"},
            "Authorization",
            "Basic dXNlcjpwYXNz",
        ),
    ],
)
def test_each_credential_is_a_header(auth: dict[str, str], header: str, value: str) -> None:
    assert http(auth=auth).headers == {header: value}


def test_headers_go_along_with_the_credential() -> None:
    server = http(headers={"X-Tenant": "north"}, auth={"type": "jwt", "token": SECRET})

    assert server.headers == {"X-Tenant": "north", "Authorization": f"Bearer {SECRET}"}


async def test_a_token_may_come_from_a_function_or_a_client() -> None:
    class Client:
        async def get_valid_token(self) -> str:
            return "of a client"

    async def token() -> str:
        return "of a function"

    function = http(auth={"type": "oauth2", "token_provider": token}).token_source
    client = http(auth={"type": "oauth2", "oauth_client": Client()}).token_source

    assert function is not None
    assert client is not None
    assert [await function(), await client()] == ["of a function", "of a client"]


def test_no_credential_is_shown() -> None:
    server = http(headers={"X-Other": SECRET}, auth={"type": "jwt", "token": SECRET})
    started = stdio(env={"MCP_API_KEY": SECRET})

    assert SECRET not in repr([server, started])
    assert SECRET in server.secrets
    assert f"Bearer {SECRET}" in server.secrets
    assert started.secrets == (SECRET,)


def test_values_that_stand_in_any_text_are_no_secrets() -> None:
    assert stdio(env={"API_KEY": "short", "PYTHONPATH": "/srv/models"}).secrets == ()


def test_servers_without_a_name_are_counted() -> None:
    servers = servers_of([{"url": URL}, {"command": "python"}])

    assert [server.name for server in servers] == ["server1", "server2"]


def test_what_was_read_can_be_read_again() -> None:
    servers = servers_of([{"url": URL}, {"command": "python"}])

    assert servers_of(servers) == servers


HTTP: dict[str, Any] = {"url": URL}
STDIO: dict[str, Any] = {"command": "python"}


@pytest.mark.parametrize(
    ("entry", "field", "problem"),
    [
        ("http://127.0.0.1/mcp", "mcp_servers[0]", "must be an object"),
        ({}, "mcp_servers[0]", "either `url` or `command`"),
        ({**HTTP, **STDIO}, "mcp_servers[0]", "either `url` or `command`"),
        ({**HTTP, "transport": "websocket"}, "mcp_servers[0].transport", "one of stdio, http"),
        ({**HTTP, "transport": ["http"]}, "mcp_servers[0].transport", "one of stdio, http"),
        ({**HTTP, "type": "http"}, "mcp_servers[0].type", "the keys are name, transport"),
        ({**HTTP, "env": {}}, "mcp_servers[0].env", "no key for http"),
        ({**STDIO, "auth": {}}, "mcp_servers[0].auth", "no key for stdio"),
        ({**HTTP, "name": "a b"}, "mcp_servers[0].name", "letters"),
        ({**HTTP, "name": 3}, "mcp_servers[0].name", "a text"),
        ({**HTTP, "timeout": 0}, "mcp_servers[0].timeout", "seconds"),
        ({**HTTP, "timeout": True}, "mcp_servers[0].timeout", "seconds"),
        ({**HTTP, "timeout": "5"}, "mcp_servers[0].timeout", "seconds"),
        ({"url": "ftp://host/mcp"}, "mcp_servers[0].url", "must be like"),
        ({"url": "http://host:port/mcp"}, "mcp_servers[0].url", "must be like"),
        ({"url": f"http://me:{SECRET}@host/mcp"}, "mcp_servers[0].url", "use `auth`"),
        ({"transport": "http"}, "mcp_servers[0].url", "a text"),
        ({"transport": "stdio"}, "mcp_servers[0].command", "a text"),
        ({**STDIO, "args": "-m x"}, "mcp_servers[0].args", "list of texts"),
        ({**STDIO, "args": [1]}, "mcp_servers[0].args", "list of texts"),
        ({**STDIO, "env": {"A": 1}}, "mcp_servers[0].env", "object of texts"),
        ({**STDIO, "cwd": ""}, "mcp_servers[0].cwd", "a text"),
        ({**HTTP, "headers": {"a b": "c"}}, "mcp_servers[0].headers", "no HTTP header"),
        ({**HTTP, "headers": {"A": f"{SECRET}\n"}}, "mcp_servers[0].headers", "visible ASCII"),
        ({**HTTP, "auth": SECRET}, "mcp_servers[0].auth", "an object"),
        ({**HTTP, "auth": {"type": "JWT"}}, "mcp_servers[0].auth.type", "one of api_key, bearer"),
        ({**HTTP, "auth": {"type": "jwt", "key": SECRET}}, "mcp_servers[0].auth.key", "no key for"),
        ({**HTTP, "auth": {"type": "jwt"}}, "mcp_servers[0].auth.token", "a text"),
        (
            {**HTTP, "auth": {"type": "jwt", "token": f"{SECRET}\r\n"}},
            "mcp_servers[0].auth",
            "ASCII",
        ),
        ({**HTTP, "auth": {"type": "oauth2"}}, "mcp_servers[0].auth", "async function"),
        (
            {**HTTP, "headers": {"authorization": SECRET}, "auth": {"type": "jwt", "token": "x"}},
            "mcp_servers[0].auth",
            "stands in `headers`, too",
        ),
    ],
)
def test_a_wrong_entry_is_refused_by_its_key_and_without_its_value(
    entry: Any, field: str, problem: str
) -> None:
    with pytest.raises(InvalidArgumentsError, match=problem) as refused:
        servers_of([entry])

    assert refused.value.field == field
    assert refused.value.message.startswith(f"{field}: ")
    assert SECRET not in refused.value.message


def test_two_servers_with_one_name_are_refused() -> None:
    with pytest.raises(InvalidArgumentsError, match="'a' is the name of another") as refused:
        servers_of([{**HTTP, "name": "a"}, {**STDIO, "name": "a"}])

    assert refused.value.field == "mcp_servers[1].name"


@pytest.mark.parametrize("entries", [{"url": URL}, URL, 3])
def test_the_setting_must_be_a_list(entries: Any) -> None:
    with pytest.raises(InvalidArgumentsError, match="must be a list"):
        servers_of(entries)
