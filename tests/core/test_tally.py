"""The replay's figures: exact, and in the venue's own texts."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from traderd.core.market import (
    Ack,
    BookDelta,
    BookRule,
    BookSnapshot,
    Heartbeat,
    Instrument,
    Numbered,
    Quote,
    Side,
    Trade,
    VenueEvent,
)
from traderd.core.tally import Tally

ETH = Instrument(0, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")


def trade(trade_id: str, side: Side, price: str, quantity: str) -> Trade:
    return Trade(ETH, trade_id, side, float(price), f"{price},{quantity}", 0, 0)


def trades_of(*trades: Trade) -> dict[str, Any]:
    tally = Tally()
    for event in trades:
        tally.add(event)
    figures: dict[str, Any] = tally.report()["trades"]["ETHUSDT"]
    return figures


def test_sums_keep_every_place_of_what_they_are_sums_of() -> None:
    """A notional has as many places as price and quantity together."""
    assert trades_of(
        trade("7", "buy", "2683.80", "0.0020"),
        trade("8", "sell", "2690.00", "1.0000"),
        trade("9", "buy", "2679.10", "2.5"),
    ) == {
        "trades": 3,
        "qty": "3.5020",
        "notional": "9393.117600",
        "taker_buy_qty": "2.5020",
        "first": "2683.80",
        "last": "2679.10",
        "high": "2690.00",
        "low": "2679.10",
        "id_gaps": 0,
    }


def test_prices_are_compared_as_numbers_and_shown_as_texts() -> None:
    """9.5 is lower than 10.0, and its text is not."""
    figures = trades_of(
        *(trade(str(n), "sell", price, "1") for n, price in enumerate(["10.0", "9.5", "10.00", "9.50"]))
    )
    assert (figures["high"], figures["low"], figures["taker_buy_qty"]) == ("10.0", "9.5", "0")


def test_tiny_sums_are_plain_digits() -> None:
    """Not 6.38E-8, nor 0E-8."""
    figures = trades_of(trade("1", "sell", "0.00000638", "0.01000000"), trade("2", "sell", "0.00000638", "0.00000000"))
    assert figures["notional"] == "0.0000000638000000"


def test_every_break_of_the_ids_counts_once() -> None:
    """A jump forward, a repeat, a jump back; ids that aren't numbers are not judged."""
    ids = ["5", "6", "9", "9", "7", "8"]
    assert trades_of(*(trade(trade_id, "buy", "1", "1") for trade_id in ids))["id_gaps"] == 3
    assert trades_of(*(trade(trade_id, "buy", "1", "1") for trade_id in ["a", "b", "b"]))["id_gaps"] == 0


def test_ids_that_may_be_left_out_are_not_judged() -> None:
    """OKX tells several fills in one message, under the id of the last; Bybit's spot pairs skip some."""
    for exchange in ("okx", "bybit"):
        instrument = Instrument(0, exchange, "BTC/USDT", "BTC-USDT", "BTC", "USDT")
        tally = Tally()
        for trade_id in ("5", "9"):
            tally.add(Trade(instrument, trade_id, "buy", 1.0, "1,1", 0, 0))
        assert tally.report()["trades"]["BTC-USDT"]["id_gaps"] is None


def test_a_trade_that_two_connections_told_counts_once() -> None:
    """As where one is made before the other is broken off; what one of them repeats itself is the venue's own."""
    tally = Tally()
    for connection, trade_id in (("ws1", "7"), ("ws1", "8"), ("ws2", "8"), ("ws2", "9"), ("ws1", "9"), ("ws2", "10")):
        tally.add(trade(trade_id, "buy", "2", "1"), connection)
    tally.add(trade("10", "buy", "2", "1"), "ws2")
    told = tally.report()["trades"]["ETHUSDT"]
    assert (told["trades"], told["qty"], told["id_gaps"]) == (5, "5", 1)


_TEXTS = st.decimals(min_value="0.00000001", max_value=10**12, places=8).map(lambda number: format(number, "f"))


@given(st.lists(st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=30))
def test_a_notional_is_exact_to_the_last_digit(trades: list[tuple[str, str]]) -> None:
    """Against integer arithmetic on the digits."""
    figures = trades_of(*(trade(str(n), "buy", price, quantity) for n, (price, quantity) in enumerate(trades)))
    digits = [int(price.replace(".", "")) * int(quantity.replace(".", "")) for price, quantity in trades]
    assert Decimal(figures["notional"]).as_tuple().exponent == -16
    assert int(figures["notional"].replace(".", "")) == sum(digits)


