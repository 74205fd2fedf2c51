"""What an engine is told once, at its start. Refuses nothing: the configuration was checked before."""

from decimal import Decimal

from msgspec import Struct

from traderd.core.bars import BarSettings
from traderd.core.facts import Environment
from traderd.core.quality import QualitySettings
from traderd.core.risk import RiskSettings
from traderd.core.strategy import StrategySlot


class EngineSettings(Struct, frozen=True):
    """Everything that an engine is told once."""

    run: str
    """Prefix of every id of this run."""
    portfolio: str
    base_currency: str
    initial_cash: Decimal
    timeframes: tuple[str, ...]
    candle_grace_ms: int
    equity_interval_s: float
    drawdown_pct_max: Decimal
    risk: RiskSettings
    strategies: tuple[StrategySlot, ...] = ()
    """One with an instrument that the engine isn't given hears nothing: a replayed capture may hold other symbols."""
    environment: Environment = "paper"
    quality: QualitySettings = QualitySettings()
    bars: tuple[BarSettings, ...] = ()
    book_snapshot_interval_s: float = 0.0
    """0: none are taken."""
