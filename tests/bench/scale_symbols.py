"""What a tick costs the daemon when it is one of 1,000 symbols' over 10 connections, against one of a single symbol's.

    python tests/bench/scale_symbols.py [--rate 10000] [--seconds 10] [--symbols 1000] [--connections 10] [--dsn DSN]

The same real daemon twice, one after the other, at the same tick rate: its CPU time (user and system, every thread) by
the ticks that it received meanwhile. An exchange in a process of its own draws frames beforehand and dates them as it
sends them, to each connection those of the symbols that it subscribed to. Counting begins when all is running. Prints
both and the ratio.
Without --dsn a private TimescaleDB is used, as in the tests.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import yaml
from generator import Stream
from ingest import cpu_s, fresh_database, status
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

sys.path.insert(0, str(Path(__file__).parents[1]))
from servers import make_server
from traderd.config import Sim
from traderd.sim import rest
from traderd.sim.market import Market
from traderd.sim.prices import listings
from traderd.sim.server import http_response

SLICE_S = 0.005
TRADES_SHARE = 0.2
WARM_S = 4.0
"""Before anything is counted: what a start costs is not the ticks'."""
SPARE_S = 6.0


class Exchange:
    """Frames for whoever subscribed to them, at one rate for all together."""

    def __init__(self, symbols: int, rate: float) -> None:
        self._market = Market(Sim(symbols=symbols), time.time_ns() // 1000)
        self._streams = [Stream(listing, int(time.time() * 1000)) for listing in listings(symbols)]
        self._place = {listing.venue_symbol.lower(): n for n, listing in enumerate(listings(symbols))}
        self._owner: list[ServerConnection | None] = [None] * symbols
        self._rate = rate
        self._draw = random.Random(1)
        self._drawn: list[tuple[int, bool, int, int]] = []

    def prepare(self, seconds: float) -> None:
        """Draw: (symbol's place, if it is a trade, step, size), the symbols by chance, every one of them at first."""
        count = int(self._rate * seconds)
        order = list(range(len(self._streams)))
        order += [self._draw.randrange(len(self._streams)) for _ in range(count - len(order))]
        for n in order:
            is_trade, step = self._draw.random() < TRADES_SHARE, self._draw.randrange(-3, 4)
            self._drawn.append((n, is_trade, step, self._draw.randrange(1, 100_000)))

    def _frame(self, n: int, is_trade: bool, step: int, size: int, now_ms: int) -> bytes:
        return self._streams[n].trade(size, now_ms) if is_trade else self._streams[n].quote(step, size)

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """REST before the handshake; None lets a websocket in."""
        if request.path.startswith(("/stream", "/ws")):
            return None
        return http_response(*rest.answer(self._market, request.path))

    async def converse(self, connection: ServerConnection) -> None:
        """Take subscriptions."""
        try:
            async for message in connection:
                asked = json.loads(message)
                for name in asked.get("params", []) if asked["method"] == "SUBSCRIBE" else []:
                    self._owner[self._place[name.partition("@")[0]]] = connection
                await connection.send(json.dumps({"result": None, "id": asked["id"]}))
        except ConnectionClosed:
            self._owner = [None if owner is connection else owner for owner in self._owner]

    async def send(self) -> None:
        """All of it, once every symbol has its listener. What a slice has for a connection leaves in one write."""
        while None in self._owner:
            await asyncio.sleep(0.05)
        print(json.dumps({"connections": len(set(self._owner))}), flush=True)
        began, sent, size = time.monotonic(), 0, max(1, round(self._rate * SLICE_S))
        while sent < len(self._drawn):
            parts: dict[ServerConnection, list[bytes]] = {}
            now_ms = int(time.time() * 1000)
            for n, *drawn in self._drawn[sent : sent + size]:
                if (owner := self._owner[n]) is not None:
                    parts.setdefault(owner, []).append(self._frame(n, *drawn, now_ms))
            for owner, part in parts.items():
                if owner.state is State.OPEN:
                    owner.transport.write(b"".join(part))
            sent += size
            await asyncio.sleep(max(0.0, began + sent / self._rate - time.monotonic()))


async def play(symbols: int, rate: float, seconds: float) -> None:
    """Be the exchange, until killed."""
    exchange = Exchange(symbols, rate)
    exchange.prepare(seconds)
    async with serve(exchange.converse, "127.0.0.1", 0, process_request=exchange.answer, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"url": f"ws://127.0.0.1:{port}"}), flush=True)
        await exchange.send()
        await server.serve_forever()