def test_quotes_and_books_are_told_by_the_venue_s_symbol_and_nothing_else_is_counted() -> None:
    """The last quote as texts; checksums only where the venue sends them; a broken book has no best prices."""
    tally = Tally()
    tally.add(Heartbeat())
    tally.add(Ack(True, "", "", ""))
    assert tally.report() == {"books": {}, "trades": {}, "bookTicker": {}, "last_bookTicker": {}}
    for ask in ("3.10", "3.00"):
        tally.add(Quote(ETH, 1.0, float(ask), f"1.0,2.0,{ask},4.0", 1, 0, 0))
    tally.add(BookSnapshot(ETH, [("1.0", "2.0")], [("3.00", "4.0")], 10, None, 0, 0))
    report = tally.report()
    assert (report["bookTicker"], report["last_bookTicker"]) == (
        {"ETHUSDT": 2},
        {"ETHUSDT": ["1.0", "2.0", "3.00", "4.0"]},
    )
    assert report["books"]["ETHUSDT"] == {
        "book_msgs": 0,
        "snapshots": 1,
        "seq_gaps": 0,
        "final_bid_levels": 1,
        "final_ask_levels": 1,
        "best_bid": ["1.0", "2.0"],
        "best_ask": ["3.00", "4.0"],
        "sum_bid_qty": "2.0",
        "sum_ask_qty": "4.0",
    }
    tally.add(BookDelta(ETH, [], [], 11, 11, None, 0, 0))
    tally.add(BookDelta(ETH, [], [], 13, 13, None, 0, 0))
    broken = tally.report()["books"]["ETHUSDT"]
    assert (broken["book_msgs"], broken["seq_gaps"], broken["best_bid"], broken["sum_ask_qty"]) == (1, 1, None, "0")


def frame_of(number: int, *events: VenueEvent) -> list[VenueEvent]:
    return [Numbered(number), *events]


def book_of(symbol: str, price: str) -> BookSnapshot:
    instrument = Instrument(0, "coinbase", symbol, symbol, "", "")
    return BookSnapshot(instrument, [(price, "2.0")], [], 0, None, 0, 0, 0, BookRule("none"))


def test_a_number_missing_on_a_connection_breaks_its_books_and_no_other_s() -> None:
    """Both are told: the break under the connection, a book's own breaks under the book."""
    tally = Tally()
    tally.add_frame("ws1", frame_of(0, book_of("A", "1.0"), book_of("B", "1.0")))
    tally.add_frame("ws2", frame_of(0, book_of("C", "1.0")))
    tally.add_frame("ws1", frame_of(3, book_of("B", "1.5")))
    tally.add_frame("ws2", frame_of(1))
    report = tally.report()
    assert {symbol: book["best_bid"] for symbol, book in report["books"].items()} == {
        "A": None,
        "B": ["1.5", "2.0"],
        "C": ["1.0", "2.0"],
    }
    assert {book["seq_gaps"] for book in report["books"].values()} == {0}
    assert report["connections"] == {
        "ws1": {"frames": 2, "seq_gaps": 1, "missing": 2, "repeated": 0, "restarts": 0},
        "ws2": {"frames": 2, "seq_gaps": 0, "missing": 0, "repeated": 0, "restarts": 0},
    }


def test_a_frame_that_came_before_is_passed_over() -> None:
    """Its trades are counted once; a connection that counts anew has no book yet."""
    tally = Tally()
    for number in (0, 1, 1, 0):
        tally.add_frame("ws1", frame_of(number, trade(str(number), "buy", "1", "1")))
    assert tally.report()["trades"]["ETHUSDT"]["trades"] == 3
    tally.add_frame("ws1", frame_of(1, book_of("A", "1.0")))
    tally.add_frame("ws1", frame_of(0))
    assert tally.report()["books"]["A"]["best_bid"] is None
    assert tally.report()["connections"]["ws1"] == {
        "frames": 6,
        "seq_gaps": 0,
        "missing": 0,
        "repeated": 1,
        "restarts": 2,
    }


SPOKEN, ASKED = BookRule("ranges"), BookRule("ranges", from_rest=True)


def whole(rule: BookRule, sequence: int, bid: str) -> BookSnapshot:
    return BookSnapshot(ETH, [(bid, "1")], [("200", "1")], sequence, None, 0, 0, rule=rule)


def change(rule: BookRule, number: int, bid: str) -> BookDelta:
    return BookDelta(ETH, [(bid, "1")], [], number, number, None, 0, 0, rule=rule)


def figures_of(*told: tuple[str, BookSnapshot | BookDelta]) -> tuple[Any, ...]:
    """Messages, snapshots, gaps and the best bid."""
    tally = Tally()
    for connection, event in told:
        tally.add(event, connection)
    report = tally.report()["books"]["ETHUSDT"]
    return tuple(report[key] for key in ("book_msgs", "snapshots", "seq_gaps", "best_bid"))


def test_each_connection_keeps_a_book_of_its_own_and_the_living_one_is_shown() -> None:
    """The second one's messages don't break the first one's, and after a reconnect the old book is not the book."""
    beside = [("ws1", whole(SPOKEN, 5, "100")), ("ws2", whole(SPOKEN, 5, "100")), ("ws1", change(SPOKEN, 6, "101"))]
    assert figures_of(*beside, ("ws2", change(SPOKEN, 6, "101"))) == (4, 2, 0, ["101", "1"])
    lost = [("ws2", change(SPOKEN, 8, "103")), ("ws1", change(SPOKEN, 7, "102")), ("ws2", change(SPOKEN, 9, "104"))]
    assert figures_of(*beside, *lost) == (4, 2, 1, ["102", "1"]), "the whole one is shown"
    later = [("ws2", change(SPOKEN, number, "101")) for number in range(90, 190)]
    assert figures_of(("ws1", whole(SPOKEN, 5, "100")), *later) == (1, 1, 0, None)


