"""How long a tick takes from its socket to the engine, to its committed row, and to an order on the wire.

    python tests/bench/latency.py [--rates 1000,10000,50000] [--seconds 40] [--orders-per-s 260] [--json]

Three processes: a generator that sends every frame when it is due, late or not (`paced`), the daemon with its default
risk limits and strategies that order at every n-th trade (`brisk`), and a TimescaleDB. Everything is counted from just
before a frame was handed to its socket; where the socket was full, from when the frame was due: a daemon that doesn't
read can't slow its own clock. A generator that the machine holds up is late by itself, and how late is told.

    engine   the engine is given the trade (the daemon's clock, read there)
    wire     the exchange adapter has the order, and its intent is on the disk (`orders.submitted_at`)
    row      the trade's transaction has committed (the server's time stamp: before it forces its log to the disk)
    disk     beside the run: a kilobyte written to another file of the same disk and forced there, every 50 ms

One more run at 10,000 has the daemon's state folder in memory (/dev/shm): there the wait for the disk is none. All of
them share one clock, and the machine with whoever else is there: the load average is told with each run.
The daemon has the priority that its unit (systemd/traderd.service) gives it, where that is permitted, or --nice N.
--pin gives it the first core and the others the rest; --turns tells where long turns of the event loop were spent, and
spoils the figures by that.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import asyncpg
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from ingest import fresh_database, status

from servers import make_server
from traderd.adapters.migrations import migrate
from traderd.sim.prices import listings

SYMBOLS = 10
TRADES_SHARE = 0.2
WARM_UP_S = 3.0
UNIT = Path(__file__).parents[2] / "systemd" / "traderd.service"
MEMORY = Path("/dev/shm")
TARGET_RATE = 10_000
TARGETS = {"disk": {"p50": 500.0, "p99": 2_000.0}, "memory": {"p50": 100.0, "p99": 1_000.0}}
"""Of `wire` at TARGET_RATE, in microseconds."""
CONFIG = """
state_dir: {state}
database: {dsn}
redis: {redis}
http: {{port: 0}}
log: {{level: info, format: json}}
venues: [{{name: binance, endpoint: {url}, symbols: [{symbols}], channels: [quote, trade]}}]
strategies:
{strategies}
"""
STRATEGY = (
    "- {{type: ema_cross, name: s{n}, exchange: binance, symbol: {symbol}, timeframe: 1s, order_notional: 100}}\n"
)


async def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser()
    options.add_argument("--rates", default="1000,10000,50000", help="ticks per second")
    options.add_argument("--seconds", type=float, default=40.0, help="of each run, after the warm-up")
    options.add_argument(
        "--orders-per-s", type=float, default=260.0, help="about, each with its fills: a flood of them"
    )
    options.add_argument("--redis", default="embedded", help="as in the configuration")
    options.add_argument("--nice", type=int, default=unit_nice(), help="the daemon's priority; by default its unit's")
    options.add_argument("--pin", action="store_true")
    options.add_argument("--turns", action="store_true")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    rates = [int(rate) for rate in chosen.rates.split(",")]
    runs = [(rate, "disk") for rate in rates] + [(TARGET_RATE, "memory")] * (TARGET_RATE in rates and MEMORY.is_dir())
    server = make_server("timescaledb-apache")
    await server.start()
    figures = []
    try:
        await keep_commit_times(server)
        for number, (rate, where) in enumerate(runs):
            figures.append(await measure(await fresh_database(server.dsn, f"latency{number}"), rate, where, chosen))
            if not chosen.json:
                print(told(figures[-1]), flush=True)
    finally:
        await server.stop()
        server.remove()
    if chosen.json:
        print(json.dumps(figures))


def unit_nice() -> int:
    """The priority that the daemon's unit gives it."""
    text = UNIT.read_text()
    return int(text.partition("\nNice=")[2].split("\n", 1)[0])


