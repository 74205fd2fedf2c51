"""ccxt's unified structures into our events: exact where ccxt lets us, and nothing that is no number gets through."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument
from traderd.venues.ccxt_seats import ccxt_seats
from traderd.venues.ccxt_sources import SOURCES, offers, source_of, ways
from traderd.venues.ccxt_words import (
    Written,
    book_from,
    candles_from,
    described,
    ended_candles_from,
    funding_from,
    mark_from,
    open_interest_from,
    quote_from,
    rebased,
    text_of,
    trade_from,
)
from traderd.venues.dialect import Endpoint

BTC = Instrument(0, "bitfinex", "BTC/USD", "BTC/USD", "BTC", "USD", feed="ccxt")
TRADE = {"id": "7", "timestamp": 1_700_000_000_123, "side": "sell", "price": Written("64000.10"), "amount": 0.25}
ANYTHING = st.one_of(st.none(), st.text(max_size=12), st.floats(), st.integers(), st.booleans(), st.lists(st.none()))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Written("0.01000000"), "0.01000000"),
        (Written("1e-7"), "0.0000001"),
        (Written(5.1e-7), "0.00000051"),
        (0.25, "0.25"),
        (3, "3"),
        (None, ""),
        (float("nan"), "nan"),
    ],
)
def test_a_number_is_the_text_that_the_venue_sent_where_it_is_known(number: Any, text: str) -> None:
    """ccxt reckons with it as with any float."""
    assert text_of(number) == text
    assert Written("2.50") + 1 == 3.5 and -Written("2.50") == -2.5


@given(st.fixed_dictionaries(dict.fromkeys(TRADE, ANYTHING)))
def test_of_any_structure_comes_a_trade_or_the_one_named_error(told: dict[str, Any]) -> None:
    """Never a number that isn't finite, never another exception."""
    for key in TRADE:
        try:
            trade = trade_from({**TRADE, key: told[key]}, BTC, 1)
        except BadFrameError:
            continue
        assert 0 < trade.price < float("inf") and 0 <= trade.quantity < float("inf")
        assert trade.side in ("buy", "sell") and trade.time_venue_ns >= 0


@given(st.lists(ANYTHING, min_size=4, max_size=4))
def test_of_any_levels_comes_a_quote_or_the_one_named_error(told: list[Any]) -> None:
    """The same."""
    try:
        quote = quote_from(told[:2], told[2:], None, BTC, 1)
    except BadFrameError:
        return
    assert all(0 < price < float("inf") for price in (quote.bid, quote.ask))


LEVELS = st.lists(st.lists(ANYTHING, max_size=3), max_size=3)


@given(st.fixed_dictionaries({"bids": LEVELS | ANYTHING, "asks": LEVELS | ANYTHING, "timestamp": ANYTHING}))
def test_of_any_book_comes_a_snapshot_or_the_one_named_error(told: dict[str, Any]) -> None:
    """Of which every level is a price and a quantity above zero."""
    try:
        book = book_from(told, BTC, 1, 2)
    except BadFrameError:
        return
    assert all(float(price) > 0 and float(quantity) > 0 for price, quantity in (*book.bids, *book.asks))


@given(st.lists(st.lists(ANYTHING, max_size=7) | ANYTHING, max_size=3), st.integers(0, 2**62))
def test_of_any_rows_come_candles_or_the_one_named_error(told: list[Any], received_ns: int) -> None:
    """Ended ones too."""
    for read in (candles_from, lambda rows, at, now_ns: ended_candles_from(rows, at, now_ns, 0)):
        try:
            candles = read(told, BTC, received_ns)
        except BadFrameError:
            continue
        assert all(0 < float(each.low) < float("inf") for each in candles)


@given(
    st.dictionaries(
        st.sampled_from(
            ["fundingRate", "fundingTimestamp", "markPrice", "indexPrice", "openInterestAmount", "timestamp"]
        ),
        ANYTHING,
    )
)
def test_of_anything_that_a_contract_tells_comes_an_event_or_the_one_named_error(told: dict[str, Any]) -> None:
    """The same."""
    for read in (funding_from, mark_from, open_interest_from):
        try:
            event = read(told, BTC, 1)  # type: ignore[operator]  # they are of one kind
        except BadFrameError:
            continue
        assert event.time_venue_ns >= 0