def test_a_snapshot_from_rest_is_every_connections_whenever_it_comes() -> None:
    """Before the first message, between them, or before the second connection is there."""
    first, second = ("ws1", change(ASKED, 6, "101")), ("ws2", change(ASKED, 6, "101"))
    asked = ("https://x/depth", whole(ASKED, 5, "100"))
    assert figures_of(asked) == (0, 1, 0, ["100", "1"])
    for told in ([asked, first, second], [first, asked, second], [first, second, asked]):
        assert figures_of(*told)[1:] == (1, 0, ["101", "1"])
    assert figures_of(first, second) == (0, 0, 0, None), "without one there is no book, and no gap"


def test_a_connection_that_takes_over_goes_on_where_the_other_one_is() -> None:
    """With or without an overlap; where something is missing between them there is no book, not the old one."""
    asked, before = ("https://x/depth", whole(ASKED, 5, "100")), ("ws1", change(ASKED, 6, "101"))
    after = [("ws2", change(ASKED, number, f"10{number - 5}")) for number in (6, 7, 8)]
    assert figures_of(asked, before, *after) == (3, 1, 0, ["103", "1"])
    assert figures_of(asked, before, *after[1:]) == (3, 1, 0, ["103", "1"])
    later = [("ws2", change(ASKED, number, "150")) for number in range(9, 120)]
    assert figures_of(asked, before, *later) == (1, 1, 0, None)


def test_a_break_counts_where_it_is_though_there_is_no_book_yet() -> None:
    """Without any snapshot, and once only if the snapshot is older than the break; what waits behind it is no book."""
    broken = [("ws1", change(ASKED, number, "101")) for number in (6, 7, 9, 10, 12)]
    assert figures_of(*broken) == (0, 0, 2, None)
    asked = whole(ASKED, 6, "100")
    assert figures_of(*broken, ("https://x/depth", asked)) == (1, 1, 2, None)
    newer = whole(ASKED, 12, "100")
    assert figures_of(*broken, ("https://x/depth", newer)) == (0, 1, 2, ["100", "1"])
    late = ("ws1", change(ASKED, 14, "102"))
    assert figures_of(*broken, ("https://x/depth", newer), late, ("ws1", change(ASKED, 16, "1"))) == (0, 1, 4, None)


def test_a_snapshot_in_the_stream_is_no_break_of_the_numbers() -> None:
    """As when a stream is left and joined again: what comes next goes on from it, or there is a gap."""
    linked, begun = BookRule("links", from_rest=True), BookRule("links")

    def link(previous: int, number: int) -> tuple[str, BookDelta]:
        return "ws1", BookDelta(ETH, [("101", "1")], [], number, number, None, 0, 0, previous, linked)

    joined = [link(5, 6), ("ws1", whole(begun, 20, "100")), link(20, 21), ("ws1", whole(begun, 40, "100"))]
    assert figures_of(*joined, link(40, 41)) == (4, 2, 0, ["101", "1"])
    assert figures_of(*joined, link(41, 42)) == (3, 2, 1, None)


def test_what_connects_again_under_its_old_name_is_another_connection() -> None:
    """Its numbers don't go on, and that is no gap; what the old one's book was is gone."""
    tally = Tally()
    tally.connect("ws1")
    tally.add(whole(ASKED, 5, "100"), "https://x/depth")
    tally.add(change(ASKED, 6, "101"), "ws1")
    tally.connect("ws1")
    tally.add(change(ASKED, 50, "150"), "ws1")
    assert tally.report()["books"]["ETHUSDT"]["best_bid"] is None
    tally.add(whole(ASKED, 50, "149"), "https://x/depth")
    tally.add(change(ASKED, 51, "151"), "ws1")
    told = tally.report()["books"]["ETHUSDT"]
    assert [told[key] for key in ("book_msgs", "snapshots", "seq_gaps", "best_bid")] == [2, 2, 0, ["151", "1"]]


def test_a_numbered_connection_that_is_made_again_counts_from_whatever_comes_first() -> None:
    """No gap and no repeat, though the beginning wasn't recorded; its old books are gone."""
    tally = Tally()
    tally.connect("ws1")
    for number in (0, 1, 2):
        tally.add_frame("ws1", frame_of(number, book_of("A", "1.0")))
    tally.connect("ws1")
    tally.add_frame("ws1", frame_of(1, trade("8", "buy", "1", "1")))
    tally.add_frame("ws1", frame_of(2, trade("9", "buy", "1", "1")))
    report = tally.report()
    assert report["connections"]["ws1"] == {"frames": 5, "seq_gaps": 0, "missing": 0, "repeated": 0, "restarts": 1}
    assert (report["books"]["A"]["best_bid"], report["trades"]["ETHUSDT"]["trades"]) == (None, 2)
