"""What Binance and Kraken can be asked for again: the trades in a hole and the candles of the past."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, Trade, VenueCandle
from traderd.venues.binance import Binance
from traderd.venues.binance_futures import BinanceFutures
from traderd.venues.dialect import History, Hole
from traderd.venues.kraken import Kraken

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "captures" / "binance_rest_recordings.json.xz"
ETH = Instrument(0, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")
BTC = Instrument(0, "kraken", "BTC/USD", "BTC/USD", "BTC", "USD")
DOGE = Instrument(0, "kraken", "DOGE/EUR", "DOGE/EUR", "DOGE", "EUR")
MINUTE = 60_000_000_000
T0 = 28_145_000 * MINUTE
NOW = T0 + 1000 * MINUTE
SPOT, LINEAR, INVERSE, KRAKEN = Binance(), BinanceFutures("linear"), BinanceFutures("inverse"), Kraken(10)
KRAKEN_TRADES = (
    b'{"error":[],"result":{"XXBTZUSD":[["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952],'
    b'["30243.30000","0.00376960",1688669598.28,"s","l","",61044953]],"last":"1688669598280000000"}}'
)
KRAKEN_CANDLES = (
    b'{"error":[],"result":{"XXBTZUSD":[[1688671200,"30306.1","30306.2","30305.7","30305.7","30306.1","3.39","23"],'
    b'[1688671260,"30304.5","30304.5","30300.0","30300.0","30300.0","4.42187","18"]],"last":1688671200}}'
)


def recorded(route: str, *marks: str) -> bytes:
    """What the venue really answered to the first question with these words in it."""
    if not RECORDINGS.exists():
        pytest.skip(f"no recordings at {RECORDINGS.name}")
    routes = json.loads(lzma.decompress(RECORDINGS.read_bytes()))["routes"]
    answers = [each for each in routes[route]["GET"] if all(mark in each["queryString"] for mark in marks)]
    answer: Any = next(each["data"] for each in answers if isinstance(each["data"], list) and each["data"])
    return json.dumps(answer).encode()


def test_every_dialect_here_serves_history_forward() -> None:
    """A page begins behind the newest trade before the hole."""
    histories: list[History] = [SPOT, LINEAR, INVERSE, KRAKEN]
    assert {history.trades_paged for history in histories} == {"forward"}


@pytest.mark.parametrize(
    ("hole", "query"),
    [
        (Hole(T0, T0 + 1, "1520538925", "1520540000"), "fromId=1520538926&limit=1000"),
        (Hole(T0, T0 + 1, "", "1520540000"), "fromId=1520539000&limit=1000"),
        (Hole(T0, T0 + 1, "", "17"), "fromId=0&limit=1000"),
    ],
)
def test_spot_trades_are_asked_for_by_the_stream_s_ids(hole: Hole, query: str) -> None:
    """Behind the hole's first neighbour or, if that isn't known, before the other one."""
    asked = SPOT.trades_url(SPOT.live, ETH, hole)
    assert asked == f"https://api.binance.com/api/v3/historicalTrades?symbol=ETHUSDT&{query}"


def test_a_hole_in_spot_without_any_id_cannot_be_asked_for() -> None:
    """By time there are only aggregated trades, and these aren't the stream's."""
    assert SPOT.trades_url(SPOT.live, ETH, Hole(T0, T0 + 1)) == ""
    assert SPOT.trades_url(SPOT.live, ETH, Hole(T0, T0 + 1, "x-1", "y")) == ""


def test_futures_trades_are_asked_for_by_id_or_by_time() -> None:
    """Never by both: the venue warns of time-outs."""
    root = "https://fapi.binance.com/fapi/v1/aggTrades?symbol=ETHUSDT"
    assert LINEAR.trades_url(LINEAR.live, ETH, Hole(T0, T0 + 1, "7", "9")) == f"{root}&fromId=8&limit=1000"
    by_time = f"{root}&startTime={T0 // 1_000_000}&limit=1000"
    assert LINEAR.trades_url(LINEAR.live, ETH, Hole(T0, T0 + 1, "", "9")) == by_time
    assert INVERSE.trades_url(INVERSE.live, ETH, Hole(T0, T0 + 1)).startswith("https://dapi.binance.com/dapi/v1/agg")


def test_recorded_spot_trades_carry_the_stream_s_ids() -> None:
    """Oldest first, the taker's side from the maker's."""
    trades = SPOT.decode_trades(recorded("/api/v3/historicalTrades"), ETH, NOW)
    time_ns = 1621933655947 * 1_000_000
    assert trades[0] == Trade(ETH, "870281750", "sell", 38172.11, "38172.11000000,0.15000000", time_ns, NOW)
    ids = [int(trade.trade_id) for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


@pytest.mark.parametrize(
    ("dialect", "route", "first"),
    [
        (LINEAR, "/fapi/v1/aggTrades", ("19427407", "sell", "49.73", "0.001", 1602819697783)),
        (INVERSE, "/dapi/v1/aggTrades", ("4773826", "sell", "19099.6", "70", 1607294296787)),
    ],
)
def test_recorded_futures_trades_are_the_aggregated_ones(dialect: BinanceFutures, route: str, first: Any) -> None:
    """As their stream tells them."""
    trades = dialect.decode_trades(recorded(route), ETH, NOW)
    told = trades[0]
    time_ms = told.time_venue_ns // 1_000_000
    assert (told.trade_id, told.side, told.price_text, told.quantity_text, time_ms) == first
    ids = [int(trade.trade_id) for trade in trades]
    assert ids == sorted(set(ids))


def test_kraken_trades_are_asked_for_by_time_and_have_the_stream_s_ids() -> None:
    """REST's old asset names; the time has microseconds, as the stream's has."""
    asked = KRAKEN.trades_url(KRAKEN.live, DOGE, Hole(T0, T0 + 1, "61044951"))
    assert asked == f"https://api.kraken.com/0/public/Trades?pair=XDGEUR&since={T0 - 1}&count=1000"
    first, second = KRAKEN.decode_trades(KRAKEN_TRADES, BTC, NOW)
    time_ns = 1_688_669_597_827_736_000
    assert first == Trade(BTC, "61044952", "buy", 30243.4, "30243.40000,0.34507674", time_ns, NOW)
    assert (second.trade_id, second.side, second.time_venue_ns) == ("61044953", "sell", 1_688_669_598_280_000_000)


def test_trades_out_of_order_are_put_in_order() -> None:
    """By id, as numbers."""
    old = [{"id": n, "price": "1", "qty": "1", "time": 5, "isBuyerMaker": True} for n in (10, 9, 11)]
    assert [trade.trade_id for trade in SPOT.decode_trades(json.dumps(old).encode(), ETH, NOW)] == ["9", "10", "11"]


@pytest.mark.parametrize(
    ("dialect", "root"),
    [
        (SPOT, "https://api.binance.com/api/v3"),
        (LINEAR, "https://fapi.binance.com/fapi/v1"),
        (INVERSE, "https://dapi.binance.com/dapi/v1"),
    ],
)
def test_candles_are_asked_for_by_the_time_that_they_open(dialect: Any, root: str) -> None:
    """From the first millisecond on, up to the end and without it."""
    url = dialect.candles_url(dialect.live, ETH, "1m", T0, T0 + 3 * MINUTE)
    first, last = T0 // 1_000_000, (T0 + 3 * MINUTE) // 1_000_000 - 1
    query = f"symbol=ETHUSDT&interval=1m&startTime={first}&endTime={last}&limit=1000"
    assert url == f"{root}/klines?{query}"
    assert f"startTime={first + 1}&" in dialect.candles_url(dialect.live, ETH, "1m", T0 + 1, T0 + MINUTE)
    assert dialect.candles_url(dialect.live, ETH, "7m", T0, T0 + MINUTE) == ""
    assert dialect.candles_url(dialect.live, ETH, "1m", T0, T0) == ""


def test_only_spot_has_candles_of_a_second_and_only_inverse_ones_are_asked_for_in_parts() -> None:
    """Beyond 200 days the venue refuses."""
    assert SPOT.candles_url(SPOT.live, ETH, "1s", T0, NOW)
    assert LINEAR.candles_url(LINEAR.live, ETH, "1s", T0, NOW) == ""
    days, first = 300 * 1440 * MINUTE, T0 // 1_000_000
    assert f"endTime={first + 200 * 86_400_000 - 1}&" in INVERSE.candles_url(INVERSE.live, ETH, "1d", T0, T0 + days)
    assert f"endTime={first + 300 * 86_400_000 - 1}&" in LINEAR.candles_url(LINEAR.live, ETH, "1d", T0, T0 + days)


def test_recorded_candles_are_the_venue_s() -> None:
    """Long past, and so closed."""
    candles = SPOT.decode_candles(recorded("/api/v3/klines"), ETH, "5m", NOW)
    opened = 1586987400000 * 1_000_000
    prices = ("6733.55000000", "6737.79000000", "6726.61000000", "6727.14000000")
    assert candles[0] == VenueCandle(ETH, "5m", opened, *prices, "121.20139100", True, 0, NOW, "815879.49416818", 2208)
    assert [c.open_time_ns for c in candles] == sorted({c.open_time_ns for c in candles})
    inverse = INVERSE.decode_candles(recorded("/dapi/v1/klines"), replace(ETH, market="inverse"), "1d", NOW)
    assert (inverse[0].volume, inverse[0].quote_volume) == ("2067959", ""), (
        "contracts, and no sum of prices times these"
    )


def test_a_candle_that_has_hardly_ended_is_not_called_closed() -> None:
    """Our clock may be ahead of the venue's."""
    start = T0 // 1_000_000
    body = json.dumps([[start, "1", "2", "1", "2", "5", start + 59_999, "9", 1, "1", "1", "0"]]).encode()
    for received_ns, closed in ((T0 + MINUTE + 5_000_000_000, False), (T0 + MINUTE + 11_000_000_000, True)):
        (candle,) = SPOT.decode_candles(body, ETH, "1m", received_ns)
        assert candle.closed is closed


