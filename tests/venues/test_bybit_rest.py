"""Bybit's REST and names: instruments, clock, and the trades and candles of the past."""

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from test_bybit import BTC, COIN, SPOT

from traderd.adapters.capture import Capture
from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, Market, Trade, VenueCandle
from traderd.venues.bybit import Bybit
from traderd.venues.bybit_symbols import instrument_of, venue_symbol_of
from traderd.venues.dialect import Hole

CAPTURE = Path(__file__).parents[2].parent / "shared" / "captures" / "bybit" / "first_400.frames.gz"
LINEAR, SPOTS, INVERSE = Bybit("linear", 10), Bybit("spot", 10), Bybit("inverse", 10)
NOW = 1_786_310_819_236_824_064
MINUTE = 60_000_000_000
T0 = 1_670_601_600_000_000_000
ENDS = 1_798_185_600_000_000_000
"""08:00 UTC of Friday, 2026-12-25."""

LISTED = (
    b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"symbol":"BTCUSDT","contractType":'
    b'"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT","launchTime":"1585526400000",'
    b'"deliveryTime":"1700000000000","priceScale":"2","priceFilter":{"minPrice":"0.10","tickSize":"0.10"},'
    b'"lotSizeFilter":{"minOrderQty":"0.001","qtyStep":"0.001","minNotionalValue":"5"},"settleCoin":"USDT"},'
    b'{"symbol":"BTCUSDT-25DEC26","contractType":"LinearFutures","status":"Trading","baseCoin":"BTC","quoteCoin":'
    b'"USDT","deliveryTime":"1798185600000","priceFilter":{"tickSize":"0.50"},"lotSizeFilter":{"qtyStep":"0.001",'
    b'"minNotionalValue":"5"},"settleCoin":"USDT"},{"symbol":"BIOUSDT","contractType":"LinearPerpetual","status":'
    b'"PreLaunch","baseCoin":"BIO","quoteCoin":"USDT","deliveryTime":"0","priceFilter":{"tickSize":"0.0001"},'
    b'"lotSizeFilter":{"qtyStep":"1"},"settleCoin":"USDT"}],"nextPageCursor":""},"retExtInfo":{},"time":1735809771618}'
)
INVERSE_LISTED = (
    b'{"retCode":0,"result":{"category":"inverse","list":[{"symbol":"BTCUSD","contractType":"InversePerpetual",'
    b'"status":"Trading","baseCoin":"BTC","quoteCoin":"USD","deliveryTime":"0","priceFilter":{"tickSize":"0.10"},'
    b'"lotSizeFilter":{"qtyStep":"1"},"settleCoin":"BTC"},{"symbol":"BTCUSDZ26","contractType":"InverseFutures",'
    b'"status":"Trading","baseCoin":"BTC","quoteCoin":"USD","deliveryTime":"1798185600000","priceFilter":'
    b'{"tickSize":"0.50"},"lotSizeFilter":{"qtyStep":"1"},"settleCoin":"BTC"}]}}'
)
SPOT_LISTED = (
    b'{"retCode":0,"result":{"category":"spot","list":[{"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT",'
    b'"status":"Trading","lotSizeFilter":{"basePrecision":"0.000001","quotePrecision":"0.0000001","minOrderAmt":"5"},'
    b'"priceFilter":{"tickSize":"0.1"}}]}}'
)
CLOCK = b'{"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"},"time":1688639403423}'
OLD_TRADES = (
    b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"execId":"2100000000007764264","symbol":'
    b'"BTCUSDT","price":"16618.50","size":"1","side":"Sell","time":"1672052955759","isBlockTrade":false,"seq":"124"},'
    b'{"execId":"2100000000007764263","symbol":"BTCUSDT","price":"16618.49","size":"0.00012","side":"Buy",'
    b'"time":"1672052955758","isBlockTrade":false,"isRPITrade":true,"seq":"123"}]},"time":1672053054358}'
)
OLD_CANDLES = (
    b'{"retCode":0,"result":{"symbol":"BTCUSDT","category":"linear","list":[["1670601660000","17071","17073","17027",'
    b'"17055.5","268611","15.7"],["1670601600000","17086.5","17088","16978","17071.5","6356","0.3"]]}}'
)
REFUSED = b'{"retCode":10001,"retMsg":"params error: symbol invalid","result":{},"retExtInfo":{},"time":1672053054358}'
ANSWERS = [CLOCK, OLD_TRADES, OLD_CANDLES]
INVERSE_ANSWERS = [INVERSE_LISTED, CLOCK, *(body.replace(b"BTCUSDT", b"BTCUSD") for body in (OLD_TRADES, OLD_CANDLES))]


