"""Bybit's recorded traffic: it agrees with a plain reading of it, and no lost frame leaves a book wrong."""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from traderd.adapters.capture import Capture
from traderd.core.market import BookDelta, BookSnapshot, Quote, Trade, VenueEvent
from traderd.core.tally import Tally
from traderd.venues.playback import Playback, Recorded

CAPTURE = Path(__file__).parents[2].parent / "shared" / "captures" / "bybit" / "first_400.frames.gz"
SYMBOLS = {"BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"}

pytestmark = pytest.mark.skipif(not CAPTURE.exists(), reason="no captures")


@cache
def records() -> list[Recorded]:
    with Capture(CAPTURE) as capture:
        return list(capture)


def session(second: int) -> list[Recorded]:
    """The recording, at a frame of which the connection is made once more: there the books come whole again.

    The second connection begins with the books as they were then, cut off from what the first one told.
    """
    frames = [record for record in records() if record.kind == "frame"]
    connects = [record for record in records() if record.kind == "connect"]
    tally = Tally()
    for events in decoded([*connects, *frames[:second]]):
        tally.add_frame("ws1", events)
    again = []
    for symbol, book in tally.books.items():
        last = max(u for s, u in map(numbered, frames[:second]) if s == symbol)
        data = {"s": symbol, "b": book.bids(), "a": book.asks(), "u": last, "seq": 1}
        whole = {"topic": f"orderbook.200.{symbol}", "type": "snapshot", "ts": 1, "data": data, "cts": 1}
        again.append(Recorded(1, "frame", "ws1", json.dumps(whole).encode()))
    return [*connects, *frames[:second], *again, *frames[second:]]


def numbered(record: Recorded) -> tuple[str, int]:
    """A book message's symbol and number."""
    sent = json.loads(record.text)
    if not sent.get("topic", "").startswith("orderbook"):
        return "", 0
    return sent["data"]["s"], sent["data"]["u"]


def decoded(session: Sequence[Recorded]) -> Iterator[list[VenueEvent]]:
    playback = Playback("bybit", "")
    for record in session:
        yield list(playback.events(record))


def test_a_recorded_session_agrees_with_a_plain_reading_of_it() -> None:
    """Books as dictionaries, trades as sums, from the JSON; every frame is understood, no number is missing."""
    tally = Tally()
    for events in decoded(records()):
        tally.add_frame("ws1", events)
        assert not any(isinstance(event, Quote) for event in events)
    report, plain = tally.report(), _Plainly()
    for record in records():
        if record.kind == "frame":
            plain.read(json.loads(record.text))
    assert set(report["books"]) == set(report["trades"]) == SYMBOLS
    for symbol, book in plain.books.items():
        kept, told = tally.books[symbol], report["books"][symbol]
        ours = {("b", Decimal(p)): q for p, q in kept.bids()} | {("a", Decimal(p)): q for p, q in kept.asks()}
        assert ours == book
        assert (told["book_msgs"], told["snapshots"], told["seq_gaps"]) == (plain.messages[symbol], 1, 0)
        assert (told["final_bid_levels"], told["final_ask_levels"]) == (200, 200)
    for symbol, trades in plain.trades.items():
        told = report["trades"][symbol]
        assert (told["trades"], told["id_gaps"]) == (len(trades), None)
        assert Decimal(told["qty"]) == sum(quantity for quantity, _ in trades)
        assert Decimal(told["taker_buy_qty"]) == sum(quantity for quantity, side in trades if side == "Buy")


class _Plainly:
    """The capture, read as simply as can be."""

    def __init__(self) -> None:
        self.books: dict[str, dict[tuple[str, Decimal], str]] = defaultdict(dict)
        self.messages: dict[str, int] = defaultdict(int)
        self.trades: dict[str, list[tuple[Decimal, str]]] = defaultdict(list)

    def read(self, sent: dict[str, Any]) -> None:
        topic, data = sent.get("topic", ""), sent.get("data")
        if topic.startswith("orderbook"):
            book = self.books[data["s"]]
            self.messages[data["s"]] += 1
            for side in ("b", "a"):
                for price, quantity in data[side]:
                    if Decimal(quantity):
                        book[(side, Decimal(price))] = quantity
                    else:
                        book.pop((side, Decimal(price)), None)
        elif topic.startswith("publicTrade"):
            for trade in data:
                self.trades[trade["s"]].append((Decimal(trade["v"]), trade["S"]))


