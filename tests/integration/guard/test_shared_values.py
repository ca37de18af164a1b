"""Results that replicas keep for each other, in a real Redis that others can read and change."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kailash_mcp_prod.guard.cache import ReadCache
from kailash_mcp_prod.guard.cache_entries import Key
from kailash_mcp_prod.guard.changes import Changes
from kailash_mcp_prod.guard.compression import Compression
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.shared_values import SharedValues
from kailash_mcp_prod.guard.shared_versions import SharedVersions
from tests.redis_server import RedisServer

SECRET = b"0123456789abcdef0123456789abcdef"
KEY: Key = ("Company_read", "someone", b'{"id":"c1"}')
TTL = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Replica:
    """A process with a cache of its own before the one in Redis."""

    def __init__(self, redis: RedisConnection, clock: Clock, **options: Any) -> None:
        self.redis = redis
        self.values = SharedValues(
            redis,
            options.pop("secret", SECRET),
            max_bytes=options.pop("max_bytes", 1_000_000),
            ttl_seconds=options.pop("ttl_seconds", TTL),
            clock=clock,
        )
        self.shared = SharedVersions(redis, writing_seconds=5)
        self.changes = Changes(self.shared, clock=clock)
        self.cache = ReadCache(
            self.changes,
            max_bytes=1_000_000,
            ttl_seconds=TTL,
            compression=options.pop("compression", Compression()),
            values=self.values,
            clock=clock,
        )
        self.asked = 0

    async def read(
        self, answer: Any = "the answer", key: Key = KEY, table: str = "t", shape: bytes = b""
    ) -> Any:
        async def load() -> dict[str, Any]:
            self.asked += 1
            return {"answer": answer}

        return (await self.cache.read(key, table, load, shape))["answer"]


@asynccontextmanager
async def running(
    server: RedisServer, *options: dict[str, Any], clock: Clock | None = None
) -> AsyncIterator[list[Replica]]:
    clock = clock or Clock()
    found = []
    for each in options or ({}, {}):
        redis = RedisConnection(server.url, "app", operation_seconds=5, probe_seconds=0.05)
        await redis.start()
        found.append(Replica(redis, clock, **each))
    try:
        # They have been up for long enough to trust what is there.
        clock.now += 10
        yield found
    finally:
        for replica in found:
            await replica.shared.stop()
            await replica.redis.stop()


async def kept(replica: Replica) -> dict[bytes, bytes]:
    """The results that are in Redis."""

    async def look(client: Any) -> dict[bytes, bytes]:
        names = await client.keys("app:cache:{values}:*")
        found = {name: await client.get(name) for name in names if b":bytes:" not in name}
        # One may have ended since it was named.
        return {name: sealed for name, sealed in found.items() if sealed is not None}

    return await replica.redis.run(look)


@pytest.mark.parametrize("length", [10, 100_000])
async def test_what_one_has_read_is_there_for_the_others(
    redis_server: RedisServer, length: int
) -> None:
    answer = "long " * (length // 5)
    async with running(redis_server) as [one, other]:
        assert await one.read(answer) == answer
        assert await other.read("another") == answer
        assert await other.read("another") == answer

        assert (one.asked, other.asked) == (1, 0)
        snapshot = other.cache.snapshot()
        assert (snapshot.fetched, snapshot.hits, snapshot.misses) == (1, 1, 0)
        assert snapshot.hit_ratio == 1
        assert max(map(len, (await kept(one)).values())) < 2_000


async def test_those_who_wait_get_what_is_found(redis_server: RedisServer) -> None:
    async with running(redis_server) as [one, other]:
        await one.read()
        answers = await asyncio.gather(*(other.read("another") for _ in range(10)))

        assert answers == ["the answer"] * 10
        assert other.asked == 0
        assert other.cache.snapshot().fetched == 1


async def test_other_reads_are_others(redis_server: RedisServer) -> None:
    tool, fingerprint, arguments = KEY
    async with running(redis_server) as [one, other]:
        await one.read()
        for key, table, shape in (
            (("Company_list", fingerprint, arguments), "t", b""),
            ((tool, "somebody else", arguments), "t", b""),
            ((tool, fingerprint, b"{}"), "t", b""),
            ((tool + fingerprint, "", arguments), "t", b""),
            (KEY, "u", b""),
            (KEY, "t", b"2"),
        ):
            assert await other.read("another", key, table, shape) == "another"


async def test_a_write_takes_effect_for_all_at_once(redis_server: RedisServer) -> None:
    async with running(redis_server) as [one, other]:
        await one.read("old")
        async with other.changes.writing("t"):
            pass

        assert await one.read("new") == "new"
        assert await other.read("newer") == "new"


async def test_redis_holds_no_row_and_nothing_of_its_readers(redis_server: RedisServer) -> None:
    async with running(redis_server) as [one, _]:
        key = ("Company_read", "someone's policy", b'{"id":"plain-argument"}')
        await one.read("a plain row", key)
        found = await kept(one)
        assert len(found) == 1
        for text in (b"plain", b"answer", b"Company", b"someone", SECRET):
            assert text not in b"".join((*found, *found.values()))


async def test_with_another_secret_nothing_is_found(redis_server: RedisServer) -> None:
    async with running(redis_server, {}, {"secret": SECRET[::-1]}) as [one, other]:
        await one.read()

        assert await other.read("another") == "another"


async def test_a_result_that_would_never_end_is_not_used(redis_server: RedisServer) -> None:
    async with running(redis_server) as [one, other]:
        await one.read()
        [name] = await kept(one)
        await one.redis.run(lambda client: client.persist(name))

        assert await other.read("another") == "another"


async def test_replicas_of_other_releases_name_and_seal_results_alike(
    redis_server: RedisServer,
) -> None:
    """Worked out anew here: while a server is updated, old and new ones share a Redis."""

    def derived(key: bytes, text: bytes) -> bytes:
        return hmac.digest(key, text, hashlib.sha256)

    def key_of(purpose: bytes, text: bytes) -> bytes:
        return derived(derived(SECRET, b"results in Redis, " + purpose), text)

    parts = (b"tool", b"", b"arguments")
    text = b"".join(hashlib.sha256(part).digest() for part in parts)
    cipher, nonce = AESGCM(key_of(b"values", key_of(b"names", text))), b"n" * 12
    async with running(redis_server, {}) as [one]:
        name = one.values.name(parts)
        assert name == key_of(b"names", text)
        await one.values.keep(name, b"body", 70_000)
        counted = await one.redis.run(lambda client: client.keys("app:cache:*:bytes:*"))
        assert counted == [b"app:cache:{values}:bytes:60000"]
        [(key, sealed)] = (await kept(one)).items()
        opened = cipher.decrypt(sealed[:12], sealed[12:], None)
        assert opened == (70_000).to_bytes(4, "big") + b"body"
        assert key == b"app:cache:{values}:" + base64.urlsafe_b64encode(name).rstrip(b"=")

        theirs = nonce + cipher.encrypt(nonce, b"\0\0\1\0their body", None)
        await one.redis.run(lambda client: client.set(key, theirs, px=10_000))
        found = await one.values.find(name)
        assert found is not None
        assert (found.body, found.plain_size) == (b"their body", 256)
        assert 0 < found.seconds_left <= 10


async def test_what_was_changed_or_swapped_is_not_used(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(redis_server) as [one, other]:
        await one.read("a")
        await one.read("b", (*KEY[:2], b"other"))
        (a, of_a), (b, of_b) = (await kept(one)).items()
        await one.redis.run(lambda client: client.mset({a: of_b, b: of_a[:-1] + b"!"}))
        await one.redis.run(lambda client: client.pexpire(a, 60_000))
        await one.redis.run(lambda client: client.pexpire(b, 60_000))

        assert await other.read("asked a") == "asked a"
        assert await other.read("asked b", (*KEY[:2], b"other")) == "asked b"

        assert caplog.text.count("cached_result_was_changed_in_redis") == 2
        # They are replaced by good ones.
        assert set((await kept(one)).values()).isdisjoint({of_a, of_b})
    for forged in (b"", b"short"):
        async with running(redis_server) as [one, other]:
            name = one.values._key(one.values.name([b"x"]))
            await one.redis.run(lambda client, name=name, of=forged: client.set(name, of, px=9_999))
            assert await other.values.find(one.values.name([b"x"])) is None


async def test_a_result_is_as_old_as_its_read(redis_server: RedisServer) -> None:
    clock = Clock()
    async with running(redis_server, clock=clock) as [one, other]:
        await one.read("old")
        [name] = await kept(one)
        assert 0 < await one.redis.run(lambda client: client.pttl(name)) <= TTL * 1000
        await one.redis.run(lambda client: client.pexpire(name, 20_000))
        await other.read()
        clock.now += 19
        assert await other.read() == "old"

        clock.now += 1.1
        await one.redis.run(lambda client: client.delete(name))
        assert await other.read("new") == "new"


async def test_no_more_is_kept_than_the_bound(redis_server: RedisServer) -> None:
    bound = 200_000
    async with running(redis_server, {"max_bytes": bound, "compression": None}) as [one]:
        assert one.values.is_full is False
        await one.read()
        assert one.values.is_full is False
        await one.read("x" * (bound // 8), (*KEY[:2], b"too large"))
        assert len(await kept(one)) == 1
        for number in range(300):
            await one.read("x" * 1_000, (*KEY[:2], str(number).encode()))

        assert one.values.is_full
        client = one.redis.client()
        used = [await client.memory_usage(name) for name in await kept(one)]
        assert 0.8 * bound < sum(used) <= bound


async def test_room_is_free_again_when_what_was_kept_has_ended(redis_server: RedisServer) -> None:
    options = {"max_bytes": 8_000, "compression": None, "ttl_seconds": 0.2}
    async with running(redis_server, options) as [one]:
        number = 0
        for is_full in (True, False, True, False):
            async with asyncio.timeout(20):
                while one.values.is_full is not is_full:
                    number += 1
                    await one.read("x" * 500, (*KEY[:2], str(number).encode()))
        assert sum(map(len, (await kept(one)).values())) < 8_000


async def test_one_that_does_not_compress_leaves_what_is_compressed(
    redis_server: RedisServer,
) -> None:
    async with running(redis_server, {}, {"compression": None}) as [one, other]:
        await one.read("long " * 1_000)

        assert await other.read("another") == "another"
        assert await other.read("yet another") == "another"


@pytest.mark.parametrize("length", [10, 10_000])
async def test_one_that_compresses_uses_what_another_has_kept_plain(
    redis_server: RedisServer, length: int
) -> None:
    async with running(redis_server, {"compression": None}, {}) as [one, other]:
        await one.read("x" * length)

        assert await other.read("another") == "x" * length
        second = (*KEY[:2], b"second")
        await one.read("y", second)
        assert await other.read("another", second) == "y"
        assert other.cache.snapshot().fetched == 2


async def test_after_an_outage_only_what_was_kept_since_is_used_at_first(
    redis_server: RedisServer,
) -> None:
    clock = Clock()
    async with running(redis_server, clock=clock) as [one, other]:
        await one.read("before")
        # Redis keeps its memory: only the way there was cut.
        other.redis._mark_down(TimeoutError())
        assert await other.values.find(b"x") is None
        async with asyncio.timeout(20):
            while not other.redis.is_up or not other.shared.is_well:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await other.read("after") == "after"
        clock.now += 2
        second = ("Company_read", "second", b"")
        await one.read("soon after", second)
        assert await other.read("another", second) == "soon after"
        clock.now += 4
        third = ("Company_read", "third", b"")
        await one.read("since", third)

        assert await other.read("another", third) == "since"


async def test_a_read_from_before_an_outage_is_not_kept(redis_server: RedisServer) -> None:
    clock = Clock()
    async with running(redis_server, {}, clock=clock) as [one]:
        for outage in range(2):
            begun, may_answer = asyncio.Event(), asyncio.Event()
            key = (*KEY[:2], b"%d" % outage)
            reading = asyncio.create_task(
                one.cache.read(key, "t", partial(answer_late, begun, may_answer))
            )
            await begun.wait()
            one.redis._mark_down(TimeoutError())
            async with asyncio.timeout(20):
                while not one.redis.is_up:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            may_answer.set()

            assert await reading == {"answer": "old"}
            # So much later, what is in Redis counts again.
            clock.now += 10
            assert await one.read("new", key) == "new"


async def answer_late(begun: asyncio.Event, may_answer: asyncio.Event) -> dict[str, Any]:
    begun.set()
    await may_answer.wait()
    return {"answer": "old"}


async def test_without_redis_nothing_fails(redis_server: RedisServer) -> None:
    async with running(redis_server) as [one, other]:
        await one.read("old")
        redis_server.stop()

        assert await other.read("new") == "new"
        await other.values.keep(b"x", b"{}", 0)
        assert await other.values.find(b"x") is None
