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
    assert [(seat.name, seat.channels) for seat in found] == [("kraken", ALL), ("binance", ("quote",))]


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
