"""Every table has somebody who writes it: three lives of a daemon leave none empty but those of later capabilities."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from books import expect_sound_books, rows
from contracts import CONTRACT, TOLD, contract_exchange
from daemons import DaemonProcess, configuration, exchange
from test_faults import foul_exchange

from conftest import Database
from traderd.adapters.users import add_user, log_in

pytestmark = pytest.mark.process

FILLED_LATER = {
    "backtests": "the backtest engine",
    "backtest_trades": "the backtest engine",
    "goal_progress": "the pursuit of goals",
    "goal_adjustments": "the pursuit of goals",
    "alert_rules": "alerts that users set",
    "alert_history": "the delivery of alerts",
    "alert_suppressions": "the delivery of alerts",
    "api_keys": "the API for programs",
    "exchange_credentials": "trading on real exchanges",
    "options_chains": "options",
    "heston_parameters": "models of volatility",
    "sabr_parameters": "models of volatility",
    "ou_parameters": "statistical arbitrage",
    "predictions": "models that predict",
    "model_performance": "models that predict",
    "onchain_metrics": "on-chain sources",
    "whale_transactions": "on-chain sources",
    "social_sentiment": "sentiment sources",
    "stock_indices": "sources of the stock market",
}
"""The tables that may be empty, and what will fill each."""
NOT_IN_SECONDS = {
    "ohlcv_1h_kept": "a whole minute's candle, and maintenance after it",
    "ohlcv_1d_kept": "a whole minute's candle, and maintenance after it",
    "rollup_marks": "a whole minute's candle; maintenance takes it away again",
    "retention_holds": "a journal that is behind",
}
"""The storage's own: what it takes for them to have rows, which a short life may or may not see."""
_TABLES = """
    SELECT relname FROM pg_class c
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    ORDER BY relname"""


async def test_no_table_stays_empty_but_those_of_later_capabilities(plain_database: Database, tmp_path: Path) -> None:
    """The first life trades until its breaker trips; the second is fed rubbish, and its operator resets the breaker.

    The third hears of a contract what contracts alone tell.
    """
    dsn = plain_database.dsn
    async with exchange() as sim, foul_exchange() as (foul, _), contract_exchange() as contracts:
        settings: dict[str, Any] = {
            "database": dsn,
            "breaker": {"drawdown_pct_max": 0.0001},
            "engine": {"book_snapshot_interval_s": 1},
        }
        with DaemonProcess(configuration(tmp_path, sim.url, **settings)) as daemon:
            daemon.start()
            await daemon.until(lambda status: "tripped" in status["engine"]["refusal"], 30.0)
            await _until_written(dsn, "technical_indicators", "order_book_snapshots")
            assert await rows(dsn, "SELECT resolved_at FROM circuit_breaker_events") == [(None,)]
            await daemon.terminate()

            channels = {"channels": ["quote", "trade"], "symbols": ["BTC/USDT"]}
            settings["venues"] = [{"name": "binance", "endpoint": foul} | channels]
            configuration(tmp_path, foul, **settings, strategies=[])
            daemon.start("--reset-breaker")
            # Ticks are stored before the books are recovered, and it's then that the breaker is reset.
            await daemon.until(
                lambda status: (
                    status["ticks"]["quarantined"]
                    and status["ticks"]["stored"]
                    and "recovered" not in status["engine"]["refusal"]
                )
            )
            await daemon.terminate()

            settings["venues"] = [{"name": "binance", "endpoint": contracts, "symbols": [CONTRACT], "channels": TOLD}]
            configuration(tmp_path, contracts, **settings, strategies=[])
            daemon.start()
            await _until_written(dsn, "mark_prices", "funding_rates", "liquidations", "open_interest")
            await daemon.terminate()
    await _add_a_user(dsn)

    assert set(await _empty(dsn)) - set(NOT_IN_SECONDS) == set(FILLED_LATER)
    await expect_sound_books(dsn)
    ((threshold, actual, resolved, title),) = await rows(
        dsn,
        "SELECT threshold_value, actual_value, b.resolved_at > triggered_at, a.title FROM circuit_breaker_events b"
        " JOIN alerts a ON a.time = b.resolved_at AND a.alert_type = 'breaker_reset'",
    )
    assert (float(threshold), resolved, title) == (0.0001, True, "The drawdown breaker was reset")
    assert actual >= threshold
    assert await rows(dsn, "SELECT DISTINCT status, version, created_by FROM strategies") == [
        ("stopped", 1, "config.yaml")
    ]
    assert await rows(dsn, "SELECT DISTINCT indicator_name FROM technical_indicators ORDER BY 1") == [
        ("EMA_1",),
        ("EMA_2",),
    ]
    assert not await rows(dsn, "SELECT FROM signals s JOIN orders o ON o.signal_id = s.id WHERE s.status = 'active'")
    assert not await rows(dsn, "SELECT FROM trades WHERE position_id IS NULL OR exchange_trade_id IS NULL")
    assert not await rows(
        dsn, "SELECT FROM strategies s WHERE num_trades <> (SELECT count(*) FROM trades WHERE strategy_id = s.id)"
    )
    assert await rows(dsn, "SELECT count(*) > 0 FROM ohlcv WHERE bid < ask AND bid_size > 0") == [(True,)]
    ((balances, equity),) = await rows(
        dsn,
        "SELECT (SELECT sum(usd_value) FROM portfolio_balances GROUP BY time ORDER BY time LIMIT 1),"
        " (SELECT total_portfolio_value FROM risk_metrics ORDER BY time LIMIT 1)",
    )
    assert abs(balances - equity) < equity / 100


