"""The real daemon as a process of its own, to be hurt by tests, and a simulated exchange that sees it come and go.

A daemon lives on a folder: several lives on one folder are one daemon that is started again. READY is what the daemon
tells its supervisor. Nothing that is started here survives the `with` block, embedded servers of a killed daemon
included.
"""

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import yaml

from traderd.config import Sim
from traderd.sim.prices import listings
from traderd.sim.server import SimulatedExchange

LONG = bool(os.environ.get("TRADERD_TEST_LONG"))
"""Outages and loads as long as the daemon's promises name them, instead of as short as proves the point."""
SYMBOLS = [listing.symbol for listing in listings(10)]
_CROSS = {"type": "ema_cross", "exchange": "binance", "fast": 1, "slow": 2, "allow_short": True}
"""As many signals as a second's bars can give."""
_SERVERS = {"postgres", "redis-server"}
_numbers = itertools.count(1)


def configuration(folder: Path, endpoint: str, **changes: Any) -> Path:
    """Write FOLDER/config.yaml: a daemon on this exchange, with fast strategies; `changes` replaces whole sections."""
    settings: dict[str, Any] = {
        "state_dir": "state",
        "database": "embedded",
        "redis": "off",
        "http": {"port": 0},
        "log": {"format": "json"},
        "venues": [{"name": "binance", "endpoint": endpoint, "symbols": SYMBOLS}],
        "strategies": [_CROSS | {"name": f"ema{n}", "symbol": symbol} for n, symbol in enumerate(SYMBOLS)],
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings | changes))
    return path