def test_kraken_serves_no_more_than_its_last_720_candles() -> None:
    """What is more can't be asked for at all; the answer's last candle is still being made."""
    asked = KRAKEN.candles_url(KRAKEN.live, BTC, "1m", T0, T0 + 720 * MINUTE)
    since = T0 // 1_000_000_000 - 1
    assert asked == f"https://api.kraken.com/0/public/OHLC?pair=XBTUSD&interval=1&since={since}"
    assert KRAKEN.candles_url(KRAKEN.live, BTC, "1m", T0, T0 + 721 * MINUTE) == ""
    assert KRAKEN.candles_url(KRAKEN.live, BTC, "3m", T0, T0 + MINUTE) == ""
    first, last = KRAKEN.decode_candles(KRAKEN_CANDLES, BTC, "1m", NOW)
    prices = ("30306.1", "30306.2", "30305.7", "30305.7")
    assert first == VenueCandle(BTC, "1m", 1_688_671_200_000_000_000, *prices, "3.39", True, 0, NOW, "102737.679", 23)
    assert not last.closed
    for wrong in (b'"x"', b"-1", b"1.5", b'"'):
        with pytest.raises(BadFrameError):
            KRAKEN.decode_candles(KRAKEN_CANDLES.replace(b'"23"', wrong), BTC, "1m", NOW)