def prefer(pid: int, nice: int) -> None:
    """Of a session's leader: the kernel may weigh sessions first. Not everybody may ask for it."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except FileNotFoundError:
        pass  # a kernel that weighs no sessions
    except PermissionError:
        print(f"(not permitted to give the daemon its unit's priority of {nice})", file=sys.stderr)


async def keep_commit_times(server: Any) -> None:
    """Let the server remember when each transaction committed."""
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await connection.close()
    await server.stop()
    await server.start()


async def measure(dsn: str, rate: int, where: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    await migrate(dsn)
    folder = Path(tempfile.mkdtemp(prefix="traderd-bench-", dir=MEMORY if where == "memory" else None))
    try:
        load = os.getloadavg()[0]
        with Disk(folder) as disk:
            await asyncio.to_thread(play, folder, dsn, rate, chosen)
        loads = [round(load, 1), round(os.getloadavg()[0], 1)]
        brisk = json.loads((folder / "brisk.json").read_text())
        sent = np.load(folder / "times.npy")
    finally:
        shutil.rmtree(folder)
    connection = await asyncpg.connect(dsn)
    figures = await judged(connection, brisk, sent)
    await connection.close()
    figures |= {
        "disk": spread(np.array(disk.took_us)),
        "rate": rate,
        "state": where,
        "load": loads,
        "pinned": chosen.pin,
        "nice": chosen.nice,
        "turns": brisk["turns"],
    }
    if rate == TARGET_RATE:
        figures["targets"] = {
            name: {"limit": limit, "met": figures["wire"][name] <= limit} for name, limit in TARGETS[where].items()
        }
    return figures


class Disk:
    """What the disk itself takes to force a kilobyte, while the `with` block lasts."""

    def __init__(self, folder: Path) -> None:
        self.took_us: list[float] = []
        self._file = folder / "bare"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        fd = os.open(self._file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        while not self._stop.wait(0.05):
            begun = time.perf_counter()
            os.write(fd, b"x" * 1_000)
            os.fdatasync(fd)
            self.took_us.append((time.perf_counter() - begun) * 1e6)
        os.close(fd)


def play(folder: Path, dsn: str, rate: int, chosen: argparse.Namespace) -> None:
    """Generator and daemon, until every tick is stored."""
    frames = int(rate * (WARM_UP_S + chosen.seconds))
    times = folder / "times.npy"
    generator = started(
        chosen.pin and "others",
        [
            *(str(Path(__file__).with_name("paced.py")), "--rate", str(rate), "--frames", str(frames)),
            *("--times", str(times), "--symbols", str(SYMBOLS), "--trades-share", str(TRADES_SHARE)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert generator.stdin is not None and generator.stdout is not None
    config = folder / "config.yaml"
    symbols = [listing.symbol for listing in listings(SYMBOLS)]
    config.write_text(
        CONFIG.format(
            state=folder / "state",
            dsn=dsn,
            redis=chosen.redis,
            url=json.loads(generator.stdout.readline())["url"],
            symbols=", ".join(symbols),
            strategies="".join(STRATEGY.format(n=n, symbol=symbol) for n, symbol in enumerate(symbols)),
        )
    )
    every = max(1, round(rate * TRADES_SHARE / chosen.orders_per_s))
    with (folder / "daemon.log").open("wb") as log:
        daemon = started(
            chosen.pin and "first",
            [
                *(str(Path(__file__).with_name("brisk.py")), str(every), str(folder / "brisk.json")),
                *("run", str(config)),
            ],
            stdout=log,
            start_new_session=True,
            env=os.environ | ({"TRADERD_BENCH_TURNS": "1"} if chosen.turns else {}),
        )
    prefer(daemon.pid, chosen.nice)
    try:
        until(folder, daemon, lambda now: not now["not_ready"])
        generator.stdin.write("go\n")
        generator.stdin.flush()
        told = json.loads(generator.stdout.readline())
        assert told["clock_stepped_us"] < 100, told
        until(folder, daemon, lambda now: now["ticks"]["stored"] >= frames)
        time.sleep(0.5)  # the last orders' fills
        ticks = status(folder)["ticks"]
        assert ticks["stored"] == frames and not ticks["lost"], ticks
    finally:
        daemon.terminate()
        daemon.wait(30)
        generator.kill()


def started(where: str | bool, words: list[str], **options: Any) -> subprocess.Popen[Any]:
    """A Python process; on the first core, on the others, or anywhere."""
    process = subprocess.Popen([sys.executable, *words], **options)
    first, *others = sorted(os.sched_getaffinity(0))
    if where:
        os.sched_setaffinity(process.pid, {first} if where == "first" else others)
    return process


def until(folder: Path, daemon: subprocess.Popen[Any], ready: Any) -> None:
    """Wait until the daemon's status says so."""
    while True:
        assert daemon.poll() is None, (folder / "daemon.log").read_text()[-2000:]
        try:
            if ready(status(folder)):
                return
        except (OSError, KeyError):
            pass
        time.sleep(0.25)


