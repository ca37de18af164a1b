from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import ValidationError
from typer.testing import CliRunner

from kailash_mcp_prod.cli import app
from kailash_mcp_prod.config import (
    ServerConfig,
    is_loopback,
    misspelt_variables,
)
from kailash_mcp_prod.errors import ConfigError

# The list of the public contract.
CONTRACT = """
port host enable_auth auth_type jwt_secret jwt_expiration_hours max_concurrent_requests
request_timeout_seconds rate_limit_per_minute enable_caching cache_ttl_seconds cache_max_size_mb
enable_compression enable_agent_collaboration enable_performance_tracking enable_http_transport
circuit_breaker_failure_threshold connection_pool_size connection_pool_max_overflow
connection_recycle_seconds enable_metrics metrics_collection_interval enable_agent_analytics
agent_session_timeout_minutes
"""
SECRET = "correct-horse-battery-staple-and-more"
KEY = "key-that-nobody-may-read"
ONE_KEY = {KEY: {"permissions": ["*"]}}
SECRET_KEYS = {
    *("jwt_secret", "api_keys", "api_key", "token", "cursor_secret", "bearer_tokens"),
    "audit_former_secrets",
    "introspection_client_secret",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {
            *("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "API_KEYS")
        }:
            monkeypatch.delenv(name)


def load(**flags: Any) -> ServerConfig:
    return ServerConfig.load(flags)


def refusal(**flags: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load(**flags)
    return str(refused.value)


def written(folder: Path, settings: Any) -> Path:
    file = folder / "settings.json"
    file.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return file


@pytest.mark.parametrize("key", CONTRACT.split())
def test_every_key_of_the_contract_exists(key: str) -> None:
    assert key in ServerConfig.model_fields


@pytest.mark.parametrize("key", ServerConfig.model_fields)
def test_every_key_is_described(key: str) -> None:
    assert (ServerConfig.model_fields[key].description or "").endswith(".")


def test_the_defaults_are_those_of_the_contract() -> None:
    config = load(enable_auth=False)

    assert (config.host, config.port, config.models) == ("127.0.0.1", 3001, "models:db")
    assert (config.execution, config.auto_migrate, config.wait_for_db) == ("auto", True, 0)
    assert config.tenant_claim == "tenant_id"
    assert config.transport == "http"


@pytest.mark.parametrize("secret", [*sorted(SECRET_KEYS), "database_url"])
def test_no_secret_has_a_default(secret: str) -> None:
    assert not getattr(load(enable_auth=False), secret)


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"port": 1001, "max_sessions": 11, "log_level": "ERROR", "enable_auth": False}
    monkeypatch.setenv("MCP_CONFIG_FILE", str(written(tmp_path, settings)))
    monkeypatch.setenv("MCP_PORT", "1002")
    monkeypatch.setenv("MCP_MAX_SESSIONS", "12")

    config = load(port=1003)

    assert config.port == 1003
    assert config.max_sessions == 12
    assert config.log_level == "ERROR"
    assert config.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("variable", "key", "text", "value"),
    [
        ("DATABASE_URL", "database_url", "sqlite:////a.db", "sqlite:////a.db"),
        ("REDIS_URL", "redis_url", "redis://r", "redis://r"),
        ("MCP_LOG_LEVEL", "log_level", "DEBUG", "DEBUG"),
        ("MCP_MAX_CONCURRENT_REQUESTS", "max_concurrent_requests", "7", 7),
        ("MCP_CACHE_TTL_SECONDS", "cache_ttl_seconds", "1.5", 1.5),
        ("MCP_ENABLE_COMPRESSION", "enable_compression", "false", False),
        ("MCP_ENABLE_METRICS", "enable_metrics", "0", False),
        ("MCP_ALLOWED_HOSTS", "allowed_hosts", "a.example, b.example,", ("a.example", "b.example")),
        ("MCP_OPERATIONS", "operations", '["read", "list"]', ("read", "list")),
        ("MCP_AUTH_TYPE", "auth_type", "jwt", ("jwt",)),
    ],
)
def test_a_variable_sets_its_key(
    monkeypatch: pytest.MonkeyPatch, variable: str, key: str, text: str, value: Any
) -> None:
    monkeypatch.setenv(variable, text)

    assert getattr(load(enable_auth=False), key) == value


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_PORT", "")

    assert load(enable_auth=False).port == 3001


def test_an_unknown_key_in_the_file_is_refused_with_the_one_that_may_be_meant(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"'prot'\. Did you mean port\?"):
        ServerConfig.load({}, written(tmp_path, {"enable_auth": False, "prot": 1}))


@pytest.mark.parametrize("key", ["models", "workflows"])
def test_a_module_without_its_attribute_is_refused_with_the_form(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: Name it as module:attribute"):
        ServerConfig.load({key: "shop", "enable_auth": False}, None)


def test_an_unknown_argument_is_refused() -> None:
    assert "Unknown configuration key 'hots'. Did you mean host?" in refusal(hots="x")
    with pytest.raises(ValidationError):
        ServerConfig(enable_auth=False, hots="x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 50_000, "not valid JSON"),
        ("[1]", "must hold a JSON object"),
        ("null", "must hold a JSON object"),
        ('"port"', "must hold a JSON object"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused_by_name(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = written(tmp_path, text)

    with pytest.raises(ConfigError, match=reason) as refused:
        ServerConfig.load({}, file)
    assert str(file) in str(refused.value)


def test_a_missing_file_is_refused_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing.json"
    with pytest.raises(ConfigError, match="does not exist"):
        ServerConfig.load({}, missing)

    monkeypatch.setenv("MCP_CONFIG_FILE", str(missing))
    with pytest.raises(ConfigError, match="does not exist"):
        ServerConfig(enable_auth=False)


def test_the_file_of_one_load_is_not_used_by_the_next(tmp_path: Path) -> None:
    file = written(tmp_path, {"port": 1001, "enable_auth": False})
    assert ServerConfig.load({}, file).port == 1001

    assert load(enable_auth=False).port == 3001


def test_a_file_given_by_flag_replaces_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_CONFIG_FILE", str(tmp_path / "missing.json"))

    config = ServerConfig.load({"enable_auth": False}, written(tmp_path, {"port": 1001}))

    assert config.port == 1001


def test_authentication_without_a_credential_is_refused() -> None:
    assert "no credential is configured" in refusal()


@pytest.mark.parametrize("secret", ["", "x" * 31, "é" * 15])
def test_a_jwt_secret_under_32_bytes_is_refused(secret: str) -> None:
    assert "at least 32 bytes" in refusal(auth_type="jwt", jwt_secret=secret)


def test_a_jwt_secret_of_32_bytes_is_taken() -> None:
    assert load(jwt_secret="é" * 16).credential_kinds == ("jwt",)


def test_a_credential_type_without_its_credential_is_refused() -> None:
    assert "Set API_KEYS" in refusal(auth_type="api_key", jwt_secret=SECRET)
    assert "32 bytes" in refusal(auth_type="jwt", api_keys=ONE_KEY)


def test_a_store_of_keys_stands_for_keys() -> None:
    assert "key_store" in refusal(auth_type="api_key")
    assert load(auth_type="api_key", key_store=True).credential_kinds == ("api_key",)
    assert load(key_store=True).credential_kinds == ("api_key",)
    assert load(key_store=True, jwt_secret=SECRET).credential_kinds == ("jwt", "api_key")


@pytest.mark.parametrize("key", ["short-key", "a" * 40])
def test_a_key_that_is_easily_guessed_is_for_this_machine_or_who_insists(key: str) -> None:
    keys = {"a-long-random-key": {}, key: {}}
    told = refusal(host="0.0.0.0", api_keys=keys)

    assert "number 2" in told
    assert key not in told
    for settings in ({}, {"host": "0.0.0.0", "insecure": True}, {"transport": "stdio"}):
        assert load(api_keys=keys, **settings).api_keys
    assert load(host="0.0.0.0", api_keys={f"sha256:{'0' * 64}": {}}).api_keys


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "g" * 64])
def test_a_hashed_key_has_the_digits_of_a_digest(digest: str) -> None:
    assert "number 1" in refusal(api_keys={f"sha256:{digest}": {}})


def test_a_key_is_configured_once_in_whatever_form() -> None:
    hashed = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
    assert "number 2 is key number 1 again" in refusal(api_keys={KEY: {}, hashed: {}})


@pytest.mark.parametrize(
    "entry",
    [
        {"expires_at": "2040-01-01T00:00:00"},
        {"expires_at": "soon"},
        {"claims": ["x"]},
        {"claims": {"x": "y" * 5000}},
        {"roles": "clerk"},
        {"read_only": "perhaps"},
    ],
)
def test_what_a_key_stands_for_is_checked(entry: dict[str, Any]) -> None:
    assert f"number 1.{next(iter(entry))}" in refusal(api_keys={KEY: entry})


def test_a_short_secret_is_refused_although_keys_are_there() -> None:
    assert "32 bytes" in refusal(jwt_secret="short", api_keys=ONE_KEY)


def test_credentials_are_those_configured_unless_a_type_is_named() -> None:
    assert load(jwt_secret=SECRET, api_keys=ONE_KEY).credential_kinds == ("jwt", "api_key")
    only = load(jwt_secret=SECRET, api_keys=ONE_KEY, auth_type="api_key")
    assert only.credential_kinds == ("api_key",)


NETWORK_ADDRESSES = [
    *("0.0.0.0", "::", "[::]", "0", "192.168.1.5", "10.0.0.1", "fe80::1", "2001:db8::1"),
    *("db.example.com", "localhost.example.com", "127.0.0.1.example.com", "127.1", "", " "),
]


@pytest.mark.parametrize("host", NETWORK_ADDRESSES)
def test_no_authentication_on_a_network_address_is_refused(host: str) -> None:
    refusal(host=host, enable_auth=False)


@pytest.mark.parametrize("host", NETWORK_ADDRESSES)
def test_development_stays_on_loopback(host: str) -> None:
    refusal(host=host, mode="development")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"])
def test_no_authentication_on_loopback_is_allowed(host: str) -> None:
    assert is_loopback(host)
    assert load(host=host, enable_auth=False).host == host


def test_no_authentication_on_the_network_takes_a_word_of_its_own() -> None:
    assert load(host="0.0.0.0", enable_auth=False, insecure=True).insecure


def test_authentication_on_the_network_is_allowed() -> None:
    assert load(host="0.0.0.0", api_keys=ONE_KEY).enable_auth


def test_stdio_without_authentication_listens_nowhere_and_is_allowed() -> None:
    assert not load(host="0.0.0.0", enable_auth=False, transport="stdio").enable_auth


@pytest.mark.parametrize("transport", ["http", "all"])
def test_http_without_its_transport_is_refused(transport: str) -> None:
    without = {"enable_auth": False, "enable_http_transport": False}
    assert "stdio or websocket" in refusal(**without, transport=transport)
    assert load(**without, transport="websocket").transport == "websocket"


@pytest.mark.parametrize("transport", ["websocket", "all"])
def test_a_websocket_on_the_network_needs_authentication(transport: str) -> None:
    refusal(host="0.0.0.0", enable_auth=False, transport=transport)


def test_development_needs_no_credential() -> None:
    assert load(mode="development").enable_auth is False


def test_development_mode_in_the_environment_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_MODE", "development")

    assert load().enable_auth is False


def test_authentication_can_be_asked_for_in_development(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(mode="development", enable_auth=True, api_keys=ONE_KEY).enable_auth

    monkeypatch.setenv("MCP_ENABLE_AUTH", "true")
    assert "no credential" in refusal(mode="development")


def test_secrets_are_in_no_text_of_the_configuration() -> None:
    config = load(
        jwt_secret=SECRET,
        api_keys=ONE_KEY,
        api_key=KEY,
        token=SECRET,
        cursor_secret=SECRET,
        database_url="postgresql://app:hunter2@db/app",
        redis_url="redis://:hunter2@r",
    )

    for text in (repr(config), str(config), f"{config}"):
        assert SECRET not in text
        assert KEY not in text
        assert "hunter2" not in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_keys": {KEY: {"permission": ["*"]}}},
        {"api_keys": {KEY: {"rate_limit": 0}}},
        {"api_keys": {KEY: {"permissions": SECRET}}},
        {"api_keys": {KEY: SECRET}},
        {"api_keys": [KEY]},
        {"api_keys": KEY},
        {"api_keys": f'{{"{KEY}": '},
        {"jwt_secret": SECRET[:20]},
        {"jwt_secret": [SECRET]},
        {"cursor_secret": SECRET[:20], "enable_auth": False},
        {"cursor_secret": [SECRET], "enable_auth": False},
        {"token": [SECRET], "jwt_secret": SECRET},
        {"database_url": [SECRET], "enable_auth": False},
        {"port": SECRET, "enable_auth": False},
    ],
)
def test_secrets_are_in_no_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        ServerConfig(**wrong)

    for text in (refusal(**wrong), str(raised.value), repr(raised.value)):
        assert SECRET[:20] not in text
        assert KEY not in text


def test_an_error_names_its_key() -> None:
    assert refusal(port="x", enable_auth=False).startswith("port: ")
    assert refusal(api_keys={KEY: {"permission": []}}).startswith("api_keys: key number 1.perm")


def test_api_keys_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    sales = {"agent_id": "sales", "tenant_id": "acme", "permissions": ["Company:read"]}
    sales["surface"] = "models/Company,Quote"
    keys = {"a": {**sales, "rate_limit": 60}, "b": {}}
    monkeypatch.setenv("API_KEYS", json.dumps(keys))

    read = load().api_keys

    assert (read["a"].agent_id, read["a"].tenant_id) == ("sales", "acme")
    assert read["a"].permissions == ("Company:read",)
    assert read["a"].rate_limit == 60
    assert (read["b"].permissions, read["b"].tenant_id) == ((), None)
    assert (read["a"].surface, read["b"].surface) == ("models/Company,Quote", None)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '"*"', "1", "null", '{"": {}}', '{" ": {}}'),
        *('{"k": {"rate_limit": -1}}', '{"k": {"tenant_id": ""}}'),
        *('{"k": {"surface": "tiny"}}', '{"k": {"surface": "models/"}}'),
    ],
)
def test_malformed_api_keys_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("API_KEYS", text)

    assert refusal().startswith("api_keys: ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65535},
        {"max_concurrent_requests": 0},
        {"request_timeout_seconds": 0},
        {"global_rate_limit_per_minute": 0},
        {"rate_limits": {"write": 0}},
        {"rate_limits": {"everything": 5}},
        {"rate_limits": "write=5"},
        {"drain_seconds": -1},
        {"circuit_breaker_recovery_seconds": 0},
        {"redis_prefix": ""},
        {"redis_prefix": "two words"},
        *({"redis_url": url} for url in ("localhost:6379", "http://localhost", "redis://")),
        *({"redis_url": url} for url in ("redis://h:x/0", "unix://", f"rediss://:{KEY}@")),
        {"request_timeout_seconds": "nan"},
        {"rate_limit_per_minute": 0},
        {"max_body_bytes": 10},
        {"models": "models"},
        {"models": "models:db; import os"},
        {"operations": ""},
        {"operations": "read,destroy"},
        {"auth_type": "basic"},
        {"transport": "carrier-pigeon"},
        {"log_level": "LOUD"},
        {"surface": "tiny"},
        {"surface": "models/Company"},
        {"execution": "fast"},
        {"auto_migrate": "perhaps"},
        {"wait_for_db": -1},
        {"wait_for_db": 3601},
        {"wait_for_db": "nan"},
        {"tenant_claim": ""},
        {"enable_auth": "perhaps"},
    ],
)
def test_a_value_out_of_range_is_refused_by_key(wrong: dict[str, Any]) -> None:
    [key] = wrong

    assert f"{key}: " in refusal(**{"enable_auth": False, **wrong})


