"""Made-up markets for tests: instruments, quotes, trades and candles from the few figures that matter."""

from decimal import Decimal
from typing import NamedTuple

from traderd.core.facts import Candle
from traderd.core.market import Instrument, Quote, Side, Trade
from traderd.core.quality import QualitySettings, QuoteGate

SECOND = 10**9
MS = 10**6
START = 1_700_000_000 * SECOND

BTC = Instrument(
    0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), notional_min=Decimal(5)
)
ETH = Instrument(
    1, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT", Decimal("0.01"), Decimal("0.0001"), notional_min=Decimal(5)
)


def quote(
    bid: str, ask: str, at_ns: int, instrument: Instrument = BTC, bid_size: str = "100", ask_size: str = "100"
) -> Quote:
    """A quote received, and sent, at `at_ns`."""
    return Quote(instrument, float(bid), float(ask), f"{bid},{bid_size},{ask},{ask_size}", 1, at_ns, at_ns)


def trade(
    price: str, quantity: str, at_ns: int, instrument: Instrument = BTC, side: Side = "buy", received_ns: int = 0
) -> Trade:
    """A trade at venue time `at_ns`, received then or at `received_ns`."""
    text = f"{price},{quantity}"
    return Trade(instrument, str(at_ns), side, float(price), text, at_ns, received_ns or at_ns)


def candle(close: str, at_ns: int = START, timeframe: str = "1s") -> Candle:
    """A candle without any range."""
    return Candle("binance", "BTC/USDT", timeframe, at_ns, close, close, close, close, "1", close, trades_count=1)


class Figures(NamedTuple):
    """A candle's, as numbers."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal


def figures_of(bar: Candle) -> Figures:
    """To compute and to compare with: `1.0` is `1`."""
    return Figures(*map(Decimal, (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume)))


class QuoteJudge:
    """A gate that judges every quote, and the newest one that it believed."""

    def __init__(self, settings: QualitySettings) -> None:
        self.gate = QuoteGate(settings)
        self._believed: Quote | None = None

    def judge(self, told: Quote) -> int:
        flags = self.gate.judge(told, self._believed)
        self._believed = self._believed if flags else told
        return flags
