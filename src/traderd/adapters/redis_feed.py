"""The outward feed: the newest ticker of every symbol in a Redis cache, and channels for whoever listens.

    cache:ticker:{symbol}      JSON, the newest quote of any venue, gone after ten seconds without one
    traderd:ticks:{symbol}     the same JSON, at most one message in each interval: newest wins
    traderd:candles:{symbol}   traderd:signals:{symbol}   traderd:orders:{symbol}   one message for each fact
    traderd:alerts             one message for each alert

A message is one JSON object. Prices and quantities are exact decimal text, times are ISO 8601 in UTC with microseconds.
Best effort: nothing here waits for Redis, and what Redis can't take is dropped, the oldest first, and counted.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from traderd.adapters.logs import RateLimited, logger
from traderd.adapters.metrics import Metrics
from traderd.core.backoff import Backoff
from traderd.core.facts import Alert, Candle, Fact, Order, Signal
from traderd.core.market import Quote, Trade

CACHE_KEY: Final = "cache:ticker:"
TICKS: Final = "traderd:ticks"
CHANNELS: Final[dict[type[Fact], str]] = {
    Candle: "traderd:candles",
    Signal: "traderd:signals",
    Order: "traderd:orders",
    Alert: "traderd:alerts",
}
"""Facts of other kinds aren't published: they are in the database."""
UNPUBLISHED: Final = frozenset({"bid", "ask", "bid_size", "ask_size", "expires_ns"})
"""Fields of facts that stand in the database alone: a candle's closing quote has the ticks' own channel."""
_TTL_MS: Final = 10_000
_FACTS_MAX: Final = 10_000
_PIPELINE_MAX: Final = 100


class _Message(NamedTuple):
    channel: str
    body: bytes
    key: str
    """Where it is cached as well; "" for nowhere."""


class NoFeed:
    """runtime.ports.Feed where Redis is switched off."""

    def quote(self, quote: Quote) -> None:
        """Nobody is told."""

    def fact(self, fact: Fact) -> None:
        """Nobody is told."""


