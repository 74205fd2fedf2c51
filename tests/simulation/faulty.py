"""An exchange of twenty symbols that remembers what it sent, and what a database must hold of that."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from books import rows
from daemons import DaemonProcess, configuration

from traderd.config import Sim
from traderd.sim.faults import Faults
from traderd.sim.prices import listings
from traderd.sim.server import SimulatedExchange

LISTINGS = listings(20)
SYMBOLS = [listing.symbol for listing in LISTINGS]
VENUE_SYMBOLS = [listing.venue_symbol for listing in LISTINGS]
WARM_S = 5.0
"""So long a daemon listens before it knows what is usual."""


@asynccontextmanager
async def remembering(ticks_per_second: float = 600.0) -> AsyncIterator[SimulatedExchange]:
    """Twenty symbols, each with a trade every second or so at the least."""
    simulated = SimulatedExchange(Sim(symbols=20, ticks_per_second=ticks_per_second), remember=True)
    await simulated.start()
    try:
        yield simulated
    finally:
        await simulated.stop()


@contextmanager
def listening(folder: Path, exchange: SimulatedExchange, dsn: str, **venue: object) -> Iterator[DaemonProcess]:
    """A daemon that records quotes and trades of all twenty, and nothing else; `venue` adds settings of the venue."""
    settings = {"name": "binance", "endpoint": exchange.url, "symbols": SYMBOLS, "channels": ["quote", "trade"]}
    config = configuration(folder, "", database=dsn, venues=[settings | venue], strategies=[])
    with DaemonProcess(config) as daemon:
        daemon.start()
        yield daemon


async def warm(daemon: DaemonProcess, seconds: float = WARM_S) -> None:
    """It stores what it hears, for some seconds."""
    await daemon.until(lambda status: status["ticks"]["stored"] > 0)
    await asyncio.sleep(seconds)


def inflict(exchange: SimulatedExchange, faults: Faults) -> float:
    """Something goes wrong; returns when, in epoch seconds."""
    exchange.inflict(faults)
    return time.time()


async def seconds_until(holds: Callable[[], object], since_s: float, within_s: float, what: str) -> float:
    """How long after `since_s` (epoch seconds) it came to hold; it must within so long."""
    while not holds():
        assert time.time() - since_s < within_s, f"{what}: not within {within_s} s"
        await asyncio.sleep(0.02)
    return time.time() - since_s


async def fresh_again(daemon: DaemonProcess, since_s: float, within_s: float) -> float:
    """How long after `since_s` the daemon received ticks again."""
    before = (await daemon.status())["ticks"]["received"]
    left_s = since_s + within_s - time.time()
    await daemon.until(lambda status: status["ticks"]["received"] > before + 10, left_s)
    return time.time() - since_s


def connects(exchange: SimulatedExchange, since_s: float) -> list[float]:
    """When somebody knocked since then, in epoch seconds."""
    return [at for at in exchange.ledger["connects"] if at > since_s]


async def expect_every_trade(exchange: SimulatedExchange, dsn: str, within_s: float) -> int:
    """From the first trade stored to the last one that the exchange has made by now: all of them, each once.

    Healing is given so many seconds. Returns how many trades.
    """
    made = {name: exchange.ledger["ids"][f"{name.lower()}@trade"] for name in VENUE_SYMBOLS}
    deadline = time.monotonic() + within_s
    while missing := await _missing(dsn, made):
        if time.monotonic() > deadline:
            told = {name: f"{len(ids)}, from {min(ids)} to {max(ids)}" for name, ids in missing.items()}
            raise AssertionError(f"missing in the database: {told}")
        await asyncio.sleep(0.25)
    assert not await rows(dsn, "SELECT symbol, trade_id FROM public_trades GROUP BY 1, 2 HAVING count(*) > 1")
    return sum(len(ids) for ids in made.values())


async def _missing(dsn: str, made: dict[str, list[int]]) -> dict[str, list[int]]:
    stored: dict[str, set[int]] = {}
    for symbol, trade_id in await rows(dsn, "SELECT symbol, trade_id FROM public_trades"):
        stored.setdefault(symbol.replace("/", ""), set()).add(int(trade_id))
    missing = {}
    for name, ids in made.items():
        known = stored.get(name, set())
        first = min(known, default=0)
        if lacking := [trade_id for trade_id in ids if trade_id >= first and trade_id not in known]:
            missing[name] = lacking
    return missing
