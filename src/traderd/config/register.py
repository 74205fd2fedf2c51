"""What config.yaml says, as the database keeps it: each strategy's kind, readable rules and limits, and every section.

Refuses to show a secret.
"""

from decimal import Decimal
from typing import Any

from msgspec import Struct, to_builtins

from traderd.config.engine import strategy_of
from traderd.config.loading import shown
from traderd.config.schema import Config, Strategy

_PLACE = frozenset({"name", "exchange", "symbol", "timeframe", "order_notional", "allow_short"})
"""Keys that say where a strategy stands and what it may spend, not how it decides."""


class StrategyEntry(Struct, frozen=True):
    """One strategy's row."""

    name: str
    strategy_class: str
    """Its `type` in config.yaml."""
    strategy_type: str
    """The family that it belongs to."""
    exchange: str
    symbol: str
    timeframe: str
    parameters: dict[str, Any]
    entry_rules: dict[str, Any]
    exit_rules: dict[str, Any]
    risk_parameters: dict[str, Any]
    trading_mode: str


class Section(Struct, frozen=True):
    """One key of config.yaml and what stands there, without secrets."""

    key: str
    value: Any
    description: str


def strategy_entries(config: Config) -> list[StrategyEntry]:
    """In the file's order."""
    return [_entry(config, strategy) for strategy in config.strategies]


def sections(config: Config) -> list[Section]:
    """The running configuration, defaults included."""
    return [Section(key, value, _says(getattr(config, key))) for key, value in shown(config).items()]


def _entry(config: Config, strategy: Strategy) -> StrategyEntry:
    values = to_builtins(strategy)
    rules = strategy_of(strategy).rules
    return StrategyEntry(
        name=strategy.name,
        strategy_class=values.pop("type"),
        strategy_type=rules.family,
        exchange=strategy.exchange,
        symbol=strategy.symbol,
        timeframe=strategy.timeframe,
        parameters={key: value for key, value in values.items() if key not in _PLACE},
        entry_rules=rules.entry,
        exit_rules=rules.exit,
        risk_parameters=_limits(config, strategy),
        trading_mode=config.mode,
    )


def _limits(config: Config, strategy: Strategy) -> dict[str, Any]:
    limits: dict[str, Decimal | int | bool] = {
        "order_notional": strategy.order_notional,
        "allow_short": strategy.allow_short,
        "order_notional_max": config.risk.order_notional_max,
        "position_notional_max": config.risk.position_notional_max,
        "price_collar_bps_max": config.risk.price_collar_bps_max,
        "quote_age_ms_max": config.risk.quote_age_ms_max,
        "drawdown_pct_max": config.breaker.drawdown_pct_max,
    }
    builtins: dict[str, Any] = to_builtins(limits)
    return builtins


def _says(section: object) -> str:
    return (section.__doc__ or "") if isinstance(section, Struct) else ""
