"""The outward feed against a real Redis: what listeners see, and what a slow or missing Redis costs (nothing)."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from msgspec import structs
from redis.asyncio import Redis

from redis_servers import RedisServer, redis_server, show
from traderd.adapters.metrics import Metrics
from traderd.adapters.redis_feed import RedisFeed
from traderd.adapters.redis_messages import CHANNELS, UNPUBLISHED, StreamedQuote, StreamedTrade, Ticker, iso, message_of
from traderd.core.facts import Alert, Candle, Fact, Gap, Order, Signal
from traderd.core.market import Instrument, Quote, Trade
from traderd.core.quality import CROSSED

T = 1_769_904_000_123_456_789
BTC = Instrument(0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
ETH = Instrument(1, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")
BTC_ON_KRAKEN = Instrument(2, "kraken", "BTC/USDT", "BTC/USDT", "BTC", "USDT")
ROOT = Path(__file__).parents[2]


def quote(instrument: Instrument, bid: str, received_ns: int = T, venue_ns: int = T - 1_000_000) -> Quote:
    return Quote(instrument, float(bid), 2e5, f"{bid},1.00000000,200000.10,2", 1, venue_ns, received_ns)


def signal_of(n: int) -> Signal:
    return Signal(f"r-s{n}", T, "ema", "binance", "BTC/USDT", "LONG", 1.0, 0.5, 67250.0, "fast above slow")


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with redis_server() as own:
        yield own


@pytest.fixture
async def heard(server: RedisServer) -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
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


async def test_the_newest_quote_is_cached_and_published(server: RedisServer, heard: list[Any]) -> None:
    """A thousand quotes in one interval are one message, the last, to the last digit; without quotes the key goes."""
    trade = Trade(BTC, "1", "buy", 150000.5, "150000.50,1.0", T, T)
    feed = RedisFeed(server.url, Metrics(), [], [trade, None])
    for n in range(1_000):
        show(feed, quote(BTC, f"{100_000 + n}.10"))
    show(feed, quote(ETH, "2683.80", venue_ns=0))
    assert await feed.flush()
    async with Redis.from_url(server.url) as redis:
        cached = orjson.loads(await redis.get("cache:ticker:BTC/USDT"))
        assert 9_000 < await redis.pttl("cache:ticker:BTC/USDT") <= 10_000
        assert orjson.loads(await redis.get("cache:ticker:ETH/USDT"))["last"] is None
    assert cached.pop("seq") > time.time_ns() // 1_000 - 60_000_000
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
    assert heard[0][1] == cached | {"seq": heard[0][1]["seq"]}
    assert heard[1][1]["time"] == heard[1][1]["time_received"]
    await feed.close()


async def test_of_two_venues_the_newer_quote_wins(server: RedisServer) -> None:
    """In one interval, in whatever order, and across intervals."""
    feed = RedisFeed(server.url, Metrics())
    async with Redis.from_url(server.url) as redis:
        for n, (first, second, winner) in enumerate(((10, 50, "kraken"), (50, 10, "binance"))):
            show(feed, quote(BTC, "1.5", T + 100 * n + first))
            show(feed, quote(BTC_ON_KRAKEN, "1.6", T + 100 * n + second))
            await feed.flush()
            assert orjson.loads(await redis.get("cache:ticker:BTC/USDT"))["exchange"] == winner
        show(feed, quote(BTC_ON_KRAKEN, "1.7", T + 20))
        await feed.flush()
        assert orjson.loads(await redis.get("cache:ticker:BTC/USDT"))["bid"] == "1.5"
    await feed.close()


async def test_a_clock_set_back_mutes_nobody(server: RedisServer) -> None:
    """A quote an hour older than the one before is no late one; and its number is higher all the same."""
    feed = RedisFeed(server.url, Metrics())
    show(feed, quote(BTC, "1.5", T))
    assert await feed.flush()
    before = orjson.loads(await server.ask("GET", "cache:ticker:BTC/USDT"))
    show(feed, quote(BTC, "1.6", T - 3_600_000_000_000))
    assert await feed.flush()
    after = orjson.loads(await server.ask("GET", "cache:ticker:BTC/USDT"))
    assert after["bid"] == "1.6"
    assert after["seq"] > before["seq"]
    await feed.close()


async def test_numbers_rise_by_one_and_go_on_above_in_the_next_life(server: RedisServer, heard: list[Any]) -> None:
    """Who hears everything sees a hole in the numbers where something was missed, and no number twice."""
    for _ in range(2):
        feed = RedisFeed(server.url, Metrics())
        for n in range(3):
            feed.fact(signal_of(n))
            show(feed, quote(BTC, f"{n + 1}", T + n))
            show(feed, quote(ETH, f"{n + 1}", T + n))
            assert await feed.flush()
        await feed.close()
    await _until(lambda: len(heard) >= 18)
    numbers = [message["seq"] for _, message in heard]
    assert numbers[:9] == list(range(numbers[0], numbers[0] + 9))
    assert numbers[9:] == list(range(numbers[9], numbers[9] + 9))
    assert numbers[9] > numbers[8]


@pytest.mark.parametrize(("tickers", "messages"), [("batch", 2), ("both", 302)])
async def test_many_symbols_in_one_message(
    server: RedisServer, heard: list[Any], tickers: Literal["batch", "both"], messages: int
) -> None:
    """At most 256 tickers each, on a channel that the symbols' patterns don't hear; the cache is the same."""
    feed = RedisFeed(server.url, Metrics(), tickers=tickers)
    for n in range(300):
        show(feed, quote(structs.replace(BTC, index=n, symbol=f"S{n}/USDT"), f"{n + 1}"))
    assert await feed.flush()
    await _until(lambda: len(heard) >= messages)
    batches = [message for channel, message in heard if channel == "traderd:ticks"]
    assert [message["type"] for message in batches] == ["ticks", "ticks"]
    told = [ticker for message in batches for ticker in message["ticks"]]
    assert [ticker["symbol"] for ticker in told] == [f"S{n}/USDT" for n in range(300)]
    assert orjson.loads(await server.ask("GET", "cache:ticker:S299/USDT")) == told[-1]
    assert len(heard) == messages
    await feed.close()


async def test_streams_have_every_tick(server: RedisServer) -> None:
    """In order, doubtful ones with their flags, about as many as configured; none where they aren't configured."""
    metrics = Metrics()
    feed = RedisFeed(server.url, metrics, stream_entries_max=500)
    quotes = [quote(BTC, f"{n}.10", T + n) for n in range(2_000)]
    quotes[-1].flags = CROSSED
    feed.ticks(quotes)
    feed.ticks([Trade(BTC, "t1", "sell", 1.5, "1.50,1.0", T, T)])
    assert await feed.flush()
    entries = [orjson.loads(fields["tick"]) for _, fields in await _entries(server, "stream:quotes:BTC/USDT")]
    assert 500 <= len(entries) <= 700
    assert [entry["bid"] for entry in entries] == [f"{n}.10" for n in range(2_000 - len(entries), 2_000)]
    assert [entry["flags"] for entry in entries[-2:]] == [[], ["crossed"]]
    ((_, fields),) = await _entries(server, "stream:trades:BTC/USDT")
    assert orjson.loads(fields["tick"]) == {
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "trade_id": "t1",
        "side": "sell",
        "price": "1.50",
        "quantity": "1.0",
        "time": "2026-02-01T00:00:00.123456Z",
        "time_received": "2026-02-01T00:00:00.123456Z",
        "flags": [],
    }
    assert _count(metrics, "published_total") == 2_001
    await feed.close()
    without = RedisFeed(server.url, metrics)
    without.ticks(quotes)
    assert await without.flush()
    assert _count(metrics, "published_total") == 2_001
    await without.close()


