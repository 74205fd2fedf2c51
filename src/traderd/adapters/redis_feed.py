"""The outward feed: the newest ticker of every symbol in a Redis cache, and channels for whoever listens.

What is said there, word for word, is in `redis_messages`. A tick costs one assignment; once in each interval what
gathered is handed over. Best effort: nothing here waits for Redis, and what Redis can't take is dropped, the oldest
first, and counted.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Final

from traderd.adapters.logs import RateLimited, logger
from traderd.adapters.metrics import Metrics
from traderd.adapters.redis_cluster import ClusterMap
from traderd.adapters.redis_lane import Lane, Terms, Tickers
from traderd.adapters.redis_link import FAULTS, parts
from traderd.adapters.redis_messages import CACHE_KEY, CHANNELS, channel_of, stream_of
from traderd.config import Config
from traderd.core.facts import Fact
from traderd.core.market import Quote, Trade

_FACTS_MAX: Final = 10_000
_TICKS_MAX: Final = 50_000
_CLOCK_STEP_NS: Final = 1_000_000_000
"""A quote this much older than the one before isn't late: our clock was set back."""


def feed_of(config: Config, url: str, metrics: Metrics, last_trades: Sequence[Trade | None]) -> "RedisFeed | NoFeed":
    """What the configuration asks for, into the Redis at `url`."""
    if config.redis == "off":
        return NoFeed()
    return RedisFeed(
        url,
        metrics,
        last_trades,
        interval_s=config.feed.interval_ms / 1000,
        timeout_s=config.feed.timeout_s,
        tickers=config.feed.tickers,
        stream_entries_max=config.feed.stream_entries_max,
    )


class NoFeed:
    """runtime.ports.Feed where Redis is switched off."""

    def __init__(self) -> None:
        self.newest: dict[int, Quote] = {}
        """Nobody reads them."""

    def ticks(self, ticks: Sequence[Quote] | Sequence[Trade]) -> None:
        """Nobody is told."""

    def fact(self, fact: Fact) -> None:
        """Nobody is told."""