@pytest.mark.parametrize(
    ("market", "venue_symbol", "symbol", "settle", "expiry_ns"),
    [
        ("spot", "BTCUSDT", "BTC/USDT", "", 0),
        ("spot", "XRPRLUSD", "XRP/RLUSD", "", 0),
        ("spot", "USDCUSD", "USDC/USD", "", 0),
        ("spot", "USDTEUR", "USDT/EUR", "", 0),
        ("linear", "BTCUSDT", "BTC/USDT:USDT", "USDT", 0),
        ("linear", "USDCUSDT", "USDC/USDT:USDT", "USDT", 0),
        ("linear", "1000PEPEPERP", "1000PEPE/USDC:USDC", "USDC", 0),
        ("linear", "BTCUSDT-25DEC26", "BTC/USDT:USDT-261225", "USDT", ENDS),
        ("linear", "BTC-25DEC26", "BTC/USDC:USDC-261225", "USDC", ENDS),
        ("inverse", "BTCUSD", "BTC/USD:BTC", "BTC", 0),
        ("inverse", "BTCUSDZ26", "BTC/USD:BTC-261225", "BTC", ENDS),
    ],
)
def test_a_name_says_what_it_is_the_name_of(
    market: Market, venue_symbol: str, symbol: str, settle: str, expiry_ns: int
) -> None:
    """There and back; without any list of instruments."""
    made = instrument_of(market, venue_symbol, 3)
    assert (made.index, made.symbol, made.settle, made.expiry_ns, made.market) == (3, symbol, settle, expiry_ns, market)
    assert venue_symbol_of(symbol, market) == venue_symbol


@pytest.mark.parametrize(
    ("market", "venue_symbol"),
    [("spot", "XYZ"), ("spot", "USDT"), ("linear", "XYZ"), ("linear", "BTCUSDT-31FEB26"), ("inverse", "XYZ")],
)
def test_a_name_that_says_nothing_stays_whole(market: Market, venue_symbol: str) -> None:
    """With no quote currency rather than a guessed one."""
    made = instrument_of(market, venue_symbol, 0)
    assert (made.symbol, made.quote, made.expiry_ns) == (venue_symbol, "", 0)


def test_instruments_have_the_venues_steps_and_are_in_trade() -> None:
    """A perpetual contract's delivery time is that of its delisting, and no expiry."""
    asked = ["BTC/USDT:USDT-261225", "NO/USDT:USDT", "BIO/USDT:USDT", "BTC/USDT:USDT"]
    dated, perpetual = LINEAR.decode_instruments(LISTED, asked)
    assert perpetual == Instrument(
        1,
        "bybit",
        "BTC/USDT:USDT",
        "BTCUSDT",
        "BTC",
        "USDT",
        Decimal("0.10"),
        Decimal("0.001"),
        Decimal(5),
        "linear",
        "USDT",
        Decimal(1),
        0,
    )
    assert (dated.index, dated.venue_symbol, dated.expiry_ns) == (0, "BTCUSDT-25DEC26", ENDS)
    url = "https://api.bybit.com/v5/market/instruments-info?category=linear&status=Trading&limit=1000"
    assert LINEAR.instruments_url(LINEAR.live, asked) == url


def test_inverse_contracts_are_dollars_and_spots_steps_have_other_names() -> None:
    """The contract's size is one unit of the quote currency."""
    perpetual, dated = INVERSE.decode_instruments(INVERSE_LISTED, ["BTC/USD:BTC", "BTC/USD:BTC-261225"])
    assert (perpetual.market, perpetual.settle, perpetual.contract_size) == ("inverse", "BTC", 1)
    assert (perpetual.quantity_step, perpetual.notional_min) == (1, 0)
    assert (dated.venue_symbol, dated.expiry_ns) == ("BTCUSDZ26", ENDS)
    (spot,) = SPOTS.decode_instruments(SPOT_LISTED, ["BTC/USDT"])
    steps = Decimal("0.1"), Decimal("0.000001"), Decimal(5)
    assert (spot.price_tick, spot.quantity_step, spot.notional_min, spot.settle) == (*steps, "")


def test_a_list_that_goes_on_elsewhere_says_nothing_of_what_is_not_in_it() -> None:
    """Nothing is taken for delisted because it stands on the next page."""
    cut = LISTED.replace(b'"nextPageCursor":""', b'"nextPageCursor":"first%3DBTCUSDT"')
    assert len(LINEAR.decode_instruments(cut, ["BTC/USDT:USDT"])) == 1
    with pytest.raises(BadFrameError, match="refused"):
        LINEAR.decode_instruments(cut, ["BTC/USDT:USDT", "NO/USDT:USDT"])
    with pytest.raises(BadFrameError, match="malformed"):
        SPOTS.decode_instruments(LISTED, ["BTC/USDT"])


@cache
def recorded_lists() -> dict[str, list[Any]]:
    with Capture(CAPTURE) as capture:
        bodies = [record.text for record in capture if record.kind == "http"]
    return {result["category"]: result["list"] for result in (json.loads(body)["result"] for body in bodies)}


