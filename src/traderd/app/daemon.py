"""One run of the daemon: starts everything, stops everything.

Order of a start: journals and HTTP at once, then the servers of our own, then the sessions (what arrives is journalled
from the first tick on) beside the schema, the recovery of the portfolio, and only then trading: a start is a recovery.
Order of a stop: sessions, the last flush, the drains until the database has everything (or the time is up: then the
rest waits in the journal), the servers of our own.
"""

import asyncio
import contextlib
import gc
import os
import random
import signal
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from traderd.adapters.books import Books
from traderd.adapters.clock import SystemClock
from traderd.adapters.embedded import StateLock
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.http_api import Announcement, HttpApi, announce, withdraw
from traderd.adapters.intent_sync import IntentSync
from traderd.adapters.logs import configure_logs, logger
from traderd.adapters.memory import keep_giving_back
from traderd.adapters.metrics import Metrics, watch_loop_lag
from traderd.adapters.migrations import migrate
from traderd.adapters.paper_exchange import PaperExchange
from traderd.adapters.redis_feed import RedisFeed, feed_of
from traderd.adapters.rest import HttpRest
from traderd.adapters.systemd import Systemd
from traderd.adapters.telemetry import Telemetry
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore
from traderd.app.account import account
from traderd.app.bookkeeping import Bookkeeping
from traderd.app.ccxt_feeds import CcxtFeeds
from traderd.app.feeds import Feeds, Recordings
from traderd.app.healers import Healers
from traderd.app.journals import Journals
from traderd.app.listings import Listings
from traderd.app.readiness import Readiness
from traderd.app.report import Summary, show, status_of, summary_of
from traderd.app.servers import OwnServers
from traderd.app.tasks import end, first_mistake, until_there
from traderd.app.upkeep import Upkeep
from traderd.config import Config, redacted, state_path
from traderd.config.engine import engine_settings, paper_settings
from traderd.core.backoff import Backoff
from traderd.core.engine import Engine
from traderd.core.gaps import GapLedger
from traderd.runtime.clocks import watch_clock
from traderd.runtime.drain import Drain, DrainableJournal
from traderd.runtime.facts import FactRecords
from traderd.runtime.gateway import Gateway
from traderd.runtime.outbox import Outbox
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import RecordStore
from traderd.venues.ccxt_seats import CcxtSeat
from traderd.venues.roster import Seat, seats

_STOP_S_MAX = 15.0
"""How long a stop may take, but for killing servers that don't heed it: together under 20 s."""
_LAST_DRAIN_S_MAX = 10.0
"""How much of that is for the database to take the rest."""
_LAST_ORDERS_S_MAX = 2.0
"""How long approved orders may wait for the disk before they are left behind, pending."""
_READY_S_MAX = 10.0
"""After this READY is said even if something is still away: what arrives is journalled."""
_FACTS_GATHER_S = 0.25
"""Candles of many symbols come with every beat: fewer transactions, larger ones."""
_ORDER_TIMEOUT_S = 10.0

T = TypeVar("T")


def run(
    config: Config, config_path: Path, run_for_s: float | None, record_dir: Path | None, reset_breaker: bool
) -> int:
    """Run the daemon until a signal, or for `run_for_s` and a summary; returns the exit code."""
    configure_logs(config.log.level, config.log.format)
    state_dir = state_path(config, config_path)
    with StateLock(state_dir):
        daemon = Daemon(config, state_dir, record_dir, reset_breaker)
        try:
            uvloop.run(daemon.run(run_for_s))
        except BaseExceptionGroup as group:
            # Every task lives in one group: the first mistake ends all, and is what is told.
            raise first_mistake(group) from group
        if run_for_s is not None:
            show(daemon.summary())
    return 0