def test_a_secret_for_cursors_is_long_with_and_without_authentication() -> None:
    for auth in ({"enable_auth": False}, {"api_keys": ONE_KEY}):
        assert refusal(**auth, cursor_secret="").startswith("cursor_secret needs at least 32")
        assert refusal(**auth, cursor_secret="x" * 31).startswith("cursor_secret needs at least 32")
        assert load(**auth, cursor_secret=SECRET).cursor_secret is not None


def test_results_are_kept_in_redis_only_with_a_redis_and_a_secret() -> None:
    redis = {"redis_url": "redis://localhost"}
    for auth in ({"enable_auth": False}, {"api_keys": ONE_KEY}):
        wanted = {**auth, "cache_backend": "redis"}
        assert refusal(**wanted, cursor_secret=SECRET) == "cache_backend redis needs redis_url."
        assert "needs cursor_secret or jwt_secret, the same" in refusal(**wanted, **redis)
        for secret in ("cursor_secret", "jwt_secret"):
            assert load(**wanted, **redis, **{secret: SECRET}).cache_backend == "redis"
    assert "cache_backend: " in refusal(enable_auth=False, cache_backend="disk")


def test_a_configuration_can_not_be_changed() -> None:
    config = load(enable_auth=False)

    with pytest.raises(ValidationError):
        config.enable_auth = True  # type: ignore[misc]


