"""`traderd replay`: recorded frames through the same dialects, engine and store, and an exact report of them.

A file is read twice. First, with all the others, for the report: when one of them can't be read, nothing is stored. A
file that is torn off in the middle, as a killed writer leaves it, is read as far as it goes. Then, unless `--no-store`,
it goes through the pipeline, its journals in a throw-away folder; rows that the database has already are left
out, so that the same file stores nothing twice. Time is the recording's: the decisions are those of that day, and
its portfolio bears the file's own name.
"""

import asyncio
import hashlib
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson
import uvloop
from msgspec import Struct, structs
from rich.console import Console
from rich.progress import Progress

from traderd.adapters.capture import Capture, CaptureError
from traderd.adapters.clock import SystemClock
from traderd.adapters.embedded import EmbeddedPostgres, StateLock
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.journal import FileJournal
from traderd.adapters.logs import configure_logs, logger
from traderd.adapters.metrics import Metrics
from traderd.adapters.migrations import migrate
from traderd.adapters.paper_exchange import PaperExchange
from traderd.adapters.redis_feed import NoFeed
from traderd.adapters.server_process import EmbeddedServerError
from traderd.adapters.telemetry import Telemetry
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore
from traderd.config import Config, resolved, state_path
from traderd.config.engine import engine_settings, paper_settings
from traderd.config.storage import Tables, hours
from traderd.core.backoff import Backoff
from traderd.core.book import Book
from traderd.core.engine import Engine
from traderd.core.errors import BadFrameError
from traderd.core.gaps import GapLedger
from traderd.core.market import Instrument, MarketEvent, Quote, Trade, VenueEvent
from traderd.core.orders import Approved
from traderd.core.tally import Tally
from traderd.runtime.drain import Drain
from traderd.runtime.facts import FactRecords
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import PortfolioState
from traderd.venues.playback import Playback, Recorded, UnspokenError

_BEAT_NS = 100_000_000
_UNSPOKEN = "unspoken"
_BEGINNING = 1_000
"""So many records are looked at for what their market is."""
_BACKLOG_BYTES_MAX = 32 * 1024 * 1024
_WRITTEN = ("tick_data", "public_trades", "technical_indicators", "ohlcv")
"""What most of the rows go to."""


