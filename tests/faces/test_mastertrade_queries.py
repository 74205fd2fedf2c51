"""The example queries of seed 002, the look-ups that its indexes are for, on rows that the stores wrote.

Each runs as the database's owner and as a reader on whom row-level security lies.
"""

from decimal import Decimal

import asyncpg
import pytest
from extremes import collisions, condition, extremes, store
from msgspec.structs import replace
from written import FACTS, NOW, READERS, SYMBOL, equity, naive, ns, plan, reading, rows, write

from conftest import Database
from traderd.core.facts import BreakerEvent, Indicator

BY_SQL = """
    SELECT ensure_partitions(t, now() - interval '1 day', now())
    FROM unnest('{whale_transactions,onchain_metrics,social_sentiment,stock_indices}'::regclass[]) t;
    INSERT INTO whale_transactions (time, transaction_hash, blockchain, token_symbol, from_address, to_address,
                                    amount_token, amount_usd, alert_level)
    VALUES (now() - interval '1 hour', '0xab', 'ethereum', 'ETH', '0x1', '0x2', 1e25, 2e6, 'high');
    INSERT INTO onchain_metrics (time, symbol, metric_name, value, source)
    VALUES (now() - interval '1 hour', 'BTC', 'hash_rate', 7e20, 'glassnode');
    INSERT INTO social_sentiment (time, symbol, platform, post_id, sentiment_score, sentiment_label)
    VALUES (now() - interval '1 hour', 'BTC', 'reddit', 'p1', 0.33333, 'positive');
    INSERT INTO stock_indices (time, index_name, close, volume)
    VALUES (now() - interval '1 hour', 'SPX', 5000.125, 9e18);
    INSERT INTO alert_suppressions (user_id, alert_type, reason) SELECT id, 'gap_opened', 'at night' FROM users;
    INSERT INTO users (username, email, password_hash) VALUES ('ann', 'ann@example.com', '!');
    INSERT INTO financial_goals (user_id, goal_type, target_value)
    SELECT id, 'monthly_return_pct', 99 FROM users WHERE username = 'ann';
    INSERT INTO goal_progress (goal_id, time, current_value, target_value, progress_pct, status)
    SELECT id, now(), 4, target_value, 1e6, 'behind' FROM financial_goals WHERE goal_type = 'monthly_return_pct';
    INSERT INTO goal_adjustments (goal_id, adjustment_type, new_value)
    SELECT id, 'increase_risk', 0.03 FROM financial_goals WHERE goal_type = 'monthly_return_pct';
    INSERT INTO audit_logs (user_id, action, resource_type, resource_id, ip_address)
    SELECT id, 'update_goal', 'goal', '1', '10.0.0.1' FROM users WHERE username = 'ann'"""

