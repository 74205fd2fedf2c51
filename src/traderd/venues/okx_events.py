"""What OKX tells, by websocket and by REST, in our words.

Refuses with a BadFrameError numbers, sides and names that can't be meant.
"""

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    BookDelta,
    BookRule,
    BookSnapshot,
    Instrument,
    Level,
    Liquidation,
    Side,
    Trade,
    VenueCandle,
)
from traderd.venues.numbers import MS_MAX, check_levels
from traderd.venues.okx_frames import Bar, Book, Forced, TradeTold
from traderd.venues.told import candle_of, liquidation_of, side_of, trade_of

LINKED = BookRule("links", from_rest=True, checksum="okx")
"""Each message names the one before; a book is mended by a snapshot from REST."""
LINKED_SNAPSHOT = BookRule("links", checksum="okx")
"""A snapshot that the stream begins with: the next message must follow it at once."""
SUMMED = BookRule("none", checksum="okx")
"""Messages from before the venue numbered them (2022): nothing but the checksum tells a loss."""
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}


def delta_of(book: Book, instrument: Instrument, received_ns: int) -> BookDelta:
    """Without a link to the message before there is only the checksum to go by."""
    linked, last = book.previous >= 0, max(0, book.sequence)
    if linked and book.sequence < 0:
        raise BadFrameError("malformed")
    bids, asks = _sides(book)
    return BookDelta(
        instrument,
        bids,
        asks,
        min(book.previous + 1, last) if linked else last,
        last,
        _checksum(book),
        book.time_ms * 1_000_000,
        received_ns,
        book.previous,
        LINKED if linked else SUMMED,
    )


def liquidation_from(forced: Forced, instrument: Instrument, received_ns: int) -> Liquidation:
    """`side` is the closing order's: "sell" where a long position ends. Raises BadFrameError."""
    side, time_ns = side_of(forced.side, _SIDES), forced.time_ms * 1_000_000
    return liquidation_of(instrument, side, forced.price, forced.quantity, time_ns, received_ns)


def snapshot_of(book: Book, instrument: Instrument, depth: int, rule: BookRule, received_ns: int) -> BookSnapshot:
    """Raises BadFrameError."""
    bids, asks = _sides(book)
    return BookSnapshot(
        instrument,
        bids,
        asks,
        max(0, book.sequence),
        _checksum(book),
        book.time_ms * 1_000_000,
        received_ns,
        depth,
        rule,
    )


def trade_from(told: TradeTold, instrument: Instrument, received_ns: int) -> Trade:
    """The side is the taker's, as the venue defines it. Raises BadFrameError."""
    if told.symbol and told.symbol != instrument.venue_symbol:
        raise BadFrameError("unknown_symbol")
    side, time_ns = side_of(told.side, _SIDES), told.time_ms * 1_000_000
    return trade_of(instrument, str(told.trade_id), side, told.price, told.quantity, time_ns, received_ns)


def candle_from(bar: Bar, instrument: Instrument, timeframe: str, received_ns: int) -> VenueCandle:
    """The venue says when a candle is complete. Raises BadFrameError."""
    prices, open_ns = (bar.open, bar.high, bar.low, bar.close), bar.open_time_ms * 1_000_000
    money = bar.volume_quote if instrument.market == "spot" else ""  # contracts times price is another figure
    return candle_of(instrument, timeframe, open_ns, prices, bar.volume, bar.confirm == "1", 0, received_ns, money)


def ms_of(text: str) -> int:
    """Milliseconds told as a text; 0 for "". Raises BadFrameError."""
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= 13 and int(text) <= MS_MAX):
        raise BadFrameError("bad_time")
    return int(text)


def _checksum(book: Book) -> int | None:
    """None where there is none: since 2026-06-23 the venue sends 0 in its place, with the sequence ids."""
    return None if book.checksum == 0 and book.sequence >= 0 else book.checksum


def _sides(book: Book) -> tuple[list[Level], list[Level]]:
    """Bids and asks, checked in one go, which is the cheapest. Raises BadFrameError."""
    bids = [(level.price, level.quantity) for level in book.bids]
    asks = [(level.price, level.quantity) for level in book.asks]
    check_levels(bids + asks)
    return bids, asks
