"""Exact figures of a stretch of market data, per venue symbol: what a replay reports.

A symbol that two markets of the venue spell alike stands in the report as `linear:BTCUSDT` and `spot:BTCUSDT`.
Sums are decimal and never round, texts are the venue's own. Counted are messages that were applied: deltas newer than
the snapshot, trades, quotes; snapshots too where the venue sends them in the stream.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeVar

from traderd.core.book import EXACT, Book
from traderd.core.continuity import ConnectionSequence, Continuity
from traderd.core.market import BookDelta, BookSnapshot, Instrument, Market, Numbered, Quote, Trade, VenueEvent

_Figure = TypeVar("_Figure")
_Key = tuple[Market, str]
"""Market and venue symbol."""
_SKIPPED_IDS = frozenset({"okx"})
"""Venues of which one message may stand for several fills, under the last one's id: ids left out are no gap."""


class Tally:
    """Feed it every event in order and ask for the report at the end."""

    def __init__(self) -> None:
        self._books: dict[_Key, Book] = {}
        self._trades: dict[_Key, _Trades] = {}
        self._quotes: dict[_Key, int] = {}
        self._last_quote: dict[_Key, Quote] = {}
        self._sequences: dict[str, ConnectionSequence] = {}
        self._carried: dict[str, dict[_Key, Book]] = {}

    @property
    def books(self) -> dict[str, Book]:
        """As they are now, by the symbols of the report."""
        return self._named(self._books)

    def add_frame(self, connection: str, events: Sequence[VenueEvent]) -> None:
        """Count one frame's events. Where frames are numbered, one that came before is passed over."""
        if events and isinstance(events[0], Numbered):
            step = self._sequences.setdefault(connection, ConnectionSequence()).follow(events[0].number)
            if step.continuity is Continuity.REPEATED:
                return
            if step.breaks:
                self.break_books(connection)
        for event in events:
            self.add(event)
            if isinstance(event, BookDelta | BookSnapshot):
                self._carried.setdefault(connection, {})[_key(event.instrument)] = self._book(event.instrument)

    def break_books(self, connection: str) -> None:
        """A frame of the connection is lost, nobody knows whose: no book that it carries is whole any more."""
        for book in self._carried.get(connection, {}).values():
            book.reset()

    def add(self, event: VenueEvent) -> None:
        """Count one event; what is neither quote, trade nor book is not counted."""
        match event:
            case Quote(instrument=instrument):
                key = _key(instrument)
                self._quotes[key] = self._quotes.get(key, 0) + 1
                self._last_quote[key] = event
            case Trade(instrument=instrument):
                self._trades.setdefault(_key(instrument), _Trades()).add(event)
            case BookDelta(instrument=instrument):
                self._book(instrument).delta(event)
            case BookSnapshot(instrument=instrument):
                self._book(instrument).snapshot(event)

    def report(self) -> dict[str, dict[str, Any]]:
        """`{"books": …, "trades": …, "bookTicker": …, "last_bookTicker": …}`, keyed by venue symbol; sums are texts.

        Where the venue numbers a connection's frames there is `"connections"` too, keyed by the connection's name.
        """
        numbered = {name: _sequence_report(sequence) for name, sequence in self._sequences.items()}
        return {
            "books": {symbol: _book_report(book) for symbol, book in self.books.items()},
            "trades": {symbol: trades.report() for symbol, trades in self._named(self._trades).items()},
            "bookTicker": self._named(self._quotes),
            "last_bookTicker": {
                symbol: [quote.bid_text, quote.bid_size_text, quote.ask_text, quote.ask_size_text]
                for symbol, quote in self._named(self._last_quote).items()
            },
            **({"connections": numbered} if numbered else {}),
        }

    def _book(self, instrument: Instrument) -> Book:
        return self._books.setdefault(_key(instrument), Book())

    def _named(self, figures: dict[_Key, _Figure]) -> dict[str, _Figure]:
        """By venue symbol, with the market before it where that alone would be ambiguous."""
        keys = self._books.keys() | self._trades.keys() | self._quotes.keys()
        markets = Counter(symbol for _, symbol in keys)
        return {
            f"{market}:{symbol}" if markets[symbol] > 1 else symbol: figure
            for (market, symbol), figure in figures.items()
        }


def _key(instrument: Instrument) -> _Key:
    return instrument.market, instrument.venue_symbol


class _Trades:
    """The trades of one symbol."""

    def __init__(self) -> None:
        self._count = 0
        self._quantity = Decimal(0)
        self._notional = Decimal(0)
        self._taker_buy = Decimal(0)
        self._first = self._last = self._high = self._low = ""
        self._last_id = ""
        self._id_gaps = 0
        self._exchange = ""

    def add(self, trade: Trade) -> None:
        price, quantity = Decimal(trade.price_text), Decimal(trade.quantity_text)
        self._quantity = EXACT.add(self._quantity, quantity)
        self._notional = EXACT.add(self._notional, EXACT.multiply(price, quantity))
        if trade.side == "buy":
            self._taker_buy = EXACT.add(self._taker_buy, quantity)
        if not self._count:
            self._first = self._high = self._low = trade.price_text
        elif price > Decimal(self._high):
            self._high = trade.price_text
        elif price < Decimal(self._low):
            self._low = trade.price_text
        self._last = trade.price_text
        self._id_gaps += self._count > 0 and not _follows(self._last_id, trade.trade_id)
        self._last_id = trade.trade_id
        self._exchange = trade.instrument.exchange
        self._count += 1

    def report(self) -> dict[str, Any]:
        return {
            "trades": self._count,
            "qty": _text(self._quantity),
            "notional": _text(self._notional),
            "taker_buy_qty": _text(self._taker_buy),
            "first": self._first,
            "last": self._last,
            "high": self._high,
            "low": self._low,
            "id_gaps": None if self._exchange in _SKIPPED_IDS else self._id_gaps,
        }


def _follows(previous: str, trade_id: str) -> bool:
    """Whether the ids are neighbours; ids that aren't numbers are not judged."""
    if not (previous.isdecimal() and trade_id.isdecimal()):
        return True
    return int(trade_id) == int(previous) + 1


def _sequence_report(sequence: ConnectionSequence) -> dict[str, int]:
    return {
        "frames": sequence.frames,
        "seq_gaps": sequence.gaps,
        "missing": sequence.missing,
        "repeated": sequence.repeated,
        "restarts": sequence.restarts,
    }


def _book_report(book: Book) -> dict[str, Any]:
    checksums = {"checksums_ok": book.checksums_ok, "checksums_bad": book.checksums_bad} if book.summed else {}
    best_bid, best_ask = book.best_bid(), book.best_ask()
    return {
        "book_msgs": book.book_msgs,
        "snapshots": book.snapshots,
        "seq_gaps": book.seq_gaps,
        "final_bid_levels": book.bid_levels,
        "final_ask_levels": book.ask_levels,
        **checksums,
        "best_bid": list(best_bid) if best_bid else None,
        "best_ask": list(best_ask) if best_ask else None,
        "sum_bid_qty": _text(book.bid_quantity()),
        "sum_ask_qty": _text(book.ask_quantity()),
    }


def _text(number: Decimal) -> str:
    """Plain digits, every place kept: never 0E-8."""
    return format(number, "f")
