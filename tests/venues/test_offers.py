"""Which channels the venues have of which instrument: what doesn't exist isn't asked for."""

import pytest

from traderd.core.market import Instrument
from traderd.venues.dialect import AnyChannel
from traderd.venues.registry import dialect
from traderd.venues.roster import seats
from traderd.venues.shards import shards

PUBLIC: frozenset[AnyChannel] = frozenset({"quote", "trade", "book", "candle"})
CONTRACTS: frozenset[AnyChannel] = frozenset({"funding", "mark", "open_interest", "liquidation"})
DATED = [
    ("binance", "BTC/USDT:USDT-261225"),
    ("binance", "BTC/USD:BTC-261225"),
    ("bybit", "BTC/USDT:USDT-261225"),
    ("bybit", "BTC/USD:BTC-261225"),
    ("okx", "BTC/USDT:USDT-261225"),
    ("okx", "BTC/USD:BTC-261225"),
]


def configured(venue: str, symbol: str) -> Instrument:
    """As it is known before the venue has told anything of it."""
    ((instrument,),) = (seat.instruments for seat in seats([(venue, [symbol], ["quote"], 10)]))
    return instrument


def offered(venue: str, symbol: str) -> set[AnyChannel]:
    instrument = configured(venue, symbol)
    spoken = dialect(venue, 10, instrument.market)
    return {channel for channel in PUBLIC | CONTRACTS if spoken.offers(instrument, channel)}


@pytest.mark.parametrize(("venue", "symbol"), DATED)
def test_a_dated_contract_has_everything_but_funding(venue: str, symbol: str) -> None:
    """Known by its symbol alone; the perpetual beside it has funding."""
    assert offered(venue, symbol) == PUBLIC | CONTRACTS - {"funding"}
    assert offered(venue, symbol.partition("-")[0]) == PUBLIC | CONTRACTS


@pytest.mark.parametrize("venue", ["binance", "bybit", "coinbase", "kraken", "okx"])
def test_spot_has_nothing_that_only_contracts_have(venue: str) -> None:
    """Whatever else the venue has of it."""
    offers = offered(venue, "BTC/USDT")
    assert {"quote", "trade", "book", "candle"} >= offers >= {"quote", "trade", "book"}


@pytest.mark.parametrize(("venue", "symbol"), DATED)
def test_nobody_asks_for_funding_of_a_dated_contract(venue: str, symbol: str) -> None:
    """Neither at first nor again; its mark price, which shares the stream at some venues, is asked for all the same."""
    instrument = configured(venue, symbol)
    spoken = dialect(venue, 10, instrument.market)
    assert spoken.subscribe_frames([instrument], ["funding"]) == []
    assert spoken.resubscribe_frames(instrument, "funding") == []
    assert spoken.subscribe_frames([instrument], ["funding", "mark"])
    assert spoken.resubscribe_frames(instrument, "mark")


def test_what_has_nothing_to_hear_needs_no_connection() -> None:
    """A dated contract beside a perpetual one, where only funding is wanted."""
    dated, perpetual = (configured("okx", f"BTC/USDT:USDT{date}") for date in ("-261225", ""))
    spoken = dialect("okx", 10, "linear")
    assert shards(spoken, [dated], ["funding"]) == []
    assert [shard.instruments for shard in shards(spoken, [dated, perpetual], ["funding"])] == [[perpetual]]
