"""Who sits where: every configured symbol has one place, in the order of the configuration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.venues.binance import Binance
from traderd.venues.dialect import Channel
from traderd.venues.kraken import Kraken
from traderd.venues.roster import seats

ALL: tuple[Channel, ...] = ("quote", "trade", "book")
SYMBOLS = st.lists(st.sampled_from(["BTC/USDT", "ETH/USD", "SOL/EUR", "DOGE/BTC"]), unique=True, max_size=4)


@given(SYMBOLS, SYMBOLS)
def test_places_are_numbered_through_all_venues(ours: list[str], theirs: list[str]) -> None:
    """From 0 without a hole, so that a list of all instruments is indexed by them."""
    found = seats([("kraken", ours, ALL, 25), ("binance", theirs, ("quote",), 10)])
    instruments = [instrument for seat in found for instrument in seat.instruments]
    assert [instrument.index for instrument in instruments] == list(range(len(ours) + len(theirs)))
    assert [(each.exchange, each.symbol) for each in instruments] == [
        *(("kraken", symbol) for symbol in ours),
        *(("binance", symbol) for symbol in theirs),
    ]
    assert all(f"{each.base}/{each.quote}" == each.symbol for each in instruments)
    named = [("kraken", list(ALL))] * bool(ours) + [("binance", ["quote"])] * bool(theirs)
    assert [(seat.name, seat.channels) for seat in found] == named


def test_the_symbol_tells_the_market_and_each_market_has_a_seat() -> None:
    """With the currency that a contract is settled in, the venue's spelling and the channels that are offered there."""
    symbols = ["BTC/USDT", "BTC/USD:BTC", "ETH/USDT:USDT", "BTC/USDT:USDT-261225", "BTC/USD:BTC-261225"]
    spot, inverse, linear = seats([("binance", symbols, ["quote", "funding"], 10)])
    assert [(seat.name, seat.exchange, seat.market) for seat in (spot, inverse, linear)] == [
        ("binance", "binance", "spot"),
        ("binance:inverse", "binance", "inverse"),
        ("binance:linear", "binance", "linear"),
    ]
    assert [seat.channels for seat in (spot, inverse, linear)] == [
        ["quote"],
        ["quote", "funding"],
        ["quote", "funding"],
    ]
    told = {
        each.symbol: (each.base, each.quote, each.settle, each.market, each.venue_symbol)
        for seat in (spot, inverse, linear)
        for each in seat.instruments
    }
    assert told == {
        "BTC/USDT": ("BTC", "USDT", "", "spot", "BTCUSDT"),
        "BTC/USD:BTC": ("BTC", "USD", "BTC", "inverse", "BTCUSD_PERP"),
        "BTC/USD:BTC-261225": ("BTC", "USD", "BTC", "inverse", "BTCUSD_261225"),
        "ETH/USDT:USDT": ("ETH", "USDT", "USDT", "linear", "ETHUSDT"),
        "BTC/USDT:USDT-261225": ("BTC", "USDT", "USDT", "linear", "BTCUSDT_261225"),
    }
    assert sorted(each.index for seat in (spot, inverse, linear) for each in seat.instruments) == [0, 1, 2, 3, 4]
    assert spot.speak() is not spot.dialect and spot.speak().market == "spot"


def test_each_venue_speaks_its_own_dialect_and_spelling() -> None:
    """And the depth of the book reaches the one that has it."""
    kraken, binance = seats([("kraken", ["BTC/USD"], ALL, 25), ("binance", ["BTC/USDT"], ALL, 25)])
    assert isinstance(kraken.dialect, Kraken) and isinstance(binance.dialect, Binance)
    assert (kraken.instruments[0].venue_symbol, binance.instruments[0].venue_symbol) == ("BTC/USD", "BTCUSDT")
    (asked,) = kraken.dialect.subscribe_frames(kraken.instruments, ["book"])
    assert '"depth":25' in asked


def test_two_seats_of_one_venue_share_no_dialect() -> None:
    """What one is bound to is nothing to the other."""
    first, second = seats([("binance", ["BTC/USDT"], ALL, 10), ("binance", ["ETH/USDT"], ALL, 10)])
    assert first.dialect is not second.dialect


def test_a_venue_that_is_not_spoken_here_is_a_mistake() -> None:
    """The configuration refuses it long before."""
    with pytest.raises(KeyError):
        seats([("nowhere", ["BTC/USDT"], ALL, 10)])
