"""What became of holding candles against the venue's, as Prometheus is told."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from made_up import BTC, SECOND, START, candle, trade
from traderd.adapters.logs import logger
from traderd.adapters.metrics import Metrics
from traderd.adapters.telemetry import Telemetry
from traderd.core.engine import Engine
from traderd.core.engine_settings import EngineSettings
from traderd.core.market import Beat, VenueCandle
from traderd.core.risk import RiskSettings

RISK = RiskSettings(Decimal(5_000), Decimal(20_000), Decimal(100), 2_000, Decimal(10))


def test_compared_candles_are_counted_by_venue_symbol_and_verdict() -> None:
    """One that agrees, one that differs, and the first one, which began before the trades did."""
    settings = EngineSettings("r", "paper", "USDT", Decimal(1), ("1s",), 500, 1.0, Decimal(10), RISK)
    engine, metrics = Engine(settings, [BTC]), Metrics()
    heard = Telemetry(metrics, logger("test"), 0)
    pipeline: Any = SimpleNamespace(streams=[], engine=engine)
    engine.gaps.whole("binance", "BTC/USDT", "trade", START)
    for second in (0, 10, 11):
        opened = START + second * SECOND
        engine.on_trade(trade("10", "1", opened))
        volume = "1" if second == 10 else "2"
        engine.on_venue_candle(VenueCandle(BTC, "1s", opened, *("10",) * 4, volume, True, 0, opened + SECOND))
        engine.on_beat(Beat(opened + SECOND))
        heard.measured(pipeline, 0, 0, 0)
    engine.on_beat(Beat(START + 20 * SECOND))
    heard.measured(pipeline, 0, 0, 0)
    heard.measured(pipeline, 0, 0, 0)
    lines = metrics.text().decode().splitlines()
    told = {line.partition("{")[2] for line in lines if line.startswith("traderd_candles_compared_total")}
    assert told == {
        f'symbol="BTC/USDT",venue="binance",verdict="{verdict}"}} 1.0'
        for verdict in ("agreed", "differing", "incomparable")
    }


def test_recorded_candles_are_counted_by_timeframe() -> None:
    """Prometheus hears of them with the next beat."""
    settings = EngineSettings("r", "paper", "USDT", Decimal(1), ("1s",), 500, 1.0, Decimal(10), RISK)
    engine, metrics = Engine(settings, [BTC]), Metrics()
    heard = Telemetry(metrics, logger("test"), 0)
    pipeline: Any = SimpleNamespace(streams=[], engine=engine)
    for timeframe, count in (("1s", 3), ("1m", 1), ("1s", 2)):
        for _ in range(count):
            heard.fact(candle("10", timeframe=timeframe))
        heard.measured(pipeline, 0, 0, 0)
    text = metrics.text().decode()
    assert 'traderd_candles_total{timeframe="1s"} 5.0' in text
    assert 'traderd_candles_total{timeframe="1m"} 1.0' in text
