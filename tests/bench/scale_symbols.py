"""What a tick costs the daemon when it is one of 1,000 symbols' over 10 connections, against one of a single symbol's.

    python tests/bench/scale_symbols.py [--rounds 5] [--rate 10000] [--seconds 10] [--symbols 1000] [--connections 10]
                                        [--redis off] [--dsn DSN]

The same real daemon, in turns with the one and with the many, at the same tick rate: its CPU time (user and system,
every thread) by the ticks that it received meanwhile. An exchange in a process of its own sends to each connection the
frames of the symbols that it subscribed to. It sends as a venue does, in both cases alike: every frame by itself, in a
write of its own, at its own random moment (exponential gaps), dated then. Whatever is gathered on the way, the network
and the daemon gathered: were the frames of a few milliseconds written at once, one connection would get fifty where
ten get five each, and what was measured would be the exchange's habit and not the daemon's cost of a symbol.
Counting begins when all is running. Prints every run, the medians, and the median ratio of a round.
Without --dsn a private TimescaleDB is used, as in the tests.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
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

sys.path.insert(0, str(Path(__file__).parents[1]))
from servers import make_server
from traderd.config import Sim
from traderd.sim import rest
from traderd.sim.market import Market
from traderd.sim.prices import listings
from traderd.sim.server import http_response

TRADES_SHARE = 0.2
WARM_S = 30.0
"""Before anything is counted: what a start costs is not the ticks', and the quality gate's first thirty samples of each
symbol's prices belong to it."""
SPARE_S = 30.0
"""Beyond what is counted: a busy machine takes long to start a daemon."""


class Exchange:
    """Frames for whoever subscribed to them, at one rate for all together."""

    def __init__(self, symbols: int, rate: float) -> None:
        self._market = Market(Sim(symbols=symbols), time.time_ns() // 1000)
        self._begun = time.monotonic()
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
        self._market.elapsed_us = int((time.monotonic() - self._begun) * 1e6)  # or its clock would stand still
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
        """All of it, once every symbol has its listener."""
        while None in self._owner:
            await asyncio.sleep(0.05)
        owners = [owner for owner in self._owner if owner is not None]
        print(json.dumps({"connections": len(set(owners))}), flush=True)
        sockets = {owner: _beside(owner) for owner in set(owners)}
        with suppress(OSError):  # the daemon has left
            await asyncio.to_thread(self._send, [sockets[owner] for owner in owners])

    def _send(self, listeners: list[socket.socket]) -> None:
        """In a thread: the event loop can't wait for less than a millisecond."""
        due, gap_s = time.monotonic(), 1.0 / self._rate
        for n, *drawn in self._drawn:
            due += self._draw.expovariate(1.0) * gap_s
            if (early_s := due - time.monotonic()) > 0:
                time.sleep(early_s)
            listeners[n].sendall(self._frame(n, *drawn, int(time.time() * 1000)))


def _beside(connection: ServerConnection) -> socket.socket:
    """The connection's own socket once more, to write to it without its event loop; it answers pings all the same."""
    own = connection.transport.get_extra_info("socket")
    again = socket.socket(fileno=os.dup(own.fileno()))
    again.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    again.settimeout(30.0)  # it never blocks by itself, as the other doesn't: one that falls behind is waited for
    return again


async def play(symbols: int, rate: float, seconds: float) -> None:
    """Be the exchange, until killed."""
    exchange = Exchange(symbols, rate)
    exchange.prepare(seconds)
    async with serve(exchange.converse, "127.0.0.1", 0, process_request=exchange.answer, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"url": f"ws://127.0.0.1:{port}"}), flush=True)
        await exchange.send()
        await server.serve_forever()


async def measure(
    dsn: str, symbols: int, connections: int, rate: float, seconds: float, redis: str = "off"
) -> dict[str, float]:
    """One daemon's life: µs of CPU for each tick."""
    play_s = WARM_S + seconds + SPARE_S
    arguments = ["--play", "--symbols", str(symbols), "--rate", str(rate), "--seconds", str(play_s)]
    player = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert player.stdout is not None
        url = json.loads(player.stdout.readline())["url"]
        with tempfile.TemporaryDirectory(prefix="traderd-bench-") as folder:
            config = configuration(Path(folder), dsn, url, symbols, connections, redis)
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


def configuration(folder: Path, dsn: str, url: str, symbols: int, connections: int, redis: str) -> Path:
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
        "redis": redis,
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
    ticks, began, cpu = status(folder)["ticks"]["received"], time.monotonic(), cpu_s(daemon.pid)
    await asyncio.sleep(seconds)
    used, took = cpu_s(daemon.pid) - cpu, time.monotonic() - began  # what asking costs is not the ticks'
    heard = status(folder)["ticks"]["received"] - ticks
    assert heard, "the exchange sends nothing any more"
    return {"us": used / heard * 1e6, "ticks": heard, "rate": heard / took}


async def main() -> None:
    """Print the figures; exit code 1 if the ratio is above --ratio-max."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--rate", type=float, default=10_000.0, help="ticks per second, of all symbols together")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--symbols", type=int, default=1_000)
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--redis", default="off", help="off, embedded, or the address of one")
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
    try:
        ratio = await compare(chosen.dsn or server.dsn, chosen)
    finally:
        if server is not None:
            await server.stop()
            server.remove()
    print(f"median ratio of a round: {ratio:.2f}")
    sys.exit(ratio > chosen.ratio_max)


async def compare(dsn: str, chosen: argparse.Namespace) -> float:
    """Both in turns, so that a machine that is busy for a while is so for both; the median of the ratios."""
    costs: dict[int, list[float]] = {1: [], chosen.symbols: []}
    for number in range(chosen.rounds):
        for symbols, connections in ((1, 1), (chosen.symbols, chosen.connections)):
            database = await fresh_database(dsn, f"scale_{number}_{symbols}")
            one = await measure(database, symbols, connections, chosen.rate, chosen.seconds, chosen.redis)
            costs[symbols].append(one["us"])
            print(
                f"{symbols:>5} symbols over {connections:>2} connections: {one['us']:6.2f} µs of CPU per tick"
                f" ({one['ticks']:,} ticks at {one['rate']:,.0f}/s)",
                flush=True,
            )
    for symbols, each in costs.items():
        print(f"{symbols:>5} symbols, median: {statistics.median(each):6.2f} µs")
    return statistics.median(many / one for one, many in zip(*costs.values(), strict=True))


if __name__ == "__main__":
    asyncio.run(main())
