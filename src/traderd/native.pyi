"""What src/native has: the same as its twins in Python, faster. Absent where no C compiler was at hand."""

from collections.abc import Callable
from typing import Any

from traderd.core.bounds import BoundsSlowly
from traderd.core.facts import Candle
from traderd.core.hearing import HearingSlowly
from traderd.core.market import Instrument, Quote, Trade
from traderd.core.posting import PostingSlowly
from traderd.core.staleness import HabitsSlowly
from traderd.core.traded import TradedSlowly

def whole_texts(data: bytes, at: int, most: int, /) -> tuple[list[bytes], int]:
    """See adapters.websocket_frames."""

def quote_told(bid: str, bid_size: str, ask: str, ask_size: str, /) -> tuple[str, float, float] | None:
    """See venues.numbers."""

def trade_told(price: str, quantity: str, /) -> tuple[str, float] | None:
    """See venues.numbers."""

def are_levels(levels: list[tuple[str, str]], /) -> bool:
    """See venues.numbers."""

def columns_of(objects: list[Any], paths: tuple[str, ...], /) -> list[list[Any]]:
    """See adapters.columns."""

def copy_rows(columns: list[tuple[str, list[Any], Any]], count: int, /) -> tuple[bytes, list[int]]:
    """See adapters.copy_rows."""

class Form:
    """See venues.forms."""

    def __new__(
        cls, pieces: tuple[bytes | str, ...], instruments: dict[str, Any], make: Callable[..., Any], /
    ) -> Form: ...
    def read(self, frame: bytes, received_ns: int, /) -> Any: ...

class Bounds(BoundsSlowly):
    """See core.bounds."""

class Posting(PostingSlowly):
    """See core.posting."""

class Hearing(HearingSlowly):
    """See core.hearing."""

class Habits(HabitsSlowly):
    """See core.staleness."""

class Candles:
    """See core.candle_builders."""

    def __new__(
        cls,
        instruments: list[Instrument],
        intervals: tuple[tuple[str, int, int], ...],
        grace_ns: int,
        kept: int,
        quotes: list[Quote | None],
        make: type[Candle],
        /,
    ) -> Candles:
        """`intervals`: name, length in ns, and the place of what feeds it, or -1; `kept`: closed bars of each."""

    def take(self, trades: list[Trade], at: int, told: list[tuple[int, Candle]], /) -> int:
        """Those from that place on; the place of the first that is for the twin, or how many there are."""

    def beat(self, now_ns: int, told: list[tuple[int, Candle]], /) -> list[int]:
        """Close what is due; the instruments whose bars are for the twin to close."""

    def late(self) -> tuple[int, tuple[int, ...]]:
        """Trades that were too late since it was asked last, and how many of them for each interval."""

    def set_grace(self, index: int, grace_ns: int, /) -> None: ...
    def lend(self, index: int, /) -> bytes:
        """One instrument's state, which isn't touched until it comes back."""

    def take_back(self, index: int, state: bytes, /) -> None:
        """Raises OverflowError for what isn't kept here."""

class Traded:
    """See core.traded."""

    first_ns: int
    last_ns: int

    def __new__(cls, trades: list[Trade], /) -> Traded:
        """Raises OverflowError, as merge does."""

    @property
    def trades_count(self) -> int: ...
    def merge(self, later: Traded | TradedSlowly, /) -> None: ...
    def copy(self) -> Traded: ...
    def texts(self) -> tuple[str, str, str, str, str, str]: ...
    def figures(self) -> tuple[int, int, int, int, int, int, int, int, int, int, int]: ...
