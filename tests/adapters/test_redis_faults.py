"""A real Redis that freezes, dies, is slow, full, a replica, or doesn't know us: the feed goes on, and counts."""

import asyncio
import signal
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from msgspec import structs
from redis.asyncio import Redis
from redis.exceptions import RedisError

from certificates import make_certificate
from made_up import BTC
from proxy import Proxy
from redis_servers import RedisServer, password, redis_server, show
from traderd.adapters.logs import configure_logs
from traderd.adapters.metrics import Metrics
from traderd.adapters.redis_feed import RedisFeed
from traderd.core.facts import Signal
from traderd.core.market import Instrument, Quote

T = 1_769_904_000_123_456_789


def quote(instrument: Instrument, bid: str) -> Quote:
    return Quote(instrument, float(bid), 2e5, f"{bid},1.00000000,200000.10,2", 1, T, T)


def signal_of(n: int) -> Signal:
    return Signal(f"r-s{n}", T, "ema", "binance", "BTC/USDT", "LONG", 1.0, 0.5, 1.5, "because")


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with redis_server() as own:
        yield own


@asynccontextmanager
async def running(url: str, metrics: Metrics, **options: Any) -> AsyncIterator[RedisFeed]:
    """A feed with its task, closed in the end."""
    feed = RedisFeed(url, metrics, **{"interval_s": 0.02, "timeout_s": 0.3} | options)
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await feed.close()


async def until(condition: Any, timeout_s: float = 10.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def until_cached(server: RedisServer, bid: str) -> None:
    """Wait for this bid in the cache."""
    async with asyncio.timeout(10):
        while orjson.loads(await server.ask("GET", "cache:ticker:BTC/USDT") or b"{}").get("bid") != bid:
            await asyncio.sleep(0.02)


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """One of the feed's figures."""
    return metrics.registry.get_sample_value(f"traderd_redis_{name}", labels) or 0.0


async def test_a_frozen_redis_delays_nobody_and_costs_no_memory(server: RedisServer) -> None:
    """SIGSTOP: all is taken as quickly as ever and stays bounded, and when it goes on the newest quote is cached."""
    metrics = Metrics()
    async with running(server.url, metrics, facts_max=100, ticks_max=100, stream_entries_max=10) as feed:
        await until(lambda: counted(metrics, "up") == 1)
        server.send(signal.SIGSTOP)
        slowest = 0.0
        for n in range(60):
            started = time.perf_counter()
            for _ in range(20):
                show(feed, quote(BTC, f"{n + 1}"))
                feed.fact(signal_of(n))
                feed.ticks([quote(BTC, f"{n + 1}")] * 10)
            await asyncio.sleep(0)
            slowest = max(slowest, time.perf_counter() - started)
            await asyncio.sleep(0.01)
        await until(lambda: counted(metrics, "up") == 0)
        assert slowest < 0.25  # less than one time-out
        lane = feed._home
        assert len(feed.newest) + len(lane.tickers) <= 2
        assert len(lane.facts) <= 100
        assert len(lane.ticks) <= 100
        assert counted(metrics, "drops_total") > 0
        server.send(signal.SIGCONT)
        await until_cached(server, "60")


async def test_a_frozen_redis_does_not_hold_up_the_end(server: RedisServer) -> None:
    """The last messages are offered to it for two time-outs, not longer."""
    metrics = Metrics()
    feed = RedisFeed(server.url, metrics, timeout_s=0.3)
    assert await feed.flush()
    server.send(signal.SIGSTOP)
    show(feed, quote(BTC, "1"))
    feed.fact(signal_of(1))
    async with asyncio.timeout(3):
        await feed.close()
    assert counted(metrics, "drops_total") == 1


async def test_fifty_ends_leave_nothing_behind(server: RedisServer) -> None:
    """Cut and reached again, over and over: descriptors, tasks and memory of connections don't grow."""
    with Proxy(server.path) as proxy:
        feed = RedisFeed(f"redis://127.0.0.1:{proxy.port}", Metrics())
        for n in range(60):
            if n == 10:
                descriptors, tasks = psutil.Process().num_fds(), len(asyncio.all_tasks())
            while not await feed.flush():
                pass
            await asyncio.to_thread(proxy.cut)
            show(feed, quote(BTC, f"{n + 1}"))
            await feed.flush()
        assert proxy.connections >= 60
        assert psutil.Process().num_fds() <= descriptors + 4
        assert len(asyncio.all_tasks()) <= tasks + 1
        await feed.close()


async def test_every_fact_is_published_or_dropped_and_counted(server: RedisServer) -> None:
    """Cut, killed and started again: published + dropped = told, and none is heard twice."""
    metrics, told = Metrics(), 0
    heard: Counter[str] = Counter()

    async def listen() -> None:
        async with Redis.from_url(server.url) as redis, redis.pubsub(ignore_subscribe_messages=True) as ear:
            await ear.psubscribe("traderd:*")
            async for message in ear.listen():
                heard[orjson.loads(message["data"])["signal_id"]] += 1

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.1)
    with Proxy(server.path, seed=3) as proxy:
        proxy.piece_bytes_max = 500
        async with running(f"redis://127.0.0.1:{proxy.port}", metrics, facts_max=50) as feed:
            for round_ in range(8):
                for _ in range(15):
                    for _ in range(4):
                        feed.fact(signal_of(told))
                        told += 1
                    await asyncio.sleep(0.01)
                    if round_ % 2:
                        await asyncio.to_thread(proxy.cut)
            server.send(signal.SIGKILL)
            await asyncio.gather(listening, return_exceptions=True)
            for _ in range(100):
                feed.fact(signal_of(told))
                told += 1
            await asyncio.sleep(0.1)
            await server.start()
            await until(lambda: counted(metrics, "up") == 1)
            await until(lambda: not feed._home.facts)
    assert counted(metrics, "published_total") + counted(metrics, "drops_total") == told
    assert counted(metrics, "published_total") > 100
    assert len(heard) > 50
    assert set(heard.values()) == {1}
    assert counted(metrics, "drops_total") > 0