def replay(
    files: list[Path], config: Config, config_path: Path, store: bool, speed: float | None, as_json: bool
) -> int:
    """Replay every file in turn; the report goes to stdout, everything else to stderr."""
    configure_logs(config.log.level, config.log.format, stream=sys.stderr)
    surveys = {file: _survey(file) for file in files}
    for file, survey in surveys.items():
        kept = uvloop.run(_store(file, survey, config, config_path, speed)) if store else None
        if not as_json:
            _print(file, survey, kept)
    if as_json:
        reports = {str(file): survey.report() for file, survey in surveys.items()}
        sys.stdout.write(orjson.dumps(reports, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0


def _outlived(at_ns: int, tables: Tables) -> str:
    """Which tables keep nothing of that time, and what they keep."""
    age_h = (SystemClock().time_ns() - at_ns) / 3.6e12
    terms = {name: getattr(tables, name).keep for name in _WRITTEN}
    return ", ".join(f"{name} {keep}" for name, keep in terms.items() if keep != "forever" and hours(keep) < age_h)


class Survey(Struct):
    """What a file holds."""

    tally: Tally
    frames: int
    snapshots: int
    """Book snapshots by REST."""
    bad_frames: dict[str, int]
    instruments: list[Instrument]
    first_ns: int
    digest: str
    torn: bool = False

    def report(self) -> dict[str, Any]:
        """The tally's, and how much of the file was read."""
        read = {"frames": self.frames, "records": self.frames + self.snapshots}
        return {**self.tally.report(), **read, "not_read": self.bad_frames, "torn": self.torn}


class Kept(Struct):
    """What became of it in the database."""

    stored: int
    already_there: int
    signals: int
    orders: int
    fills: int


class RecordedClock:
    """The recording's time."""

    def __init__(self) -> None:
        self.now_ns = 0

    def time_ns(self) -> int:
        """The newest record's receive time."""
        return self.now_ns

    def monotonic_ns(self) -> int:
        """The same: it never runs back here."""
        return self.now_ns


def _survey(file: Path) -> Survey:
    """Decode everything once, for the report and the instruments."""
    survey = Survey(Tally(), 0, 0, {}, [], 0, "")
    instruments: dict[tuple[str, str], Instrument] = {}
    with Capture(file) as capture, Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(file.name, total=None)
        for record, events in _decoded(capture, survey.bad_frames):
            survey.frames += record.kind == "frame"
            survey.snapshots += record.kind == "http" and len(events)
            survey.first_ns = survey.first_ns or record.received_ns
            if record.kind == "connect":
                survey.tally.connect(record.connection)
            survey.tally.add_frame(record.connection, events)
            for event in events:
                if isinstance(event, MarketEvent):
                    each = event.instrument
                    instruments.setdefault((each.market, each.venue_symbol), each)
            if survey.frames % 1_000 == 0:
                progress.update(task, completed=survey.frames)
    survey.torn = capture.torn
    if capture.torn:
        logger("replay").warning("the capture is torn off: what is whole was read", file=str(file))
    # Numbered anew: a symbol that only an answer or a bad frame named has no place in rows and engine.
    survey.instruments = [structs.replace(each, index=at) for at, each in enumerate(instruments.values())]
    with file.open("rb") as opened:
        survey.digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return survey


def _decoded(
    capture: Capture, bad: dict[str, int], instruments: list[Instrument] | None = None
) -> Iterator[tuple[Recorded, list[VenueEvent]]]:
    """Every record with its events, of these instruments or of whatever comes; bad frames are counted by reason.

    A connection of a market that isn't spoken is passed over, and refused only where the recording has no other.
    """
    header = capture.header
    records = iter(capture)
    beginning = list(islice(records, _BEGINNING))
    try:
        playback = Playback(header.venue, header.market, instruments, beginning)
    except UnspokenError as error:
        raise CaptureError(f"{capture.path}:1: {error}") from None
    unspoken, heard = "", False
    for record in chain(beginning, records):
        events: list[VenueEvent] = []
        try:
            events = list(playback.events(record))
            heard = heard or record.kind == "frame"
        except BadFrameError as error:
            bad[error.reason] = bad.get(error.reason, 0) + 1
            heard = heard or error.reason != _UNSPOKEN
        except UnspokenError as error:
            unspoken = unspoken or str(error)
        yield record, events
    if unspoken and not heard:
        raise CaptureError(f"{capture.path}: {unspoken}")


async def _store(file: Path, survey: Survey, config: Config, config_path: Path, speed: float | None) -> Kept:
    """The file through pipeline and store."""
    state_dir = state_path(config, config_path)
    async with AsyncExitStack() as stack:
        dsn = resolved(config.database) if config.database != "embedded" else await _embedded(stack, state_dir)
        await migrate(dsn)
        if terms := _outlived(survey.first_ns, config.storage.tables):
            logger("replay").warning(
                "the recording is older than its rows are kept: they go at the database's next clean-up",
                file=str(file),
                terms=terms,
                setting="storage.tables.*.keep",
            )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="traderd-replay-")))
        run = _Run(config, dsn, folder, survey)
        try:
            await run.play(file, speed)
        finally:
            await run.close()
        return run.kept()


async def _embedded(stack: AsyncExitStack, state_dir: Path) -> str:
    """The embedded database; a daemon that runs it already keeps it."""
    postgres = EmbeddedPostgres(state_dir)
    try:
        stack.enter_context(StateLock(state_dir))
        stack.push_async_callback(postgres.stop)
    except EmbeddedServerError:
        logger("replay").info("the daemon of this state folder is running: its database is used")
    return await postgres.start()


