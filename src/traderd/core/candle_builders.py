"""The candle builders of all instruments.

Trades mostly come in the order of their times, and then a candle is a matter of memory and not of thought: the bars of
all instruments lie together (src/native/candles.c), and those of the next trades are fetched meanwhile. What isn't so
plain (a late trade, a clock that was set back, more digits than 128 bits hold) is a CandleBuilder's, which is lent the
instrument's state for it.
"""

import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from traderd.core.candles import Bar, CandleBuilder, LateTrades, intervals_of
from traderd.core.facts import Candle
from traderd.core.market import Instrument, Quote, Trade
from traderd.core.traded import Figures, Traded, TradedSlowly

if TYPE_CHECKING:
    from traderd import native

Told = list[tuple[int, Candle]]
"""Candles with their instruments' index."""

_HEAD = struct.Struct("<5q")  # deadline, floor, now, grace, kept from
_SUM = struct.Struct("<16s16s16s16s16s16s3q2i")  # prices, volumes, first, last, count, places of either
_BAR = struct.Struct("<4q")  # opened, ends, closed to, place of the next that is kept
_CLOSED = struct.Struct("<2q")  # opened, nothing
_NOTHING = bytes(_SUM.size)
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
            _unpack(self._lent[index], self._native.lend(index), self._kept)
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
            self._native.take_back(index, _pack(builder, self._kept))
            del self._lent[index]


def _with(index: int, candles: Iterable[Candle]) -> Told:
    return [(index, candle) for candle in candles]


def _unpack(builder: CandleBuilder, state: bytes, kept: int) -> None:
    """As src/native/candles.c lays out one instrument's Head and, for each timeframe, Bar and ring of Closed."""
    builder.deadline_ns, builder.floor_ns, builder.now_ns, builder.grace_ns, builder.kept_from_ns = _HEAD.unpack_from(
        state
    )
    at = _HEAD.size
    for bar in builder.bars:
        bar.part = _sum_at(state, at)
        bar.open_time_ns, bar.end_ns, bar.closed_to_ns, _ = _BAR.unpack_from(state, at + _SUM.size)
        at += _SUM.size + _BAR.size
        for _ in range(kept):
            opened_ns, _ = _CLOSED.unpack_from(state, at + _SUM.size)
            if part := _sum_at(state, at):
                bar.closed[opened_ns] = part
            at += _SUM.size + _CLOSED.size


def _pack(builder: CandleBuilder, kept: int) -> bytes:
    """The inverse. Raises OverflowError where there is more than C keeps."""
    head = builder.deadline_ns, builder.floor_ns, builder.now_ns, builder.grace_ns, builder.kept_from_ns
    return _HEAD.pack(*head) + b"".join(_packed(bar, builder.kept_from_ns, kept) for bar in builder.bars)


def _packed(bar: Bar, keep_from_ns: int, kept: int) -> bytes:
    bar.keep_from(keep_from_ns)
    if len(bar.closed) > kept:
        raise OverflowError("more bars that may be amended than are kept in C")
    ring = [_summed(part) + _CLOSED.pack(opened_ns, 0) for opened_ns, part in sorted(bar.closed.items())]
    times = bar.open_time_ns, bar.end_ns, bar.closed_to_ns, len(ring) % kept
    free = bytes(_SUM.size + _CLOSED.size) * (kept - len(ring))
    return _summed(bar.part) + _BAR.pack(*times) + b"".join(ring) + free


def _sum_at(state: bytes, at: int) -> Traded | None:
    *figures, first_ns, last_ns, count, price_places, quantity_places = _SUM.unpack_from(state, at)
    digits = [int.from_bytes(figure, "little") for figure in figures]
    known: Figures = (first_ns, last_ns, *digits, price_places, quantity_places, count)
    return TradedSlowly(*known) if count else None


def _summed(part: Traded | None) -> bytes:
    if part is None:
        return _NOTHING
    first_ns, last_ns, *digits, price_places, quantity_places, count = part.figures()
    figures = (digit.to_bytes(16, "little") for digit in digits)
    return _SUM.pack(*figures, first_ns, last_ns, count, price_places, quantity_places)


if TYPE_CHECKING:
    CandleBuilders = CandleBuildersSlowly
else:
    try:
        from traderd import native

        CandleBuilders = _CandleBuilders
    except ImportError:  # installed where no C compiler was at hand
        CandleBuilders = CandleBuildersSlowly