async def judged(connection: asyncpg.Connection, brisk: dict[str, Any], sent: np.ndarray) -> dict[str, Any]:
    """Percentiles of the run without its warm-up. Every trade and every approved order must have its times."""
    places, ids, due_ns, sent_ns = sent.tolist()
    sent_of = {(place, number): at for place, number, at in zip(places, ids, sent_ns, strict=True)}
    measured_ns = min(due_ns) + int(WARM_UP_S * 1e9)
    symbols = {listing.symbol: place for place, listing in enumerate(listings(SYMBOLS))}
    seen = np.array(brisk["trades"], dtype=np.int64).reshape(-1, 3)
    assert len(seen) == len(sent_of), f"the engine saw {len(seen)} of {len(sent_of)} trades"
    engine = [(sent_of[place, number], at) for place, number, at in seen.tolist()]
    rows = await connection.fetch("SELECT symbol, trade_id, pg_xact_commit_timestamp(xmin) AS at FROM public_trades")
    row = [(sent_of[symbols[each["symbol"]], int(each["trade_id"])], nanoseconds(each["at"])) for each in rows]
    assert len(row) == len(sent_of), f"{len(row)} of {len(sent_of)} trades are stored"
    cause = {order: (place, int(number)) for order, place, number in brisk["orders"]}
    stored = await connection.fetch("SELECT client_order_id, status, submitted_at, reason FROM orders")
    assert {each["client_order_id"] for each in stored} == set(cause), "orders were lost"
    refused = [each["reason"] for each in stored if each["status"] == "rejected"]
    approved = [each for each in stored if each["status"] != "rejected"]
    wire = [(sent_of[cause[each["client_order_id"]]], nanoseconds(each["submitted_at"])) for each in approved]
    late = list(zip(due_ns, sent_ns, strict=True))
    parts = {"engine": engine, "wire": wire, "row": row, "generator": late}
    return {name: percentiles(pairs, measured_ns) for name, pairs in parts.items()} | {
        "orders": len(wire),
        "refused": len(refused),
    }


def nanoseconds(at: Any) -> int:
    """PostgreSQL's microseconds, exactly."""
    return round(at.timestamp() * 1e6) * 1_000


def percentiles(pairs: list[tuple[int, int]], since_ns: int) -> dict[str, float]:
    """Microseconds from the first to the second of each pair."""
    return spread(np.array([at - since for since, at in pairs if since >= since_ns]) / 1_000)


def spread(took: np.ndarray) -> dict[str, float]:
    """How long, mostly and at worst."""
    p50, p99, p999 = np.percentile(took, (50, 99, 99.9)).round(1).tolist()
    return {"p50": p50, "p99": p99, "p99.9": p999, "max": round(float(took.max()), 1), "count": len(took)}


def told(figures: dict[str, Any]) -> str:
    """One run for people."""
    lines = [
        f"{figures['rate']:,} ticks/s, state on {figures['state']}: {figures['orders']:,} orders, {figures['refused']}"
        f" refused; load average {figures['load'][0]} before, {figures['load'][1]} after"
    ]
    for name in ("generator", "disk", "engine", "wire", "row"):
        each = figures[name]
        lines.append(
            f"  {name:<10} p50 {each['p50']:>10,.0f} us  p99 {each['p99']:>10,.0f} us  p99.9 {each['p99.9']:>10,.0f} us"
            f"  max {each['max']:>10,.0f} us  of {each['count']:,}"
        )
    for name, target in figures.get("targets", {}).items():
        lines.append(f"  wire {name} <= {target['limit']:,.0f} us: {'met' if target['met'] else 'NOT MET'}")
    lines += [f"  {count:>5} turns in {where}" for where, count in figures["turns"]]
    return "\n".join(lines)


if __name__ == "__main__":
    asyncio.run(main())
