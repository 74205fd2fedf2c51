"""The example queries of the five systems' documents, on the views that bear each system's name.

Those given as SQLAlchemy are written as the SQL that it makes. $1 and so on stand where an example names its own
symbol, user or time; `given` says what to put there. A look-up asks for one symbol and a time: those have the tightest
target.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

Given = Callable[["World", Random], tuple[Any, ...]]


@dataclass(frozen=True)
class World:
    """What the queries may ask for: names and numbers that exist in the database."""

    symbols: list[str]
    users: list[int]
    portfolios: list[int]
    user_ids: list[Any]
    portfolio_ids: list[Any]
    strategy_ids: list[Any]
    order_ids: list[Any]
    usernames: list[str]


@dataclass(frozen=True)
class Example:
    """One query. `lookup` is one by symbol and time; `whole` reads a whole small table and needs no index."""

    schema: str
    name: str
    sql: str
    given: Given = lambda world, random: ()
    lookup: bool = False
    whole: str = ""
    """Why reading a whole table is right."""


def _symbol(world: World, random: Random) -> tuple[Any, ...]:
    return (random.choice(world.symbols),)


def _compact(world: World, random: Random) -> tuple[Any, ...]:
    return (random.choice(world.symbols).replace("/", ""),)


def _since(**span: float) -> Given:
    return lambda world, random: (random.choice(world.symbols), datetime.now(UTC) - timedelta(**span))


def _since_naive(**span: float) -> Given:
    return lambda world, random: (
        random.choice(world.symbols),
        (datetime.now(UTC) - timedelta(**span)).replace(tzinfo=None),
    )


def _one_of(what: str) -> Given:
    return lambda world, random: (random.choice(getattr(world, what)),)


EXAMPLES = [
    Example("trading_ai", "user by name", "SELECT * FROM users WHERE username = $1 LIMIT 1", _one_of("usernames")),
    Example("trading_ai", "portfolio by id", "SELECT * FROM portfolios WHERE id = $1 LIMIT 1", _one_of("portfolios")),
    Example("trading_ai", "its positions", "SELECT * FROM positions WHERE portfolio_id = $1", _one_of("portfolios")),
    Example(
        "trading_ai", "a user's profit", "SELECT sum(total_pnl) FROM portfolios WHERE user_id = $1", _one_of("users")
    ),
    Example(
        "trading_ai",
        "a user's open orders",
        "SELECT * FROM orders WHERE user_id = $1 AND status IN ('pending', 'open')",
        _one_of("users"),
    ),
    Example(
        "trading_ai",
        "filled orders with trades",
        "SELECT orders.* FROM orders JOIN trades ON orders.id = trades.order_id WHERE orders.status = 'filled'",
        whole="it asks for every filled order there is",
    ),
    Example(
        "trading_ai",
        "a portfolio's newest trades",
        "SELECT * FROM trades WHERE portfolio_id = $1 ORDER BY executed_at DESC LIMIT 100",
        _one_of("portfolios"),
    ),
    Example(
        "trading_ai",
        "a portfolio's realised profit",
        "SELECT sum(pnl) FROM trades WHERE portfolio_id = $1",
        _one_of("portfolios"),
    ),
    Example(
        "trading_ai",
        "latest price",
        "SELECT * FROM price_data WHERE symbol = $1 ORDER BY timestamp DESC LIMIT 1",
        _symbol,
        lookup=True,
    ),
    Example(
        "trading_ai",
        "candles of 24 hours",
        "SELECT * FROM price_data WHERE symbol = $1 AND timestamp >= $2 ORDER BY timestamp",
        _since_naive(hours=24),
        lookup=True,
    ),
    Example(
        "trading_ai",
        "hourly averages, all of a symbol",
        "SELECT time_bucket('1 hour', timestamp) AS hour, avg(close) AS avg_close, sum(volume) AS total_volume"
        " FROM price_data WHERE symbol = $1 GROUP BY hour ORDER BY hour",
        _symbol,
    ),
    Example(
        "trading_ai",
        "a model's newest predictions",
        "SELECT * FROM ml_predictions WHERE model_name = $1 ORDER BY predicted_at DESC LIMIT 10",
        lambda world, random: (f"lstm_v{random.randrange(20)}",),
    ),
    Example(
        "trading_ai",
        "a model's accuracy",
        "SELECT avg(CASE WHEN was_correct = true THEN 1.0 ELSE 0.0 END) FROM ml_predictions"
        " WHERE model_name = $1 AND was_correct IS NOT NULL",
        lambda world, random: (f"lstm_v{random.randrange(20)}",),
    ),
    Example(
        "trading_ai",
        "a model's mean error",
        "SELECT avg(prediction_error) FROM ml_predictions WHERE model_name = $1",
        lambda world, random: (f"lstm_v{random.randrange(20)}",),
    ),
    Example(
        "trading_ai",
        "active strategies",
        "SELECT * FROM strategies WHERE is_active = true",
        whole="a third of all strategies is active",
    ),
    Example(
        "trading_ai",
        "best strategies",
        "SELECT * FROM strategies WHERE num_trades >= 10 ORDER BY sharpe_ratio DESC LIMIT 5",
        whole="strategies are few",
    ),
    Example(
        "trading_ai",
        "strategies by type",
        "SELECT strategy_type, avg(total_pnl) AS avg_pnl, avg(win_rate) AS avg_win_rate, count(id) AS count"
        " FROM strategies GROUP BY strategy_type",
        whole="it asks about every strategy",
    ),
    Example(
        "apextrade",
        "candles by symbol and time",
        "SELECT * FROM ohlcv WHERE symbol = $1 AND time >= $2 ORDER BY time DESC",
        _since(hours=24),
        lookup=True,
    ),
    Example(
        "apextrade",
        "candles by symbol, timeframe and time",
        "SELECT * FROM ohlcv WHERE symbol = $1 AND timeframe = '1m' AND time >= $2 ORDER BY time DESC",
        _since(hours=6),
        lookup=True,
    ),
    Example(
        "apextrade",
        "hourly candles of a week",
        "SELECT * FROM ohlcv_1h WHERE symbol = $1 AND bucket >= $2 ORDER BY bucket",
        _since(days=7),
        lookup=True,
    ),
    Example(
        "apextrade",
        "daily candles of a year",
        "SELECT * FROM ohlcv_1d WHERE symbol = $1 AND bucket >= $2 ORDER BY bucket",
        _since(days=365),
        lookup=True,
    ),
    Example(
        "apextrade",
        "ticks of a minute",
        "SELECT * FROM tick_data WHERE symbol = $1 AND time >= $2 ORDER BY time DESC",
        _since(minutes=5),
        lookup=True,
    ),
    Example(
        "apextrade",
        "a portfolio's equity",
        "SELECT * FROM equity_history WHERE portfolio_id = $1 ORDER BY time DESC LIMIT 100",
        _one_of("portfolio_ids"),
    ),
    Example(
        "apextrade",
        "trade history",
        "SELECT * FROM trades WHERE portfolio_id = $1 ORDER BY created_at DESC LIMIT 100",
        _one_of("portfolio_ids"),
    ),
    Example(
        "apextrade",
        "open positions",
        "SELECT * FROM positions WHERE portfolio_id = $1 AND is_open = true",
        _one_of("portfolio_ids"),
    ),
    Example(
        "apextrade",
        "backtest history",
        "SELECT * FROM backtests WHERE user_id = $1 AND status = 'completed' ORDER BY created_at DESC",
        _one_of("user_ids"),
    ),
    Example(
        "apextrade",
        "a user's strategies",
        "SELECT * FROM strategies WHERE user_id = $1 AND status = 'active'",
        _one_of("user_ids"),
    ),
    Example(
        "apextrade",
        "backtests for the archive",
        "SELECT row_to_json(b) FROM backtests b WHERE created_at < now() - interval '1 year' AND status = 'completed'",
    ),
    Example(
        "mastertrade",
        "candles of 7 days",
        "SELECT * FROM market_data WHERE symbol = $1 AND timestamp > now() - interval '7 days'",
        _compact,
    ),
    Example(
        "mastertrade",
        "candles of an hour",
        "SELECT * FROM market_data WHERE symbol = $1 AND timestamp > now() - interval '1 hour' ORDER BY timestamp DESC",
        _compact,
        lookup=True,
    ),
    Example(
        "mastertrade",
        "active strategies of a symbol",
        "SELECT * FROM strategies WHERE status = 'active' AND symbol = $1",
        _compact,
    ),
    Example(
        "mastertrade",
        "a strategy's orders",
        "SELECT * FROM orders WHERE strategy_id = $1 AND status = 'filled' ORDER BY created_at DESC",
        _one_of("strategy_ids"),
    ),
    Example(
        "mastertrade",
        "a strategy's trades",
        "SELECT * FROM trades WHERE strategy_id = $1 ORDER BY executed_at DESC",
        _one_of("strategy_ids"),
    ),
    Example(
        "mastertrade",
        "best backtests",
        "SELECT * FROM backtest_results ORDER BY sharpe_ratio DESC, total_return_pct DESC LIMIT 20",
        whole="rounding to the document's type comes before its order; backtests are archived after a year",
    ),
    Example(
        "mastertrade",
        "an indicator",
        "SELECT * FROM technical_indicators WHERE symbol = $1 AND interval = '1m' AND indicator_name = 'EMA_20'"
        " ORDER BY timestamp DESC LIMIT 100",
        _compact,
        lookup=True,
    ),
    Example(
        "octopus",
        "market data by symbol and time",
        "SELECT * FROM market_data WHERE symbol = $1 AND timestamp >= $2 ORDER BY timestamp DESC",
        _since(hours=24),
        lookup=True,
    ),
    Example(
        "octopus",
        "a portfolio's snapshots",
        "SELECT * FROM portfolio_snapshots WHERE portfolio_id = $1 ORDER BY timestamp DESC LIMIT 100",
        _one_of("portfolio_ids"),
    ),
    Example(
        "octopus",
        "a portfolio's executions",
        "SELECT * FROM trade_executions WHERE portfolio_id = $1 ORDER BY timestamp DESC LIMIT 100",
        _one_of("portfolio_ids"),
    ),
    Example(
        "quant",
        "market data by symbol and time",
        "SELECT * FROM market_data WHERE symbol = $1 AND time >= $2 ORDER BY time DESC",
        _since(hours=24),
        lookup=True,
    ),
    Example(
        "quant",
        "daily candles",
        "SELECT * FROM market_data_daily WHERE symbol = $1 AND day >= $2 ORDER BY day",
        _since(days=60),
        lookup=True,
    ),
    Example(
        "quant",
        "an underlying's options",
        "SELECT * FROM options_chains WHERE underlying = 'BTC' AND time >= now() - interval '30 minutes'"
        " ORDER BY time DESC",
        lookup=True,
    ),
    Example(
        "quant",
        "a symbol's signals",
        "SELECT * FROM signals WHERE symbol = $1 ORDER BY time DESC LIMIT 100",
        _symbol,
        lookup=True,
    ),
    Example("quant", "active signals", "SELECT * FROM signals WHERE status = 'active'"),
    Example("quant", "pending orders", "SELECT * FROM orders WHERE status IN ('pending', 'open')"),
    Example("quant", "an order's executions", "SELECT * FROM executions WHERE order_id = $1", _one_of("order_ids")),
    Example("quant", "recent activity", "SELECT * FROM audit_logs ORDER BY timestamp DESC LIMIT 100"),
    Example(
        "trading_ai",
        "a user's alerts",
        "SELECT * FROM alerts WHERE user_id = $1 ORDER BY created_at DESC LIMIT 50",
        _one_of("users"),
    ),
    Example(
        "trading_ai",
        "an order by the exchange's id",
        "SELECT * FROM orders WHERE exchange_order_id = $1",
        lambda world, random: (f"x{1 + random.randrange(9000)}-2",),
    ),
    Example(
        "trading_ai",
        "predictions of a symbol",
        "SELECT * FROM ml_predictions WHERE symbol = $1 ORDER BY predicted_at DESC LIMIT 10",
        _symbol,
    ),
    Example(
        "apextrade",
        "waiting alerts of a symbol",
        "SELECT * FROM alerts WHERE symbol = $1 AND is_active = TRUE AND is_triggered = FALSE",
        _symbol,
    ),
    Example("apextrade", "a user's alerts", "SELECT * FROM alerts WHERE user_id = $1", _one_of("user_ids")),
    Example(
        "apextrade",
        "a user's trades",
        "SELECT * FROM trades WHERE user_id = $1 ORDER BY created_at DESC LIMIT 100",
        _one_of("user_ids"),
    ),
    Example(
        "apextrade",
        "a user's acts",
        "SELECT * FROM audit_logs WHERE user_id = $1",
        _one_of("user_ids"),
    ),
    Example(
        "apextrade",
        "acts of one kind",
        "SELECT * FROM audit_logs WHERE action = 'order_placed' ORDER BY created_at DESC LIMIT 100",
    ),
    Example(
        "apextrade",
        "a strategy's backtests",
        "SELECT * FROM backtests WHERE strategy_id = $1",
        _one_of("strategy_ids"),
    ),
    Example(
        "mastertrade",
        "orders of a symbol",
        "SELECT * FROM orders WHERE symbol = $1 ORDER BY created_at DESC LIMIT 100",
        _compact,
    ),
    Example(
        "mastertrade",
        "trades of a symbol",
        "SELECT * FROM trades WHERE symbol = $1 ORDER BY executed_at DESC LIMIT 100",
        _compact,
    ),
    Example(
        "mastertrade",
        "large transfers of a token",
        "SELECT * FROM whale_transactions WHERE token_symbol = 'BTC' ORDER BY timestamp DESC LIMIT 100",
    ),
    Example(
        "mastertrade",
        "an on-chain metric",
        "SELECT * FROM onchain_metrics WHERE symbol = $1 AND metric_name = 'active_addresses'"
        " ORDER BY timestamp DESC LIMIT 100",
        lambda world, random: (random.choice(world.symbols[:20]).replace("/", ""),),
        lookup=True,
    ),
    Example(
        "mastertrade",
        "a symbol's sentiment",
        "SELECT * FROM social_sentiment WHERE symbol = $1 ORDER BY timestamp DESC LIMIT 100",
        _compact,
        lookup=True,
    ),
    Example(
        "mastertrade",
        "an index's values",
        "SELECT * FROM stock_indices WHERE index_name = 'VIX' ORDER BY timestamp DESC LIMIT 100",
        lookup=True,
    ),
    Example(
        "mastertrade",
        "active alerts",
        "SELECT * FROM alerts WHERE status = 'active' ORDER BY created_at DESC LIMIT 100",
    ),
    Example(
        "mastertrade",
        "newest breaker events",
        "SELECT * FROM circuit_breaker_events ORDER BY triggered_at DESC LIMIT 20",
    ),
    Example("mastertrade", "newest risk", "SELECT * FROM risk_metrics ORDER BY timestamp DESC LIMIT 1"),
    Example(
        "mastertrade",
        "newest balances",
        "SELECT * FROM portfolio_balances WHERE environment = 'paper' ORDER BY timestamp DESC LIMIT 10",
    ),
    Example(
        "mastertrade",
        "a strategy's versions",
        "SELECT * FROM strategy_versions WHERE strategy_id = $1 ORDER BY version DESC",
        _one_of("strategy_ids"),
    ),
    Example(
        "octopus",
        "executions of a symbol",
        "SELECT * FROM trade_executions WHERE symbol = $1 ORDER BY timestamp DESC LIMIT 100",
        _symbol,
    ),
    Example("octopus", "newest security events", "SELECT * FROM security_events ORDER BY timestamp DESC LIMIT 100"),
    Example(
        "quant",
        "options that expire on a day",
        "SELECT count(*) FROM options_chains WHERE expiration = current_date + 3",
    ),
    Example(
        "quant",
        "what was done to a thing",
        "SELECT * FROM audit_logs WHERE resource_type = 'portfolio' AND resource_id = $1",
        lambda world, random: (str(random.choice(world.portfolio_ids)),),
    ),
    Example(
        "quant",
        "a model's newest calibration",
        "SELECT * FROM heston_parameters WHERE symbol = 'BTC' ORDER BY time DESC LIMIT 1",
        lookup=True,
    ),
    Example(
        "quant",
        "a pair's newest fit",
        "SELECT * FROM ou_parameters WHERE pair_id = 'BTC-ETH' ORDER BY time DESC LIMIT 1",
        lookup=True,
    ),
]