class Daemon:
    """Everything of one run."""

    def __init__(self, config: Config, state_dir: Path, record_dir: Path | None, reset_breaker: bool) -> None:
        self._config = config
        self._state_dir = state_dir
        self._record_dir = record_dir
        self._reset_breaker = reset_breaker
        self._clock = SystemClock()
        self._started_ns = self._clock.time_ns()
        self._run = f"{self._started_ns // 1_000_000:x}{uuid.uuid4().hex[:4]}"
        self._log = logger()
        self._metrics = Metrics()
        self._systemd = Systemd()
        self._rest = HttpRest()
        self._servers = OwnServers(config, state_dir)
        spoken = [venue for venue in config.venues if not venue.through_ccxt]
        self._seats = seats((venue.name, venue.symbols, venue.channels, venue.book_depth) for venue in spoken)
        self._ccxt = CcxtFeeds(config.venues, sum(len(seat.instruments) for seat in self._seats))
        self._stop_by_ns = 0
        self._closing = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._draining: list[asyncio.Task[None]] = []
        self._readiness = Readiness([seat.name for seat in self._seats] + [seat.name for seat in self._ccxt.seats])

    async def run(self, run_for_s: float | None) -> None:
        """From start to stop; a task that dies takes everything with it."""
        self._stopping = asyncio.Event()
        self._migrated = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stopping.set)
        async with self._closing, asyncio.TaskGroup() as group:
            self._closing.push_async_callback(self._stop_servers)
            await self._start(group)
            await self._until_stopped(run_for_s)
            await self._wind_down()

    def summary(self) -> Summary:
        """What the run came to."""
        return summary_of(
            account(self._pipeline, self._telemetry),
            self._engine,
            seconds=(self._clock.time_ns() - self._started_ns) / 1e9,
            recovered=self._telemetry.recovered_rows,
            gaps=self._gaps.count,
            database=self._servers.database,
            redis=redacted(self._servers.redis_url),
        )

    async def _start(self, group: asyncio.TaskGroup) -> None:
        """Everything that can be started without the database."""
        self._journals = Journals(self._state_dir, self._config.journal, self._run, self._log)
        self._telemetry = Telemetry(self._metrics, self._log, self._journals.ticks.position)
        await self._servers.start()
        if self._servers.exchange is not None:
            self._tasks.append(group.create_task(self._servers.exchange.wait(), name="simulated exchange"))
        self._build(group)
        await self._start_http()
        self._tasks += [
            group.create_task(self._journals.run(self._pipeline, self._telemetry, self._clock), name="sync"),
            group.create_task(self._bring_up_storage(group), name="storage"),
            group.create_task(watch_loop_lag(self._metrics, 0.1), name="loop lag"),
            group.create_task(keep_giving_back(), name="memory"),
        ]
        self._deciding = [
            group.create_task(self._beat(), name="beat"),
            group.create_task(self._feeds.report(), name="links"),
            *(group.create_task(self._feed_from(seat, group), name=f"venue {seat.name}") for seat in self._seats),
            *(group.create_task(self._hear(seat), name=f"venue {seat.name}") for seat in self._ccxt.seats),
        ]
        # What lives from here on lives long: young garbage is looked through rarely, old never.
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    async def _start_http(self) -> None:
        http = HttpApi(
            self._config.http.host,
            self._config.http.port,
            self._metrics,
            self._status,
            lambda: self._readiness.reasons,
            self._unwell,
        )
        await http.start()
        self._closing.push_async_callback(http.stop)
        self._http_url = http.url

    def _build(self, group: asyncio.TaskGroup) -> None:
        """Wire the path of a tick, and the way of an order."""
        config, timeout_s = self._config, self._config.store.statement_timeout_s
        self._instruments = [instrument for seat in self._seats for instrument in seat.instruments]
        self._instruments += self._ccxt.instruments
        self._engine = Engine(engine_settings(config, self._run), self._instruments)
        self._feed = feed_of(config, self._servers.redis_url, self._metrics, self._engine.board)
        self._gaps = GapLedger(self._run)
        self._exchange = exchange = PaperExchange(paper_settings(config), self._engine.board, self._clock)
        self._pipeline = Pipeline(
            self._engine,
            TickRows(self._instruments),
            self._journals.ticks,
            self._journals.facts,
            self._feed,
            exchange,
            self._telemetry,
            self._clock,
            self._gaps,
            config.store.flush_rows_max,
            self._wake,
        )
        exchange.report = self._pipeline.on_report
        gateway = Gateway(exchange, self._pipeline.on_report, self._clock, _ORDER_TIMEOUT_S, group.create_task)
        intents = IntentSync()
        self._closing.callback(intents.close)
        self._outbox = Outbox(
            self._journals.facts,
            intents.do,
            gateway.send,
            self._pipeline.stop_trading,
            self._telemetry.tick_to_order,
            self._clock,
        )
        self._pipeline.send = self._outbox.send
        self._pipeline.fault = self._telemetry.fault
        recordings = Recordings(self._record_dir, self._started_ns)
        self._closing.callback(recordings.close)
        venues = {venue.name: venue for venue in config.venues}
        self._feeds = Feeds(venues, self._pipeline, self._rest, self._clock, self._telemetry, recordings)
        self._facts = PostgresFactStore(self._servers.dsn, timeout_s, config.owner, config.instance)
        told = (self._engine, self._pipeline, self._facts, self._clock, self._telemetry, self._migrated)
        spawn = partial(self._beside, group, "instruments")
        self._listings = Listings(self._run, self._instruments, *told, spawn)
        self._feeds.described, self._feeds.delisted = self._listings.described, self._listings.delisted
        self._feeds.unlisted = self._listings.unlisted
        books = Books(self._servers.dsn, timeout_s, config.owner, config.instance)
        self._closing.push_async_callback(books.close)
        self._bookkeeping = Bookkeeping(config, self._run, books, self._clock, self._log)
        if isinstance(self._feed, RedisFeed):
            self._closing.push_async_callback(self._feed.close)
            self._tasks.append(group.create_task(self._feed.run(), name="redis feed"))
        ticks = CopyTickStore(self._servers.dsn, timeout_s, on_duplicates=self._telemetry.were_there)
        self._tick_drain = self._drain(self._journals.ticks, ticks)
        self._fact_drain = self._drain(self._journals.facts, FactRecords(self._facts), gather_s=_FACTS_GATHER_S)
        drains = (self._tick_drain, self._fact_drain)
        self._upkeep = Upkeep(self._servers.dsn, timeout_s, config.storage, drains, self._log)
        healers = Healers(
            self._servers.dsn, timeout_s, config.instance, config.engine.timeframes, config.engine.candle_grace_ms,
            self._pipeline, self._rest, self._clock, self._telemetry, drains, self._migrated,
            lambda work: self._deciding.append(group.create_task(work, name="healing")),
        )  # fmt: skip
        self._closing.push_async_callback(healers.close)
        self._feeds.heal, self._feeds.forsake = healers.admit, healers.dismiss
        self._ccxt.heal = healers.attend

    def _beside(self, group: asyncio.TaskGroup, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(group.create_task(work, name=name))

    def _drain(self, journal: DrainableJournal, store: RecordStore, **gather: float) -> Drain:
        size, backoff = self._config.store.transaction_bytes_max, Backoff(0.1, 2.0, 10.0)
        return Drain(journal, store, size, backoff, random.random, self._clock, self._telemetry, **gather)

    def _wake(self) -> None:
        self._tick_drain.wake()
        self._fact_drain.wake()

    async def _bring_up_storage(self, group: asyncio.TaskGroup) -> None:
        """Schema, drains, recovery; then trading may begin. Tried until the database is there."""
        report = await self._until_there(partial(migrate, self._servers.dsn))
        self._migrated.set()
        self._log.info("schema is up to date", backend=report.backend, applied=len(report.applied))
        await self._until_there(self._bookkeeping.open)
        await self._until_there(self._upkeep.open)
        self._closing.push_async_callback(self._upkeep.close)
        self._tasks.append(group.create_task(self._upkeep.run(), name="upkeep"))
        self._draining = [
            group.create_task(self._tick_drain.run(), name="tick drain"),
            group.create_task(self._fact_drain.run(), name="fact drain"),
        ]
        await self._fact_drain.wait_caught_up()
        state = await self._until_there(partial(self._facts.load_portfolio, self._config.paper.portfolio))
        now = self._clock.time_ns()
        self._pipeline.carry_out(self._engine.resume(now, state, state.breaker_tripped, state.trip))
        if self._reset_breaker:
            self._pipeline.carry_out(self._engine.reset_breaker())
        self._pipeline.inherit_gaps(await self._until_there(self._facts.load_open_gaps))
        self._readiness.recovered = True
        self._tasks.append(group.create_task(self._bookkeeping.run(), name="bookkeeping"))

    async def _until_there(self, attempt: Callable[[], Awaitable[T]]) -> T:
        return await until_there(attempt, self._telemetry.unavailable)

    async def _feed_from(self, seat: Seat, group: asyncio.TaskGroup) -> None:
        """Learn what the venue lists, then stay connected."""
        endpoint = self._servers.endpoint(seat)
        rest, correct = self._feeds.rest(seat), self._pipeline.set_clock_offset
        watching = watch_clock(seat.dialect, endpoint, rest, self._clock, correct, self._telemetry)
        self._tasks.append(group.create_task(watching, name=f"clock of {seat.name}"))
        await self._feeds.run(seat, endpoint, self._journals.ticks.newest)

    async def _hear(self, seat: CcxtSeat) -> None:
        """The same through ccxt."""
        newest, simulated = self._journals.ticks.newest, self._servers.simulated
        await self._ccxt.run(seat, simulated, newest, self._pipeline, self._clock, self._telemetry, self._listings)

    async def _beat(self) -> None:
        """Time passes. The watchdog is fed from here, after the pipeline has done its round."""
        interval_s = self._config.store.flush_age_ms_max / 1000
        while True:
            await asyncio.sleep(interval_s)
            self._gaps.beat(self._pipeline.beaten_ns, self._clock.time_ns())
            for sessions in self._feeds.venues.values():
                self._engine.show_books(sessions.books)
            self._engine.show_books(self._ccxt.books)
            for _ in self._pipeline.beat():
                await asyncio.sleep(0)
            for name, live in (self._feeds.live | self._ccxt.live).items():
                self._readiness.venue(name, live)
            self._readiness.database(max(self._tick_drain.stalled_s, self._fact_drain.stalled_s))
            self._readiness.journals(self._tick_drain.foreign or self._fact_drain.foreign)
            self._measure()
            self._systemd.watchdog()

    def _measure(self) -> None:
        journals = self._journals
        waiting = journals.facts.records_after(self._fact_drain.cursor)
        self._telemetry.measured(self._pipeline, journals.ticks.size, journals.facts.size, waiting)

    async def _until_stopped(self, run_for_s: float | None) -> None:
        """Say READY when it is true, then wait for the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(run_for_s):
                await self._until_ready()
                await self._stopping.wait()
        self._stop_by_ns = self._clock.monotonic_ns() + int(_STOP_S_MAX * 1e9)
        self._systemd.stopping()
        self._log.info("stopping")

    async def _until_ready(self) -> None:
        announce(
            self._state_dir,
            Announcement(
                pid=os.getpid(),
                http=self._http_url,
                started_ns=self._started_ns,
                database=self._servers.database,
                redis=redacted(self._servers.redis_url),
            ),
        )
        since = self._clock.monotonic_ns()
        while self._readiness.reasons and not self._stopping.is_set():
            if self._clock.monotonic_ns() - since > _READY_S_MAX * 1e9:
                break
            await asyncio.sleep(0.02)
        self._systemd.ready("; ".join(self._readiness.reasons) or "running")
        self._log.info("ready", http=self._http_url, waiting_for=self._readiness.reasons)

    async def _wind_down(self) -> None:
        """No more ticks, no more decisions, everything journalled, the database as far as it gets."""
        await end(self._deciding)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ORDERS_S_MAX):
                await self._outbox.empty()
                await asyncio.sleep(0)  # the gateway's tasks begin
        self._exchange.close()
        self._pipeline.flush()
        if self._draining:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_DRAIN_S_MAX):
                    await self._tick_drain.wait_caught_up()
                    await self._fact_drain.wait_caught_up()
                    await self._bookkeeping.keep()
        await end([*self._tasks, *self._draining])
        self._journals.close()
        await self._rest.close()
        withdraw(self._state_dir)

    async def _stop_servers(self) -> None:
        """In what is left of the time that a stop may take."""
        left_s = (self._stop_by_ns - self._clock.monotonic_ns()) / 1e9 if self._stop_by_ns else _STOP_S_MAX
        await self._servers.stop(max(1.0, left_s))

    def _status(self) -> dict[str, Any]:
        """For /status and `traderd status`."""
        return {
            "run": self._run,
            "instance": self._config.instance,
            "mode": self._config.mode,
            "started_ns": self._started_ns,
            "not_ready": self._readiness.reasons,
            "database": self._servers.database,
            "redis": redacted(self._servers.redis_url),
            "venues": {name: {"live": live} for name, live in (self._feeds.live | self._ccxt.live).items()},
            "through_ccxt": self._ccxt.ways,
            "journals": {"ticks": self._journals.ticks.size, "facts": self._journals.facts.size},
        } | status_of(account(self._pipeline, self._telemetry), self._engine, self._gaps.open_gaps(), self._instruments)

    def _unwell(self) -> list[str]:
        beaten_ns = self._pipeline.beaten_ns
        late_s = (self._clock.time_ns() - beaten_ns) / 1e9 if beaten_ns and not self._stop_by_ns else 0.0
        return [f"the pipeline has not moved for {late_s:.0f} s"] if late_s > 5 else []