class DaemonProcess:
    """`traderd run` on one configuration; `start` may be called again when a life has ended."""

    def __init__(self, config: Path, program: Sequence[str] = ("-m", "traderd")) -> None:
        """`program`: what Python is to run; `hurt.py` runs the daemon too."""
        self.config = config
        self.program = list(program)
        self.state = config.parent / "state"
        self.lives = 0
        self.started_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._ear: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.alive:
            self.kill9()
        for orphan in self.servers():
            with suppress(psutil.NoSuchProcess):
                orphan.kill()
        if self._ear is not None:
            self._ear.close()

    def start(self, *arguments: str) -> None:
        """Begin a life; nothing is waited for."""
        self.lives += 1
        self._listen()
        assert self._ear is not None
        command = [sys.executable, *self.program, "run", str(self.config), *arguments]
        environment = {**os.environ, "NOTIFY_SOCKET": "@" + self._ear.getsockname()[1:].decode()}
        with self._out().open("wb") as out, self._err().open("wb") as err:
            self.started_s = time.monotonic()
            self._process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)

    async def ready(self, within_s: float = 30.0) -> float:
        """Wait for READY and return how many seconds after `start` it came."""
        while not any(b"READY=1" in datagram for datagram in self._heard()):
            self.expect_alive()
            assert time.monotonic() - self.started_s < within_s, f"not READY in {within_s} s\n{self.words()}"
            await asyncio.sleep(0.01)
        return time.monotonic() - self.started_s

    async def until(self, holds: Callable[[dict[str, Any]], object], within_s: float = 20.0) -> dict[str, Any]:
        """Wait until /status satisfies `holds`, and return it."""
        deadline, status = time.monotonic() + within_s, {}
        while time.monotonic() < deadline:
            self.expect_alive()
            with suppress(OSError, ValueError):
                status = await self.status()
                if holds(status):
                    return status
            await asyncio.sleep(0.05)
        raise AssertionError(f"not within {within_s} s; the last status was {status}\n{self.words()}")

    async def status(self) -> dict[str, Any]:
        """What the daemon says of itself. Raises OSError while it says nothing."""
        code, body = await self.get("/status")
        assert code == 200
        return dict(json.loads(body))

    async def get(self, path: str) -> tuple[int, str]:
        """One answer over HTTP. Raises OSError."""
        return await asyncio.to_thread(self._get, path)

    def kill9(self) -> None:
        """End this life at once, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    async def terminate(self, within_s: float = 20.0) -> float:
        """SIGTERM; returns how long the orderly end took. It must come in time and with exit code 0."""
        assert self._process is not None
        since = time.monotonic()
        self._process.terminate()
        code = await self.ended(within_s)
        took = time.monotonic() - since
        assert code == 0, self.words()
        return took

    async def ended(self, within_s: float) -> int:
        """Wait for the end by itself; the exit code."""
        assert self._process is not None
        deadline = time.monotonic() + within_s
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"did not end in {within_s} s\n{self.words()}"
            await asyncio.sleep(0.02)
        return self._process.returncode

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def expect_alive(self) -> None:
        """Fail with its last words if it ended."""
        assert self.alive, f"the daemon ended\n{self.words()}"

    def log(self) -> list[dict[str, Any]]:
        """The log lines of this life."""
        return [json.loads(line) for line in self._out().read_bytes().splitlines() if line.startswith(b"{")]

    def events(self) -> list[str]:
        """What this life's log lines are about."""
        return [line["event"] for line in self.log()]

    def printed(self) -> str:
        """What stands on stdout beside the log: the summary."""
        return "\n".join(line for line in self._out().read_text().splitlines() if not line.startswith("{"))

    def stderr(self) -> str:
        return self._err().read_text()

    def words(self) -> str:
        """The end of all that it said, for a test that fails."""
        return (self._out().read_text() + self.stderr())[-6_000:]

    def servers(self) -> list[psutil.Process]:
        """The embedded servers on this state folder, whoever started them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if any(word.startswith(str(self.state)) for word in words) and Path(words[0]).name in _SERVERS:
                    found += [process, *process.children(recursive=True)]
        return found

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _get(self, path: str) -> tuple[int, str]:
        announced = json.loads((self.state / "daemon.json").read_text())
        if announced["pid"] != self.pid:
            raise OSError("this is an earlier life's announcement")
        try:
            with urllib.request.urlopen(announced["http"] + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def _listen(self) -> None:
        """A supervisor's ear for this life alone."""
        if self._ear is not None:
            self._ear.close()
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.setblocking(False)
        self._ear.bind(f"\0traderd-test-{os.getpid()}-{next(_numbers)}")

    def _heard(self) -> Iterator[bytes]:
        assert self._ear is not None
        with suppress(BlockingIOError):
            while True:
                yield self._ear.recv(4_096)

    def _out(self) -> Path:
        return self.config.with_name(f"life{self.lives}.out")

    def _err(self) -> Path:
        return self.config.with_name(f"life{self.lives}.err")


@asynccontextmanager
async def exchange(
    ticks_per_second: float = 1_000.0, seed: int = 1, *, remember: bool = False
) -> AsyncIterator[SimulatedExchange]:
    """An exchange with `SYMBOLS`, in the test's process, so that it survives every daemon.

    `remember`: its ledger has each tick that it sent, for `accounts`.
    """
    settings = Sim(seed=seed, symbols=len(SYMBOLS), ticks_per_second=ticks_per_second)
    simulated = SimulatedExchange(settings, remember=remember)
    await simulated.start()
    try:
        yield simulated
    finally:
        await simulated.stop()


def sent(simulated: SimulatedExchange) -> int:
    """Quotes and trades sent so far, on all connections together: the exchange's own account."""
    return sum(
        rows
        for connection in simulated.ledger["connections"]
        for stream, rows in connection["sent"].items()
        if stream.endswith(("@bookTicker", "@trade"))
    )


@contextmanager
def frozen(processes: Iterable[psutil.Process]) -> Iterator[None]:
    """SIGSTOP for the length of the block: nobody answers, and no connection is closed."""
    held = list(processes)
    assert held, "there is nobody to freeze"
    for process in held:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in held:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