FIGURES = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count)
    SELECT now() - m * interval '1 minute', 'S' || s || '/USDT', 'binance', frame, 1, 1, 1, 1, 1, 1, 1
    FROM generate_series(0, 500) m, generate_series(1, 10) s, unnest('{1m,1s}'::text[]) frame;
    INSERT INTO technical_indicators (time, symbol, exchange, timeframe, indicator_name, value)
    SELECT now() - m * interval '1 minute', 'S' || s || '/USDT', 'binance', '1m', 'X', 1
    FROM generate_series(0, 100) m, generate_series(1, 10) s;
    ANALYZE ohlcv, technical_indicators"""


async def test_candles_and_strategies_are_found_as_the_document_asks(database: Database) -> None:
    """Symbols have no slash, times are UTC; one exchange speaks, and no candle of a second is among them."""
    await write(database)
    await store(database, Indicator("binance", SYMBOL, "1m", ns(1), "RSI_14", Decimal("55.123456789")))
    for role in READERS:
        async with reading(database, "mastertrade", role) as face:
            week = "SELECT * FROM market_data WHERE symbol = 'BTCUSDT' AND timestamp > NOW() - INTERVAL '7 days'"
            found = await face.fetch(week)
            assert len(found) == 121 and {row["interval"] for row in found} == {"1m"}
            newest = max(found, key=lambda row: row["timestamp"])
            assert (newest["timestamp"], newest["close"], newest["trades_count"]) == (naive(1), Decimal(101), 7)
            active = "SELECT * FROM strategies WHERE status = 'active' AND symbol = 'BTCUSDT'"
            assert [(row["name"], row["interval"], row["version"]) for row in await face.fetch(active)] == [
                ("cross", "1m", 1)
            ]
            indicator = (
                "SELECT timestamp, value FROM technical_indicators WHERE symbol = 'BTCUSDT' AND interval = '1m'"
                " AND indicator_name = 'RSI_14' ORDER BY timestamp DESC LIMIT 1"
            )
            assert await rows(face, indicator) == [(naive(1), Decimal("55.12345679"))]


async def test_the_most_critical_queries(plain_database: Database) -> None:
    """By strategy: its orders in a state, its trades and its position; and the best backtests."""
    await write(plain_database)
    for role in READERS:
        async with reading(plain_database, "mastertrade", role) as face:
            strategy = (await rows(face, "SELECT id FROM strategies"))[0][0]
            orders = (
                "SELECT side, order_type, price, environment FROM orders"
                " WHERE strategy_id = $1 AND status = $2 ORDER BY created_at DESC"
            )
            assert await rows(face, orders, strategy, "filled") == [
                ("SELL", "MARKET", None, "paper"),
                ("BUY", "MARKET", None, "paper"),
            ]
            assert await rows(face, orders, strategy, "open") == [("BUY", "LIMIT", Decimal("90.12345679"), "paper")]
            trades = (
                "SELECT side, realized_pnl, executed_at FROM trades WHERE strategy_id = $1 ORDER BY executed_at DESC"
            )
            assert await rows(face, trades, strategy) == [
                ("SELL", Decimal("9.95"), naive(40)),
                ("BUY", Decimal("-0.05"), naive(50)),
            ]
            position = (
                "SELECT side, quantity, entry_price, unrealized_pnl, unrealized_pnl_pct, environment FROM positions"
                " WHERE strategy_id = $1 AND symbol = 'BTCUSDT'"
            )
            assert await rows(face, position, strategy) == [("LONG", Decimal("0.5"), 100, 5, 10, "paper")]
            best = (
                "SELECT sharpe_ratio, total_return_pct, trade_log::text FROM backtest_results"
                " ORDER BY sharpe_ratio DESC, total_return_pct DESC"
            )
            first, second = await rows(face, best)
            assert first == (Decimal(123456), Decimal("12.3457"), None)
            assert second[:2] == (Decimal("1.5"), Decimal("12.3457")) and '"quantity": 0.123456789' in second[2]
            versions = "SELECT version, parameters::text FROM strategy_versions WHERE strategy_id = $1"
            assert await rows(face, versions, strategy) == [(1, '{"fast": 9}')]


async def test_a_strategy_has_one_position_in_a_symbol_and_environment(plain_database: Database) -> None:
    """Of two exchanges and two portfolios it is netted; what nets to nothing, and what is flat, is no position."""
    await store(plain_database, *collisions())
    async with reading(plain_database, "mastertrade") as face:
        assert await rows(
            face, "SELECT symbol, side, quantity, entry_price, current_price FROM positions ORDER BY 1"
        ) == [
            ("BTCUSDT", "LONG", 4, 115, 116),
            ("ETHUSDT", "SHORT", 3, 10, 11),
        ]


async def test_balances_and_risk_are_told_for_an_environment(plain_database: Database) -> None:
    """Balances of portfolios recorded together are added; each portfolio has its own risk."""
    await store(plain_database, *FACTS, replace(equity(1, "500"), portfolio="second"))
    async with reading(plain_database, "public") as daemon:
        await daemon.fetch("SELECT record_balances($1), record_risk_metrics($1)", NOW)
    for role in READERS:
        async with reading(plain_database, "mastertrade", role) as face:
            balances = (
                "SELECT asset, total_balance, usd_value FROM portfolio_balances"
                " WHERE environment = 'paper' AND timestamp > $1 ORDER BY timestamp DESC, asset"
            )
            assert await rows(face, balances, naive(5)) == [("BTC", Decimal("0.5"), 55), ("USDT", 18000, 18000)]
            risk = (
                "SELECT total_portfolio_value, position_count FROM risk_metrics ORDER BY timestamp DESC, 1 DESC LIMIT 2"
            )
            assert await rows(face, risk) == [(10300, 1), (500, 0)]


async def test_goals_alerts_events_and_what_others_will_write(plain_database: Database) -> None:
    """A goal's type is there once; what doesn't fit the document's type is NULL and fails no query."""
    await write(plain_database)
    halt = BreakerEvent("b1", "paper", "drawdown", Decimal(10), Decimal("10.5"), ns(5), "deep")
    await store(plain_database, halt)
    async with reading(plain_database, "public") as tables:
        await tables.execute(BY_SQL)
    for role in READERS:
        async with reading(plain_database, "mastertrade", role) as face:
            goals = (
                "SELECT goal_type, target_value, priority, risk_tolerance FROM financial_goals ORDER BY priority, id"
            )
            assert await rows(face, goals) == [
                ("monthly_return_pct", 10, 1, Decimal("0.02")),
                ("monthly_profit_usd", 10000, 2, Decimal("0.02")),
                ("portfolio_target_usd", 1000000, 3, Decimal("0.02")),
            ]
            progress = (
                "SELECT p.current_value, p.gap, p.progress_pct, a.new_value FROM goal_progress p"
                " JOIN goal_adjustments a USING (goal_id) JOIN financial_goals g ON g.id = p.goal_id"
            )
            assert await rows(face, progress) == [(4, 6, None, Decimal("0.03"))]
            notices = "SELECT title, entity_id FROM alerts WHERE status = 'active' ORDER BY created_at DESC"
            assert await rows(face, notices) == [("Halted", "paper"), ("Refused", "o4")]
            delivered = "SELECT h.channel, a.title FROM alert_history h JOIN alerts a ON a.id = h.alert_id"
            assert await rows(face, delivered) == [("email", "Refused")]
            quiet = "SELECT DISTINCT reason FROM alert_suppressions WHERE alert_type = 'gap_opened'"
            assert await rows(face, quiet) == [("at night",)]
            halts = "SELECT trigger_type, actual_value, actions_taken::text FROM circuit_breaker_events"
            assert await rows(face, halts) == [("drawdown", Decimal("10.5"), '["halt_trading"]')]
            whales = "SELECT amount_token, amount_usd FROM whale_transactions WHERE token_symbol = 'ETH'"
            assert await rows(face, whales) == [(None, 2000000)]
            chain = "SELECT value FROM onchain_metrics WHERE symbol = 'BTC' AND metric_name = 'hash_rate'"
            assert await rows(face, chain) == [(Decimal(7 * 10**20),)]
            mood = "SELECT sentiment_score FROM social_sentiment WHERE symbol = 'BTC' ORDER BY timestamp DESC"
            assert await rows(face, mood) == [(Decimal("0.3333"),)]
            index = "SELECT close, volume FROM stock_indices WHERE index_name = 'SPX' ORDER BY timestamp DESC"
            assert await rows(face, index) == [(Decimal("5000.13"), 9 * 10**18)]
            acts = "SELECT entity_type, host(ip_address) FROM audit_logs WHERE action = 'update_goal' ORDER BY id DESC"
            assert await rows(face, acts) == [("goal", "10.0.0.1")]


