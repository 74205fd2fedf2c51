"""A recording's connections: each is read in the dialect of its own address, anew when it connects."""

import json

import pytest
from test_bybit import SPOT_TRADE, TICKER, ticker

from traderd.core.errors import BadFrameError
from traderd.core.market import Funding, Instrument, Trade, VenueEvent
from traderd.venues.playback import Playback, Recorded, UnspokenError

BYBIT = "wss://stream.bybit.com/v5/public/"


def connect(connection: str, address: str) -> Recorded:
    return Recorded(1, "connect", connection, address.encode())


def frame(connection: str, text: bytes) -> Recorded:
    return Recorded(1, "frame", connection, text)


def trades(events: object) -> list[tuple[str, str]]:
    return [(e.instrument.market, e.instrument.symbol) for e in events if isinstance(e, Trade)]  # type: ignore[attr-defined]


def test_a_connection_speaks_of_the_market_that_its_address_names() -> None:
    """Until it connects, of the header's."""
    playback = Playback("bybit", "inverse")
    played: list[VenueEvent] = []
    for record in (
        connect("ws1", BYBIT + "linear"),
        connect("ws2", BYBIT + "spot"),
        frame("ws2", SPOT_TRADE),
        frame("ws1", SPOT_TRADE),
        frame("ws3", SPOT_TRADE.replace(b"BTCUSDT", b"BTCUSD")),
        connect("ws1", BYBIT + "spot"),
        frame("ws1", SPOT_TRADE),
        Recorded(1, "sent", "ws1", b'{"op":"ping"}'),
    ):
        played += playback.events(record)
    spot, linear = ("spot", "BTC/USDT"), ("linear", "BTC/USDT:USDT")
    assert trades(played) == [spot, linear, ("inverse", "BTC/USD:BTC"), spot]


def test_what_a_connection_told_is_forgotten_when_it_connects_again() -> None:
    """A change of the funding rate alone then has no time."""
    playback = Playback("bybit", "linear")
    later = frame("ws1", ticker("delta", fundingRate="0.0002"))

    def next_time(record: Recorded) -> list[int]:
        return [event.next_time_ns for event in playback.events(record) if isinstance(event, Funding)]

    assert next_time(frame("ws1", TICKER)) == [1_786_320_000_000_000_000]
    assert next_time(later) == [1_786_320_000_000_000_000]
    playback.events(connect("ws1", BYBIT + "linear"))
    assert next_time(later) == [0]


def test_known_instruments_are_those_of_the_connections_market() -> None:
    """However they are ordered, though both are spelt alike; another symbol is refused."""
    spot = Instrument(0, "bybit", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
    linear = Instrument(1, "bybit", "BTC/USDT:USDT", "BTCUSDT", "BTC", "USDT", market="linear", settle="USDT")
    for instruments in ([spot, linear], [linear, spot]):
        playback = Playback("bybit", "", instruments)
        for market, meant in (("linear", linear), ("spot", spot)):
            playback.events(connect(market, BYBIT + market))
            (trade,) = playback.events(frame(market, SPOT_TRADE))
            assert isinstance(trade, Trade) and trade.instrument is meant
        with pytest.raises(BadFrameError, match="unknown_symbol"):
            playback.events(frame("spot", SPOT_TRADE.replace(b"BTCUSDT", b"ETHUSDT")))


def test_an_answer_is_of_the_market_that_its_address_names() -> None:
    """Book snapshots of two markets in one recording."""
    body = json.dumps({"lastUpdateId": 7, "bids": [], "asks": []}).encode()
    playback = Playback("binance", "")
    told = {}
    for host, path in (("api", "/api/v3"), ("fapi", "/fapi/v1")):
        address = f"https://{host}.binance.com{path}/depth?symbol=ETHUSDT"
        (snapshot,) = playback.events(Recorded(1, "http", address, body))
        told[host] = getattr(snapshot, "instrument", None)
    assert [each.symbol for each in told.values() if each] == ["ETH/USDT", "ETH/USDT:USDT"]
    assert playback.events(Recorded(1, "http", "https://api.binance.com/api/v3/exchangeInfo", b"{}")) == ()


def test_a_market_that_is_not_spoken_is_named() -> None:
    """The header's at once, a connection's when it connects: never read as another."""
    with pytest.raises(UnspokenError, match=r"^nowhere x isn't spoken here$"):
        Playback("nowhere", "x")
    playback = Playback("bybit", "")
    with pytest.raises(UnspokenError, match=rf"^{BYBIT}option isn't spoken here$"):
        playback.events(connect("ws1", BYBIT + "option"))
