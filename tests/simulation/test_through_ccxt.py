"""The real daemon, heard through ccxt: its trades against the simulated exchange's own ledger."""

import asyncio
from pathlib import Path

import asyncpg
from daemons import DaemonProcess, configuration

from traderd.config import Sim
from traderd.sim.faults import Faults
from traderd.sim.server import SimulatedExchange

SYMBOLS = ["BTC/USDT", "ETH/USDT"]


async def test_what_ccxt_drops_is_in_the_database_all_the_same_and_so_is_the_gap(tmp_path: Path) -> None:
    """One symbol's trades cease to be sent for a while; afterwards none is missing, and rows say the path."""
    exchange = SimulatedExchange(Sim(symbols=2, ticks_per_second=100), remember=True)
    await exchange.start()
    venue = {"name": "binance", "via": "ccxt", "endpoint": exchange.url, "symbols": SYMBOLS, "tape_check_s": 5}
    config = configuration(tmp_path, exchange.url, venues=[venue | {"channels": ["quote", "trade"]}], strategies=[])
    try:
        with DaemonProcess(config) as daemon:
            daemon.start()
            await daemon.ready()
            status = await daemon.until(lambda now: now["ticks"]["by_stream"].get("binance/trade", 0) > 20)
            assert status["through_ccxt"] == {"binance": {"quote": "websocket", "trade": "websocket"}}
            assert "traderd_slower_path" in (await daemon.get("/metrics"))[1]
            before = {symbol: _made(exchange, symbol)[-5] for symbol in SYMBOLS}
            exchange.inflict(Faults(drop=("btcusdt@trade",)))
            status = await daemon.until(lambda now: now["ticks"]["by_stream"].get("binance/backfill", 0) > 3)
            await asyncio.sleep(1.0)
            connection = await asyncpg.connect(status["database"])
            try:
                await _whole(connection, exchange, before)
                assert await connection.fetchval("SELECT bool_and(feed = 'ccxt') FROM instruments")
                gaps = await connection.fetch(
                    "SELECT symbol FROM data_gaps WHERE reason = 'unseen' AND status = 'healed' AND rows_healed > 0"
                )
                assert "BTC/USDT" in {row["symbol"] for row in gaps}
            finally:
                await connection.close()
            await daemon.terminate()
    finally:
        await exchange.stop()


def _made(exchange: SimulatedExchange, symbol: str) -> list[int]:
    return [int(trade_id) for trade_id in exchange.ledger["ids"][symbol.replace("/", "").lower() + "@trade"]]


async def _whole(connection: asyncpg.Connection, exchange: SimulatedExchange, before: dict[str, int]) -> None:
    """Up to the last one that was backfilled, or the fault, none is missing, and none is there twice."""
    for symbol in SYMBOLS:
        rows = await connection.fetch(
            "SELECT trade_id::bigint, backfilled FROM public_trades WHERE symbol = $1", symbol
        )
        stored = [row["trade_id"] for row in rows]
        last = max([before[symbol], *(row["trade_id"] for row in rows if row["backfilled"])])
        assert len(stored) == len(set(stored)) > 10
        assert {made for made in _made(exchange, symbol) if min(stored) <= made <= last} <= set(stored)