async def measure(dsn: str, symbols: int, connections: int, rate: float, seconds: float) -> dict[str, float]:
    """One daemon's life: µs of CPU for each tick."""
    play_s = WARM_S + seconds + SPARE_S
    arguments = ["--play", "--symbols", str(symbols), "--rate", str(rate), "--seconds", str(play_s)]
    player = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert player.stdout is not None
        url = json.loads(player.stdout.readline())["url"]
        with tempfile.TemporaryDirectory(prefix="traderd-bench-") as folder:
            config = configuration(Path(folder), dsn, url, symbols, connections)
            daemon = subprocess.Popen([sys.executable, "-m", "traderd", "run", str(config)])
            try:
                opened = json.loads(await asyncio.to_thread(player.stdout.readline))["connections"]
                assert opened == connections, f"{opened} connections instead of {connections}"
                return await count(Path(folder), daemon, seconds)
            finally:
                daemon.terminate()
                daemon.wait(30)
    finally:
        player.kill()


def configuration(folder: Path, dsn: str, url: str, symbols: int, connections: int) -> Path:
    """A daemon that records quotes and trades, over so many connections."""
    venue = {
        "name": "binance",
        "endpoint": url,
        "symbols": [listing.symbol for listing in listings(symbols)],
        "channels": ["quote", "trade"],
        "streams_per_connection_max": 2 * -(-symbols // connections),
    }
    settings = {
        "state_dir": str(folder / "state"),
        "database": dsn,
        "redis": "off",
        "http": {"port": 0},
        "log": {"level": "warning", "format": "json"},
        "venues": [venue],
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


async def count(folder: Path, daemon: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    """CPU and ticks from one moment to another."""
    while True:
        assert daemon.poll() is None, "the daemon died"
        with suppress(OSError, KeyError):
            if status(folder)["ticks"]["stored"]:
                break
        await asyncio.sleep(0.1)
    await asyncio.sleep(WARM_S)
    cpu, ticks, began = cpu_s(daemon.pid), status(folder)["ticks"]["received"], time.monotonic()
    await asyncio.sleep(seconds)
    used, heard, took = cpu_s(daemon.pid) - cpu, status(folder)["ticks"]["received"] - ticks, time.monotonic() - began
    return {"us": used / heard * 1e6, "ticks": heard, "rate": heard / took}


async def main() -> None:
    """Print the figures; exit code 1 if the ratio is above --ratio-max."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--rate", type=float, default=10_000.0, help="ticks per second, of all symbols together")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--symbols", type=int, default=1_000)
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--dsn", default="")
    options.add_argument("--ratio-max", type=float, default=1.2)
    options.add_argument("--play", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.play:
        await play(chosen.symbols, chosen.rate, chosen.seconds)
        return
    server = None if chosen.dsn else make_server("timescaledb-apache")
    if server is not None:
        await server.start()
    figures = {}
    try:
        dsn = chosen.dsn or server.dsn
        for symbols, connections in ((1, 1), (chosen.symbols, chosen.connections)):
            database = await fresh_database(dsn, f"scale_{symbols}")
            figures[symbols] = await measure(database, symbols, connections, chosen.rate, chosen.seconds)
            one = figures[symbols]
            print(
                f"{symbols:>5} symbols over {connections:>2} connections: {one['us']:6.2f} µs of CPU per tick"
                f" ({one['ticks']:,} ticks at {one['rate']:,.0f}/s)"
            )
    finally:
        if server is not None:
            await server.stop()
            server.remove()
    ratio = figures[chosen.symbols]["us"] / figures[1]["us"]
    print(f"ratio: {ratio:.2f}")
    sys.exit(ratio > chosen.ratio_max)


if __name__ == "__main__":
    asyncio.run(main())
