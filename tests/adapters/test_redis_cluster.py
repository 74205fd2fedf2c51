"""A real Redis Cluster of three: every symbol at the server that has its slot, and messages heard at any of them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from msgspec import structs
from redis.asyncio import Redis
from redis.crc import key_slot

from made_up import BTC
from redis_servers import RedisCluster, redis_cluster, show
from traderd.adapters.metrics import Metrics
from traderd.adapters.redis_feed import RedisFeed
from traderd.core.facts import Alert
from traderd.core.market import Quote

T = 1_769_904_000_123_456_789
SYMBOLS = [f"S{n}/USDT" for n in range(60)]


def quote(symbol: str, bid: str) -> Quote:
    instrument = structs.replace(BTC, index=SYMBOLS.index(symbol), symbol=symbol)
    return Quote(instrument, float(bid), 2e5, f"{bid},1.00000000,200000.10,2", 1, T, T)


@pytest.fixture
async def cluster() -> AsyncIterator[RedisCluster]:
    async with redis_cluster() as own:
        yield own


async def cached(cluster: RedisCluster, port: int) -> dict[str, str]:
    """What one server has: bids by symbol."""
    async with Redis(port=port) as redis:
        bodies = [orjson.loads(await redis.get(key)) for key in await redis.keys("cache:ticker:*")]
    return {body["symbol"]: body["bid"] for body in bodies}


async def until_cached(cluster: RedisCluster, bid: str, ports: list[int]) -> dict[int, dict[str, str]]:
    """Wait until these servers have no other bid for any symbol; all three of them: until no symbol is missing."""
    async with asyncio.timeout(20):
        while True:
            found = {port: await cached(cluster, port) for port in ports}
            whole = len(ports) < 3 or sum(map(len, found.values())) == len(SYMBOLS)
            if whole and all(set(bids.values()) == {bid} for bids in found.values()):
                return found
            await asyncio.sleep(0.05)


async def feed_others(feed: RedisFeed, cluster: RedisCluster, bids: tuple[str, ...], ports: list[int]) -> None:
    """New bids for all; these servers have them as soon as ever."""
    for bid in bids:
        for symbol in SYMBOLS:
            show(feed, quote(symbol, bid))
        started = asyncio.get_running_loop().time()
        await until_cached(cluster, bid, ports)
        assert asyncio.get_running_loop().time() - started < 2


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"traderd_redis_{name}", labels) or 0.0


async def test_a_cluster_is_fed_and_followed(cluster: RedisCluster) -> None:
    """Each symbol where its slot is, also after it moved; heard everywhere; one server's death costs only its own."""
    metrics, heard = Metrics(), list[dict[str, Any]]()
    first, second, third = cluster.ports

    async def listen() -> None:
        async with Redis(port=third) as redis, redis.pubsub(ignore_subscribe_messages=True) as ear:
            await ear.psubscribe("traderd:*")
            async for message in ear.listen():
                heard.append(orjson.loads(message["data"]))

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.2)
    feed = RedisFeed(
        f"redis+cluster://127.0.0.1:{second}", metrics, interval_s=0.02, timeout_s=3.0, stream_entries_max=9
    )
    for symbol in SYMBOLS:
        show(feed, quote(symbol, "1"))
    feed.fact(Alert("a", T, "breaker_tripped", "critical", "halted", "drawdown 11 %"))
    feed.ticks([quote(symbol, "1") for symbol in SYMBOLS])
    running = asyncio.create_task(feed.run())

    found = await until_cached(cluster, "1", cluster.ports)
    assert all(bids for bids in found.values())
    assert sorted(symbol for bids in found.values() for symbol in bids) == sorted(SYMBOLS)
    async with asyncio.timeout(5):
        while len(heard) < len(SYMBOLS) + 1:
            await asyncio.sleep(0.02)
    assert {message.get("symbol") for message in heard} >= set(SYMBOLS)
    assert counted(metrics, "up") == 1
    assert counted(metrics, "published_total") == 2 * len(SYMBOLS) + 1

    moving = next(iter(found[first]))
    await cluster.ask(first, "DEL", f"cache:ticker:{moving}")
    await cluster.move(key_slot(f"cache:ticker:{moving}".encode()), second)
    for symbol in SYMBOLS:
        show(feed, quote(symbol, "2"))
    found = await until_cached(cluster, "2", cluster.ports)
    assert moving in found[second]
    assert counted(metrics, "refused_total", reason="MOVED") >= 1
    assert counted(metrics, "drops_total") == 0

    cluster.processes[second].send_signal(signal.SIGSTOP)
    await feed_others(feed, cluster, ("3", "4", "5"), [first, third])
    cluster.processes[second].send_signal(signal.SIGCONT)
    await until_cached(cluster, "5", cluster.ports)

    cluster.processes[first].kill()
    cluster.processes[first].wait()
    await feed_others(feed, cluster, ("6", "7"), [second, third])
    cluster.launch(first)
    await cluster.ask(first, "PING")
    found = await until_cached(cluster, "7", cluster.ports)
    assert sorted(symbol for bids in found.values() for symbol in bids) == sorted(SYMBOLS)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await feed.close()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_cluster_that_nobody_tells_of_costs_only_counts() -> None:
    """No server answers: the newest wins all the same, facts are bounded, and the feed's end is quick."""
    metrics = Metrics()
    feed = RedisFeed("redis+cluster://127.0.0.1:1", metrics, interval_s=0.01, timeout_s=0.5, facts_max=5)
    running = asyncio.create_task(feed.run())
    for n in range(20):
        show(feed, quote(SYMBOLS[0], f"{n + 1}"))
        feed.fact(Alert(f"a{n}", T, "breaker_tripped", "critical", "halted", "drawdown 11 %"))
        await asyncio.sleep(0.005)
    assert counted(metrics, "drops_total") == 15
    assert counted(metrics, "up") == 0
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await feed.close()
