"""Whether Redis can be used."""

from __future__ import annotations

import time
from typing import Any, Final

from kailash_mcp_prod.doctor.clocks import compare
from kailash_mcp_prod.doctor.finding import Finding, failed, ok, skipped, warning
from kailash_mcp_prod.doctor.patient import Patient

_CHECK: Final = "redis"
_OLDEST: Final = 6
_CONNECT_SECONDS: Final = 5.0
_MICROSECONDS: Final = 1_000_000


async def check_redis(patient: Patient) -> list[Finding]:
    """Does it answer, is it new enough, and is its clock ours?"""
    url = patient.config.redis_url
    if url is None:
        return [skipped(_CHECK, "REDIS_URL is not set. Only several servers together need it.")]
    try:
        from redis.asyncio import Redis
        from redis.exceptions import AuthenticationError, RedisError
    except ImportError:
        return [
            failed(
                _CHECK,
                "REDIS_URL is set, but the package redis is not installed.",
                "pip install 'kailash-mcp-prod[redis]'",
            )
        ]
    try:
        client: Any = Redis.from_url(
            url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=_CONNECT_SECONDS
        )
    except ValueError:
        return [failed(_CHECK, "REDIS_URL is no address of a Redis.", "redis://host:6379/0")]
    try:
        asked = time.time()
        seconds, microseconds = await client.time()
        answered = time.time()
        version = str((await client.info("server"))["redis_version"])
    except AuthenticationError:
        return [
            failed(_CHECK, "Redis refuses the user or the password.", "Correct them in REDIS_URL.")
        ]
    except (RedisError, OSError, TimeoutError) as failure:
        return [
            failed(
                _CHECK,
                f"Redis can't be reached ({type(failure).__name__}). Servers do without it "
                "meanwhile, each with limits of its own.",
                "Check REDIS_URL and that Redis is up.",
            )
        ]
    finally:
        await client.aclose()
    found = ok(_CHECK, f"Redis {version} answers.")
    if int(version.partition(".")[0]) < _OLDEST:
        found = warning(_CHECK, f"Redis {version} is old.", f"Move to {_OLDEST} or later.")
    return [found, compare("redis", seconds + microseconds / _MICROSECONDS, asked, answered)]
