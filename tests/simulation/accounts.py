"""The account of a run, kept three times: by the daemon's counters, by the exchange that sent, and by the database.

    received = stored + journalled + quarantined + lost

and what was sent and is not received belongs to a link or a life that ended, in a gap of the ledger. `settle` compares
all three while the exchange holds its breath, so that nothing is on its way; then the exchange goes on. Single ticks
are compared, by their ids: sums alone would let one that is missing hide behind one that is doubled.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from books import rows
from daemons import DaemonProcess
from msgspec import structs

from traderd.sim.prices import listings
from traderd.sim.server import SimulatedExchange

Tick = tuple[str, str, int]
"""Channel, symbol, and the trade's or the quote's own number."""
TRANSIT_S = 1.0
"""A tick may have been on its way so long: the ledger dates by receipt, the exchange by sending.

What the journal lost is dated by its rows, and a trade's row by when it happened: some time before, on a busy machine.
"""
_CHANNELS = {"bookTicker": "quote", "trade": "trade"}
_SYMBOLS = {listing.venue_symbol.lower(): listing.symbol for listing in listings(100)}


class Accounts(NamedTuple):
    """Ticks that were sent, by what became of them; all three accounts agree on it."""

    sent: int
    stored: int
    lost: int
    """The daemon had them, and says that it could not keep them."""
    cut_off: int
    """Never received: under way when a link or a life ended. The trades among them may have been fetched since."""
    fetched: int
    """Trades that the database has by another way than the stream."""


class Gap(NamedTuple):
    """A row of the gap ledger; times in epoch seconds."""

    symbol: str
    channel: str
    reason: str
    from_s: float
    to_s: float
    rows_lost: int

    def tells_of(self, tick: Tick, sent_s: float) -> bool:
        """Whether this tick lies in it."""
        channel, symbol, _ = tick
        concerned = self.symbol in ("", symbol) and self.channel in ("", channel)
        after_s = TRANSIT_S if self.reason == "lost" and channel == "trade" else 0.0
        return concerned and self.from_s - TRANSIT_S <= sent_s <= self.to_s + after_s


async def settle(
    daemon: DaemonProcess,
    exchange: SimulatedExchange,
    dsn: str,
    *,
    cut: bool = False,
    earlier: dict[Tick, float] | None = None,
    after_connection: int = 0,
    within_s: float = 40.0,
) -> Accounts:
    """All that was sent up to now has its place, and the three accounts agree.

    `cut`: a link was cut in this life, so that not all that was sent was received. `earlier` was sent to other lives,
    on the connections up to number `after_connection`: of that only the exchange and the database tell.
    """
    async with hushed(exchange):
        wanted = len(sent_ticks(exchange, after_connection))
        told = (await daemon.until(lambda status: _at_rest(status, 0 if cut else wanted), within_s))["ticks"]
        while cut and told != (later := await _a_little_later(daemon, within_s)):
            told = later  # healing goes on while nothing is traded
        await _expect_metrics_agree(daemon)
        found = await compare(exchange, dsn, earlier)
        received = received_live(told)
        assert told["received"] == told["stored"] + told["quarantined"] + told["lost"], told
        assert received <= wanted if cut else received == wanted, (told, found)
        if earlier is None:
            assert received == found.stored + found.lost, (told, found)
            assert found.cut_off == wanted - received, (told, found)
            assert told["lost"] == found.lost, (told, found)
            assert told["stored"] - told["by_stream"].get("binance/backfill", 0) == found.stored, (told, found)
            await _expect_rows(daemon, dsn)
    return found


async def settle_spoilt(daemon: DaemonProcess, exchange: SimulatedExchange, dsn: str, within_s: float = 40.0) -> int:
    """As `settle`, where frames came twice, out of order, illegible, or not at all; returns how many ticks were sent.

    What came twice was received twice. Whose an illegible frame was nobody can tell: it is in quarantine for its tick.
    """
    async with hushed(exchange):
        told = (await daemon.until(lambda status: _at_rest(status, 0), within_s))["ticks"]
        while told != (later := await _a_little_later(daemon, within_s)):
            told = later
        await _expect_metrics_agree(daemon)
        assert told["received"] == told["stored"] + told["quarantined"] + told["lost"], told
        await _expect_rows(daemon, dsn)
        sent = sent_ticks(exchange)
        live, _ = await _by_way(dsn)
        assert not live.keys() - sent.keys(), "there are ticks that nobody sent"
        gaps = await ledger(dsn)
        missing = [(tick, at_s) for tick, at_s in sent.items() if tick not in live]
        untold = [each for each in missing if not any(gap.tells_of(*each) for gap in gaps)]
        assert len(untold) <= told["quarantined"], _shown(untold, gaps)
        assert not any(gap.reason == "lost" for gap in gaps)
        return len(sent)


async def _expect_rows(daemon: DaemonProcess, dsn: str, attempts: int = 40) -> None:
    """The tables have as many rows as the daemon says that it stored and quarantined, once nothing is being fetched."""
    told = (await daemon.status())["ticks"]
    query = "SELECT (SELECT count(*) FROM tick_data) + (SELECT count(*) FROM public_trades),"
    ((stored, quarantined),) = await rows(dsn, query + " (SELECT count(*) FROM quarantine)")
    if told["journalled"] + told["pending"] or told != (await daemon.status())["ticks"]:
        assert attempts, told
        await asyncio.sleep(0.25)
        await _expect_rows(daemon, dsn, attempts - 1)
    else:
        assert (stored, quarantined) == (told["stored"] - told["duplicates"], told["quarantined"]), (stored, told)


async def compare(exchange: SimulatedExchange, dsn: str, earlier: dict[Tick, float] | None = None) -> Accounts:
    """What was sent, beside what the database has: nothing twice, and for all that is missing a row in the gap ledger.

    `earlier`: what was sent on connections that the exchange's ledger may have forgotten.
    """
    sent = (earlier or {}) | sent_ticks(exchange)
    live, fetched = await _by_way(dsn)
    doubled = [tick for tick, times in (live + fetched).items() if times > 1]
    assert not doubled, f"{len(doubled)} ticks are doubled, such as {doubled[0]}"
    strange = live.keys() - sent.keys()
    assert not strange, f"{len(strange)} ticks that nobody sent, such as {next(iter(strange))}"
    missing = {tick: at_s for tick, at_s in sent.items() if tick not in live}
    gaps = await ledger(dsn)
    untold = [(tick, at_s) for tick, at_s in missing.items() if not any(gap.tells_of(tick, at_s) for gap in gaps)]
    assert not untold, f"no gap tells of {len(untold)} of {len(missing)} missing ticks: {_shown(untold, gaps)}"
    lost = sum(gap.rows_lost for gap in gaps if gap.reason == "lost")
    return Accounts(len(sent), len(sent) - len(missing), lost, len(missing) - lost, fetched.total())


def _shown(untold: list[tuple[Tick, float]], gaps: list[Gap]) -> str:
    """The first and the last of them, and the gaps of that stream beside it."""
    (first, first_s), (last, last_s) = min(untold, key=lambda each: each[1]), max(untold, key=lambda each: each[1])
    beside = [gap for gap in gaps if gap.channel in ("", first[0]) and gap.symbol in ("", first[1])]
    near = sorted(beside, key=lambda gap: min(abs(gap.from_s - first_s), abs(gap.to_s - first_s)))[:4]
    return f"from {first} at {first_s} to {last} at {last_s}; {near}"


def received_live(ticks: dict[str, Any]) -> int:
    """What came by the streams, of /status' ticks."""
    return sum(ticks["by_stream"].get(f"binance/{channel}", 0) for channel in _CHANNELS.values())


