"""Bars that end when enough was traded, not when time is up: every so many trades, units or dollars.

Such bars sample markets when something happens (López de Prado, Advances in Financial Machine Learning, 2.3). The trade
that fills a bar belongs to it whole; the next one opens the next. A bar's time is its first trade's, moved on by a
microsecond where two would have the same: it is their key. Trades count in the order in which they come, so that none
is ever late; what is in progress when a run ends is not written.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Literal

from msgspec import Struct

from traderd.core.facts import Candle
from traderd.core.market import Instrument, Trade
from traderd.core.traded import Traded, merged, traded

_EXACT = Context(prec=80)
_WORDS = {"tick": "ticks", "volume": "units", "dollar": "dollars"}


class BarSettings(Struct, frozen=True):
    """One kind of bars."""

    kind: Literal["tick", "volume", "dollar"]
    size: Decimal
    """Trades, units of the base currency, or units of the quote currency."""
    symbols: frozenset[str] = frozenset()
    """None: all."""

    @property
    def timeframe(self) -> str:
        """`500-ticks`, `10-units`, `100000-dollars`: no length of time reads so.

        They end in s as bars of seconds do, which the views of other tools leave out by that letter.
        """
        return f"{self.size.normalize():f}-{_WORDS[self.kind]}"


def names_of_bars(settings: Sequence[BarSettings], symbol: str) -> list[str]:
    """The timeframes of this symbol's bars."""
    return [each.timeframe for each in settings if not each.symbols or symbol in each.symbols]


def builders_of(settings: Sequence[BarSettings], instrument: Instrument) -> list["BarBuilder"]:
    """The builders that this instrument wants."""
    return [BarBuilder(instrument, each) for each in settings if not each.symbols or instrument.symbol in each.symbols]


class BarBuilder:
    """One instrument's bar in progress."""

    __slots__ = ("_bar", "_filled", "_instrument", "_newest_us", "_settings", "_timeframe")

    def __init__(self, instrument: Instrument, settings: BarSettings) -> None:
        self._instrument = instrument
        self._settings = settings
        self._timeframe = settings.timeframe
        self._bar: Traded | None = None
        self._filled = Decimal(0)
        self._newest_us = 0

    def on_trade(self, trade: Trade) -> Candle | None:
        """Take one trade in; the bar that it fills."""
        part, bar = traded([trade]), self._bar
        if bar is None:
            bar = self._bar = part
            self._newest_us = max(part.first_ns // 1_000, self._newest_us + 1)
        else:
            part.first_ns = part.last_ns = bar.last_ns  # in the order in which they come, whatever their times
            bar = self._bar = merged(bar, part)
        self._filled = _EXACT.add(self._filled, self._worth(*map(Decimal, trade.texts)))
        if self._filled < self._settings.size:
            return None
        self._bar, self._filled = None, Decimal(0)
        at = self._instrument
        return Candle(at.exchange, at.symbol, self._timeframe, self._newest_us * 1_000, *bar.texts(), bar.trades_count)

    def clock_set_back(self) -> None:
        """The next bar begins when it does, though one of before is dated later."""
        self._newest_us = 0

    def _worth(self, price: Decimal, quantity: Decimal) -> Decimal:
        """What the trade fills of a bar: a contract counts for what it stands for."""
        if self._settings.kind == "tick":
            return Decimal(1)
        stands_for = _EXACT.multiply(quantity, self._instrument.contract_size)
        in_base = self._instrument.market != "inverse"
        if in_base == (self._settings.kind == "volume"):
            return stands_for
        return _EXACT.multiply(stands_for, price) if in_base else _EXACT.divide(stands_for, price)
