"""What src/native has: the same as its twins in Python, faster. Absent where no C compiler was at hand."""

from collections.abc import Callable
from typing import Any

from traderd.core.bounds import BoundsSlowly
from traderd.core.market import Trade
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

class Habits(HabitsSlowly):
    """See core.staleness."""

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