class _Run:
    """One file's way through engine, journals and drains."""

    def __init__(self, config: Config, dsn: str, folder: Path, survey: Survey) -> None:
        name = survey.digest[:12]
        self._clock = RecordedClock()
        self._survey = survey
        self._ticks = FileJournal(folder / "ticks", 64 * 1024 * 1024, 2**40)
        self._facts = FileJournal(folder / "facts", 64 * 1024 * 1024, 2**40)
        self._tick_store = CopyTickStore(dsn, config.store.statement_timeout_s, careful=True)
        self._fact_store = PostgresFactStore(dsn, config.store.statement_timeout_s, config.owner)
        telemetry = Telemetry(Metrics(), logger("replay"), 0)
        settings = structs.replace(engine_settings(config, f"r{name}"), portfolio=f"replay-{name}")
        self._engine = Engine(settings, survey.instruments)
        exchange = PaperExchange(paper_settings(config), self._engine.board, self._clock)
        self._pipeline = Pipeline(
            self._engine,
            TickRows(survey.instruments),
            self._ticks,
            self._facts,
            NoFeed(),
            exchange,
            telemetry,
            self._clock,
            GapLedger(f"r{name}"),
            config.store.flush_rows_max,
            self._wake,
        )
        exchange.report = self._pipeline.on_report
        self._orders: list[Approved] = []
        self._pipeline.send = self._orders.append
        self._exchange = exchange
        backoff, size = Backoff(0.1, 2.0, 10.0), config.store.transaction_bytes_max
        real = SystemClock()
        self._drains = [
            Drain(self._ticks, self._tick_store, size, backoff, random.random, real, telemetry),
            Drain(self._facts, FactRecords(self._fact_store), size, backoff, random.random, real, telemetry),
        ]

    async def play(self, file: Path, speed: float | None) -> None:
        """Every record in the file's order, then wait until the database has everything."""
        await self._fact_store.save_instruments(self._survey.instruments)
        running = [asyncio.create_task(drain.run()) for drain in self._drains]
        first_ns = self._clock.now_ns = self._survey.first_ns
        empty = PortfolioState([], "", "", "", "", [])
        self._pipeline.carry_out(self._engine.resume(first_ns, empty))
        started, stream = asyncio.get_running_loop().time(), None
        next_beat_ns = first_ns
        with Capture(file) as capture:
            stream = self._pipeline.stream(capture.header.venue, [])
            for record, events in _decoded(capture, {}, self._survey.instruments):
                if speed:
                    due = started + (record.received_ns - first_ns) / 1e9 / speed
                    await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                self._clock.now_ns = max(self._clock.now_ns, record.received_ns)
                stream.on_events([event for event in events if isinstance(event, Quote | Trade)])
                if self._orders or record.received_ns >= next_beat_ns:
                    next_beat_ns = self._clock.now_ns + _BEAT_NS
                    await self._turn()
        await self._turn()
        self._pipeline.flush()
        for drain in self._drains:
            await drain.wait_caught_up()
        for task in running:
            task.cancel()

    async def _turn(self) -> None:
        """Send what was approved, let time pass, and wait for a database that lags far behind."""
        while self._orders:
            self._exchange.send(self._orders.pop(0))
        self._pipeline.on_beat()
        if self._ticks.size > _BACKLOG_BYTES_MAX:
            await self._drains[0].wait_caught_up()
        await asyncio.sleep(0)

    async def close(self) -> None:
        """The throw-away journals leave no trace in the database."""
        await self._tick_store.forget(self._ticks.journal_id)
        await self._tick_store.forget(self._facts.journal_id)
        await self._tick_store.close()
        await self._fact_store.close()

    def kept(self) -> Kept:
        """What the database was given."""
        counts = self._engine.counts
        rows = sum(channel.journalled for stream in self._pipeline.streams for channel in stream.counts.values())
        there = self._tick_store.duplicates
        return Kept(rows - there, there, counts.signals, counts.orders, counts.fills)

    def _wake(self) -> None:
        for drain in self._drains:
            drain.wake()


def _print(file: Path, survey: Survey, kept: Kept | None) -> None:
    """The report for people: a few lines for each symbol, however narrow the terminal is."""
    report, books = survey.tally.report(), survey.tally.books
    bad = ", ".join(f"{count:,} {reason}" for reason, count in sorted(survey.bad_frames.items()))
    lines = [f"{file.name}: {survey.frames:,} frames; not read: {bad or 'none'}"]
    for symbol in sorted({*report["books"], *report["trades"], *report["bookTicker"]}):
        lines.append(symbol)
        lines += [f"  {line}" for line in _lines(report, symbol, books.get(symbol))]
    for name, counts in report.get("connections", {}).items():
        lines.append(f"{name}: " + ", ".join(f"{key} {count:,}" for key, count in counts.items()))
    if kept is not None:
        lines.append(
            f"stored {kept.stored:,} rows, {kept.already_there:,} were there already;"
            f" {kept.signals} signals, {kept.orders} paper orders, {kept.fills} fills"
        )
    print("\n".join(lines))


def _lines(report: dict[str, Any], symbol: str, book: Book | None) -> Iterator[str]:
    """Quotes, trades and book of one symbol, as far as it has them."""
    if quotes := report["bookTicker"].get(symbol):
        bid, _, ask, _ = report["last_bookTicker"][symbol]
        yield f"quotes  {quotes:,}, the last {bid} / {ask}"
    if trades := report["trades"].get(symbol):
        ids = f", {trades['id_gaps']} breaks of the ids" if trades["id_gaps"] else ""
        yield f"trades  {trades['trades']:,}, quantity {trades['qty']}, notional {trades['notional']}{ids}"
        yield "        " + ", ".join(f"{key} {trades[key]}" for key in ("first", "high", "low", "last"))
    if book is None:
        return
    told = report["books"][symbol]
    if not told["snapshots"]:
        yield f"book    no snapshot of it, so there is nothing to apply its changes to; {told['seq_gaps']} gaps in them"
        return
    sums = f", {told['checksums_bad']} of {book.checksums_ok + book.checksums_bad} checksums bad" if book.summed else ""
    yield f"book    {told['book_msgs']:,} messages, {told['snapshots']} snapshots, {told['seq_gaps']} gaps{sums}"
    if book.usable:
        best = f"{(told['best_bid'] or '-')[0]} / {(told['best_ask'] or '-')[0]}"
        yield f"        {told['final_bid_levels']:,} bids and {told['final_ask_levels']:,} asks, {best}"
    else:
        yield "        broken at the end"
