"""Which dialect a venue and a market are spoken in."""

import pytest

from traderd.venues.registry import dialect


@pytest.mark.parametrize(
    ("venue", "market", "spoken"),
    [
        ("binance", "", "spot"),
        ("binance", "spot", "spot"),
        ("binance", "usdm", "linear"),
        ("binance", "linear", "linear"),
        ("binance", "coinm", "inverse"),
        ("kraken", "", "spot"),
        ("coinbase", "spot", "spot"),
    ],
)
def test_a_market_has_its_dialect_whatever_a_capture_calls_it(venue: str, market: str, spoken: str) -> None:
    """Binance's own names for its futures and ccxt's."""
    made = dialect(venue, 10, market)
    assert (made.exchange, getattr(made, "market", None)) == (venue, spoken)


@pytest.mark.parametrize(
    ("venue", "market"), [("nowhere", "spot"), ("kraken", "linear"), ("coinbase", "linear"), ("binance", "options")]
)
def test_a_market_that_is_not_spoken_is_a_key_error(venue: str, market: str) -> None:
    """Replay and configuration say it in words of theirs."""
    with pytest.raises(KeyError):
        dialect(venue, 10, market)