def test_a_misspelt_variable_is_told_with_the_right_one() -> None:
    environment = {
        "MCP_PROT": "1",
        "MCP_RATE_LIMIT_PER_MINUT": "1",
        "MCP_PORT": "1",
        "MCP_CONFIG_FILE": "x",
        "MCP_SOMETHING_OF_ANOTHER_PROGRAM": "1",
        "PATH": "/bin",
    }

    assert misspelt_variables(environment) == {
        "MCP_PROT": "MCP_PORT",
        "MCP_RATE_LIMIT_PER_MINUT": "MCP_RATE_LIMIT_PER_MINUTE",
    }


@pytest.mark.parametrize("name", ["DATABASE_URL", "JWT_SECRET", "API_KEYS", "REDIS_URL"])
def test_a_prefix_too_many_is_told(name: str) -> None:
    assert misspelt_variables({f"MCP_{name}": "1", name: "1"}) == {f"MCP_{name}": name}


def test_every_key_but_the_secrets_has_a_flag() -> None:
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    flags = {option for parameter in serve.params for option in parameter.opts}

    expected = {f"--{key.replace('_', '-')}" for key in ServerConfig.model_fields}
    secret = {f"--{key.replace('_', '-')}" for key in SECRET_KEYS}
    assert expected - flags == secret
    assert {"--config", "--no-auth"} <= flags


