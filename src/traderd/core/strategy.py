"""What a strategy is: closed candles in, now and then an opinion out.

A strategy never sees money, orders or limits: those who size and check its opinions do. Its candles are of a length of
time, or bars of so many trades, units or dollars; one that has `on_book` (core.book_top) is shown the order book before
each. Every kind of input ends in the same `Opinion`, so that a strategy on quotes needs a further method here and
nothing new behind it.
Refuses nothing by itself; a strategy that is not warm has no opinion.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from msgspec import Struct

from traderd.core.bars import BarSettings, names_of_bars
from traderd.core.facts import Candle, Indicator, SignalType
from traderd.core.market import Instrument


class Opinion(Struct, frozen=True):
    """What a strategy thinks should be held from now on."""

    signal_type: SignalType
    """LONG and SHORT name the position wanted (turning round the opposite one); EXIT_* want that side flat."""
    strength: float
    """0 to 1."""
    confidence: float
    """0 to 1."""
    reason: str
    """One sentence with the figures that made it."""


class Rules(Struct, frozen=True):
    """A strategy's rules as data, for whoever reads about it: nothing is decided by them."""

    family: str
    """One of the kinds that the table strategies knows."""
    entry: dict[str, Any]
    """By the position that is entered, `long` or `short`: the condition, as left, operator and right."""
    exit: dict[str, Any]


class Strategy(Protocol):
    """One rule, with the state of its running indicators."""

    @property
    def warm(self) -> bool:
        """Whether it has seen enough to have an opinion."""
        ...

    @property
    def indicators(self) -> Mapping[str, float]:
        """What it measured on the newest candle, by names like `EMA_9`; only what is warm."""
        ...

    def on_candle(self, candle: Candle) -> Opinion | None:
        """One closed candle of its own exchange, symbol and timeframe, in order of time."""
        ...


class StrategySlot(Struct, frozen=True):
    """A strategy in its place: what it listens to and what it may spend."""

    name: str
    exchange: str
    symbol: str
    timeframe: str
    """`1m`, or the name of bars: `500-ticks`."""
    order_notional: Decimal
    """Size of an opening order, in the quote currency."""
    allow_short: bool
    strategy: Strategy


def listening(
    slots: Sequence[StrategySlot],
    timeframes: Sequence[str],
    bars: Sequence[BarSettings],
    instruments: Sequence[Instrument],
) -> dict[tuple[int, str], list[StrategySlot]]:
    """The strategies by instrument index and timeframe. Raises ValueError for what can't work."""
    names = [slot.name for slot in slots]
    if len(set(names)) < len(names):
        raise ValueError("two strategies have the same name")
    indices = {(each.exchange, each.symbol): each.index for each in instruments}
    found: dict[tuple[int, str], list[StrategySlot]] = {}
    for slot in slots:
        if slot.timeframe not in (*timeframes, *names_of_bars(bars, slot.symbol)):
            raise ValueError(f"{slot.name} wants candles of {slot.timeframe}, which aren't made")
        index = indices.get((slot.exchange, slot.symbol))
        if index is not None:
            found.setdefault((index, slot.timeframe), []).append(slot)
    return found


def measured(candle: Candle, slots: Sequence[StrategySlot]) -> list[Indicator]:
    """The candle's indicators, each once: strategies that have listened equally long measure the same by one name."""
    values: dict[str, float] = {}
    for slot in slots:
        values |= slot.strategy.indicators
    return [
        Indicator(candle.exchange, candle.symbol, candle.timeframe, candle.open_time_ns, name, Decimal(repr(value)))
        for name, value in values.items()
    ]