async def test_a_slow_way_thins_the_tickers_out_and_loses_no_symbol(server: RedisServer) -> None:
    """200 ms and 256 KB/s: the loop isn't held up, nothing is dropped, and the newest of all 300 symbols arrive."""
    metrics = Metrics()
    instruments = [structs.replace(BTC, index=n, symbol=f"S{n}/USDT") for n in range(300)]
    with Proxy(server.path) as proxy:
        proxy.latency_s, proxy.bytes_per_s = 0.1, 256_000
        async with running(f"redis://127.0.0.1:{proxy.port}", metrics, timeout_s=1.0) as feed:
            for n in range(1, 26):
                for instrument in instruments:
                    show(feed, quote(instrument, f"{n}"))
                await asyncio.sleep(0.02)
            async with asyncio.timeout(10), Redis.from_url(server.url) as redis:
                keys = [f"cache:ticker:{instrument.symbol}" for instrument in instruments]
                while {orjson.loads(body or b"{}").get("bid") for body in await redis.mget(keys)} != {"25"}:
                    await asyncio.sleep(0.05)
            assert proxy.connections == 1
    assert counted(metrics, "drops_total") == 0
    assert counted(metrics, "published_total") < 300 * 25 / 2


async def test_a_full_redis_is_counted_and_messages_go_on(server: RedisServer) -> None:
    """maxmemory without eviction: SET is refused with OOM, PUBLISH isn't, and the connection stays."""
    metrics = Metrics()
    await server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await server.ask("CONFIG", "SET", "maxmemory", "1")
    with Proxy(server.path) as proxy:
        async with running(f"redis://127.0.0.1:{proxy.port}", metrics) as feed:
            show(feed, quote(BTC, "1"))
            await until(lambda: counted(metrics, "refused_total", reason="OOM") == 1)
            assert counted(metrics, "published_total") == 1
            assert counted(metrics, "up") == 1
            await server.ask("CONFIG", "SET", "maxmemory", "0")
            show(feed, quote(BTC, "2"))
            await until_cached(server, "2")
            assert proxy.connections == 1


async def test_a_replica_is_left_for_the_master(server: RedisServer) -> None:
    """After a failover READONLY says that this isn't the one any more: connect anew, until it is, and cache then."""
    metrics = Metrics()
    with Proxy(server.path) as proxy:
        async with running(f"redis://127.0.0.1:{proxy.port}", metrics) as feed:
            await until(lambda: counted(metrics, "up") == 1)
            await server.ask("REPLICAOF", "127.0.0.1", "1")
            show(feed, quote(BTC, "1"))
            await until(lambda: counted(metrics, "refused_total", reason="READONLY") >= 2)
            assert proxy.connections >= 2
            await server.ask("REPLICAOF", "NO", "ONE")
            await until_cached(server, "1")
            await until(lambda: counted(metrics, "up") == 1)