async def test_monitoring_queries_and_users(plain_database: Database) -> None:
    """Sizes as written, index usage with the columns' real names, which the document mistakes; secrets are kept."""
    await write(plain_database)
    sizes = (
        "SELECT schemaname, tablename, pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) AS size"
        " FROM pg_tables WHERE schemaname = 'public'"
        " ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC"
    )
    usage = (
        "SELECT schemaname, relname AS tablename, indexrelname AS indexname, idx_scan AS index_scans,"
        " pg_size_pretty(pg_relation_size(indexrelid)) AS index_size FROM pg_stat_user_indexes ORDER BY idx_scan ASC"
    )
    for role in READERS:
        async with reading(plain_database, "mastertrade", role) as face:
            assert "orders" in {row["tablename"] for row in await face.fetch(sizes)}
            assert "strategies_mastertrade" in {row["indexname"] for row in await face.fetch(usage)}
    async with reading(plain_database, "mastertrade") as face:
        users = "SELECT username, role, api_key_hash FROM users WHERE email = 'traderd@localhost.localdomain'"
        assert await rows(face, users) == [("traderd", "trader", "0" * 64)]
    async with reading(plain_database, "mastertrade", "traderd_readonly") as face:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await face.fetch("SELECT username FROM users")


async def test_numbers_beyond_the_documents_types_fail_no_query(plain_database: Database) -> None:
    """A volume of 10^15 is NULL in DECIMAL(20, 8), a price of 10^-12 is 0; the row is there."""
    await store(plain_database, *extremes())
    async with reading(plain_database, "mastertrade") as face:
        found = await rows(face, "SELECT open, volume, quote_volume, trades_count FROM market_data")
        assert found == [(0, None, Decimal(1000), 7)]
        assert await rows(face, "SELECT price, quantity FROM trades") == [(0, None)]
        assert await rows(face, "SELECT quantity, entry_price, unrealized_pnl FROM positions") == [(None, None, 10**15)]


async def test_look_ups_use_an_index(database: Database) -> None:
    """Candles and indicators by symbol and time, newest first without sorting; strategies by state and symbol."""
    async with reading(database, "public") as tables:
        await tables.execute("SELECT ensure_partitions('ohlcv', now() - interval '3 days', now())")
        await tables.execute("SELECT ensure_partitions('technical_indicators', now() - interval '1 day', now())")
        await tables.execute(FIGURES)
    async with reading(database, "mastertrade") as face:
        await face.execute("SET enable_seqscan = off")  # so few rows are read faster whole
        week = "SELECT * FROM market_data WHERE symbol = 'S7USDT' AND timestamp > NOW() - INTERVAL '7 days'"
        newest = "SELECT * FROM market_data WHERE symbol = 'S7USDT' ORDER BY timestamp DESC LIMIT 1"
        indicator = (
            "SELECT * FROM technical_indicators WHERE symbol = 'S7USDT' AND interval = '1m' AND indicator_name = 'X'"
            " ORDER BY timestamp DESC LIMIT 1"
        )
        for query in (week, newest, indicator):
            found = await plan(face, query)
            assert "Sort  " not in found and "Seq Scan on ohlcv" not in found and "Seq Scan on _hyper" not in found
            assert "replace(symbol, '/'::text, ''::text))::character varying(20))" in condition(found)
        assert "time_utc >" in condition(await plan(face, week))
        active = await plan(face, "SELECT * FROM strategies WHERE status = 'active' AND symbol = 'BTCUSDT'")
        assert "strategies_mastertrade" in active
