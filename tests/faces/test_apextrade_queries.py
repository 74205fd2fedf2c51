"""The queries of seed 001, and the look-ups that its index table names, on rows that the stores wrote."""

import json
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from written import MINUTE, NOW, READERS, SYMBOL, equity, plan, reading, rows, write

from conftest import Database
from traderd.adapters.fact_store import PostgresFactStore

FIGURES = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count)
    SELECT now() - m * interval '1 minute', 'S' || s || '/USDT', 'binance', '1m', 1, 1, 1, 1, 1, 1, 1
    FROM generate_series(0, 500) m, generate_series(1, 10) s"""


async def test_orders_positions_and_strategies_in_the_documents_words(database: Database) -> None:
    """An order carries its signal, what its fills realised and cost, and the position that it changed."""
    await write(database)
    for role in READERS:
        async with reading(database, "apextrade", role) as face:
            portfolio, user = (await rows(face, "SELECT id, user_id FROM portfolios"))[0]
            history = (
                "SELECT t.side, t.order_type, t.status, t.filled_value, t.slippage, t.realized_pnl, t.signal_reason,"
                " p.symbol, t.error_message FROM trades t JOIN positions p ON p.id = t.position_id"
                " WHERE t.portfolio_id = $1 ORDER BY t.created_at DESC LIMIT 100"
            )
            assert await rows(face, history, portfolio) == [
                ("BUY", "MARKET", "failed", None, 0, None, "9 above 21", SYMBOL, "too large"),
                ("BUY", "LIMIT", "submitted", None, 0, None, "9 above 21", SYMBOL, None),
                ("SELL", "MARKET", "filled", 60.5, -10.5, Decimal("9.95"), "9 above 21", SYMBOL, None),
                ("BUY", "MARKET", "filled", 50.5, 0.5, Decimal("-0.05"), "9 above 21", SYMBOL, None),
            ]  # fmt: skip
            by_broker = "SELECT status, price FROM trades WHERE broker_order_id = 'xo3'"
            assert await rows(face, by_broker) == [("submitted", Decimal("90.12345679"))]
            held = "SELECT market_value, unrealized_pnl_pct FROM positions WHERE portfolio_id = $1 AND is_open = true"
            assert await rows(face, held, portfolio) == [(Decimal("55.00"), Decimal(10))]
            closed = "SELECT symbol, closed_at, realized_pnl FROM positions WHERE portfolio_id = $1 AND NOT is_open"
            assert await rows(face, closed, portfolio) == [("ETH/USDT", NOW - 20 * MINUTE, Decimal(3))]
            strategies = (
                "SELECT name, asset_symbol, stop_loss_pct, take_profit_pct, max_drawdown_pct, trading_mode"
                " FROM strategies WHERE user_id = $1 AND status = 'active'"
            )
            assert await rows(face, strategies, user) == [("cross", SYMBOL, Decimal("2.50"), None, 10, "paper")]
            by_rule = 'SELECT name FROM strategies WHERE entry_rules @> \'{"long": "9 above 21"}\''
            assert await rows(face, by_rule) == [("cross",)]
            assert await rows(face, "SELECT alert_type, threshold FROM alerts") == [("price", None)]


async def test_backtests_that_are_old_enough_for_the_archive(database: Database) -> None:
    """The document's SELECT for the archive; what its type can't hold is NULL in the other one."""
    await write(database)
    for role in READERS:
        async with reading(database, "apextrade", role) as face:
            archive = (
                "SELECT row_to_json(b) FROM backtests b"
                " WHERE created_at < NOW() - INTERVAL '1 year' AND status = 'completed'"
            )
            ((row,),) = await rows(face, archive)
            told = json.loads(row)
            assert (told["start_date"], told["total_return_pct"], told["sharpe_ratio"]) == ("2024-01-31", 12.3457, 1.5)
            user = (await rows(face, "SELECT user_id FROM portfolios"))[0][0]
            history = (
                "SELECT sharpe_ratio, end_date, strategy_snapshot::text FROM backtests"
                " WHERE user_id = $1 AND status = 'completed' ORDER BY created_at DESC"
            )
            assert (await rows(face, history, user))[0] == (None, date(2024, 3, 1), '{"fast": 9}')
            trades = "SELECT side, quantity FROM backtest_trades WHERE backtest_id = $1 ORDER BY entry_date"
            assert await rows(face, trades, told["id"]) == [("BUY", Decimal("0.12345679"))]


async def test_one_exchange_speaks_for_a_symbol(database: Database) -> None:
    """Each time, symbol and timeframe once, by the exchange that traded it first; in the aggregates too."""
    await write(database)
    for role in READERS:
        async with reading(database, "apextrade", role) as face:
            bars = "SELECT time, close, source FROM ohlcv WHERE symbol = $1 AND timeframe = '1m' AND time >= $2"
            assert await rows(face, bars, SYMBOL, NOW - MINUTE) == [(NOW - MINUTE, 101, "binance")]
            export = "SELECT sum(candle_count), max(high), sum(volume) FROM ohlcv_1h WHERE symbol = $1"
            assert await rows(face, export, SYMBOL) == [(121, 501, 242)]
            daily = "SELECT sum(candle_count), min(low), max(timeframe) FROM ohlcv_1d WHERE symbol = $1"
            assert await rows(face, daily, SYMBOL) == [(121, 100, "1d")]
            ticks = "SELECT bid, ask, last_price, source FROM tick_data WHERE symbol = $1 ORDER BY time DESC"
            assert await rows(face, ticks, SYMBOL) == [(100.25, 101, 100.5, "binance")]


async def test_equity_tells_the_days_profit(plain_database: Database) -> None:
    """Counted from the last equity of the day before, or from the day's first where there is none."""
    today = (NOW - NOW.replace(hour=0, minute=0)) // MINUTE
    store = PostgresFactStore(plain_database.dsn, 10)
    days = [
        (today + 2880 - 1, "10000"), (today + 2880 - 60, "10100"), (today + 1, "9900"), (today, "9900"),
        (today - 60, "10395"),
    ]  # fmt: skip
    await store.store("j", 1, [equity(minutes, value) for minutes, value in days])
    await store.close()
    async with reading(plain_database, "apextrade") as face:
        found = await rows(
            face,
            "SELECT daily_pnl, daily_pnl_pct, cumulative_pnl, cumulative_pnl_pct, drawdown, drawdown_pct"
            " FROM equity_history ORDER BY time",
        )
    assert found[0] == (0, 0, 0, 0, 400, Decimal("3.8462"))
    assert found[1] == (100, 1, 100, 1, 300, Decimal("2.8846"))
    assert found[2] == (-200, Decimal("-1.9802"), -100, -1, 500, Decimal("4.8077"))
    assert found[4] == (495, 5, 395, Decimal("3.95"), 5, Decimal("0.0481"))


async def test_look_ups_use_an_index(database: Database) -> None:
    """Candles by symbol and time in the index's order, though a second exchange is left out; orders by their keys."""
    async with reading(database, "public") as tables:
        await tables.execute("SELECT ensure_partitions('ohlcv', now() - interval '3 days', now())")
        await tables.execute(FIGURES + "; ANALYZE ohlcv")
    for role in READERS:
        async with reading(database, "apextrade", role) as face:
            await face.execute("SET enable_seqscan = off")  # so few rows are read faster whole
            day = "SELECT * FROM ohlcv WHERE symbol = 'S7/USDT' AND timeframe = '1m' AND time >= $1 ORDER BY time DESC"
            candles = await plan(face, day, NOW - timedelta(hours=24))
            assert (
                "Seq Scan on ohlcv" not in candles and "Seq Scan on _hyper" not in candles and "Sort  " not in candles
            )
            orders = await plan(face, "SELECT * FROM trades WHERE broker_order_id = 'x'")
            assert "orders_exchange_order" in orders
            history = "SELECT * FROM trades WHERE portfolio_id = $1 ORDER BY created_at DESC LIMIT 100"
            assert "orders_portfolio" in await plan(face, history, UUID(int=1))
