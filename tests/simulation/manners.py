"""How each venue behaves towards whoever listens: what it answers, refuses, sends by itself, and serves by REST.

Each venue has a module of its own (`manners_binance`, …). Acknowledgements are those of the captures (Bybit's,
Coinbase's, Kraken's, OKX's), else of the venue's documentation; the sources stand beside each. Written without anything
of the project, so that both can't be wrong in the same way.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ladder import Ladder, Level

Levels = Iterable[Level]
Told = tuple[str, str, str]
"""The place that a frame belongs to, its stream, and the frame."""


class Caller:
    """One connection. A place is what an address leads to: a market, or one of a venue's several addresses."""

    def __init__(self, place: str, send: Callable[[str], Awaitable[None]], abort: Callable[[], None]) -> None:
        self.place = place
        self.send = send
        self.abort = abort
        self.streams: dict[str, None] = {}
        self.sent = 0

    def hears(self, place: str, stream: str) -> bool:
        return place == self.place and stream in self.streams


class Print(NamedTuple):
    """A trade as the venue printed it."""

    place: str
    symbol: str
    trade_id: str
    price: str
    quantity: str
    taker: str
    time_ns: int


class Manners:
    """What all venues have in common: a list of instruments, what was played, and books."""

    exchange = ""

    def __init__(self, symbols: dict[str, str], *unheard: str, bodies: dict[str, str] | None = None) -> None:
        """`symbols`: the venue's names by ccxt's; of these `unheard` are listed, and refused on the websocket.

        `bodies`: recorded REST answers by address.
        """
        self.symbols = symbols
        self.unheard = {symbols[symbol] for symbol in unheard}
        self.bodies = bodies or {}
        self.clock: Callable[[], int] = lambda: 0
        self.prints: list[Print] = []
        """Played so far, those of the time before a subscription left out."""
        self.ladders: dict[tuple[str, str], Ladder] = {}
        self.lasts: dict[tuple[str, str], dict[str, Any]] = {}
        """The newest message of each book, for its numbers."""

    def place(self, path: str) -> str | None:
        """What an address leads to; None where nobody is."""
        raise NotImplementedError

    def greeting(self) -> list[str]:
        """What everybody is told who comes."""
        return []

    def heartbeat(self, caller: Caller) -> str:
        """What is sent once a second."""
        return ""

    def stamped(self, caller: Caller, text: str) -> str:
        """A frame as this caller gets it."""
        return text

    def read(self, market: str, text: str) -> Told | None:
        """A recorded frame, as the venue would send it to whoever subscribes as we do; None for what is no data."""
        raise NotImplementedError

    def take(self, place: str, stream: str, text: str) -> None:
        """This frame is played."""
        raise NotImplementedError

    def answer(self, caller: Caller, text: str) -> list[str]:
        """What is said to a frame, and what a new subscription begins with."""
        raise NotImplementedError

    def rest(self, path: str, query: dict[str, str]) -> str | None:
        """An answer's body; None for no such route."""
        raise NotImplementedError

    def book(self, place: str, stream: str, bids: Levels, asks: Levels, anew: bool, last: Any) -> None:
        """A book's message is played."""
        key = (place, stream)
        if key not in self.ladders:
            self.ladders[key] = Ladder(self.depth_of(stream))
        self.ladders[key].put(bids, asks, anew)
        self.lasts[key] = last

    def depth_of(self, stream: str) -> int:
        """How many levels a side this book keeps; 0: all."""
        return 0

    def unified(self, place: str, symbol: str) -> str:
        """ccxt's name; the place tells the market where the venue has an address for each."""
        names = [ours for ours, theirs in self.symbols.items() if theirs == symbol]
        return next(ours for ours in names if place not in ("spot", "linear") or market_of(ours) == place)

    def printed(self, place: str, symbol: str) -> list[Print]:
        """One instrument's trades so far."""
        return [each for each in self.prints if (each.place, each.symbol) == (place, symbol)]

    def recorded(self, path: str, *words: str) -> str | None:
        """A recorded REST answer whose address has this path and these words."""
        for address, body in self.bodies.items():
            if path in address and all(word in address for word in words):
                return body
        return None


def market_of(symbol: str) -> str:
    return "linear" if ":" in symbol else "spot"


def ns_of(iso: str) -> int:
    """Digits below the microsecond are no time's that is stored."""
    second, _, digits = iso.removesuffix("Z").partition(".")
    at_s = int(datetime.fromisoformat(second).replace(tzinfo=UTC).timestamp())
    return at_s * 10**9 + int(digits[:6].ljust(6, "0")) * 1000


def iso_of(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ns % 10**9 // 1000:06}Z"