class RedisFeed:
    """runtime.ports.Feed into Redis. `run` must run beside it; nothing is sent before and after that.

    `last_trades` is asked for the last trade of an instrument by its index; where there is none, `last` is null.
    `tickers`: `each` symbol's in a message of its own, a `batch` of them in one, or both. `stream_entries_max`: about
    how many ticks each symbol's streams keep; 0 for no streams.
    """

    def __init__(
        self,
        url: str,
        metrics: Metrics,
        last_trades: Sequence[Trade | None] = (),
        *,
        interval_s: float = 0.1,
        timeout_s: float = 2.0,
        tickers: Tickers = "each",
        stream_entries_max: int = 0,
        facts_max: int = _FACTS_MAX,
        ticks_max: int = _TICKS_MAX,
    ) -> None:
        """Raises ValueError when the URL isn't a redis://, rediss:// or unix:// one, or such a one of a cluster.

        Connects to nothing yet.
        """
        log = RateLimited(logger(), 1, 60.0)
        # Microseconds of the epoch first: with less than a message a microsecond the next life begins higher.
        self._numbers = itertools.count(time.time_ns() // 1_000)
        self._terms = Terms(
            metrics, log, last_trades, self._numbers.__next__, tickers, stream_entries_max, facts_max, ticks_max,
            interval_s, timeout_s,
        )  # fmt: skip
        self.newest: dict[int, Quote] = {}
        """By instrument, since the last interval: a tick costs one assignment."""
        self._newest_ns: dict[str, int] = {}
        plain, clustered = parts(url)
        self._map = ClusterMap(plain, timeout_s) if clustered else None
        self._home = Lane(plain, self._terms)
        """The only server's; of a cluster, where things wait while no server has their slot."""
        self._lanes = {} if clustered else {plain: self._home}

    def ticks(self, ticks: Sequence[Quote] | Sequence[Trade]) -> None:
        """A batch of one venue's, for the streams; with too many waiting the oldest are dropped and counted."""
        if self._terms.stream_entries_max:
            for tick in ticks:
                self._lane(stream_of(tick)).stream(tick)

    def fact(self, fact: Fact) -> None:
        """Publish one fact on its channel; with too many waiting the oldest is dropped and counted."""
        if type(fact) in CHANNELS:
            self._lane(channel_of(fact)).tell(fact)

    async def run(self) -> None:
        """Until cancelled: hand over what gathered, once in each interval; a Redis that is away is tried again."""
        if self._map is None:
            await self._serve(self._home)
        else:
            await self._serve_cluster(self._map)

    async def flush(self) -> bool:
        """Hand over what gathered until now; False if Redis didn't take it all. Raises nothing of Redis' own.

        While Redis is away facts wait, up to `facts_max`, and quotes go on being replaced by newer ones.
        """
        if self._map is not None and self._map.stale:
            await self._follow(self._map)
        self._deal()
        await asyncio.gather(*(lane.flush() for lane in self._lanes.values()))
        return self._mark()

    async def close(self) -> None:
        """Hand over the rest, unless Redis is away, and hang up; two time-outs later at most."""
        were_up = any(lane.up for lane in self._lanes.values())
        for lane in self._lanes.values():
            if not lane.link.is_open:  # `run` was cancelled in the middle of an exchange
                lane.hang_up()
        if were_up:
            try:
                async with asyncio.timeout(2 * self._terms.timeout_s):
                    await self.flush()
            except TimeoutError:
                pass
        for lane in self._lanes.values():
            lane.hang_up()

    async def _serve(self, lane: Lane) -> None:
        this = asyncio.current_task()
        assert this is not None
        # redis-py waits by asyncio.wait_for, which before Python 3.12 swallows a cancellation now and then.
        while not this.cancelling():
            await asyncio.sleep(self._terms.interval_s)
            self._deal()
            pause_s = await lane.flush()
            self._mark()
            if pause_s and self._map is not None:
                self._map.stale = True
            await asyncio.sleep(pause_s)

    async def _serve_cluster(self, cluster: ClusterMap) -> None:
        """One task for each server, so that none waits for another one."""
        this = asyncio.current_task()
        assert this is not None
        serving: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while not this.cancelling():
                pause_s = await self._follow(cluster) if cluster.stale else 0.0
                for url in serving.keys() - self._lanes.keys():
                    serving.pop(url).cancel()
                for url in self._lanes.keys() - serving.keys():
                    serving[url] = group.create_task(self._serve(self._lanes[url]), name=f"redis feed {len(serving)}")
                await asyncio.sleep(pause_s or self._terms.interval_s)
            for task in serving.values():  # where our own cancellation was swallowed
                task.cancel()

    async def _follow(self, cluster: ClusterMap) -> float:
        """Learn who has what now. Returns the seconds to wait before the next attempt if nobody tells."""
        try:
            await cluster.read()
        except FAULTS as fault:
            return self._home.lose(fault)
        self._home.found()
        lanes = [self._home, *self._lanes.values()]
        for url in self._lanes.keys() - cluster.urls:
            self._lanes.pop(url).hang_up()
        self._lanes |= {url: Lane(url, self._terms) for url in cluster.urls - self._lanes.keys()}
        for lane in lanes:  # any slot may have moved
            quotes, facts, ticks = lane.take()
            for quote in quotes:
                self._lane(CACHE_KEY + quote.instrument.symbol).show(quote)
            for fact in facts:
                self._lane(channel_of(fact)).tell(fact)
            for tick in ticks:
                self._lane(stream_of(tick)).stream(tick)
        return 0.0

    def _lane(self, key: str) -> Lane:
        return self._home if self._map is None else self._lanes.get(self._map.owner(key), self._home)

    def _deal(self) -> None:
        """The newest quotes to the servers that they are for."""
        quotes = list(self.newest.values())
        self.newest.clear()
        for quote in quotes:
            if self._is_newest(quote):
                self._lane(CACHE_KEY + quote.instrument.symbol).show(quote)

    def _is_newest(self, quote: Quote) -> bool:
        """Where two venues quote one symbol the other's may have been newer, now or a moment ago."""
        symbol, time_ns = quote.instrument.symbol, quote.time_received_ns
        newest = not 0 < self._newest_ns.get(symbol, 0) - time_ns < _CLOCK_STEP_NS
        if newest:
            self._newest_ns[symbol] = time_ns
        return newest

    def _mark(self) -> bool:
        up = bool(self._lanes) and all(lane.up for lane in self._lanes.values())
        self._terms.metrics.redis_up.set(up)
        return up