async def test_an_owner_who_is_not_there_is_one_line(plain_database: Database, tmp_path: Path) -> None:
    """And the exit code of a configuration that can't be used: starting again would not help."""
    async with exchange() as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=plain_database.dsn, owner="nobody")) as daemon:
            daemon.start()
            assert await daemon.ended(30.0) == 2
            assert daemon.stderr() == "owner: there is no active user 'nobody': `traderd users add` makes one\n"


async def test_what_is_traded_belongs_to_the_owner(plain_database: Database, tmp_path: Path) -> None:
    """Also after a restart; and a second owner can't take over the first one's portfolio."""
    dsn = plain_database.dsn
    ada, bob = await _add_a_user(dsn, "ada"), await _add_a_user(dsn, "bob")
    async with exchange() as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=dsn, owner="ada")) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["engine"]["fills"] >= 2, 60.0)
            await daemon.terminate()
            for table in ("portfolios", "strategies", "orders", "positions", "trades"):
                assert await rows(dsn, f"SELECT DISTINCT user_id FROM {table}") == [(ada,)], table
            configuration(tmp_path, sim.url, database=dsn, owner="bob")
            daemon.start()
            assert await daemon.ended(30.0) == 2
            assert daemon.stderr().startswith("the portfolio 'paper' isn't this owner's: give it another name")
            assert not await rows(dsn, f"SELECT FROM portfolios WHERE user_id = '{bob}'")


async def _empty(dsn: str) -> list[str]:
    tables = [str(name) for (name,) in await rows(dsn, _TABLES)]
    assert len(tables) > 40
    return [table for table in tables if not await rows(dsn, f"SELECT FROM {table} LIMIT 1")]


async def _until_written(dsn: str, *tables: str) -> None:
    async with asyncio.timeout(20):
        while not set(tables).isdisjoint(await _empty(dsn)):
            await asyncio.sleep(0.2)


async def _add_a_user(dsn: str, name: str = "ada") -> Any:
    """With a first log-in that fails, which is a security event; returns the user's key."""
    connection = await asyncpg.connect(dsn)
    try:
        await add_user(connection, name, f"{name}@example.com", "admin", "correct horse battery staple")
        assert not await log_in(connection, name, "incorrect horse")
        return await connection.fetchval("SELECT id FROM users WHERE username = $1", name)
    finally:
        await connection.close()