def test_a_lost_frame_breaks_its_book_at_the_next_message_and_no_book_is_ever_wrong() -> None:
    """200 seeds: it is gone until it comes whole again, the others stay; what is there is as it would have been.

    Of a book that is sent whole once more while nothing is missing, the second copy may be lost.
    """
    frames = list(enumerate(decoded(session(200))))
    truth = dict(replayed(frames, Tally()))
    of = {
        at: (event.instrument.venue_symbol, type(event))
        for at, events in frames
        for event in events
        if isinstance(event, BookDelta | BookSnapshot)
    }
    broken = 0
    for seed in range(200):
        lost = random.Random(seed).choice(sorted(of))
        symbol, kind = of[lost]
        later = [at for at in of if at > lost and of[at][0] == symbol]
        first = lost == min(at for at in of if of[at][0] == symbol)
        found = min(later, default=len(frames))
        whole = min((at for at in later if of[at][1] is BookSnapshot), default=len(frames))
        if kind is BookSnapshot and not first:
            found = whole = lost
        tally = Tally()
        for at, books in replayed(frames[:lost] + frames[lost + 1 :], tally):
            if at < lost or at >= whole:
                assert set(books) == set(truth[at])
            elif at >= found:
                assert set(books) == set(truth[at]) - {symbol}
            for each in books.keys() - ({symbol} if lost < at < found else set()):
                assert books[each] == truth[at][each]
        gaps = tally.report()["books"][symbol]["seq_gaps"]
        assert gaps == (not first and lost < found < whole)
        broken += gaps
    assert broken > 150


State = dict[str, tuple[list[Any], list[Any]]]


def replayed(frames: Sequence[tuple[int, list[VenueEvent]]], tally: Tally) -> Iterator[tuple[int, State]]:
    """After each frame, every book that is usable."""
    for at, events in frames:
        tally.add_frame("ws1", events)
        yield at, {symbol: (book.bids(), book.asks()) for symbol, book in tally.books.items() if book.usable}


def test_the_same_topics_on_two_connections_are_two_markets() -> None:
    """The recording beside itself on the spot address, with half of its trades: each has its own figures."""
    playback, tally = Playback("bybit", ""), Tally()
    once, trades = Tally(), 0
    instruments = set()
    for record in records():
        for event in playback.events(record):
            once.add(event)
            tally.add(event)
        if record.kind not in ("frame", "connect"):
            continue
        text = record.text.replace(b"/public/linear", b"/public/spot")
        for event in playback.events(Recorded(record.received_ns, record.kind, "ws2", text)):
            trades += isinstance(event, Trade)
            if isinstance(event, Trade) and trades % 2:
                continue
            tally.add(event)
            if isinstance(event, BookDelta):
                instruments.add((event.instrument.symbol, event.instrument.market))
    alone, both = once.report(), tally.report()
    assert set(alone["books"]) == SYMBOLS
    assert set(both["books"]) == {f"{market}:{symbol}" for market in ("linear", "spot") for symbol in SYMBOLS}
    for symbol in SYMBOLS:
        assert both["books"][f"linear:{symbol}"] == both["books"][f"spot:{symbol}"] == alone["books"][symbol]
        assert both["trades"][f"linear:{symbol}"] == alone["trades"][symbol]
    assert sum(both["trades"][key]["trades"] for key in both["trades"] if key.startswith("spot:")) == trades // 2
    assert instruments == {(f"{symbol[:-4]}/USDT", "spot") for symbol in SYMBOLS}
