"""Who watches a resource is found by its URI."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.protocol.updates import ResourceUpdates
from tests.sample_host import ALICE, BOB, SampleContent


async def test_news_of_a_resource_costs_nothing_for_those_who_watch_others() -> None:
    content = SampleContent()
    updates = ResourceUpdates(content)
    heard: list[str] = []
    asked: list[Principal] = []
    for number in range(5000):
        uri = f"sample://{number}"
        updates.subscribe(uri, ALICE if number else BOB, lambda uri=uri: heard.append(uri))  # type: ignore[misc]

    def audience(principal: Principal) -> bool:
        asked.append(principal)
        return True

    content.change("sample://0", "sample://7", "sample://none", audience=audience)
    await asyncio.sleep(0)

    assert heard == ["sample://0", "sample://7"]
    assert asked == [BOB, ALICE]


async def test_the_host_is_listened_to_once_and_while_somebody_watches() -> None:
    content = SampleContent()
    updates = ResourceUpdates(content)
    heard: list[int] = []
    ends = [
        updates.subscribe(uri, ALICE, lambda at=at: heard.append(at))  # type: ignore[misc]
        for at, uri in enumerate(["sample://1", "sample://1", "sample://2"])
    ]
    assert len(content.update_listeners) == 1

    ends[0]()
    ends[0]()
    content.change("sample://1")
    await asyncio.sleep(0)
    assert heard == [1]

    ends[1]()
    ends[2]()
    assert content.update_listeners == []
    updates.subscribe("sample://1", ALICE, lambda: heard.append(3))
    content.change("sample://1")
    await asyncio.sleep(0)
    assert heard == [1, 3]


async def test_a_listener_may_end_its_subscription_while_it_hears() -> None:
    content = SampleContent()
    updates = ResourceUpdates(content)
    heard: list[str] = []
    ends: list[Callable[[], None]] = []

    def once() -> None:
        heard.append("once")
        ends.pop()()

    ends.append(updates.subscribe("sample://1", ALICE, once))
    updates.subscribe("sample://1", ALICE, lambda: heard.append("always"))
    for _ in range(2):
        content.change("sample://1")
        await asyncio.sleep(0)

    assert heard == ["once", "always", "always"]


async def test_news_from_another_thread_is_heard_on_the_loop() -> None:
    content = SampleContent()
    updates = ResourceUpdates(content)
    threads: list[int] = []
    heard = asyncio.Event()

    def listen() -> None:
        threads.append(threading.get_ident())
        heard.set()

    updates.subscribe("sample://1", ALICE, listen)
    await asyncio.to_thread(content.change, "sample://1")
    await heard.wait()

    assert threads == [threading.get_ident()]
