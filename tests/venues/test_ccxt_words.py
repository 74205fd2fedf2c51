"""ccxt's unified structures into our events: exact where ccxt lets us, and nothing that is no number gets through."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument
from traderd.venues.ccxt_seats import ccxt_seats
from traderd.venues.ccxt_words import Written, described, quote_from, rebased, text_of, trade_from
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
