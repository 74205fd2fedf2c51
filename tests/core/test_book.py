"""The local order book: exact, continuous, and whole or empty."""

import tracemalloc
import zlib
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traderd.core.book import Book, Verdict, checksum_of, okx_checksum_of
from traderd.core.market import SUMMED, BookDelta, BookRule, BookSnapshot, Instrument, Level

ETH = Instrument(0, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")
BIDS: list[Level] = [("99.5", "1.0"), ("99.0", "2.0")]
ASKS: list[Level] = [("100.5", "3.0"), ("101.0", "4.0")]


def snapshot(sequence: int = 100, bids: list[Level] = BIDS, asks: list[Level] = ASKS) -> BookSnapshot:
    return BookSnapshot(ETH, bids, asks, sequence, None, 0, 0)


def delta(first: int, last: int, bids: list[Level] | None = None, asks: list[Level] | None = None) -> BookDelta:
    return BookDelta(ETH, bids or [], asks or [], first, last, None, 0, 0)


def summed_snapshot(bids: list[Level], asks: list[Level], depth: int) -> BookSnapshot:
    return BookSnapshot(ETH, bids, asks, 0, checksum_of(bids[:10], asks[:10]), 0, 0, depth, SUMMED)


def summed(checksum: int, bids: list[Level] | None = None, asks: list[Level] | None = None) -> BookDelta:
    return BookDelta(ETH, bids or [], asks or [], 0, 0, checksum, 0, 0, rule=SUMMED)


def assert_empty(book: Book) -> None:
    assert not book.usable
    assert (book.best_bid(), book.best_ask(), book.bids(), book.asks()) == (None, None, [], [])
    assert (book.bid_levels, book.ask_levels, book.bid_quantity(), book.ask_quantity()) == (0, 0, 0, 0)
    assert (book.spread(), book.microprice(), book.imbalance(5)) == (None, None, None)


# A stream of numbered deltas over a few prices, and what a plain dictionary makes of it. Bids are below 100, asks are
# not, so that they never cross; some prices are written with more zeros than others.

_QUANTITIES = st.sampled_from(["0", "0.00", "1", "1.50", "20.25"])
_BIDS = st.lists(st.tuples(st.sampled_from(["9", "90", "90.0", "99.5", "99.50", "9.95"]), _QUANTITIES), max_size=4)
_ASKS = st.lists(
    st.tuples(st.sampled_from(["100", "100.1", "100.10", "101", "1000", "101.0"]), _QUANTITIES), max_size=4
)


@st.composite
def streams(draw: st.DrawFn) -> list[BookDelta]:
    """Deltas whose numbers follow on each other."""
    deltas, last = [], draw(st.integers(0, 1000))
    for bids, asks, span in draw(st.lists(st.tuples(_BIDS, _ASKS, st.integers(0, 3)), min_size=2, max_size=20)):
        deltas.append(delta(last + 1, last + 1 + span, bids, asks))
        last += 1 + span
    return deltas


def model(deltas: list[BookDelta]) -> tuple[list[Level], list[Level]]:
    """What a dictionary by price makes of the deltas, best first."""
    sides: tuple[dict[Decimal, Level], dict[Decimal, Level]] = ({}, {})
    for message in deltas:
        for side, levels in zip(sides, (message.bids, message.asks), strict=True):
            for price, quantity in levels:
                side[Decimal(price)] = (price, quantity)
                if Decimal(quantity) == 0:
                    del side[Decimal(price)]
    bids, asks = sides
    return [bids[key] for key in sorted(bids, reverse=True)], [asks[key] for key in sorted(asks)]


@given(streams(), st.data())
def test_a_book_joined_at_any_moment_ends_like_one_followed_from_the_start(
    deltas: list[BookDelta], data: st.DataObject
) -> None:
    """Wherever the snapshot stands in the numbering and whenever it arrives, before, between or after its deltas."""
    taken = data.draw(st.integers(0, len(deltas) - 1))
    arrives = data.draw(st.integers(0, len(deltas)))
    bids, asks = model(deltas[:taken])
    number = deltas[taken - 1].last if taken else deltas[0].first - 1
    begin = data.draw(st.integers(0, min(taken, arrives)))
    book = Book()
    for message in deltas[begin:arrives]:
        assert book.delta(message) is Verdict.BUFFERED
    assert book.snapshot(snapshot(number, bids, asks)) is Verdict.APPLIED
    for position, message in enumerate(deltas[arrives:], start=arrives):
        assert book.delta(message) is (Verdict.STALE if position < taken else Verdict.APPLIED)
    assert book.usable
    assert (book.bids(), book.asks()) == model(deltas)
    assert book.book_msgs == len(deltas) - taken
    assert book.bid_quantity() == sum(Decimal(quantity) for _, quantity in book.bids())


@given(streams(), st.data())
def test_a_lost_delta_empties_the_book_and_the_next_snapshot_mends_it(
    deltas: list[BookDelta], data: st.DataObject
) -> None:
    """From the gap on nothing is shown and nothing is lost: what came after it is applied to the new snapshot."""
    lost = data.draw(st.integers(1, len(deltas) - 1))
    book = Book()
    book.snapshot(snapshot(deltas[0].first - 1, [], []))
    for message in deltas[:lost]:
        book.delta(message)
    verdicts = [book.delta(message) for message in deltas[lost + 1 :]]
    if verdicts:
        assert verdicts == [Verdict.GAP, *[Verdict.BUFFERED] * (len(verdicts) - 1)]
        assert verdicts[0].needs_snapshot
        assert book.seq_gaps == 1
        assert_empty(book)
    bids, asks = model(deltas[: lost + 1])
    assert book.snapshot(snapshot(deltas[lost].last, bids, asks)) is Verdict.APPLIED
    assert (book.bids(), book.asks()) == model(deltas)


def test_the_first_delta_may_reach_over_the_snapshot_but_no_later_one_may() -> None:
    """U <= lastUpdateId + 1 <= u, and then each U is the previous u + 1."""
    book = Book()
    book.snapshot(snapshot(100))
    assert book.delta(delta(90, 100)) is Verdict.STALE
    assert book.delta(delta(99, 105, [("99.5", "7")])) is Verdict.APPLIED
    assert book.delta(delta(105, 106)) is Verdict.GAP


def test_a_delta_that_comes_twice_is_a_break() -> None:
    """The numbering is the venue's promise; who breaks it isn't believed."""
    book = Book()
    book.snapshot(snapshot(100))
    book.delta(delta(101, 102))
    assert book.delta(delta(101, 102)) is Verdict.GAP
    assert_empty(book)


def test_a_delta_that_ends_before_it_begins_is_a_break() -> None:
    """Or the numbering would run backwards from there."""
    book = Book()
    book.snapshot(snapshot(100))
    book.delta(delta(101, 110))
    assert book.delta(delta(111, 105)) is Verdict.GAP


def test_a_snapshot_older_than_the_kept_deltas_is_refused_and_they_are_kept() -> None:
    """A later snapshot joins them."""
    book = Book()
    book.delta(delta(201, 205, [("99.9", "1")]))
    assert book.snapshot(snapshot(100)) is Verdict.OLD_SNAPSHOT
    assert_empty(book)
    assert book.seq_gaps == 0
    assert book.snapshot(snapshot(200)) is Verdict.APPLIED
    assert book.best_bid() == ("99.9", "1")


def test_a_whole_book_is_not_thrown_back_by_an_older_snapshot() -> None:
    """It would lose deltas that won't come again."""
    book = Book()
    book.snapshot(snapshot(100))
    book.delta(delta(101, 110, [("99.9", "1")]))
    assert book.snapshot(snapshot(105)) is Verdict.STALE
    assert book.usable
    assert book.best_bid() == ("99.9", "1")


def test_what_is_kept_for_a_snapshot_is_bounded_and_the_oldest_goes_first() -> None:
    """A snapshot that never comes costs bounded memory; one that comes too old is noticed."""
    book = Book()
    for number in range(1, 5001):
        assert book.delta(delta(number, number)) is Verdict.BUFFERED
    assert len(book._pending) == 1000
    assert book.snapshot(snapshot(3999)) is Verdict.OLD_SNAPSHOT
    assert book.snapshot(snapshot(4000)) is Verdict.APPLIED
    assert book.book_msgs == 1000


def test_a_crossed_book_is_shown_to_nobody_and_can_be_mended() -> None:
    """Equal prices count: a venue would have traded them."""
    book = Book()
    book.snapshot(snapshot(100))
    assert book.delta(delta(101, 101, [("100.50", "1")])) is Verdict.CROSSED
    assert_empty(book)
    assert book.delta(delta(102, 102, [("99.7", "1")])) is Verdict.BUFFERED
    assert book.snapshot(snapshot(101)) is Verdict.APPLIED
    assert book.best_bid() == ("99.7", "1")


def test_a_text_that_is_no_number_leaves_no_half_changed_book() -> None:
    """The dialects let none through; should one come all the same, nothing is shown."""
    book = Book()
    book.snapshot(snapshot(100))
    with pytest.raises(ValueError, match="x"):
        book.delta(delta(101, 101, [("99.9", "1")], [("x", "1")]))
    assert (book.usable, book.bids(), book.asks()) == (False, [], [])


def test_a_price_with_more_decimals_than_any_before_finds_its_place() -> None:
    """And a level is the same level under `100`, `100.0` and `100.00`; what is told last is shown."""
    book = Book()
    book.snapshot(snapshot(100))
    whole = [(f"{Decimal(price):.0f}" if Decimal(price) == int(Decimal(price)) else price) for price, _ in BIDS]
    told = [(f"{Decimal(price):.4f}", "7") for price in whole]
    assert book.delta(delta(101, 101, [("1.23456", "2"), *told], [])) is Verdict.APPLIED
    assert book.bids() == [*told, ("1.23456", "2")]
    assert book.delta(delta(102, 102, [("1.2345600", "0"), (whole[0], "0.00")], [])) is Verdict.APPLIED
    assert book.bids() == told[1:]


def test_a_reset_forgets_the_book_and_what_was_kept_but_not_the_counters() -> None:
    """The connection is gone, and its numbering with it."""
    book = Book()
    book.snapshot(snapshot(100))
    book.delta(delta(101, 101))
    book.reset()
    assert_empty(book)
    assert (book.book_msgs, book.snapshots) == (1, 1)
    assert book.snapshot(snapshot(50)) is Verdict.APPLIED


def test_figures_are_computed_on_demand() -> None:
    """Exact where decimals allow it; deep books in any order of arrival."""
    book = Book()
    book.snapshot(snapshot(1, BIDS[::-1], ASKS[::-1]))
    assert (book.best_bid(), book.best_ask()) == (("99.5", "1.0"), ("100.5", "3.0"))
    assert book.spread() == Decimal("1.0")
    assert book.microprice() == pytest.approx((99.5 * 3 + 100.5 * 1) / 4)
    assert book.imbalance(1) == pytest.approx((1 - 3) / 4)
    assert book.imbalance(2) == pytest.approx((3 - 7) / 10)
    assert (str(book.bid_quantity()), str(book.ask_quantity())) == ("3.0", "7.0")


def test_sums_of_many_digits_do_not_round() -> None:
    """Python's decimals round to 28 digits by default."""
    book = Book()
    book.snapshot(
        snapshot(1, [("1", "12345678901234567890123456789012"), ("2", "0.00000000000000000000000000000001")], [])
    )
    assert str(book.bid_quantity()) == "12345678901234567890123456789012.00000000000000000000000000000001"


# Kraken's rule. The figures are those of the venue's guide, "Spot WebSocket v2 book checksum".

GUIDE_ASKS: list[Level] = [
    ("45285.2", "0.00100000"),
    ("45286.4", "1.54571953"),
    ("45286.6", "1.54571109"),
    ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"),
    ("45291.8", "1.54553491"),
    ("45294.7", "0.04454749"),
    ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"),
    ("45299.5", "0.18772827"),
]
GUIDE_BIDS: list[Level] = [
    ("45283.5", "0.10000000"),
    ("45283.4", "1.54582015"),
    ("45282.1", "0.10000000"),
    ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"),
    ("45279.0", "0.07990000"),
    ("45277.6", "0.03310103"),
    ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"),
    ("45276.6", "0.15445238"),
]


def test_the_checksum_is_the_one_of_the_venue_s_guide() -> None:
    """Dots and leading zeros removed, asks before bids."""
    assert checksum_of(GUIDE_BIDS, GUIDE_ASKS) == 3310070434


def test_a_summed_book_is_cut_to_its_depth_before_it_is_summed() -> None:
    """On both sides the worst levels go."""
    book = Book()
    assert book.snapshot(summed_snapshot(GUIDE_BIDS, GUIDE_ASKS, 10)) is Verdict.APPLIED
    bids, asks = [("45284.0", "1.00"), *GUIDE_BIDS[:-1]], [("45285.0", "0.50"), *GUIDE_ASKS[:-1]]
    assert book.delta(summed(checksum_of(bids, asks), bids[:1], asks[:1])) is Verdict.APPLIED
    assert (book.bids(), book.asks()) == (bids, asks)
    assert (book.book_msgs, book.snapshots, book.checksums_ok, book.checksums_bad) == (2, 1, 2, 0)


def test_only_the_ten_best_levels_are_summed_of_a_deeper_book() -> None:
    """A book of 25 has the same checksum as one of 10."""
    book = Book()
    deeper = [*GUIDE_BIDS, ("45000.0", "1.0"), ("44000.0", "1.0")]
    assert book.snapshot(summed_snapshot(deeper, GUIDE_ASKS, 25)) is Verdict.APPLIED
    assert book.bid_levels == 12
    assert book.delta(summed(3310070434, [("44500.0", "9.0")])) is Verdict.APPLIED


@settings(max_examples=30)
@given(st.integers(0, 9), st.sampled_from(["bids", "asks"]), st.sampled_from(["0.77", "0"]))
def test_a_checksum_that_does_not_agree_empties_the_book(level: int, side: str, quantity: str) -> None:
    """Any one level that we hold differently than the venue; deltas are of no use until the next snapshot."""
    book = Book()
    book.snapshot(summed_snapshot(GUIDE_BIDS, GUIDE_ASKS, 10))
    price = (GUIDE_BIDS if side == "bids" else GUIDE_ASKS)[level][0]
    assert book.delta(summed(3310070434, **{side: [(price, quantity)]})) is Verdict.BAD_CHECKSUM
    assert_empty(book)
    assert book.checksums_bad == 1
    assert book.delta(summed(3310070434)) is Verdict.STALE
    assert book.snapshot(summed_snapshot(GUIDE_BIDS, GUIDE_ASKS, 10)) is Verdict.APPLIED


def test_a_snapshot_whose_checksum_does_not_agree_is_no_book() -> None:
    """It is counted as a snapshot and not as a message applied."""
    book = Book()
    broken = summed_snapshot(GUIDE_BIDS, GUIDE_ASKS, 10)
    broken.checksum = 1
    assert book.snapshot(broken) is Verdict.BAD_CHECKSUM
    assert_empty(book)
    assert (book.snapshots, book.book_msgs, book.checksums_bad) == (1, 0, 1)


def test_deleting_what_is_not_there_is_fine() -> None:
    """Venues send it: the level was beyond what we held."""
    book = Book()
    book.snapshot(summed_snapshot(GUIDE_BIDS, GUIDE_ASKS, 10))
    assert book.delta(summed(3310070434, [("1.0", "0.00000000")])) is Verdict.APPLIED


def linked(previous: int, first: int, last: int, bids: list[Level] | None = None) -> BookDelta:
    """A message that names the last id of the one before."""
    return BookDelta(ETH, bids or [], [], first, last, None, 0, 0, previous, BookRule("links", from_rest=True))


def test_linked_messages_are_joined_to_a_snapshot_that_lies_within_the_first() -> None:
    """Binance's futures: what ended before the snapshot is stale, the first must span it, then pu is the last u."""
    book = Book()
    for message in (linked(90, 91, 95), linked(95, 97, 105, [("99.5", "7")]), linked(105, 108, 110)):
        assert book.delta(message) is Verdict.BUFFERED
    rule = BookRule("links", from_rest=True)
    assert book.snapshot(BookSnapshot(ETH, BIDS, ASKS, 100, None, 0, 0, rule=rule)) is Verdict.APPLIED
    assert book.best_bid() == ("99.5", "7")
    assert book.book_msgs == 2
    assert book.delta(linked(110, 111, 115)) is Verdict.APPLIED
    assert book.delta(linked(114, 116, 117)) is Verdict.GAP
    assert not book.usable
    assert book.seq_gaps == 1


def test_a_snapshot_older_than_every_linked_message_is_not_joined() -> None:
    """Something between them is missing: another snapshot is needed."""
    book = Book()
    book.delta(linked(100, 101, 105))
    rule = BookRule("links", from_rest=True)
    assert book.snapshot(BookSnapshot(ETH, BIDS, ASKS, 99, None, 0, 0, rule=rule)) is Verdict.OLD_SNAPSHOT


def test_the_message_that_a_snapshot_ends_with_is_in_it_already() -> None:
    """It counts for nothing, and the one that is linked to it comes next although it begins behind the snapshot."""
    book, rule = Book(), BookRule("links", from_rest=True)
    for message in (linked(80, 90, 100, [("98.0", "9")]), linked(100, 110, 120)):
        assert book.delta(message) is Verdict.BUFFERED
    assert book.snapshot(BookSnapshot(ETH, BIDS, ASKS, 100, None, 0, 0, rule=rule)) is Verdict.APPLIED
    assert (book.bids(), book.book_msgs, book.seq_gaps) == (BIDS, 1, 0)


def test_messages_linked_to_a_snapshot_in_the_stream_must_follow_it_at_once() -> None:
    """OKX: prevSeqId of the first update is the snapshot's seqId."""
    rule = BookRule("links")
    book = Book()
    assert book.delta(BookDelta(ETH, [], [], 0, 4, None, 0, 0, 3, rule)) is Verdict.STALE
    assert book.snapshot(BookSnapshot(ETH, BIDS, ASKS, 5, None, 0, 0, rule=rule)) is Verdict.APPLIED
    assert book.delta(BookDelta(ETH, [], [], 0, 9, None, 0, 0, 5, rule)) is Verdict.APPLIED
    assert book.delta(BookDelta(ETH, [], [], 0, 9, None, 0, 0, 9, rule)) is Verdict.APPLIED, "nothing changed"
    assert book.delta(BookDelta(ETH, [], [], 0, 12, None, 0, 0, 10, rule)) is Verdict.GAP


def test_a_snapshot_in_the_stream_outdates_what_was_kept_for_one_from_rest() -> None:
    """OKX sends one when a subscription begins: what came before it is in it."""
    book = Book()
    assert book.delta(linked(90, 91, 95, [("98.0", "9")])) is Verdict.BUFFERED
    rule = BookRule("links")
    assert book.snapshot(BookSnapshot(ETH, BIDS, ASKS, 100, None, 0, 0, rule=rule)) is Verdict.APPLIED
    assert (book.bids(), book.book_msgs) == (BIDS, 1)
    assert book.delta(linked(100, 101, 105)) is Verdict.APPLIED


def test_ids_may_begin_anew_where_a_message_says_so_itself() -> None:
    """OKX after maintenance: it names the one before and has a lower id; so too right behind a snapshot from REST."""
    for links in ([linked(90, 91, 100), linked(100, 3, 3), linked(3, 4, 5)], [linked(100, 3, 3), linked(3, 4, 5)]):
        book = Book()
        for message in links:
            book.delta(message)
        rule = BookRule("links", from_rest=True)
        assert book.snapshot(BookSnapshot(ETH, BIDS, ASKS, 100, None, 0, 0, rule=rule)) is Verdict.APPLIED
        assert (book.usable, book.book_msgs, book.seq_gaps) == (True, 2, 0)
        assert book.delta(linked(5, 6, 8)) is Verdict.APPLIED
        assert book.delta(linked(100, 9, 9)) is Verdict.GAP


def test_ranges_after_a_snapshot_in_the_stream_must_follow_it_at_once() -> None:
    """Bybit: each message's u is the one before + 1, the snapshot's included."""
    rule = BookRule("ranges")
    book = Book()
    assert book.snapshot(BookSnapshot(ETH, BIDS, ASKS, 5, None, 0, 0, rule=rule)) is Verdict.APPLIED
    assert book.delta(BookDelta(ETH, [], [], 6, 6, None, 0, 0, rule=rule)) is Verdict.APPLIED
    assert book.snapshot(BookSnapshot(ETH, BIDS, ASKS, 1, None, 0, 0, rule=rule)) is Verdict.APPLIED, "it started anew"
    assert book.delta(BookDelta(ETH, [], [], 2, 2, None, 0, 0, rule=rule)) is Verdict.APPLIED
    assert book.delta(BookDelta(ETH, [], [], 4, 4, None, 0, 0, rule=rule)) is Verdict.GAP
    assert book.delta(BookDelta(ETH, [], [], 5, 5, None, 0, 0, rule=rule)) is Verdict.STALE, "until the next snapshot"


def test_okx_sums_bids_and_asks_in_turn_and_lets_the_longer_side_go_on() -> None:
    """The two examples of its documentation."""
    bids: list[Level] = [("3366.1", "7"), ("3366", "6")]
    asks: list[Level] = [("3366.8", "9"), ("3368", "8")]
    assert okx_checksum_of(bids, asks) == crc32_signed("3366.1:7:3366.8:9:3366:6:3368:8")
    asks = [("3366.8", "9"), ("3368", "8"), ("3372", "8")]
    assert okx_checksum_of(bids[:1], asks) == crc32_signed("3366.1:7:3366.8:9:3368:8:3372:8")


def crc32_signed(text: str) -> int:
    """As Java has it."""
    return int.from_bytes(zlib.crc32(text.encode()).to_bytes(4, "big"), "big", signed=True)


def test_a_price_that_wanders_for_months_leaves_nothing_behind_in_memory() -> None:
    """Of thirty thousand prices only those near the book's are remembered."""
    book = Book()
    book.snapshot(snapshot())
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for step in range(1, 30_000):
        old, new = (f"{20_000 + at}.5" for at in (step - 1, step))
        assert book.delta(delta(100 + step, 100 + step, asks=[(old, "0"), (new, "1")])) is Verdict.APPLIED
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000