async def test_a_wrong_password_is_one_line_and_no_storm(server: RedisServer, tmp_path: Path) -> None:
    """It is told once, tried again seldom, and the right user gets in; the password is told nobody."""
    metrics, secret = Metrics(), password()
    await server.ask("ACL", "SETUSER", "someone", "on", f">{secret}", "allcommands")
    with Proxy(server.path) as proxy, (tmp_path / "log").open("w") as log:
        configure_logs("info", "json", log)
        async with running(f"redis://someone:{secret}-not@127.0.0.1:{proxy.port}", metrics) as feed:
            show(feed, quote(BTC, "1"))
            await until(lambda: proxy.connections >= 1)
            await asyncio.sleep(1.0)
            assert proxy.connections <= 6
            assert counted(metrics, "up") == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert len([line for line in lines if "invalid username-password pair" in line]) == 1, lines
    assert len(lines) == 1
    assert secret not in lines[0]


async def test_a_user_with_no_more_than_the_readmes_rights_is_enough(server: RedisServer) -> None:
    """Cache, channels and streams; and what it may not do is counted and told, and the rest goes on."""
    metrics, secret = Metrics(), password()
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    rule = " ".join(readme.split("ACL SETUSER", 1)[1].split("`", 1)[0].split())
    user, *rights = rule.replace("PASSWORD", secret).split()
    await server.ask("ACL", "SETUSER", user, *rights)
    url = f"unix://{user}:{secret}@{server.path}"
    async with running(url, metrics, stream_entries_max=10) as feed:
        show(feed, quote(BTC, "1"))
        feed.fact(signal_of(1))
        feed.ticks([quote(BTC, "1")])
        await until_cached(server, "1")
        await until(lambda: counted(metrics, "published_total") == 3)
        await server.ask("ACL", "SETUSER", user, "-set")
        show(feed, quote(BTC, "2"))
        await until(lambda: counted(metrics, "refused_total", reason="NOPERM") == 1)
        await until(lambda: counted(metrics, "published_total") == 4)
        assert counted(metrics, "up") == 1
        await server.ask("ACL", "SETUSER", user, "resetchannels")
        feed.fact(signal_of(2))
        await until(lambda: counted(metrics, "drops_total") == 1)


async def test_tls_is_spoken_and_a_stranger_is_not_believed(server: RedisServer, tmp_path: Path) -> None:
    """With the CA's file the feed gets through; without it, or under another name, it doesn't, and says why."""
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    other, _ = make_certificate(tmp_path / "other", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(other)
    context.verify_mode = ssl.CERT_OPTIONAL
    metrics = Metrics()
    with Proxy(server.path, tls=context) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}"
        for wrong in (
            url,
            f"{url}?ssl_ca_certs={other}",
            f"rediss://localhost:{proxy.port}?ssl_ca_certs={certificate}",
        ):
            stranger = RedisFeed(wrong, metrics)
            assert not await stranger.flush()
            assert "certificate" in stranger._home.told.lower()
            await stranger.close()
        async with running(f"{url}?ssl_ca_certs={certificate}", metrics) as feed:
            show(feed, quote(BTC, "1"))
            await until_cached(server, "1")


async def test_the_documented_rule_leaves_a_consumer_with_the_newest(server: RedisServer) -> None:
    """Subscribe, read the cache, apply what has a higher number: no older quote ever wins, whoever is cut off."""
    metrics = Metrics()
    seen: list[tuple[int, int]] = []

    async def consume(url: str) -> None:
        newest = 0
        while True:
            try:
                async with Redis.from_url(url) as redis, redis.pubsub(ignore_subscribe_messages=True) as heard:
                    await heard.subscribe("traderd:ticks:BTC/USDT")
                    messages = [await redis.get("cache:ticker:BTC/USDT")]
                    while True:
                        for message in (orjson.loads(body) for body in messages if body):
                            if message["seq"] > newest:
                                newest = message["seq"]
                                seen.append((newest, int(message["bid"])))
                        got = await heard.get_message(timeout=1.0)
                        messages = [got["data"]] if got else []
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(0.01)

    with Proxy(server.path, seed=1) as near, Proxy(server.path, seed=2) as far:
        near.jitter_s = far.jitter_s = 0.01
        consumer = asyncio.create_task(consume(f"redis://127.0.0.1:{far.port}"))
        async with running(f"redis://127.0.0.1:{near.port}", metrics) as feed:
            for n in range(1, 101):
                show(feed, quote(BTC, f"{n}"))
                await asyncio.sleep(0.01)
                if n % 10 == 0:
                    await asyncio.to_thread((near if n % 20 else far).cut)
            await until(lambda: bool(seen) and seen[-1][1] == 100)
        consumer.cancel()
        await asyncio.gather(consumer, return_exceptions=True)
        assert far.connections > 4
    assert seen == sorted(seen)
    assert [bid for _, bid in seen] == sorted(bid for _, bid in seen)