def sent_ticks(exchange: SimulatedExchange, after_connection: int = 0) -> dict[Tick, float]:
    """Quotes and trades sent on the last hundred connections, and when (epoch seconds); the exchange must remember."""
    connections = [each for each in exchange.ledger["connections"] if each["connection"] > after_connection]
    return {tick: at_s for connection in connections for tick, at_s in _on_connection(connection)}


def last_connection(exchange: SimulatedExchange) -> int:
    """The number of the newest one."""
    return max((each["connection"] for each in exchange.ledger["connections"]), default=0)


def _on_connection(connection: dict[str, Any]) -> Iterable[tuple[Tick, float]]:
    for stream, numbers in connection.get("ids", {}).items():
        name, _, kind = stream.partition("@")
        symbol, channel = _SYMBOLS[name], _CHANNELS[kind]
        for number, at_us in zip(numbers, connection["sent_us"][stream], strict=True):
            yield (channel, symbol, number), at_us / 1e6


async def stored_ticks(dsn: str) -> set[Tick]:
    """All that came by the streams."""
    return set((await _by_way(dsn))[0])


async def ledger(dsn: str) -> list[Gap]:
    """The gap ledger, with what is open reaching as far as time does."""
    query = (
        "SELECT coalesce(symbol, ''), coalesce(channel, ''), reason, extract(epoch FROM time_from)::float8,"
        " coalesce(extract(epoch FROM time_to), 1e12)::float8, rows_lost FROM data_gaps"
    )
    return [Gap(*row) for row in await rows(dsn, query)]


@asynccontextmanager
async def hushed(exchange: SimulatedExchange) -> AsyncIterator[None]:
    """For the length of the block nobody trades."""
    before = exchange.broadcast.faults
    lasting = structs.replace(before, cut=False, stall=False, half_open=False, drop=())
    exchange.inflict(structs.replace(lasting, hush=True))
    try:
        yield
    finally:
        exchange.inflict(lasting)


def _at_rest(status: dict[str, Any], received: int) -> bool:
    ticks = status["ticks"]
    return received_live(ticks) >= received and not ticks["journalled"] + ticks["pending"]


async def _a_little_later(daemon: DaemonProcess, within_s: float) -> dict[str, Any]:
    await asyncio.sleep(1.0)
    return dict((await daemon.until(lambda status: _at_rest(status, 0), within_s))["ticks"])


async def _expect_metrics_agree(daemon: DaemonProcess, attempts: int = 20) -> None:
    """/metrics and /status count alike; while something is being fetched they may be asked at different moments."""
    told = (await daemon.status())["ticks"]
    _, text = await daemon.get("/metrics")
    counted = {name: _sum(text, f"traderd_ticks_{name}_total") for name in ("received", "quarantined", "lost")}
    if any(counted[name] != told[name] for name in counted):
        assert attempts, (counted, told)
        await asyncio.sleep(0.1)
        await _expect_metrics_agree(daemon, attempts - 1)


def _sum(metrics: str, name: str) -> int:
    return sum(int(float(value)) for value in re.findall(rf"^{name}{{[^}}]*}} (\S+)$", metrics, re.MULTILINE))


async def _by_way(dsn: str) -> tuple[Counter[Tick], Counter[Tick]]:
    """What came by the stream, and what was fetched afterwards."""
    live: Counter[Tick] = Counter()
    fetched: Counter[Tick] = Counter()
    for symbol, number in await rows(dsn, "SELECT symbol, sequence FROM tick_data"):
        live["quote", symbol, number] += 1
    for symbol, number, late in await rows(dsn, "SELECT symbol, trade_id::bigint, backfilled FROM public_trades"):
        (fetched if late else live)["trade", symbol, number] += 1
    return live, fetched
