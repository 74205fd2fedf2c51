"""Which connection carries which streams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.market import Instrument
from traderd.venues.binance import Binance
from traderd.venues.binance_futures import BinanceFutures
from traderd.venues.coinbase import Coinbase
from traderd.venues.dialect import AnyChannel, Dialect
from traderd.venues.kraken import Kraken
from traderd.venues.shards import shards

CHANNELS: list[AnyChannel] = ["quote", "trade", "book", "candle"]
VENUES: list[Dialect] = [Binance(), BinanceFutures("linear"), BinanceFutures("inverse"), Coinbase(), Kraken(10)]


def instruments(count: int) -> list[Instrument]:
    return [Instrument(at, "x", f"A{at}/B", f"A{at}B", f"A{at}", "B") for at in range(count)]


@given(
    st.sampled_from(VENUES),
    st.integers(0, 700),
    st.lists(st.sampled_from(CHANNELS), unique=True, min_size=1),
    st.integers(0, 300),
)
def test_every_stream_is_carried_once_and_no_connection_bears_too_many(
    dialect: Dialect, count: int, channels: list[AnyChannel], most: int
) -> None:
    """By the venue's limit and by ours; what can't share an address doesn't; the connections are evenly filled."""
    wanted = instruments(count)
    found = shards(dialect, wanted, channels, most)
    carried = [(each.index, channel) for shard in found for each in shard.instruments for channel in shard.channels]
    assert sorted(carried) == sorted((each.index, channel) for each in wanted for channel in channels)
    limit = min(dialect.limits.streams_per_connection, most or 10**9)
    for shard in found:
        streams = len(shard.instruments) * len(shard.channels)
        assert 0 < streams <= max(limit, len(shard.channels)), "one symbol's channels stay together"
        assert list(shard.channels) in dialect.by_connection(channels)


@pytest.mark.parametrize(("most", "connections"), [(0, 3), (300, 10), (3_000, 3)])
def test_a_thousand_symbols_are_spread_as_configured(most: int, connections: int) -> None:
    """Three channels of Binance spot; a limit of ours beyond the venue's changes nothing."""
    found = shards(Binance(), instruments(1_000), ["quote", "trade", "book"], most)
    sizes = [len(shard.instruments) for shard in found]
    assert len(found) == connections and max(sizes) - min(sizes) <= 2
