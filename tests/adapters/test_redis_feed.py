"""The outward feed against a real Redis: what listeners see, and what a slow or missing Redis costs (nothing)."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from traderd.adapters.embedded import EmbeddedRedis
from traderd.adapters.metrics import Metrics
from traderd.adapters.redis_feed import CHANNELS, UNPUBLISHED, RedisFeed, iso, message_of
from traderd.core.facts import Alert, Candle, Fact, Gap, Order, Signal
from traderd.core.market import Instrument, Quote, Trade

T = 1_769_904_000_123_456_789
BTC = Instrument(0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
ETH = Instrument(1, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")
BTC_ON_KRAKEN = Instrument(2, "kraken", "BTC/USDT", "BTC/USDT", "BTC", "USDT")
ROOT = Path(__file__).parents[2]


def quote(instrument: Instrument, bid: str, received_ns: int = T, venue_ns: int = T - 1_000_000) -> Quote:
    return Quote(instrument, float(bid), 2e5, 1.0, 2.0, bid, "200000.10", "1.00000000", "2", 1, venue_ns, received_ns)


def signal_of(n: int) -> Signal:
    return Signal(f"r-s{n}", T, "ema", "binance", "BTC/USDT", "LONG", 1.0, 0.5, 67250.0, "fast above slow")


class Server:
    """A Redis of the test's own, which it may hurt."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="traderd-feed-"))
        self.folder.chmod(0o755)
        self.redis = EmbeddedRedis(self.folder)

    async def start(self) -> None:
        self.url = await self.redis.start()

    def send(self, signum: signal.Signals) -> None:
        os.kill(self.redis.pid, signum)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    own = Server()
    await own.start()
    yield own
    await own.redis.stop()
    shutil.rmtree(own.folder)


@pytest.fixture
async def heard(server: Server) -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
    """What a listener to everything hears: (channel, message)."""
    messages: list[tuple[str, dict[str, Any]]] = []
    listener = Redis.from_url(server.url).pubsub(ignore_subscribe_messages=True)
    await listener.psubscribe("traderd:*")

    async def listen() -> None:
        async for message in listener.listen():
            heard_one = (message["channel"].decode(), orjson.loads(message["data"]))
            messages.append(heard_one)

    task = asyncio.create_task(listen())
    yield messages
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await listener.aclose()


