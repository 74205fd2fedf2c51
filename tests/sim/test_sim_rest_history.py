"""What the simulated exchange can be asked for again: every trade that it ever sent, by id and by time."""

import msgspec
import pytest

from traderd.config import Sim
from traderd.core.market import Instrument
from traderd.sim.market import Market
from traderd.sim.pit import Traded
from traderd.sim.rest import answer, weight
from traderd.venues.binance import Binance
from traderd.venues.dialect import Endpoint, Hole

EPOCH_US = 1_700_000_000_000_000


@pytest.fixture
def market() -> Market:
    """Some seconds old."""
    return Market(Sim(symbols=2, ticks_per_second=5_000.0), EPOCH_US)


def test_every_trade_that_was_sent_can_be_fetched_by_id(market: Market) -> None:
    """Page by page through the dialect that will ask, none missing, none twice."""
    sent = [
        event.trade_id
        for event in market.advance(5_000_000)
        if isinstance(event, Traded) and event.stream == "btcusdt@trade"
    ]
    assert len(sent) > 2_000
    dialect, fetched = Binance(), [sent[0]]
    instrument = dialect_instrument(dialect)
    while fetched[-1] < sent[-1]:
        url = dialect.trades_url(Endpoint("", ""), instrument, Hole(0, 1, str(fetched[-1]), ""))
        status, body = answer(market, url)
        assert status == 200
        fetched += [int(trade.trade_id) for trade in dialect.decode_trades(body, instrument, 1)]
    assert fetched == sent


def dialect_instrument(dialect: Binance) -> Instrument:
    """BTC/USDT, as replay would make it."""
    dialect.discover()
    return dialect.instrument("BTCUSDT")


def test_aggregates_are_found_by_time_too(market: Market) -> None:
    """Between two moments, the oldest first; without them the newest."""
    market.advance(3_000_000)
    first_ms = EPOCH_US // 1000 + 1_000
    span = f"&startTime={first_ms}&endTime={first_ms + 999}"
    trades = msgspec.json.decode(answer(market, f"/api/v3/aggTrades?symbol=ETHUSDT&limit=1000{span}")[1])
    expected = [t for t in market.pits["ETHUSDT"].trades if first_ms <= t.time_ms <= first_ms + 999]
    assert [trade["a"] for trade in trades] == [trade.trade_id for trade in expected]
    newest = msgspec.json.decode(answer(market, "/api/v3/aggTrades?symbol=ETHUSDT&limit=1")[1])
    assert newest[0]["a"] == market.pits["ETHUSDT"].trades[-1].trade_id


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/v3/time", 1),
        ("/api/v3/depth?symbol=X", 5),
        ("/api/v3/depth?symbol=X&limit=1000", 50),
        ("/api/v3/depth?symbol=X&limit=5000", 250),
        ("/api/v3/historicalTrades?symbol=X", 25),
    ],
)
def test_requests_weigh_what_they_weigh_at_the_venue(target: str, expected: int) -> None:
    """By its documentation."""
    assert weight(target) == expected
