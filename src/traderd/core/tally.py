"""Exact figures of a stretch of market data, per venue symbol: what a replay reports.

A symbol that two markets of the venue spell alike stands in the report as `linear:BTCUSDT` and `spot:BTCUSDT`.
Where several connections carry a symbol, each keeps a book of its own, since messages that overtake each other fit no
book: the report counts what was applied to all of them and shows the one that is alive. A trade that more than one of
them told counts once. What connects again is another connection, whatever the recorder called it.
A break of a book's numbering counts where it is, also while there is no book that it could break.
Sums are decimal and never round, texts are the venue's own. Counted are messages that were applied: deltas newer than
the snapshot, trades, quotes; snapshots too where the venue sends them in the stream.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeVar

from msgspec import structs

from traderd.core.book import EXACT, Book, Verdict, follows
from traderd.core.continuity import ConnectionSequence, Continuity
from traderd.core.market import BookDelta, BookSnapshot, Instrument, Market, Numbered, Quote, Trade, VenueEvent

_Figure = TypeVar("_Figure")
_Key = tuple[Market, str]
"""Market and venue symbol."""
_ALIVE = 100
"""A book is still kept if it was spoken of in so many of its symbol's messages."""
_REMEMBERED_TRADES = 100_000
"""Of a symbol: what one connection tells later than another by so many trades counts twice."""
_SKIPPED_IDS = frozenset({"bybit", "okx"})
"""Venues that leave ids out, so that it is no gap: OKX tells several fills in one message, under the last one's id, and
Bybit's spot pairs skip some (contracts have ids without an order)."""


class Tally:
    """Feed it every event in order and ask for the report at the end."""

    def __init__(self) -> None:
        self._books: dict[_Key, _Books] = {}
        self._trades: dict[_Key, _Trades] = {}
        self._quotes: dict[_Key, int] = {}
        self._last_quote: dict[_Key, Quote] = {}
        self._sequences: dict[str, ConnectionSequence] = {}
        self._made: dict[str, int] = {}
        """How often a connection was made, by its name."""

    @property
    def books(self) -> dict[str, Book]:
        """As they are now, by the symbols of the report."""
        return self._named({key: books.shown for key, books in self._books.items()})

    def connect(self, connection: str) -> None:
        """It is made, or made again: what it tells from now on doesn't go on with what it told before."""
        self.break_books(connection)
        self._made[connection] = self._made.get(connection, 0) + 1
        if sequence := self._sequences.get(connection):
            sequence.begin_anew()

    def add_frame(self, connection: str, events: Sequence[VenueEvent]) -> None:
        """Count one frame's events. Where frames are numbered, one that came before is passed over."""
        if events and isinstance(events[0], Numbered):
            step = self._sequences.setdefault(connection, ConnectionSequence()).follow(events[0].number)
            if step.continuity is Continuity.REPEATED:
                return
            if step.breaks:
                self.break_books(connection)
        for event in events:
            self.add(event, connection)

    def break_books(self, connection: str) -> None:
        """A frame of the connection is lost, nobody knows whose, or all: no book of it is whole any more."""
        for books in self._books.values():
            books.reset(self._link(connection))

    def add(self, event: VenueEvent, connection: str = "") -> None:
        """Count one event of a connection; what is neither quote, trade nor book is not counted."""
        match event:
            case Quote(instrument=instrument):
                key = _key(instrument)
                self._quotes[key] = self._quotes.get(key, 0) + 1
                self._last_quote[key] = event
            case Trade(instrument=instrument):
                self._trades.setdefault(_key(instrument), _Trades()).add(event, self._link(connection))
            case BookDelta(instrument=instrument) | BookSnapshot(instrument=instrument):
                self._books.setdefault(_key(instrument), _Books()).add(event, self._link(connection))

    def report(self) -> dict[str, dict[str, Any]]:
        """`{"books": …, "trades": …, "bookTicker": …, "last_bookTicker": …}`, keyed by venue symbol; sums are texts.

        Where the venue numbers a connection's frames there is `"connections"` too, keyed by the connection's name.
        """
        numbered = {name: _sequence_report(sequence) for name, sequence in self._sequences.items()}
        return {
            "books": {symbol: books.report() for symbol, books in self._named(self._books).items()},
            "trades": {symbol: trades.report() for symbol, trades in self._named(self._trades).items()},
            "bookTicker": self._named(self._quotes),
            "last_bookTicker": {symbol: quote.texts for symbol, quote in self._named(self._last_quote).items()},
            **({"connections": numbered} if numbered else {}),
        }

    def _link(self, connection: str) -> str:
        made = self._made.get(connection, 1)
        return connection if made == 1 else f"{connection} {made}"

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


