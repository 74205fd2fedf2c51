"""What a tick costs from 1 to 1,000 symbols over 1 to 20 connections, and with several daemons on one database.

    python tests/bench/scale.py [--rate 10000] [--seconds 10] [--daemons 4] [--rounds 1] [--dsn DSN]

First one real daemon at a time, by `scale_symbols`: its CPU time by the ticks that it received, at the same rate of all
symbols together. Then `--daemons` of them at once, as `traderd@.service` runs them: one database, an instance's name, a
state folder, a port, a portfolio and a share of the symbols each. All are stopped in the end, and then every tick that
they received is in the database, once, and each instance has its own settings. Prints µs of CPU per tick, the database
not included, and each figure against the first. Figures of one round on a machine with other work say little.
Without --dsn a private TimescaleDB is used, as in the tests.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import scale_symbols
import yaml
from ingest import fresh_database, status, stored
from scale_symbols import SPARE_S, WARM_S, count

sys.path.insert(0, str(Path(__file__).parents[1]))
from servers import make_server
from traderd.sim.prices import listings

STEPS = ((1, 1), (10, 1), (100, 1), (100, 10), (1_000, 10), (1_000, 20))
"""Symbols, connections."""
SHARED_SYMBOLS = 1_000
CONNECTIONS_EACH = 5


async def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--rate", type=float, default=10_000.0, help="ticks per second, of all symbols together")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--daemons", type=int, default=4, help="on one database, in the last measurement")
    options.add_argument("--rounds", type=int, default=1, help="each is measured so often; the median counts")
    options.add_argument("--dsn", default="")
    chosen = options.parse_args()
    server = None if chosen.dsn else make_server("timescaledb-apache")
    if server is not None:
        await server.start()
    try:
        await steps(chosen.dsn or server.dsn, chosen)
    finally:
        if server is not None:
            await server.stop()
            server.remove()


async def steps(dsn: str, chosen: argparse.Namespace) -> None:
    """One after the other."""
    first = 0.0
    for symbols, connections in STEPS:
        costs = []
        for number in range(chosen.rounds):
            database = await fresh_database(dsn, f"scale_{symbols}_{connections}_{number}")
            costs.append(await scale_symbols.measure(database, symbols, connections, chosen.rate, chosen.seconds))
        first = told(f"1 daemon, {symbols:>5,} symbols, {connections:>2} connections", costs, first)
    costs = []
    for number in range(chosen.rounds):
        database = await fresh_database(dsn, f"scale_shared_{number}")
        costs.append(await shared(database, chosen.daemons, SHARED_SYMBOLS, chosen.rate, chosen.seconds))
    told(f"{chosen.daemons} daemons, {SHARED_SYMBOLS:,} symbols, {CONNECTIONS_EACH} connections each", costs, first)


def told(what: str, costs: list[dict[str, float]], first: float) -> float:
    """Print the median; returns what later ones are held against."""
    median = statistics.median(cost["us"] for cost in costs)
    rate = statistics.median(cost["rate"] for cost in costs)
    print(
        f"{what}: {median:6.2f} µs of CPU per tick at {rate:,.0f}/s, {median / (first or median):.2f} times", flush=True
    )
    return first or median


async def shared(dsn: str, daemons: int, symbols: int, rate: float, seconds: float) -> dict[str, float]:
    """Several daemons on one database: what a tick costs them together."""
    names = [f"d{n}" for n in range(daemons)]
    play = ["--play", "--symbols", str(symbols), "--rate", str(rate), "--seconds", str(WARM_S + seconds + SPARE_S)]
    with ExitStack() as closing:
        player = subprocess.Popen([sys.executable, scale_symbols.__file__, *play], stdout=subprocess.PIPE, text=True)
        closing.callback(player.kill)
        assert player.stdout is not None
        url = json.loads(player.stdout.readline())["url"]
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="traderd-bench-")))
        running = {}
        for n, name in enumerate(names):
            config = configuration(
                folder / name, dsn, url, name, [each.symbol for each in listings(symbols)[n::daemons]]
            )
            running[name] = subprocess.Popen([sys.executable, "-m", "traderd", "run", str(config)])
            closing.callback(running[name].kill)
        opened = json.loads(await asyncio.to_thread(player.stdout.readline))["connections"]
        assert opened == daemons * CONNECTIONS_EACH, f"{opened} connections"
        costs = await asyncio.gather(*(count(folder / name, running[name], seconds) for name in names))
        player.kill()
        received = await settled(folder, names)
        for process in running.values():
            process.terminate()
        assert [process.wait(30) for process in running.values()] == [0] * daemons
    await verify(dsn, names, received)
    ticks = sum(cost["ticks"] for cost in costs)
    return {
        "us": sum(cost["us"] * cost["ticks"] for cost in costs) / ticks,
        "ticks": ticks,
        "rate": sum(cost["rate"] for cost in costs),
    }


def configuration(folder: Path, dsn: str, url: str, name: str, symbols: list[str]) -> Path:
    """One instance's, in a folder of its own."""
    folder.mkdir()
    settings = {
        "instance": name,
        "state_dir": "state",
        "database": dsn,
        "redis": "off",
        "http": {"port": 0},
        "log": {"level": "error", "format": "json"},
        "paper": {"portfolio": name},
        "venues": [
            {
                "name": "binance",
                "endpoint": url,
                "symbols": symbols,
                "channels": ["quote", "trade"],
                "streams_per_connection_max": 2 * -(-len(symbols) // CONNECTIONS_EACH),
            }
        ],
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


async def settled(folder: Path, names: list[str]) -> int:
    """What they received together, once the exchange is silent and everything is stored."""
    before = -1
    while True:
        ticks = [status(folder / name)["ticks"] for name in names]
        received = sum(each["received"] for each in ticks)
        if received == before and all(each["received"] == each["stored"] for each in ticks):
            return received
        before = received
        await asyncio.sleep(0.5)


async def verify(dsn: str, names: list[str], received: int) -> None:
    """Nothing lost, nothing twice, nobody's settings or portfolio another's."""
    connection = await asyncpg.connect(dsn)
    try:
        assert (rows := await stored(connection)) == received, f"{rows} rows of {received} ticks"
        kept = await connection.fetch("SELECT instance FROM configurations WHERE key = 'venues' ORDER BY instance")
        assert [row["instance"] for row in kept] == sorted(names)
        owned = await connection.fetch("SELECT name, instance FROM portfolios ORDER BY name")
        assert [tuple(row) for row in owned] == [(name, name) for name in sorted(names)]
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
