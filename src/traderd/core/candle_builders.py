"""The candle builders of all instruments.

Trades mostly come in the order of their times, and then a candle is a matter of memory and not of thought: the bars of
all instruments lie together (src/native/candles.c), and those of the next trades are fetched meanwhile. What isn't so
plain (a late trade, a clock that was set back, more digits than 128 bits hold) is a CandleBuilder's, which is lent the
instrument's state for it.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from traderd.core.candle_state import pack, unpack
from traderd.core.candles import CandleBuilder, LateTrades, intervals_of
from traderd.core.facts import Candle
from traderd.core.market import Instrument, Quote, Trade

if TYPE_CHECKING:
    from traderd import native

Told = list[tuple[int, Candle]]
"""Candles with their instruments' index."""
_KEPT_MAX = 16


class CandleBuildersSlowly:
    """One CandleBuilder for each instrument."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        timeframes: Sequence[str],
        grace_ns: int,
        quotes: list[Quote | None],
    ) -> None:
        """`quotes` are the newest, by the instruments' index, and somebody else's."""
        self._late = LateTrades(by_timeframe=dict.fromkeys(timeframes, 0))
        self._grace_ns = grace_ns
        self._builders = [CandleBuilder(each, timeframes, grace_ns, quotes, self._late) for each in instruments]

    @property
    def late(self) -> LateTrades:
        """Those that were too late."""
        return self._late

    def on_trades(self, trades: list[Trade]) -> Told:
        """Take them in; the candles that their times close or that they amend."""
        told: Told = []
        for trade in trades:
            index = trade.instrument.index
            told += _with(index, self._builders[index].on_trade(trade))
        return told

    def on_beat(self, now_ns: int) -> Told:
        """The candles whose end is more than the grace ago."""
        return [each for at, builder in enumerate(self._builders) for each in _with(at, builder.on_beat(now_ns))]

    def set_clock_offset(self, index: int, offset_ns: int) -> None:
        """How far this one's venue's clock is ahead of ours: by so much its bars end sooner for us."""
        self._builders[index].grace_ns = self._grace_ns - offset_ns

    def clock_set_back(self, now_ns: int) -> Told:
        """The candles in progress, as they are; those to come are of the time that it is now."""
        builders = enumerate(self._builders)
        return [each for at, builder in builders for each in _with(at, builder.clock_set_back(now_ns))]


class _CandleBuilders:
    """The same: what comes in order is done in C, the rest by a CandleBuilder that is lent the state for it."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        timeframes: Sequence[str],
        grace_ns: int,
        quotes: list[Quote | None],
    ) -> None:
        self._late = LateTrades(by_timeframe=dict.fromkeys(timeframes, 0))
        self._instruments = list(instruments)
        self._timeframes = timeframes
        self._grace_ns = grace_ns
        self._quotes = quotes
        intervals = intervals_of(timeframes)
        self._names = [each.name for each in intervals]
        shortest_ns = min((each.length_ns for each in intervals), default=1)
        self._kept = min(2 + max(grace_ns, 0) // shortest_ns, _KEPT_MAX)
        self._native = native.Candles(self._instruments, intervals, grace_ns, self._kept, quotes, Candle)
        self._lent: dict[int, CandleBuilder] = {}

    @property
    def late(self) -> LateTrades:
        trades, counts = self._native.late()
        self._late.trades += trades
        for name, count in zip(self._names, counts, strict=True):
            self._late.by_timeframe[name] += count
        return self._late

    def on_trades(self, trades: list[Trade]) -> Told:
        told: Told = []
        at = self._native.take(trades, 0, told)
        while at < len(trades):  # it has stopped at one that isn't for it
            index = trades[at].instrument.index
            told += _with(index, self._borrow(index).on_trade(trades[at]))
            at = self._native.take(trades, at + 1, told)
        return told

    def on_beat(self, now_ns: int) -> Told:
        told: Told = []
        for index in (*self._lent, *self._native.beat(now_ns, told)):
            told += _with(index, self._borrow(index).on_beat(now_ns))
            self._give_back(index)
        return told

    def set_clock_offset(self, index: int, offset_ns: int) -> None:
        self._native.set_grace(index, self._grace_ns - offset_ns)
        if index in self._lent:
            self._lent[index].grace_ns = self._grace_ns - offset_ns

    def clock_set_back(self, now_ns: int) -> Told:
        told: Told = []
        for index in range(len(self._instruments)):
            told += _with(index, self._borrow(index).clock_set_back(now_ns))
        return told

    def _borrow(self, index: int) -> CandleBuilder:
        if index not in self._lent:
            at = self._instruments[index]
            self._lent[index] = CandleBuilder(at, self._timeframes, self._grace_ns, self._quotes, self._late)
            unpack(self._lent[index], self._native.lend(index), self._kept)
        return self._lent[index]

    def _give_back(self, index: int) -> None:
        """With a beat after which nothing was late; unless the builder still has what is none of C's.

        To lend costs as much as some late trades: where they keep coming, as of a venue that is slow, they have it.
        """
        builder = self._lent[index]
        if builder.late_ones:
            builder.late_ones = 0
            return
        with suppress(OverflowError):
            self._native.take_back(index, pack(builder, self._kept))
            del self._lent[index]


def _with(index: int, candles: Iterable[Candle]) -> Told:
    return [(index, candle) for candle in candles]


if TYPE_CHECKING:
    CandleBuilders = CandleBuildersSlowly
else:
    try:
        from traderd import native

        CandleBuilders = _CandleBuilders
    except ImportError:  # installed where no C compiler was at hand
        CandleBuilders = CandleBuildersSlowly
