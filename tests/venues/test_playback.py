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
    with pytest.raises(BadFrameError, match=r"^unspoken$"):
        playback.events(frame("ws1", SPOT_TRADE))
    assert len(playback.events(frame("ws2", SPOT_TRADE))) == 1, "other connections are read all the same"
    playback.events(connect("ws1", BYBIT + "spot"))
    assert len(playback.events(frame("ws1", SPOT_TRADE))) == 1


def binance(symbol: str, **told: object) -> bytes:
    return json.dumps({"stream": "x", "data": {"s": symbol, **told}}, separators=(",", ":")).encode()


DEPTH = {"e": "depthUpdate", "E": 1, "U": 1, "u": 2, "b": [], "a": []}
DEAL = {"e": "aggTrade", "E": 1, "a": 1, "p": "1", "q": "1", "T": 1, "m": True}
BEST = {"u": 1, "b": "1", "B": "1", "a": "2", "A": "1"}


@pytest.mark.parametrize(
    ("frames", "market"),
    [
        ([binance("ETHUSDT", **BEST)], "spot"),
        ([binance("ETHUSDT", **DEPTH)], "spot"),
        ([binance("ETHUSDT", **DEAL, M=True)], "spot"),
        ([binance("ETHUSDT", **BEST), binance("ETHUSDT", **DEPTH, pu=0)], "linear"),
        ([binance("ETHUSDT", **DEAL), binance("ETHUSDT", **BEST, e="bookTicker")], "linear"),
        ([binance("ETHUSDT_261225", **DEAL), binance("ETHUSDT", **DEPTH, pu=0)], "linear"),
        ([binance("ETHUSD_PERP", **DEAL)], "inverse"),
        ([binance("ETHUSD_261225", **DEPTH, pu=0)], "inverse"),
        ([binance("ETHUSD_PERP", **DEPTH, pu=0, ps="ETHUSD", st=2)], "inverse"),
        ([binance("ETHUSDT", **BEST, ps="ETHUSDT", st=1)], "linear"),
        ([binance("ETHUSDT", **DEAL, nq="1", st=1)], "linear"),
    ],
)
def test_without_header_and_address_the_first_frames_tell_the_market(frames: list[bytes], market: str) -> None:
    """Even of what came before the one that tells it; another connection is of its own. A header's word counts more."""
    records = [frame("ws1", each) for each in frames] + [frame("ws2", binance("ETHUSDT", **DEAL, M=True))]
    playback = Playback("binance", "", None, records)
    heard = [event.instrument.market for record in records for event in playback.events(record)]  # type: ignore[union-attr]
    assert heard == [market] * len(frames) + ["spot"]
    playback = Playback("binance", "coinm", None, records)
    assert {event.instrument.market for event in playback.events(records[-1])} == {"inverse"}  # type: ignore[union-attr]


def test_bybits_trades_and_tickers_tell_spot_from_contracts() -> None:
    """One spelling, two markets: they are not added up even where nobody says which connection is which."""
    deal = SPOT_TRADE.replace(b"BTCUSDT", b"BTCUSD")
    told = [("ws1", SPOT_TRADE), ("ws2", TICKER), ("ws2", SPOT_TRADE), ("ws3", deal), ("ws3", SPOT_TRADE)]
    records = [frame(connection, text) for connection, text in told]
    playback = Playback("bybit", "", None, records)
    heard = {(record.connection, event.instrument.market) for record in records for event in playback.events(record)}  # type: ignore[union-attr]
    assert heard == {("ws1", "spot"), ("ws2", "linear"), ("ws3", "inverse")}
