"""What the engine is told, from the configuration."""

from msgspec import structs

from traderd.config.quality import bar_settings
from traderd.config.schema import Config, Strategy
from traderd.core.engine_settings import EngineSettings
from traderd.core.matching import PaperSettings
from traderd.core.quality import QualitySettings
from traderd.core.risk import RiskSettings
from traderd.core.strategy import StrategySlot
from traderd.strategies.ema_cross import EmaCross


def engine_settings(config: Config, run: str) -> EngineSettings:
    """The engine's settings; `run` becomes the prefix of every id."""
    return EngineSettings(
        run=run,
        portfolio=config.paper.portfolio,
        base_currency=config.paper.base_currency,
        initial_cash=config.paper.cash,
        timeframes=config.engine.timeframes,
        candle_grace_ms=config.engine.candle_grace_ms,
        equity_interval_s=config.engine.equity_interval_s,
        drawdown_pct_max=config.breaker.drawdown_pct_max,
        risk=RiskSettings(
            order_notional_max=config.risk.order_notional_max,
            position_notional_max=config.risk.position_notional_max,
            price_collar_bps_max=config.risk.price_collar_bps_max,
            quote_age_ms_max=config.risk.quote_age_ms_max,
            cost_bps=config.paper.fee_bps + config.paper.slippage_bps,
            shorting=frozenset(strategy.name for strategy in config.strategies if strategy.allow_short),
        ),
        strategies=tuple(_slot(strategy) for strategy in config.strategies),
        quality=QualitySettings(**structs.asdict(config.quality)),
        bars=bar_settings(config.engine.bars),
        book_snapshot_interval_s=config.engine.book_snapshot_interval_s,
    )


def paper_settings(config: Config) -> PaperSettings:
    """How the paper exchange treats us."""
    paper = config.paper
    return PaperSettings(paper.fee_bps, paper.slippage_bps, paper.latency_ms, config.risk.quote_age_ms_max)


def strategy_of(strategy: Strategy) -> EmaCross:
    """A fresh one; one case for each kind."""
    return EmaCross(strategy.fast, strategy.slow, strategy.allow_short)


def _slot(strategy: Strategy) -> StrategySlot:
    return StrategySlot(
        name=strategy.name,
        exchange=strategy.exchange,
        symbol=strategy.symbol,
        timeframe=strategy.timeframe,
        order_notional=strategy.order_notional,
        allow_short=strategy.allow_short,
        strategy=strategy_of(strategy),
    )
