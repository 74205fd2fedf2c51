"""REST answers have Binance's shapes, agree with the trades, and refuse as Binance does."""

from decimal import Decimal
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.config import Sim
from traderd.sim import rest
from traderd.sim.klines import Klines, merged
from traderd.sim.market import Market
from traderd.sim.pit import Event, Traded
from traderd.sim.wire import decimal_text, encode, frame

EPOCH_US = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def day() -> tuple[Market, list[Event]]:
    """A market after 90 seconds, and everything that happened."""
    market = Market(Sim(symbols=3, ticks_per_second=100.0), EPOCH_US)
    return market, market.advance(90_000_000)


def _ask(market: Market, target: str) -> Any:
    status, body = rest.answer(market, target)
    assert status == 200, body
    return msgspec.json.decode(body)


def test_exchange_info_describes_all_one_or_some(day: tuple[Market, list[Event]]) -> None:
    """With the filters that clients read."""
    market, _ = day
    every = _ask(market, "/api/v3/exchangeInfo")["symbols"]
    assert [symbol["symbol"] for symbol in every] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    (one,) = _ask(market, "/api/v3/exchangeInfo?symbol=ETHUSDT")["symbols"]
    assert (one["status"], one["baseAsset"], one["quoteAsset"]) == ("TRADING", "ETH", "USDT")
    filters = {entry["filterType"]: entry for entry in one["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00010000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    some = _ask(market, "/api/v3/exchangeInfo?symbols=" + quote('["SOLUSDT","BTCUSDT"]'))["symbols"]
    assert [symbol["symbol"] for symbol in some] == ["SOLUSDT", "BTCUSDT"]


def test_ccxt_reads_the_exchange_info(day: tuple[Market, list[Event]]) -> None:
    """ccxt's own parser of Binance markets understands every symbol."""
    ccxt = pytest.importorskip("ccxt")
    market, _ = day
    client = ccxt.binance()
    client.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}
    parsed = [client.parse_market(entry) for entry in _ask(market, "/api/v3/exchangeInfo")["symbols"]]
    assert [entry["symbol"] for entry in parsed] == ["BTC/USDT", "ETH/USDT", "SOL/USDT"]
    assert all(entry["spot"] and entry["active"] for entry in parsed)
    assert parsed[1]["precision"]["price"] == 0.01
    assert parsed[1]["limits"]["cost"]["min"] == 5.0


def test_klines_add_up_to_the_trades(day: tuple[Market, list[Event]]) -> None:
    """Volume, notional, taker part, count and OHLC of every minute, exactly."""
    market, events = day
    trades = [e for e in events if isinstance(e, Traded) and e.listing.venue_symbol == "ETHUSDT"]
    lines = _ask(market, "/api/v3/klines?symbol=ETHUSDT&interval=1m")
    assert len(lines) in (2, 3)
    for open_ms, first, high, low, last, volume, close_ms, notional, count, taker, taker_notional, _ in lines:
        inside = [msgspec.json.decode(encode(t)) for t in trades if open_ms <= t.time_ms <= close_ms]
        prices = [Decimal(t["p"]) for t in inside]
        assert [Decimal(x) for x in (first, high, low, last)] == [prices[0], max(prices), min(prices), prices[-1]]
        assert Decimal(volume) == sum(Decimal(t["q"]) for t in inside)
        assert Decimal(notional) == sum(Decimal(t["q"]) * Decimal(t["p"]) for t in inside)
        assert Decimal(taker) == sum(Decimal(t["q"]) for t in inside if not t["m"])
        assert Decimal(taker_notional) == sum(Decimal(t["q"]) * Decimal(t["p"]) for t in inside if not t["m"])
        assert count == len(inside)
    assert sum(line[8] for line in lines) == len(trades)


def test_longer_klines_are_merged_from_shorter_ones(day: tuple[Market, list[Event]]) -> None:
    """One hour holds what the minutes hold; seconds are without holes; limits and times choose."""
    market, _ = day
    (hour,) = _ask(market, "/api/v3/klines?symbol=BTCUSDT&interval=1h")
    minutes = _ask(market, "/api/v3/klines?symbol=BTCUSDT&interval=1m")
    assert Decimal(hour[5]) == sum(Decimal(minute[5]) for minute in minutes)
    assert (hour[1], hour[4]) == (minutes[0][1], minutes[-1][4])
    seconds = _ask(market, "/api/v3/klines?symbol=BTCUSDT&interval=1s&limit=30")
    assert [line[0] for line in seconds] == list(range(seconds[0][0], seconds[0][0] + 30_000, 1_000))
    assert seconds[-1][0] == market.time_ms // 1000 * 1000
    begin = seconds[10][0]
    assert _ask(market, f"/api/v3/klines?symbol=BTCUSDT&interval=1s&startTime={begin}&limit=5") == seconds[10:15]


def test_recent_trades_are_the_last_ones(day: tuple[Market, list[Event]]) -> None:
    """Newest last, with Binance's names and exact notionals."""
    market, events = day
    sold = [e for e in events if isinstance(e, Traded) and e.listing.venue_symbol == "SOLUSDT"][-5:]
    rows = _ask(market, "/api/v3/trades?symbol=SOLUSDT&limit=5")
    assert [row["id"] for row in rows] == [trade.trade_id for trade in sold]
    for row in rows:
        assert Decimal(row["quoteQty"]) == Decimal(row["price"]) * Decimal(row["qty"])


def test_depth_time_and_ping(day: tuple[Market, list[Event]]) -> None:
    """Best first, no more than asked for."""
    market, _ = day
    book = _ask(market, "/api/v3/depth?symbol=BTCUSDT&limit=5")
    assert len(book["bids"]) == len(book["asks"]) == 5
    assert book["bids"] == sorted(book["bids"], key=lambda level: -float(level[0]))
    assert _ask(market, "/api/v3/time") == {"serverTime": EPOCH_US // 1000 + 90_000}
    assert _ask(market, "/api/v3/ping") == {}


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/api/v3/depth?symbol=NOPE", 400, -1121),
        ("/api/v3/depth?symbol=btcusdt", 400, -1100),
        ("/api/v3/depth?symbol=", 400, -1102),
        ("/api/v3/depth", 400, -1102),
        ("/api/v3/depth?symbol=BTCUSDT&limit=x", 400, -1100),
        ("/api/v3/trades?symbol=BTCUSDT&limit=0", 400, -1130),
        ("/api/v3/klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("/api/v3/klines?symbol=BTCUSDT", 400, -1102),
        ("/api/v3/exchangeInfo?symbol=BTCUSDT&symbols=[]", 400, -1128),
        ("/api/v3/exchangeInfo?symbols=BTCUSDT", 400, -1100),
        ("/api/v3/nothing", 404, -1000),
        ("/", 404, -1000),
    ],
)
def test_refusals_have_binances_codes(day: tuple[Market, list[Event]], target: str, status: int, code: int) -> None:
    """`{"code": …, "msg": …}` and nothing else."""
    got, body = rest.answer(day[0], target)
    refusal = msgspec.json.decode(body)
    assert (got, refusal["code"], set(refusal)) == (status, code, {"code", "msg"})
    assert refusal["msg"]


@given(route=st.sampled_from(["depth", "klines", "trades", "exchangeInfo", "x"]), query=st.text(max_size=60))
def test_no_request_target_makes_it_stumble(route: str, query: str) -> None:
    """Whatever stands behind the question mark is answered or refused."""
    market = Market(Sim(symbols=1), EPOCH_US)
    assert rest.answer(market, f"/api/v3/{route}?{query}")[0] in (200, 400, 404)
    assert rest.answer(market, f"/api/v3/{route}?symbol=BTCUSDT&interval=1m&limit={query}")[0] in (200, 400, 404)
    assert rest.answer(market, f"/api/v3/{route}?symbols={query}")[0] in (200, 400, 404)


@given(st.integers(0, 10**18))
def test_number_texts_are_exact_and_have_eight_decimals(units: int) -> None:
    """Back and forth without a float."""
    text = decimal_text(units)
    assert Decimal(text) * 10**8 == units
    assert len(text.partition(".")[2]) == 8


@given(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]))
def test_frame_headers_follow_rfc_6455(size: int) -> None:
    """Final, text, unmasked, with the shortest length that fits."""
    encoded = frame(b"x" * size)
    assert encoded[0] == 0x81
    short = encoded[1]
    extended = {126: 2, 127: 8}.get(short, 0)
    assert (int.from_bytes(encoded[2 : 2 + extended], "big") if extended else short) == size
    assert len(encoded) == 2 + extended + size
    assert extended == (0 if size < 126 else 2 if size < 65_536 else 8)


@given(st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 1_000), st.integers(1, 50)), min_size=1, max_size=40))
def test_merging_seconds_gives_the_minutes(trades: list[tuple[int, int, int]]) -> None:
    """Counting straight into minutes and merging seconds into minutes agree."""
    seconds, minutes = Klines("1s"), Klines("1m")
    time_ms = 0
    for gap_ms, price, lots in trades:
        time_ms += gap_ms % 20_000
        for klines in (seconds, minutes):
            klines.trade(time_ms, price, lots, price * lots, lots % 2 == 0)
    assert merged(seconds.bars, 60_000) == list(minutes.bars)
