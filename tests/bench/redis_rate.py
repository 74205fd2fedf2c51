"""Microseconds of CPU a message into a real Redis, ours beside redis-py's: `python tests/bench/redis_rate.py`.

Of 1, 100 and 1,000 symbols: what a tick costs the feed, and what a ticker costs when the feed hands it over (one SET
and one PUBLISH, body and all; in batches: one SET). The rivals send the same bodies, ready-made: redis-py's pipeline
the same two commands, and an awaited publish the message alone. CPU is this process's; `wall` is what passes until
Redis has answered. Each figure is the best of several rounds, and all are of the same run.
"""

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import uvloop
from redis.asyncio import Redis

from traderd.adapters.embedded import EmbeddedRedis
from traderd.adapters.metrics import Metrics
from traderd.adapters.redis_feed import RedisFeed
from traderd.adapters.redis_messages import CACHE_KEY, TICKS, ticker_of
from traderd.core.market import Instrument, Quote

T = 1_769_904_000_123_456_789
ROUNDS = 30
TICKS_A_ROUND = 100_000


class Cost(NamedTuple):
    """Microseconds for each."""

    cpu: float
    wall: float


async def main() -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory(prefix="traderd-bench-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedRedis(Path(folder))
        url = await server.start()
        print(f"{'µs':31}" + "".join(f"{f'{n} symbols':>20}{'wall':>8}" for n in (1, 100, 1_000)))
        try:
            await print_table(url)
        finally:
            await server.stop()


async def print_table(url: str) -> None:
    """One column for each number of symbols."""
    columns = [await measured(url, n) for n in (1, 100, 1_000)]
    for name in columns[0]:
        cells = "".join(f"{column[name].cpu:20.2f}{column[name].wall:8.2f}" for column in columns)
        print(f"{name:31}{cells}")
    ratios = [column["redis-py, pipeline"].cpu / column["feed, a ticker"].cpu for column in columns]
    print(f"{'redis-py, pipeline / feed':31}" + "".join(f"{ratio:20.1f}{'':8}" for ratio in ratios))


async def measured(url: str, symbols: int) -> dict[str, Cost]:
    """What each way costs for each ticker."""
    quotes = [quote(n) for n in range(symbols)]
    found = {"feed, a tick": tick_cost(url, quotes)}
    for name, tickers in (("feed, a ticker", "each"), ("feed, a ticker in batches", "batch")):
        feed = RedisFeed(url, Metrics(), tickers=tickers)  # type: ignore[arg-type]

        async def hand_over(feed: RedisFeed = feed) -> None:
            for one in quotes:
                feed.newest[one.instrument.index] = one
            assert await feed.flush()

        found[name] = await best(hand_over, symbols)
        await feed.close()
    streaming = RedisFeed(url, Metrics(), stream_entries_max=1_000)

    async def stream() -> None:
        streaming.ticks(quotes)
        assert await streaming.flush()

    found["feed, a tick to its stream"] = await best(stream, symbols)
    await streaming.close()
    async with Redis.from_url(url) as redis:
        bodies = [(one.instrument.symbol, ticker_of(one, None, 1)) for one in quotes]

        async def pipeline() -> None:
            piped = redis.pipeline(transaction=False)
            for symbol, body in bodies:
                piped.set(CACHE_KEY + symbol, body, px=10_000)
                piped.publish(f"{TICKS}:{symbol}", body)
            await piped.execute()

        async def awaited() -> None:
            for symbol, body in bodies:
                await redis.publish(f"{TICKS}:{symbol}", body)

        found["redis-py, pipeline"] = await best(pipeline, symbols)
        found["redis-py, awaited publish alone"] = await best(awaited, symbols)
    return found


def tick_cost(url: str, quotes: list[Quote]) -> Cost:
    """Conflation: what the hot path pays."""
    feed = RedisFeed(url, Metrics())
    ticks = quotes * (TICKS_A_ROUND // len(quotes))
    costs = []
    for _ in range(5):
        started, cpu = time.perf_counter(), time.process_time()
        for one in ticks:
            feed.newest[one.instrument.index] = one
        costs.append(Cost(time.process_time() - cpu, time.perf_counter() - started))
    return least(costs, len(ticks))


async def best(way: Callable[[], Awaitable[None]], messages: int) -> Cost:
    """Of several rounds, after one to warm up."""
    await way()
    costs = []
    for _ in range(ROUNDS):
        started, cpu = time.perf_counter(), time.process_time()
        await way()
        costs.append(Cost(time.process_time() - cpu, time.perf_counter() - started))
    return least(costs, messages)


def least(costs: list[Cost], count: int) -> Cost:
    """The quickest round, for each of its messages."""
    return Cost(min(cost.cpu for cost in costs) / count * 1e6, min(cost.wall for cost in costs) / count * 1e6)


def quote(index: int) -> Quote:
    """Of a symbol of its own."""
    symbol = f"SYM{index:04}/USDT"
    instrument = Instrument(index, "binance", symbol, symbol.replace("/", ""), f"SYM{index:04}", "USDT")
    return Quote(instrument, 67250.1, 67250.2, "67250.10,1.00000000,67250.20,2.5", 1, T, T)


if __name__ == "__main__":
    uvloop.run(main())
