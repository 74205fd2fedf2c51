"""What waits for one Redis server, and its way there: tickers (newest wins), facts, and ticks for its streams.

Bounded in memory: one ticker a symbol, so many facts, so many ticks, the oldest of which are dropped and counted; and
in flight: one parcel of at most 256 messages. A server that is away, refuses us or is a replica now is tried again
after a growing pause. Refuses to send a fact or a streamed tick twice: those under way when the connection ended are
counted as dropped. A ticker under way is sent again with a higher number, unless a newer one came.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from redis.exceptions import AuthenticationError, ResponseError

from traderd.adapters.logs import RateLimited
from traderd.adapters.metrics import Metrics
from traderd.adapters.redis_link import FAULTS, RedisLink, refusals
from traderd.adapters.redis_messages import (
    TICKS,
    cache,
    cache_and_publish,
    channel_of,
    message_of,
    publish,
    stream_entry,
    ticker_of,
    together,
)
from traderd.core.backoff import Backoff
from traderd.core.facts import Fact
from traderd.core.market import Quote, Trade

T = TypeVar("T")
Tickers = Literal["each", "batch", "both"]
_PARCEL_MAX: Final = 256
_FACTS_A_PARCEL_MAX: Final = 32
"""Each takes as long as several tickers to be put into words, and the loop waits meanwhile."""
_FACTS_A_FLUSH_MAX: Final = 1_000
"""After an outage: a burst of all of them could pass a subscriber's output buffer limit."""
_TICKS_A_FLUSH_MAX: Final = 10_000
ELSEWHERE: Final = frozenset(
    {"READONLY", "MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS"}
)
"""Refusals that mean: not here, or not now. The connection is given up, and what was to be cached is sent again."""
KINDS: Final = ELSEWHERE | {"OOM", "NOPERM", "MISCONF", "NOREPLICAS", "BUSY", "ERR"}
"""Refusals that are told by name; all others count as `other`."""


@dataclass(frozen=True)
class Terms:
    """What all servers' lanes have in common."""

    metrics: Metrics
    log: RateLimited
    last_trades: Sequence[Trade | None]
    number: Callable[[], int]
    """The next message's `seq`."""
    tickers: Tickers
    stream_entries_max: int
    facts_max: int
    ticks_max: int
    interval_s: float
    timeout_s: float


@dataclass
class _Parcel:
    """One exchange: commands, and what they stand for."""

    commands: list[bytes]
    replies: int
    tickers: list[Quote] = field(default_factory=list)
    facts: int = 0
    """Messages that must not be sent twice: facts, or ticks for the streams."""
    published: int = 0
    """PUBLISH and XADD: what listeners get."""