def test_a_flag_is_refused_like_any_other_setting() -> None:
    result = CliRunner().invoke(app, ["serve", "--port", "many", "--no-auth"])

    assert isinstance(result.exception, ConfigError)
    assert re.match("port: ", str(result.exception))


def test_cursors_are_signed_with_a_secret_that_clients_do_not_know() -> None:
    jwt, own = "j" * 32, "c" * 32

    assert load(jwt_secret=jwt, cursor_secret=own, api_keys=ONE_KEY).cursor_key == own.encode()
    assert load(jwt_secret=jwt, api_keys=ONE_KEY).cursor_key == jwt.encode()
    assert load(api_keys=ONE_KEY).cursor_key is None


@pytest.mark.parametrize(
    "url",
    ["ftp://a/mcp", "localhost:3001/mcp", "http:///mcp", "http://a:port/mcp", "http://a/mcp#x", ""],
)
def test_connect_must_be_an_address(url: str) -> None:
    assert "connect must be an address" in refusal(transport="stdio", connect=url)


def test_connect_needs_no_credentials_of_a_server() -> None:
    config = load(transport="stdio", connect="http://mcp.example.com/mcp")

    assert config.connect == "http://mcp.example.com/mcp"
    assert "mcp.example.com" not in repr(config)


@pytest.mark.parametrize("secret", ["api_key", "token"])
def test_a_credential_only_goes_where_nobody_can_read_it(secret: str) -> None:
    def to(url: str, **more: Any) -> dict[str, Any]:
        return {"transport": "stdio", "connect": url, secret: KEY, **more}

    refused = refusal(**to("http://mcp.example.com/mcp"))
    assert "mcp.example.com" in refused
    assert KEY not in refused
    load(**to("https://mcp.example.com/mcp"))
    load(**to("http://localhost:3001/mcp"))
    load(**to("http://[::1]:3001/mcp"))
    load(**to("http://mcp.example.com/mcp", insecure=True))
    assert "user or password" in refusal(**to("https://me:secret@mcp.example.com/mcp"))