async def _entries(server: RedisServer, stream: str) -> list[tuple[str, dict[str, str]]]:
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        found: list[tuple[str, dict[str, str]]] = await redis.xrange(stream)
    return found


async def test_facts_are_published_in_order_on_their_channels(server: RedisServer, heard: list[Any]) -> None:
    """Candles, signals, orders and alerts; other facts are in the database only."""
    feed = RedisFeed(server.url, Metrics())
    d = Decimal("1.10")
    order = Order(
        "r-o1", "paper", "ema", "r-s1", "binance", "BTC/USDT", "buy", "market", d, None, "filled", "paper", T, T
    )
    facts: list[Fact] = [
        Candle("binance", "BTC/USDT", "1s", T, *("1.10",) * 6, 3),
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


@pytest.mark.parametrize(
    "url", ["redis://user:secret@cache:6380/2", "rediss+cluster://cache", "unix:///run/redis.sock"]
)
async def test_every_kind_of_address_is_understood(url: str) -> None:
    """TCP, TLS and a Unix socket, and those of clusters; anything else is a ValueError."""
    await RedisFeed(url, Metrics()).close()
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
    for body in (Ticker, StreamedQuote, StreamedTrade):
        for name in body.__struct_fields__:
            assert f"`{name}`" in readme, (body, name)
    assert b'"type":"signal"' in message_of(signal_of(1), 7)
    assert b'"seq":7' in message_of(signal_of(1), 7)


async def test_the_readmes_eight_line_subscriber_hears_the_feed(server: RedisServer) -> None:
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
        show(feed, quote(BTC, "67250.10"))
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