class Lane:
    """Give it what is for its server, and `flush` it at intervals."""

    def __init__(self, url: str, terms: Terms) -> None:
        """Raises ValueError when the URL isn't one."""
        self.tickers: dict[str, Quote] = {}
        self.facts: deque[Fact] = deque()
        self.ticks: deque[Quote | Trade] = deque()
        self.up = False
        self.link = RedisLink(url, terms.timeout_s)
        self._terms = terms
        self._away = Backoff(max(terms.interval_s, 0.1), 5.0, 10.0)
        self._refused = Backoff(1.0, 60.0, 10.0)
        self._well_since_s = 0.0
        self.told = ""
        """What is wrong with it; "" while nothing is."""

    def show(self, quote: Quote) -> None:
        """Newest wins."""
        self.tickers[quote.instrument.symbol] = quote

    def tell(self, fact: Fact) -> None:
        """With too many waiting the oldest is dropped and counted."""
        if len(self.facts) >= self._terms.facts_max:
            self.facts.popleft()
            self._terms.metrics.redis_drops.inc()
        self.facts.append(fact)

    def stream(self, tick: Quote | Trade) -> None:
        """The same for a tick."""
        if len(self.ticks) >= self._terms.ticks_max:
            self.ticks.popleft()
            self._terms.metrics.redis_drops.inc()
        self.ticks.append(tick)

    async def flush(self) -> float:
        """Hand over what waits. 0 if Redis took it, else the seconds to leave it alone. Raises none of FAULTS."""
        try:
            await self._reach()
            for parcel in self._parcels():
                await self._hand_over(parcel)
        except FAULTS as fault:
            return self.lose(fault)
        now_s = asyncio.get_running_loop().time()
        self._well_since_s = self._well_since_s or now_s
        for backoff in (self._away, self._refused):
            backoff.healthy(now_s - self._well_since_s)
        return 0.0

    def hang_up(self) -> None:
        """At once."""
        self.link.hang_up()
        self.up = False

    def take(self) -> tuple[list[Quote], list[Fact], list[Quote | Trade]]:
        """All that waits, to be dealt anew."""
        waiting = list(self.tickers.values()), list(self.facts), list(self.ticks)
        for each in (self.tickers, self.facts, self.ticks):
            each.clear()
        return waiting

    def found(self) -> None:
        """Redis answers."""
        if self.told:
            self._terms.log.warning("redis takes messages again", rate="redis again")
            self.told = ""

    def lose(self, fault: Exception) -> float:
        """Hang up, tell why unless that is known, and say how many seconds to wait."""
        self.link.hang_up()
        self.up, self._well_since_s = False, 0.0
        why = " ".join(str(fault).split()) or "no answer in time"
        if why != self.told:  # what goes on for hours is told once
            self.told = why
            self._terms.log.warning("redis does not take messages", rate="redis", reason=why)
        refused = isinstance(fault, AuthenticationError)
        return (self._refused if refused else self._away).delay(random.random())

    async def _reach(self) -> None:
        if self.up and self.link.is_open:
            return
        if self.up:
            raise ConnectionError("the server hung up")
        await self.link.open()
        self.up = True
        self.found()

    def _parcels(self) -> Iterator[_Parcel]:
        """One after the other, encoded when the one before has been taken: a third of a millisecond each."""
        number = self._terms.number
        for facts in _portions(self.facts, _FACTS_A_FLUSH_MAX, _FACTS_A_PARCEL_MAX):
            commands = [publish(channel_of(fact), message_of(fact, number())) for fact in facts]
            yield _Parcel(commands, len(facts), facts=len(facts), published=len(facts))
        waiting, self.tickers = list(self.tickers.values()), {}
        for start in range(0, len(waiting), _PARCEL_MAX):
            yield self._ticker_parcel(waiting[start : start + _PARCEL_MAX], waiting[start + _PARCEL_MAX :])
        for ticks in _portions(self.ticks, _TICKS_A_FLUSH_MAX, _PARCEL_MAX):
            commands = [stream_entry(tick, self._terms.stream_entries_max) for tick in ticks]
            yield _Parcel(commands, len(ticks), facts=len(ticks), published=len(ticks))

    def _ticker_parcel(self, quotes: list[Quote], rest: list[Quote]) -> _Parcel:
        terms = self._terms
        trades = terms.last_trades
        bodies = [
            (
                quote.instrument.symbol,
                ticker_of(
                    quote,
                    trades[quote.instrument.index] if quote.instrument.index < len(trades) else None,
                    terms.number(),
                ),
            )
            for quote in quotes
        ]
        if terms.tickers == "batch":
            parcel = _Parcel([cache(symbol, body) for symbol, body in bodies], len(bodies))
        else:
            commands = [cache_and_publish(symbol, body) for symbol, body in bodies]
            parcel = _Parcel(commands, 2 * len(bodies), published=len(bodies))
        if terms.tickers != "each":
            parcel.commands.append(publish(TICKS, together(body for _, body in bodies)))
            parcel.replies += 1
            parcel.published += 1
        parcel.tickers = quotes + rest
        return parcel

    async def _hand_over(self, parcel: _Parcel) -> None:
        try:
            answer = await self.link.exchange(b"".join(parcel.commands), parcel.replies)
        except BaseException:
            self._terms.metrics.redis_drops.inc(parcel.facts)
            self._put_back(parcel.tickers)
            raise
        refused = refusals(answer)
        published = parcel.published
        if refused:
            # A PUBLISH is answered by an integer, an XADD by a bulk string, a SET by `+OK`.
            published = answer.count(b"\n:") + answer.startswith(b":") + answer.count(b"\n$") + answer.startswith(b"$")
            self._terms.metrics.redis_drops.inc(parcel.published - published)
        self._terms.metrics.redis_published.inc(published)
        if refused:
            self._count(refused, parcel)

    def _count(self, refused: list[str], parcel: _Parcel) -> None:
        """Raises ResponseError where the server won't do at all."""
        for text in refused:
            kind = text.partition(" ")[0]
            self._terms.metrics.redis_refused.labels(kind if kind in KINDS else "other").inc()
        gone = [text for text in refused if text.partition(" ")[0] in ELSEWHERE]
        if gone:
            self._put_back(parcel.tickers)
            raise ResponseError(gone[0])
        self._terms.log.warning("redis refuses commands", rate="redis refuses", reason=refused[0])

    def _put_back(self, quotes: list[Quote]) -> None:
        """Unless newer ones came meanwhile."""
        for quote in quotes:
            self.tickers.setdefault(quote.instrument.symbol, quote)


def _portions(queue: deque[T], count_max: int, size: int) -> Iterator[list[T]]:
    """Of a queue that others may empty meanwhile."""
    for _ in range(0, count_max, size):
        if not queue:
            return
        yield [queue.popleft() for _ in range(min(len(queue), size))]