async def _until(condition: Any, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def _count(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"traderd_redis_{name}") or 0.0


async def test_the_newest_quote_is_cached_and_published(server: Server, heard: list[Any]) -> None:
    """A thousand quotes in one interval are one message, the last, to the last digit; without quotes the key goes."""
    trade = Trade(BTC, "1", "buy", 150000.5, 1.0, "150000.50", "1.0", T, T)
    feed = RedisFeed(server.url, Metrics(), [trade, None])
    for n in range(1_000):
        feed.quote(quote(BTC, f"{100_000 + n}.10"))
    feed.quote(quote(ETH, "2683.80", venue_ns=0))
    assert await feed.flush()
    async with Redis.from_url(server.url) as redis:
        cached = orjson.loads(await redis.get("cache:ticker:BTC/USDT"))
        assert 9_000 < await redis.pttl("cache:ticker:BTC/USDT") <= 10_000
        assert orjson.loads(await redis.get("cache:ticker:ETH/USDT"))["last"] is None
    assert cached == {
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "bid": "100999.10",
        "ask": "200000.10",
        "bid_size": "1.00000000",
        "ask_size": "2",
        "last": "150000.50",
        "time": "2026-02-01T00:00:00.122456Z",
        "time_received": "2026-02-01T00:00:00.123456Z",
    }
    await _until(lambda: len(heard) >= 2)
    assert [channel for channel, _ in heard] == ["traderd:ticks:BTC/USDT", "traderd:ticks:ETH/USDT"]
    assert heard[0][1] == cached
    assert heard[1][1]["time"] == heard[1][1]["time_received"]
    await feed.close()


async def test_of_two_venues_the_newer_quote_wins(server: Server) -> None:
    """In one interval, in whatever order, and across intervals."""
    feed = RedisFeed(server.url, Metrics())
    async with Redis.from_url(server.url) as redis:
        for n, (first, second, winner) in enumerate(((10, 50, "kraken"), (50, 10, "binance"))):
            feed.quote(quote(BTC, "1.5", T + 100 * n + first))
            feed.quote(quote(BTC_ON_KRAKEN, "1.6", T + 100 * n + second))
            await feed.flush()
            assert orjson.loads(await redis.get("cache:ticker:BTC/USDT"))["exchange"] == winner
        feed.quote(quote(BTC_ON_KRAKEN, "1.7", T + 20))
        await feed.flush()
        assert orjson.loads(await redis.get("cache:ticker:BTC/USDT"))["bid"] == "1.5"
    await feed.close()


async def test_facts_are_published_in_order_on_their_channels(server: Server, heard: list[Any]) -> None:
    """Candles, signals, orders and alerts; other facts are in the database only."""
    feed = RedisFeed(server.url, Metrics())
    d = Decimal("1.10")
    order = Order(
        "r-o1", "paper", "ema", "r-s1", "binance", "BTC/USDT", "buy", "market", d, None, "filled", "paper", T, T
    )
    facts: list[Fact] = [
        Candle("binance", "BTC/USDT", "1s", T, d, d, d, d, d, d, 3),
        signal_of(1),
        order,
        Gap("g", "binance", "", "", "disconnect", T, 0),
        Alert("a", T, "breaker_tripped", "critical", "halted", "drawdown 11 %", metadata={"drawdown": "11"}),
    ]
    for fact in facts:
        feed.fact(fact)
    assert await feed.flush()
    await _until(lambda: len(heard) >= 4)
    await feed.close()
    assert [channel for channel, _ in heard] == [
        "traderd:candles:BTC/USDT",
        "traderd:signals:BTC/USDT",
        "traderd:orders:BTC/USDT",
        "traderd:alerts",
    ]
    assert heard[0][1]["open_time"] == "2026-02-01T00:00:00.123456Z"
    assert heard[0][1]["close"] == "1.10"
    assert heard[2][1]["submitted"] is None
    assert heard[3][1]["metadata"] == {"drawdown": "11"}


async def test_a_redis_that_hangs_delays_nobody(server: Server) -> None:
    """SIGSTOP: quotes and facts are taken as quickly as ever, memory stays bounded, and all is well when it goes on."""
    metrics = Metrics()
    feed = RedisFeed(server.url, metrics, interval_s=0.02, timeout_s=0.2, facts_max=100)
    run = asyncio.create_task(feed.run())
    await _until(lambda: _count(metrics, "up") == 1)
    server.send(signal.SIGSTOP)
    slowest = 0.0
    for n in range(60):
        started = time.perf_counter()
        for _ in range(20):
            feed.quote(quote(BTC, f"{n + 1}"))
            feed.fact(signal_of(n))
        await asyncio.sleep(0)
        slowest = max(slowest, time.perf_counter() - started)
        await asyncio.sleep(0.01)
    await _until(lambda: _count(metrics, "up") == 0)
    assert slowest < 0.1
    assert len(feed._facts) <= 100
    assert len(feed._quotes) <= 1
    assert _count(metrics, "drops_total") > 0
    server.send(signal.SIGCONT)
    await _until(lambda: _count(metrics, "up") == 1, 10)
    async with Redis.from_url(server.url) as redis:
        await asyncio.sleep(0.1)
        assert orjson.loads(await redis.get("cache:ticker:BTC/USDT"))["bid"] == "60"
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await feed.close()


async def test_a_redis_that_died_is_found_again(server: Server) -> None:
    """What was waiting is published then; nothing is published twice."""
    metrics = Metrics()
    feed = RedisFeed(server.url, metrics, interval_s=0.02, timeout_s=1.0)
    run = asyncio.create_task(feed.run())
    await _until(lambda: _count(metrics, "up") == 1)
    server.send(signal.SIGKILL)
    await asyncio.sleep(0.05)
    feed.quote(quote(BTC, "1"))
    await _until(lambda: _count(metrics, "up") == 0)
    for n in range(5):
        feed.fact(signal_of(n))
    published = _count(metrics, "published_total")
    await server.start()
    await _until(lambda: _count(metrics, "up") == 1, 10)
    feed.quote(quote(BTC, "2"))
    await _until(lambda: _count(metrics, "published_total") >= published + 6)
    assert _count(metrics, "published_total") <= published + 7
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await feed.close()


async def test_a_redis_that_never_was_costs_only_a_count(tmp_path: Path) -> None:
    """The oldest facts go first."""
    metrics = Metrics()
    feed = RedisFeed(f"unix://{tmp_path}/nobody.sock", metrics, facts_max=10)
    for n in range(25):
        feed.fact(signal_of(n))
    assert not await feed.flush()
    assert [fact.signal_id for fact in feed._facts if isinstance(fact, Signal)] == [f"r-s{n}" for n in range(15, 25)]
    assert _count(metrics, "drops_total") == 15
    await feed.close()


async def test_a_tick_costs_the_feed_next_to_nothing() -> None:
    """Conflation is one assignment: far below a microsecond even on a busy machine."""
    feed = RedisFeed("redis://127.0.0.1:1", Metrics())
    newest = quote(BTC, "1")
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(20_000):
            feed.quote(newest)
        best = min(best, (time.perf_counter() - started) / 20_000)
    assert best < 0.5e-6
    await feed.close()


@pytest.mark.parametrize("url", ["redis://user:secret@cache:6380/2", "rediss://cache", "unix:///run/redis.sock"])
async def test_all_three_kinds_of_address_are_understood(url: str) -> None:
    """TCP, TLS and a Unix socket; anything else is a ValueError."""
    await RedisFeed(url, Metrics())._hang_up()
    with pytest.raises(ValueError, match="scheme"):
        RedisFeed("http://cache", Metrics())


def test_times_are_iso_in_utc_with_microseconds() -> None:
    """Cut, not rounded, as the database's are; 0 is no time."""
    assert iso(T) == "2026-02-01T00:00:00.123456Z"
    assert iso(1_769_904_000_999_999_999) == "2026-02-01T00:00:00.999999Z"
    assert iso(0) is None


def test_the_readme_names_every_field_of_every_message() -> None:
    """Its table is the contract that subscribers read."""
    readme = _readme()
    for kind in CHANNELS:
        for name in set(kind.__struct_fields__) - UNPUBLISHED:
            assert f"`{name.removesuffix('_ns')}`" in readme, (kind, name)
    assert b'"type":"signal"' in message_of(signal_of(1))


async def test_the_readmes_eight_line_subscriber_hears_the_feed(server: Server) -> None:
    """As it stands there, as a process of its own."""
    (snippet,) = [code for code in re.findall(r"```python\n(.*?)```", _readme(), re.DOTALL) if "psubscribe" in code]
    assert len(snippet.strip().splitlines()) == 8
    environment = {**os.environ, "TRADERD_REDIS_URL": server.url}
    listener = subprocess.Popen([sys.executable, "-c", snippet], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        feed = RedisFeed(server.url, Metrics())
        async with Redis.from_url(server.url) as redis:
            async with asyncio.timeout(10):
                while not await redis.pubsub_numpat():
                    await asyncio.sleep(0.02)
        feed.quote(quote(BTC, "67250.10"))
        await feed.flush()
        assert listener.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(listener.stdout.readline), 5)
        assert line.split() == ["traderd:ticks:BTC/USDT", "67250.10", "200000.10"]
        await feed.close()
    finally:
        listener.kill()
        listener.wait()


def _readme() -> str:
    return "".join(path.read_text() for path in sorted(ROOT.glob("README*.md")))
