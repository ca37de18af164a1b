"""The credentials of one server: by which clients are known, and what of the state that takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.auth.api_keys import minted_id
from kailash_mcp_prod.auth.chain import AuthProvider, CredentialChain
from kailash_mcp_prod.auth.configured import configured_providers
from kailash_mcp_prod.auth.minted_keys import principal_named
from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.auth.revocation import CredentialWatch, RevocableChain
from kailash_mcp_prod.config_values import weak_keys
from kailash_mcp_prod.errors import ConfigError, DatabaseStartupError, UnavailableError
from kailash_mcp_prod.observe.logs import get_logger

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.principal import Principal
    from kailash_mcp_prod.config import ServerConfig
    from kailash_mcp_prod.state.credentials import CredentialStore
    from kailash_mcp_prod.state.opening import State

log = get_logger(__name__)


class ServerCredentials:
    """Tells who clients are, and when their credentials end.

    `authenticator` does the one and `watch` the other.

    Args:
        config: Which kinds of credentials are taken.
        own: Providers that are asked before the configured ones.
        state: Keeps minted keys and revocations; opened when a client shows what is kept there.

    Raises:
        ConfigError: Clients are asked for credentials of which none could be good.
    """

    def __init__(self, config: ServerConfig, own: Sequence[AuthProvider], state: State) -> None:
        self._config = config
        self._state = state
        self.watch = CredentialWatch(self._store)
        self._configured = configured_providers(config, minted=self.watch)
        providers = [*own, *self._configured.providers]
        if config.enable_auth and not providers:
            raise ConfigError("auth_type custom needs auth_providers, which are given in Python.")
        self.asked_for = bool(providers)
        """Whether clients have to show one at all."""
        self.authenticator = RevocableChain(CredentialChain(providers), self.watch)

    @property
    def of_this_process(self) -> Credentials:
        """What a stdio client shows, by the environment in which it has started the server."""
        key, token = self._config.api_key, self._config.token
        return Credentials(
            authorization=f"Bearer {token.get_secret_value()}" if token else None,
            api_key=key.get_secret_value() if key else None,
        )

    @property
    def of_this_process_may_be_kept(self) -> bool:
        """Whether the state may have to be asked about the credential of a stdio client."""
        key = self._config.api_key
        minted = key is not None and minted_id(key.get_secret_value()) is not None
        return self._config.enable_auth and (minted or self._config.token is not None)

    async def prepare(self) -> None:
        """Makes the tables for minted keys, if these are taken.

        Raises:
            DatabaseStartupError: They are missing and can't or may not be made, or the database
                does not answer.
        """
        config = self._config
        if not config.enable_auth:
            return
        kinds = config.credential_kinds
        if "bearer" in kinds and config.introspection_url is not None and not config.audiences:
            log.warning("tokens_of_other_services_are_taken", needed="jwt_audience or resource_url")
        if "api_key" not in kinds:
            return
        if weak := weak_keys(config.api_keys):
            log.warning("weak_api_keys", numbers=weak, needed="16 characters or more")
        if config.key_store:
            try:
                await (await self._store()).prepare(create=config.auto_migrate)
            except UnavailableError as failure:
                raise DatabaseStartupError(failure.message) from failure

    async def close(self) -> None:
        """Ends what runs for them; a later start begins anew."""
        await self._configured.close()
        await self.watch.close()

    def components(self) -> dict[str, dict[str, Any]]:
        """Their component in the report on health, while it matters."""
        answers = self.watch.answers
        if answers is None:
            return {}
        return {"credentials": {"status": "healthy" if answers else "unhealthy"}}

    async def named(self, name: str) -> Principal | None:
        """Who calls with the minted key of a name: its id, its agent's, or its label.

        Raises:
            ConfigError: Several are meant.
            UnavailableError: They can't be looked up.
        """
        if not self._config.key_store:
            return None
        keys = await (await self._store()).named(name)
        return principal_named(keys, name, time.time())

    async def _store(self) -> CredentialStore:
        database = await self._state.database()
        # Late, because it needs SQLAlchemy, which the state has imported by now.
        from kailash_mcp_prod.state.credentials import CredentialStore

        return CredentialStore(database)