@pytest.mark.skipif(not CAPTURE.exists(), reason="no captures")
@pytest.mark.parametrize(("market", "count"), [("linear", 800), ("spot", 557)])
def test_every_instrument_that_the_venue_lists_is_known_by_its_name_alone(market: Market, count: int) -> None:
    """Its list and its names say the same of each."""
    spoken = {"linear": LINEAR, "spot": SPOTS}[market]
    listed = recorded_lists()[market]
    guessed = [instrument_of(market, each["symbol"], at) for at, each in enumerate(listed)]
    body = json.dumps({"retCode": 0, "result": {"category": market, "list": listed}}).encode()
    told = spoken.decode_instruments(body, [each.symbol for each in guessed])
    assert len(told) == count
    for ours, theirs in zip(guessed, told, strict=True):
        names = (theirs.venue_symbol, theirs.base, theirs.quote, theirs.settle, theirs.expiry_ns)
        assert (ours.venue_symbol, ours.base, ours.quote, ours.settle, ours.expiry_ns) == names
        assert spoken.symbol_to_venue(theirs.symbol) == theirs.venue_symbol


def test_the_clock_is_told_in_nanoseconds() -> None:
    """As a text, because it is larger than a double."""
    assert LINEAR.time_url(LINEAR.live) == "https://api.bybit.com/v5/market/time"
    assert LINEAR.decode_time(CLOCK) == 1_688_639_403_423_213_947
    for told in (b"-1", b"1e9", b"99999999999999999999", b"9999999999999999999"):
        with pytest.raises(BadFrameError, match="bad_time"):
            LINEAR.decode_time(CLOCK.replace(b"1688639403423213947", told))


def test_of_trades_the_newest_are_served_and_come_oldest_first() -> None:
    """One page, whatever the hole; spot's is short."""
    hole = Hole(T0, T0 + MINUTE)
    asked = SPOTS.trades_url(SPOTS.live, SPOT, hole)
    assert asked == "https://api.bybit.com/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=60"
    asked = INVERSE.trades_url(INVERSE.live, COIN, hole)
    assert asked == "https://api.bybit.com/v5/market/recent-trade?category=inverse&symbol=BTCUSD&limit=1000"
    assert SPOTS.trades_paged == "none"
    first, last = SPOTS.decode_trades(OLD_TRADES, SPOT, NOW)
    times = 1_672_052_955_758_000_000, NOW
    assert first == Trade(SPOT, "2100000000007764263", "buy", 16618.49, "16618.49,0.00012", *times)
    assert (last.trade_id, last.side) == ("2100000000007764264", "sell")


def test_candles_are_asked_for_from_the_first_on_and_come_oldest_first() -> None:
    """No more than a page: of more the venue would leave out the oldest. The last is open until its end is past."""
    asked = LINEAR.candles_url(LINEAR.live, BTC, "1m", T0, T0 + 2 * MINUTE)
    query = f"category=linear&symbol=BTCUSDT&interval=1&start={T0 // 10**6}&end={T0 // 10**6 + 119_999}&limit=1000"
    assert asked == f"https://api.bybit.com/v5/market/kline?{query}"
    long = LINEAR.candles_url(LINEAR.live, BTC, "1d", T0, T0 + 5000 * 1440 * MINUTE)
    assert f"interval=D&start={T0 // 10**6}&end={T0 // 10**6 + 1000 * 86_400_000 - 1}&" in long
    assert LINEAR.candles_url(LINEAR.live, BTC, "1s", T0, T0 + MINUTE) == ""
    assert LINEAR.candles_url(LINEAR.live, BTC, "1m", T0, T0) == ""
    first, last = LINEAR.decode_candles(OLD_CANDLES, BTC, "1m", T0 + MINUTE + 30 * 10**9)
    prices = ("17086.5", "17088", "16978", "17071.5")
    assert first == VenueCandle(BTC, "1m", T0, *prices, "6356", True, 0, T0 + MINUTE + 30 * 10**9, "0.3")
    contract = replace(BTC, market="inverse")
    assert LINEAR.decode_candles(OLD_CANDLES, contract, "1m", T0)[0].quote_volume == "", "it counts another thing there"
    assert (last.open_time_ns, last.closed) == (T0 + MINUTE, False)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (REFUSED, "refused"),
        (b"<html>", "malformed"),
        (b'{"retCode":0}', "malformed"),
        (OLD_TRADES.replace(b'"Buy"', b'"buy"'), "bad_side"),
        (OLD_TRADES.replace(b'"16618.49"', b'"0"'), "bad_number"),
        (OLD_TRADES.replace(b'"BTCUSDT"', b'"ETHUSDT"'), "unknown_symbol"),
        (OLD_TRADES.replace(b'"1672052955758"', b'"x"'), "bad_time"),
    ],
)
def test_an_answer_that_is_none_is_refused(body: bytes, reason: str) -> None:
    """With one of the few reasons."""
    with pytest.raises(BadFrameError, match=reason):
        SPOTS.decode_trades(body, SPOT, NOW)
