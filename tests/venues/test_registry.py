"""Which dialect a venue and a market are spoken in."""

import pytest

from traderd.venues.registry import dialect, market_named, recorded_dialect


@pytest.mark.parametrize(
    ("venue", "market", "spoken"),
    [
        ("binance", "", "spot"),
        ("binance", "spot", "spot"),
        ("binance", "usdm", "linear"),
        ("binance", "linear", "linear"),
        ("binance", "coinm", "inverse"),
        ("binance", "um", "linear"),
        ("binance", "cm", "inverse"),
        ("bybit", "spot", "spot"),
        ("bybit", "linear", "linear"),
        ("bybit", "inverse", "inverse"),
        ("kraken", "", "spot"),
        ("coinbase", "spot", "spot"),
        ("okx", "spot", "spot"),
        ("okx", "linear", "linear"),
        ("okx", "inverse", "inverse"),
    ],
)
def test_a_market_has_its_dialect_whatever_a_capture_calls_it(venue: str, market: str, spoken: str) -> None:
    """Binance's own names for its futures and ccxt's."""
    made = dialect(venue, 10, market)
    assert (made.exchange, getattr(made, "market", None)) == (venue, spoken)


@pytest.mark.parametrize("told", ["COIN-M", "coinm", "delivery", "cm", "Inverse"])
def test_a_capture_may_spell_a_market_as_it_likes(told: str) -> None:
    """In capitals or with a dash."""
    assert dialect("binance", 10, market_named("binance", told)).market == "inverse"


def test_a_name_for_several_markets_tells_none() -> None:
    """Where there are several: Kraken's contracts aren't spoken, and so aren't taken for its spot market."""
    assert [market_named(venue, "Futures") for venue in ("binance", "bybit", "okx", "kraken")] == [
        "",
        "",
        "",
        "futures",
    ]


@pytest.mark.parametrize(
    ("venue", "market"), [("nowhere", "spot"), ("kraken", "linear"), ("coinbase", "linear"), ("binance", "options")]
)
def test_a_market_that_is_not_spoken_is_a_key_error(venue: str, market: str) -> None:
    """Replay and configuration say it in words of theirs."""
    with pytest.raises(KeyError):
        dialect(venue, 10, market)


@pytest.mark.parametrize(
    ("venue", "market", "address", "spoken"),
    [
        ("binance", "", "wss://stream.binance.com:9443/stream", "spot"),
        ("binance", "usdm", "wss://stream.binance.com:9443/stream", "spot"),
        ("binance", "", "wss://data-stream.binance.vision/stream", "spot"),
        ("binance", "", "wss://fstream.binance.com/market/stream", "linear"),
        ("binance", "usdm", "wss://dstream.binance.com/stream", "inverse"),
        ("binance", "", "https://api.binance.com/api/v3/depth?symbol=ETHUSDT", "spot"),
        ("binance", "", "https://fapi.binance.com/fapi/v1/depth?symbol=ETHUSDT", "linear"),
        ("binance", "", "https://dapi.binance.com/dapi/v1/depth?symbol=BTCUSD_PERP", "inverse"),
        ("binance", "coinm", "ws://127.0.0.1:9000/stream", "inverse"),
        ("binance", "coinm", "", "inverse"),
        ("bybit", "", "wss://stream.bybit.com/v5/public/linear", "linear"),
        ("bybit", "linear", "wss://stream.bybit.com/v5/public/spot", "spot"),
        ("bybit", "", "wss://stream-testnet.bybit.com/v5/public/inverse", "inverse"),
        ("bybit", "", "https://api.bybit.com/v5/market/recent-trade?&category=linear&symbol=BTCUSDT", "linear"),
        ("bybit", "linear", "ws://127.0.0.1:9000", "linear"),
        ("binance", "", "wss://stream.binancefuture.com/ws", "linear"),
        ("binance", "", "https://testnet.binancefuture.com/fapi/v1/depth?symbol=ETHUSDT", "linear"),
        ("binance", "", "wss://stream.binance.us:9443/stream", "spot"),
        ("kraken", "", "wss://ws.kraken.com/v2", "spot"),
        ("kraken", "", "wss://beta-ws.kraken.com/v2", "spot"),
        ("okx", "", "wss://wspap.okx.com:8443/ws/v5/business", "spot"),
        ("coinbase", "", "wss://advanced-trade-ws.coinbase.com", "spot"),
    ],
)
def test_a_recorded_connection_is_of_the_market_that_its_address_names(
    venue: str, market: str, address: str, spoken: str
) -> None:
    """Where it names none, of the header's."""
    made = recorded_dialect(venue, 10, market, address)
    assert (made.exchange, getattr(made, "market", None)) == (venue, spoken)


@pytest.mark.parametrize(
    ("venue", "address"),
    [
        ("binance", "wss://nbstream.binance.com/eoptions/stream"),
        ("bybit", "wss://stream.bybit.com/v5/public/option"),
        ("bybit", "wss://stream.bybit.com/realtime_public"),
        ("coinbase", "wss://ws-feed.pro.coinbase.com"),
        ("kraken", "wss://ws.kraken.com"),
    ],
)
def test_an_older_protocol_or_an_option_is_not_taken_for_what_is_spoken(venue: str, address: str) -> None:
    """A market that the header names doesn't make it so."""
    with pytest.raises(KeyError):
        recorded_dialect(venue, 10, "spot", address)
