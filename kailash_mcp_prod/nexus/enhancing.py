"""`enhance_nexus_with_mcp`: the one line that gives a Nexus app its MCP endpoints."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final, Literal

from kailash_mcp_prod.auth.chain import AuthProvider
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.models_loader import load_dataflow
from kailash_mcp_prod.nexus.auth import NexusAuth
from kailash_mcp_prod.nexus.entry import NexusEntry
from kailash_mcp_prod.nexus.integration import NexusIntegration, Settings
from kailash_mcp_prod.nexus.platform import NexusPlatform

_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_PLACE: Final = "kailash_mcp_integration"
_OWN: Final = ("nexus", "own")

Auth = Literal["nexus", "own"] | NexusAuth | AuthProvider


def enhance_nexus_with_mcp(
    app: Any,
    *,
    config: ServerConfig | None = None,
    models: Any = None,
    prefix: str = "/api/mcp",
    auth: Auth = "nexus",
    expose_workflows: bool | Collection[str] = False,
) -> NexusIntegration:
    """Serves the workflows of a Nexus app, and models, as MCP tools on the app's own port.

    It may be called before and after `app.start()`. A second call with the same arguments returns
    the same integration.

    Args:
        app: The `Nexus` instance.
        config: The settings; by default from the environment. Those of ports and of the transport
            have no effect. With `auth="nexus"`, neither have those of credentials.
        models: A DataFlow instance, or where it is, as `module:attribute`. Without it there are no
            record tools; sessions are kept in `database_url`, or in `kailash_mcp_nexus.db`.
        prefix: The path below which everything is.
        auth: Who tells who clients are: `nexus`, the app's own middlewares, with a `NexusAuth` for
            other rules; `own`, the settings in `config`; or an `AuthProvider`.
        expose_workflows: Which workflows are tools of their own, `nexus_<name>`: all, or those
            named.

    Raises:
        ConfigError: A setting is wrong, or the app was enhanced with other ones.
        ModelError: The models can't be loaded.
        StartupError: `app` is no Nexus app that can be enhanced.

    Example:
        ```python
        app = Nexus(enable_auth=True)
        enhance_nexus_with_mcp(app, models="models:db")
        app.start()
        ```
    """
    platform = NexusPlatform(app)
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError("prefix: use a path such as /api/mcp, without a slash at its end.")
    if isinstance(auth, str) and auth not in _OWN:
        raise ConfigError("auth: use nexus, own, a NexusAuth or an AuthProvider.")
    known = getattr(platform.fastapi_app.state, _PLACE, None)
    if config is None:
        made_here = known is not None and known.settings.config
        config = made_here or ServerConfig.load({} if auth == "own" else {"auth_type": "custom"})
    exposed = expose_workflows if isinstance(expose_workflows, bool) else tuple(expose_workflows)
    settings = Settings(config, models, prefix, auth, exposed)
    if known is not None:
        _check_same(known.settings, settings)
        integration: NexusIntegration = known
        return integration
    dataflow = load_dataflow(models, config.database_url) if isinstance(models, str) else models
    if dataflow is not None and not hasattr(dataflow, "list_models"):
        raise ConfigError("models: give a DataFlow instance, or module:attribute.")
    integration = NexusIntegration(platform, settings, dataflow)
    _enter(platform, integration, probes=not (auth == "own" or _is_provider(auth)))
    setattr(platform.fastapi_app.state, _PLACE, integration)
    return integration


def integration_of(app: Any) -> NexusIntegration | None:
    """The integration of an app, if it was enhanced."""
    found: NexusIntegration | None = getattr(NexusPlatform(app).fastapi_app.state, _PLACE, None)
    return found


class NexusMCPPlugin:
    """The same as a plugin of Nexus: `app.add_plugin(NexusMCPPlugin(models="models:db"))`.

    Args:
        settings: The arguments of `enhance_nexus_with_mcp`.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self.integration: NexusIntegration | None = None

    @property
    def name(self) -> str:
        """The plugin's name in the app."""
        return "kailash-mcp-prod"

    def install(self, app: Any) -> None:
        """Enhances the app."""
        self.integration = enhance_nexus_with_mcp(app, **self._settings)


def _is_provider(auth: Any) -> bool:
    return not isinstance(auth, str | NexusAuth)


def _check_same(known: Settings, asked: Settings) -> None:
    for name in Settings.__slots__:
        one, other = getattr(known, name), getattr(asked, name)
        if one is not other and one != other:
            raise ConfigError(f"The app has MCP already, with another {name}. Enhance it once.")


def _enter(platform: NexusPlatform, integration: NexusIntegration, *, probes: bool) -> None:
    """Puts the entry around all of the app, whether it has served requests already or not."""
    fastapi_app = platform.fastapi_app

    def around(stack: Any) -> NexusEntry:
        return NexusEntry(stack, platform, integration, integration.prefix, probes=probes)

    if fastapi_app.middleware_stack is not None:
        fastapi_app.middleware_stack = around(fastapi_app.middleware_stack)
    else:
        build = fastapi_app.build_middleware_stack
        fastapi_app.build_middleware_stack = lambda: around(build())
    document = fastapi_app.openapi
    fastapi_app.openapi = lambda: integration.described(document())
    # For an app whose lifespan has begun before.
    fastapi_app.router.on_shutdown.append(integration.stop)