class RedisFeed:
    """runtime.ports.Feed into Redis. `run` must run beside it; nothing is sent before and after that.

    `last_trades` is asked for the last trade of an instrument by its index; where there is none, `last` is null.
    """

    def __init__(
        self,
        url: str,
        metrics: Metrics,
        last_trades: Sequence[Trade | None] = (),
        *,
        interval_s: float = 0.1,
        timeout_s: float = 2.0,
        facts_max: int = _FACTS_MAX,
    ) -> None:
        """Raises ValueError when the URL isn't a redis://, rediss:// or unix:// one; connects to nothing yet."""
        self._metrics = metrics
        self._last_trades = last_trades
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._backoff = Backoff(max(interval_s, 0.1), 5.0, 10.0)
        self._log = RateLimited(logger(), 1, 60.0)
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A retry would publish twice, and we have a rhythm of our own.
            retry=Retry(NoBackoff(), 0),
            client_name="traderd",
        )
        self._quotes: dict[int, Quote] = {}
        self._facts: deque[Fact] = deque(maxlen=facts_max)
        self._sent_ns: dict[str, int] = {}
        self._up = False

    def quote(self, quote: Quote) -> None:
        """Newest wins. Called for every tick: one assignment, nothing else."""
        self._quotes[quote.instrument.index] = quote

    def fact(self, fact: Fact) -> None:
        """Publish one fact on its channel; with too many waiting the oldest is dropped and counted."""
        if type(fact) not in CHANNELS:
            return
        if len(self._facts) == self._facts.maxlen:
            self._metrics.redis_drops.inc()
        self._facts.append(fact)

    async def run(self) -> None:
        """Until cancelled: hand over what gathered, once in each interval; a Redis that is away is tried again."""
        loop = asyncio.get_running_loop()
        well_since = 0.0
        this = asyncio.current_task()
        assert this is not None
        # redis-py waits by asyncio.wait_for, which before Python 3.12 swallows a cancellation now and then.
        while not this.cancelling():
            await asyncio.sleep(self._interval_s)
            if await self.flush():
                well_since = well_since or loop.time()
                self._backoff.healthy(loop.time() - well_since)
            else:
                well_since = 0.0
                await asyncio.sleep(self._backoff.delay(random.random()))

    async def flush(self) -> bool:
        """Hand over what gathered until now; False if Redis didn't take it. Raises nothing of Redis' own.

        While Redis is away facts wait, up to `facts_max`, and quotes go on being replaced by newer ones. What was under
        way when it went is not sent again: that could be twice.
        """
        quotes, self._quotes = self._quotes, {}
        try:
            await self._reach()
            for _ in range(0, len(self._facts), _PIPELINE_MAX):
                facts = [self._facts.popleft() for _ in range(min(len(self._facts), _PIPELINE_MAX))]
                await self._send([_Message(channel_of(fact), message_of(fact), "") for fact in facts])
            while quotes:
                batch = [quotes.pop(index) for index in list(quotes)[:_PIPELINE_MAX]]
                await self._send([self._ticker(quote) for quote in batch if self._is_newest(quote)])
        except (RedisError, OSError, TimeoutError) as fault:
            self._quotes = quotes | self._quotes
            await self._lose(fault)
            return False
        return True

    async def close(self) -> None:
        """Hand over the rest, unless Redis is away, and hang up; a few time-outs later at most."""
        await self._hang_up()  # the connection may have been left in the middle of an answer
        if self._up:
            await self.flush()
            await self._hang_up()

    async def _reach(self) -> None:
        if not self._up:
            async with asyncio.timeout(self._timeout_s):
                await self._redis.ping()
            self._up = True
            self._metrics.redis_up.set(1)

    async def _lose(self, fault: Exception) -> None:
        self._up = False
        self._metrics.redis_up.set(0)
        why = " ".join(str(fault).split()) or "no answer in time"
        self._log.warning("redis does not take messages", rate="redis", reason=why)
        await self._hang_up()

    def _is_newest(self, quote: Quote) -> bool:
        """Where two venues quote one symbol the other's may have been newer, now or a moment ago."""
        symbol, time_ns = quote.instrument.symbol, quote.time_received_ns
        newest = time_ns >= self._sent_ns.get(symbol, 0)
        if newest:
            self._sent_ns[symbol] = time_ns
        return newest

    def _ticker(self, quote: Quote) -> _Message:
        instrument = quote.instrument
        trades = self._last_trades
        trade = trades[instrument.index] if instrument.index < len(trades) else None
        body = orjson.dumps(
            {
                "exchange": instrument.exchange,
                "symbol": instrument.symbol,
                "bid": quote.bid_text,
                "ask": quote.ask_text,
                "bid_size": quote.bid_size_text,
                "ask_size": quote.ask_size_text,
                "last": trade.price_text if trade is not None else None,
                "time": iso(quote.time_venue_ns or quote.time_received_ns),
                "time_received": iso(quote.time_received_ns),
            }
        )
        return _Message(f"{TICKS}:{instrument.symbol}", body, CACHE_KEY + instrument.symbol)

    async def _send(self, messages: list[_Message]) -> None:
        """One pipeline: a few milliseconds of the loop at most."""
        pipeline = self._redis.pipeline(transaction=False)
        for channel, body, key in messages:
            if key:
                pipeline.set(key, body, px=_TTL_MS)
            pipeline.publish(channel, body)
        try:
            async with asyncio.timeout(self._timeout_s):
                await pipeline.execute()
        except BaseException:
            self._metrics.redis_drops.inc(len(messages))
            raise
        self._metrics.redis_published.inc(len(messages))

    async def _hang_up(self) -> None:
        """A connection that failed half-way may still hold answers to what was asked before: it isn't used again."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._redis.aclose()
        except (RedisError, OSError, TimeoutError):
            pass


def channel_of(fact: Fact) -> str:
    """Alerts have one channel; everything else has one for each symbol."""
    channel = CHANNELS[type(fact)]
    return channel if isinstance(fact, Alert) else f"{channel}:{fact.symbol}"  # type: ignore[union-attr]


def message_of(fact: Fact) -> bytes:
    """The fact's own fields, its kind as `type`, and times as text: `time_ns` becomes `time`, null for not yet."""
    fields: dict[str, Any] = msgspec.to_builtins(fact)
    return orjson.dumps(
        {
            name.removesuffix("_ns"): iso(value) if name.endswith("_ns") else value
            for name, value in fields.items()
            if name not in UNPUBLISHED
        }
    )


def iso(time_ns: int) -> str | None:
    """Nanoseconds since the epoch → `2026-01-31T23:59:59.123456Z`; None for 0."""
    if not time_ns:
        return None
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC).replace(microsecond=time_ns % 10**9 // 1000, tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"