def test_a_book_is_cut_to_its_depth_and_claims_no_number() -> None:
    """What ccxt knows of it isn't the venue's word; a level without quantity is none."""
    told = {"bids": [[2.0, 1.5], [1.0, 0.0], [0.5, 1]], "asks": [[Written("3.10"), Written("2.00"), 4]], "nonce": 9}
    book = book_from(told, BTC, 1, 2)
    assert (book.bids, book.asks) == ([("2.0", "1.5")], [("3.10", "2.00")])
    assert (book.sequence, book.checksum, book.rule.numbering, book.depth) == (0, None, "none", 2)


@pytest.mark.parametrize(
    ("rate", "text"), [(Written("-0.000018"), "-0.000018"), (-1.8e-05, "-0.000018"), (1e-7, "0.0000001"), (0, "0")]
)
def test_a_funding_rate_is_plain_whatever_its_size_and_sign(rate: Any, text: str) -> None:
    """Small ones are what ccxt writes with an exponent."""
    told = funding_from({"fundingRate": rate, "fundingTimestamp": 5, "timestamp": 3}, BTC, 1)
    assert (told.rate, told.next_time_ns, told.time_venue_ns) == (text, 5_000_000, 3_000_000)


def test_each_channel_comes_by_the_best_that_the_venue_has() -> None:
    """And is said to be unavailable where it has nothing."""
    has = {"watchTrades", "fetchTrades", "fetchOrderBook", "watchOHLCV", "fetchFundingRate"}
    told = ways([*SOURCES, "liquidation"], has.__contains__)
    assert told == {
        **{"quote": "polled", "trade": "websocket", "book": "polled", "candle": "websocket", "funding": "polled"},
        **{"mark": "polled", "open_interest": "unavailable", "liquidation": "unavailable"},
    }
    source = source_of("mark", has.__contains__)
    assert source is not None and source.method == "fetch_funding_rate"


@pytest.mark.parametrize(
    ("symbol", "nothing"),
    [
        ("BTC/USD", {"funding", "mark", "open_interest"}),
        ("BTC/USDT:USDT", set()),
        ("BTC/USDT:USDT-261225", {"funding"}),
    ],
)
def test_an_instrument_has_only_what_its_kind_has(symbol: str, nothing: set[str]) -> None:
    """Spot and dated contracts pay no funding."""
    ((instrument,),) = (seat.instruments for seat in ccxt_seats([("gate", [symbol], [], 10)], 0))
    assert {channel for channel in SOURCES if not offers(instrument, channel)} == nothing


def test_a_trade_without_an_id_is_named_by_what_it_is() -> None:
    """So that REST and websocket name it alike."""
    assert trade_from({**TRADE, "id": None}, BTC, 1).trade_id == "1700000000123-sell-64000.10-0.25"


def test_a_contract_is_described_and_unknown_precision_stays_ours() -> None:
    """By ccxt's precision modes: 4 is a tick, 2 a count of decimals, 3 counts significant digits and says no step."""
    market = {
        **{"id": "BTCUSD_250328", "base": "BTC", "quote": "USD", "settle": "BTC", "contract": True, "inverse": True},
        **{"contractSize": 100.0, "expiry": 1_743_148_800_000, "precision": {"price": 0.1, "amount": 1.0}},
    }
    found = described(market, 4, BTC)
    assert (found.market, found.settle, found.contract_size) == ("inverse", "BTC", Decimal(100))
    assert (found.price_tick, found.quantity_step, found.feed) == (Decimal("0.1"), Decimal(1), "ccxt")
    assert found.expiry_ns == 1_743_148_800 * 10**9
    assert described({**market, "precision": {"price": 2}}, 2, BTC).price_tick == Decimal("0.01")
    assert described({**market, "precision": {"price": 5}}, 3, BTC).price_tick == BTC.price_tick


def test_every_address_of_ccxt_s_is_moved_to_another_server() -> None:
    """With its path."""
    addresses = {"ws": {"spot": "wss://stream.binance.com:9443/ws"}, "public": "https://api.binance.com/api/v3"}
    assert rebased(addresses, Endpoint("ws://here:1", "http://here:2")) == {
        "ws": {"spot": "ws://here:1/ws"},
        "public": "http://here:2/api/v3",
    }


def test_seats_through_ccxt_are_numbered_behind_the_others() -> None:
    """In all markets of a venue."""
    first, second = ccxt_seats(
        [("gate", ["BTC/USDT", "BTC/USD:BTC"], ["quote"], 10), ("bitso", ["BTC/MXN"], [], 25)], 5
    )
    assert [(each.index, each.market, each.settle) for each in first.instruments] == [
        (5, "spot", ""),
        (6, "inverse", "BTC"),
    ]
    assert (second.instruments[0].index, second.instruments[0].quote) == (7, "MXN")