class _Kept:
    """One connection's book, and when it was last spoken of, counted in the symbol's messages."""

    def __init__(self) -> None:
        self.book = Book()
        self.last = 0
        self._newest: BookDelta | None = None
        self._unheeded = 0
        """Breaks that the book didn't have to heed: it waits for a snapshot, or that was ahead of them."""

    @property
    def seq_gaps(self) -> int:
        return self.book.seq_gaps + self._unheeded

    def delta(self, delta: BookDelta) -> None:
        newest, self._newest = self._newest, delta
        broken = delta.rule.from_rest and newest is not None and not follows(newest, delta)
        counted = self.book.seq_gaps
        self.book.delta(delta)
        self._unheeded += broken and self.book.seq_gaps == counted

    def snapshot(self, snapshot: BookSnapshot) -> None:
        """A break among what waited for it was counted already. One in the stream begins the numbers anew."""
        if not snapshot.rule.from_rest:
            self._newest = None
        self._unheeded -= min(self._unheeded, self.book.snapshot(snapshot) is Verdict.GAP)


class _Books:
    """One symbol's book as each connection has it. A snapshot by REST is every connection's."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._from_rest: BookSnapshot | None = None
        self._now = 0

    def add(self, event: BookDelta | BookSnapshot, connection: str) -> None:
        self._now += 1
        if isinstance(event, BookDelta):
            self._of(connection).delta(event)
        elif not event.rule.from_rest:
            self._of(connection).snapshot(event)
        else:
            self._from_rest = event
            for kept in self._kept.values():
                kept.snapshot(event)

    def reset(self, connection: str) -> None:
        if kept := self._kept.get(connection):
            kept.book.reset()

    @property
    def shown(self) -> Book:
        """That of the connection which spoke last; if it isn't whole, one that is and is kept alongside it."""
        if not self._kept:
            return self._begun().book
        newest, *others = sorted(self._kept.values(), key=lambda kept: -kept.last)
        whole = (kept for kept in (newest, *others) if kept.book.usable and kept.last > self._now - _ALIVE)
        return next(whole, newest).book

    def report(self) -> dict[str, Any]:
        books = [kept.book for kept in self._kept.values()] or [self.shown]
        begun, gaps = [book.snapshots for book in books], sum(kept.seq_gaps for kept in self._kept.values())
        return _book_report(self.shown, books, max(begun) if self._from_rest else sum(begun), gaps)

    def _of(self, connection: str) -> _Kept:
        kept = self._kept.get(connection)
        if kept is None:
            kept = self._kept[connection] = self._begun()
        kept.last = self._now
        return kept

    def _begun(self) -> _Kept:
        """What another connection has of the same numbers is as good as a snapshot, and newer."""
        kept, whole = _Kept(), [each.book for each in self._kept.values() if each.book.usable]
        if (asked := self._from_rest) is not None:
            if whole:
                best = max(whole, key=lambda book: book.sequence)
                asked = structs.replace(asked, bids=best.bids(), asks=best.asks(), sequence=best.sequence)
            kept.snapshot(asked)
        return kept


class _Trades:
    """The trades of one symbol."""

    def __init__(self) -> None:
        self._tellers: dict[str, str] = {}
        """Which connection told a trade first, of the newest trades by id."""
        self._count = 0
        self._quantity = Decimal(0)
        self._notional = Decimal(0)
        self._taker_buy = Decimal(0)
        self._first = self._last = self._high = self._low = ""
        self._last_id = ""
        self._id_gaps = 0
        self._exchange = ""

    def add(self, trade: Trade, connection: str) -> None:
        """Not what another connection has told already."""
        if self._tellers.setdefault(trade.trade_id, connection) != connection:
            return
        if len(self._tellers) > _REMEMBERED_TRADES:
            del self._tellers[next(iter(self._tellers))]
        price, quantity = map(Decimal, trade.texts)
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


def _book_report(book: Book, all_kept: Sequence[Book], snapshots: int, seq_gaps: int) -> dict[str, Any]:
    """The state of one, the counts of all."""
    summed = any(each.summed for each in all_kept)
    checksums = {name: _total(all_kept, name) for name in ("checksums_ok", "checksums_bad")} if summed else {}
    best_bid, best_ask = book.best_bid(), book.best_ask()
    return {
        "book_msgs": _total(all_kept, "book_msgs"),
        "snapshots": snapshots,
        "seq_gaps": seq_gaps,
        "final_bid_levels": book.bid_levels,
        "final_ask_levels": book.ask_levels,
        **checksums,
        "best_bid": list(best_bid) if best_bid else None,
        "best_ask": list(best_ask) if best_ask else None,
        "sum_bid_qty": _text(book.bid_quantity()),
        "sum_ask_qty": _text(book.ask_quantity()),
    }


def _total(books: Sequence[Book], counter: str) -> int:
    return sum(getattr(book, counter) for book in books)


def _text(number: Decimal) -> str:
    """Plain digits, every place kept: never 0E-8."""
    return format(number, "f")