@pytest.mark.parametrize(
    ("dialect", "body", "reason"),
    [
        (SPOT, b'{"code":-1121,"msg":"Invalid symbol."}', "malformed"),
        (SPOT, b'[{"id":1,"price":"0","qty":"1","time":5,"isBuyerMaker":true}]', "bad_number"),
        (LINEAR, b'[{"a":1,"p":"NaN","q":"1","T":5,"m":true}]', "bad_number"),
        (LINEAR, b'[{"a":-1,"p":"1","q":"1","T":5,"m":true}]', "malformed"),
        (KRAKEN, b'{"error":["EGeneral:Too many requests"]}', "refused"),
        (KRAKEN, KRAKEN_TRADES.replace(b'"b"', b'"x"'), "bad_side"),
        (KRAKEN, KRAKEN_TRADES.replace(b"1688669597.8277369", b"1e9"), "bad_time"),
        (KRAKEN, KRAKEN_TRADES.replace(b"1688669597.8277369", b"9999999999.9"), "bad_time"),
        (KRAKEN, KRAKEN_TRADES.replace(b"0.34507674", b"-1"), "bad_number"),
    ],
)
def test_an_answer_that_is_none_is_refused(dialect: Any, body: bytes, reason: str) -> None:
    """With one of the few reasons."""
    with pytest.raises(BadFrameError) as refused:
        dialect.decode_trades(body, ETH, NOW)
    assert refused.value.reason == reason