def test_a_key_with_a_role_that_nobody_knows_stops_the_start() -> None:
    keys = {"a-key-that-is-long-enough": {"roles": ["clrk"]}}
    with pytest.raises(ConfigError, match=r"api_keys: key number 1 has the role clrk.*clerk"):
        ServerConfig.load({"api_keys": keys, "roles": {"clerk": {}}})
    rule = {"Quote": {"hide": ["notes"], "except_roles": ["clrk"]}}
    ServerConfig.load({"api_keys": keys, "access_rules": rule})


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"transport": "stdio"}, "Leave --workers out, or use --transport http"),
        ({"mode": "nexus-integration"}, "leave --workers out"),
        ({"enable_caching": True}, "needs redis_url"),
    ],
)
def test_several_workers_are_refused_where_they_would_be_wrong(
    settings: dict[str, Any], fix: str
) -> None:
    with pytest.raises(ConfigError, match=fix):
        load(workers=2, enable_auth=False, **settings)
    load(workers=1, enable_auth=False, **settings)
    load(workers=2, enable_auth=False, enable_caching=True, redis_url="redis://localhost")


def test_what_a_run_is_sealed_with_is_the_secret_or_new() -> None:
    secret = "x" * 32
    assert load(enable_auth=False, cursor_secret=secret).run_key == secret.encode()
    one, other = load(enable_auth=False), load(enable_auth=False)
    assert one.run_key == one.run_key != other.run_key
    assert len(one.run_key) == 32
    shared = ServerConfig.load({"enable_auth": False}, run_secret=b"of the run")
    assert (shared.run_key, shared.cursor_key) == (b"of the run", None)
