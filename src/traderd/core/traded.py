"""What some trades come to: open, high, low, close and sums, exactly.

Integers in units of the last of so many decimal places: sums of a venue's texts, at a tenth of what `Decimal` takes.
Open and close are those of the earliest and the latest trade by the venue's time, of equals the first and the last that
came. Refuses nothing: the dialects let no text pass that isn't plain digits.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Union

from msgspec import Struct, structs

from traderd.core.market import Trade

if TYPE_CHECKING:
    from traderd import native

Figures = tuple[int, int, int, int, int, int, int, int, int, int, int]


class TradedSlowly(Struct, gc=False):
    """Some trades, one at least, with however many digits. The fields are the `figures`."""

    first_ns: int
    last_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    price_places: int
    quantity_places: int
    """Of the volume; the quote volume has as many as both."""
    trades_count: int

    def merge(self, later: "Traded") -> None:
        """Take in others, which came later."""
        other = TradedSlowly(*later.figures())
        places = max(self.price_places, other.price_places), max(self.quantity_places, other.quantity_places)
        self._widen(*places)
        other._widen(*places)
        if other.first_ns < self.first_ns:
            self.first_ns, self.open = other.first_ns, other.open
        if other.last_ns >= self.last_ns:
            self.last_ns, self.close = other.last_ns, other.close
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.volume += other.volume
        self.quote_volume += other.quote_volume
        self.trades_count += other.trades_count

    def copy(self) -> "TradedSlowly":
        """Another that says the same."""
        return TradedSlowly(*self.figures())

    def figures(self) -> Figures:
        """All that is known."""
        return structs.astuple(self)

    def texts(self) -> tuple[str, str, str, str, str, str]:
        """Open, high, low, close, volume and quote volume as plain decimals."""
        places, quantity_places = self.price_places, self.quantity_places
        return (
            _text_of(self.open, places),
            _text_of(self.high, places),
            _text_of(self.low, places),
            _text_of(self.close, places),
            _text_of(self.volume, quantity_places),
            _text_of(self.quote_volume, places + quantity_places),
        )

    def _widen(self, price_places: int, quantity_places: int) -> None:
        prices, quantities = 10 ** (price_places - self.price_places), 10 ** (quantity_places - self.quantity_places)
        self.open *= prices
        self.high *= prices
        self.low *= prices
        self.close *= prices
        self.volume *= quantities
        self.quote_volume *= prices * quantities
        self.price_places, self.quantity_places = price_places, quantity_places


Traded = Union["native.Traded", TradedSlowly]


def traded_slowly(trades: list[Trade]) -> TradedSlowly:
    """What these come to, in the order in which they came; there is one at least."""
    total = _single(trades[0])
    for trade in trades[1:]:
        total.merge(_single(trade))
    return total


def merged(total: Traded, later: Traded) -> Traded:
    """Both; `total` isn't to be used any more."""
    try:
        total.merge(later)
    except OverflowError:  # more digits than fit into 128 bits
        total = TradedSlowly(*total.figures())
        total.merge(later)
    return total


def _single(trade: Trade) -> TradedSlowly:
    (price, price_places), (quantity, quantity_places) = map(_integer, trade.texts)
    time_ns = trade.time_venue_ns or trade.time_received_ns
    prices = price, price, price, price
    return TradedSlowly(time_ns, time_ns, *prices, quantity, price * quantity, price_places, quantity_places, 1)


def _integer(text: str) -> tuple[int, int]:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction), len(fraction)


def _text_of(value: int, places: int) -> str:
    """The decimal that is so many units of its last place."""
    if not places:
        return str(value)
    digits = str(value).zfill(places + 1)
    return f"{digits[:-places]}.{digits[-places:]}"


def _traded(trades: list[Trade]) -> Traded:
    try:
        return native.Traded(trades)
    except OverflowError:
        return traded_slowly(trades)


traded: Callable[[list[Trade]], Traded]
try:
    from traderd import native

    traded = _traded
except ImportError:  # installed where no C compiler was at hand
    traded = traded_slowly
