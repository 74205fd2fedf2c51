"""What Prometheus may ask: counters, gauges and histograms of one run, in a registry of their own.

Counted once a batch, never once a tick. Units are Prometheus' own: seconds and bytes, in the name. Labels come from
small sets (venues, channels, reasons that the code names, config.yaml's symbols): the number of series is bounded, and
free text is no label.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from traderd import __version__
from traderd.core.facts import Alert, Equity, Execution, Fact, Gap, Order, Signal

_LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_COPY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_TICK_TO_ORDER_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5)
_LOOP_LAG_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)
_ROWS: Final = (1, 10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_STREAM: Final = ("venue", "channel")


class Metrics:
    """Every figure of the daemon."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ticks()
        self._trading()
        self._links()
        build = self._gauge("build_info", "1; the labels say which program this is.", ("version",))
        build.labels(__version__).set(1)

    def _ticks(self) -> None:
        self.ticks_received = self._counter("ticks_received", "Quotes, trades and bad frames that arrived.", _STREAM)
        self.ticks_journalled = self._counter("ticks_journalled", "Rows appended to the local journal.", _STREAM)
        self.ticks_stored = self._counter("ticks_stored", "Rows committed to the database.", _STREAM)
        self.ticks_quarantined = self._counter("ticks_quarantined", "Rows kept aside with their reason.", _STREAM)
        self.ticks_lost = self._counter("ticks_lost", "Rows that could be kept nowhere.", _STREAM)
        self.pending_rows = self._gauge("pending_rows", "Rows in memory that no journal holds yet.", ("venue",))
        self.journal_backlog_rows = self._gauge(
            "journal_backlog_rows", "Rows in the journal that the database hasn't got yet.", ("journal",)
        )
        self.journal_losses = self._counter(
            "journal_losses", "Times that a journal lost records which it had taken.", ("journal",)
        )
        self.journal_backlog_bytes = self._gauge(
            "journal_backlog_bytes", "Bytes of the journal on the disk.", ("journal",)
        )
        self.feed_latency = self._histogram(
            "feed_latency_seconds", "From the venue's time to ours, its clock corrected.", _LATENCY_S, ("venue",)
        )
        self.batch_rows = self._histogram("batch_rows", "Rows in one database transaction.", _ROWS)
        self.copy_seconds = self._histogram("copy_seconds", "Duration of one database transaction.", _COPY_S)
        self.loop_lag = self._histogram("event_loop_lag_seconds", "How late the event loop wakes up.", _LOOP_LAG_S)
        self.tasks = self._gauge("tasks", "Tasks of the event loop that haven't ended.")

    def _trading(self) -> None:
        self.candles = self._counter("candles", "Closed bars.", ("timeframe",))
        self.late_trades = self._counter(
            "late_trades", "Trades that came after the grace of their bar.", ("timeframe",)
        )
        self.candles_compared = self._counter(
            "candles_compared",
            "Venues' candles held against ours: agreed, differing, incomparable.",
            ("venue", "symbol", "verdict"),
        )
        self.signals = self._counter("signals", "Opinions of strategies.", ("strategy", "signal_type"))
        self.orders = self._counter("orders", "Order states reached.", ("status",))
        self.fills = self._counter("fills", "Executions reported by the exchange.", ("venue", "side"))
        self.alerts = self._counter("alerts", "Alerts raised.", ("alert_type", "severity"))
        self.tick_to_order_seconds = self._histogram(
            "tick_to_order_seconds", "From the tick's arrival to its order leaving.", _TICK_TO_ORDER_S
        )
        self.equity = self._gauge("equity", "Cash and positions at market, in the base currency.", ("portfolio",))
        self.drawdown_ratio = self._gauge(
            "drawdown_ratio", "Distance of equity below its peak, 0 to 1.", ("portfolio",)
        )

    def _links(self) -> None:
        self.connection_up = self._gauge("connection_up", "1 while the venue's websocket is open.", ("venue",))
        self.slower_path = self._gauge("slower_path", "1 for a venue that is heard through ccxt.", ("venue",))
        self.reconnects = self._counter("reconnects", "Websockets that ended.", ("venue",))
        self.connections = self._gauge("connections", "Websockets, wanted and up.", ("venue", "state"))
        self.streams = self._gauge(
            "streams", "One channel of one symbol each: wanted, acknowledged, seen, parked.", ("venue", "state")
        )
        self.link_ends = self._counter("link_ends", "Websockets that ended, by why.", ("venue", "reason"))
        self.streams_remade = self._counter("streams_remade", "Silent streams asked for again.", ("venue", "channel"))
        self.links_renewed = self._gauge("links_renewed", "Links exchanged before they were too old.", ("venue",))
        self.gaps = self._counter("gaps", "Holes in the data that opened.", ("venue", "reason"))
        self.flagged_ticks = self._counter(
            "flagged_ticks", "Ticks that the quality gate doubts.", ("venue", "channel", "reason")
        )
        self.clock_offset = self._gauge(
            "venue_clock_offset_seconds", "How far the venue's clock is ahead of ours.", ("exchange",)
        )
        self.clock_uncertainty = self._gauge(
            "venue_clock_uncertainty_seconds", "By how much that may be wrong.", ("exchange",)
        )
        self.bad_frames = self._counter("bad_frames", "Frames that aren't the venue's protocol.", ("venue", "reason"))
        self.book_resyncs = self._counter("book_resyncs", "Books made whole again.", ("venue", "reason"))
        self.database_up = self._gauge("database_up", "1 while the database takes rows.")
        self.redis_up = self._gauge("redis_up", "1 while Redis takes messages.")
        self.redis_published = self._counter("redis_published", "Messages handed to Redis.")
        self.redis_drops = self._counter("redis_drops", "Messages that Redis could not be given.")
        self.redis_refused = self._counter("redis_refused", "Commands that Redis answered by an error.", ("reason",))

    def gathered(self, exchange: str, channel: str, received: int, journalled: int, quarantined: int) -> None:
        """One batch was encoded and journalled (runtime.pipeline.Observer)."""
        self.ticks_received.labels(exchange, channel).inc(received)
        if journalled:
            self.ticks_journalled.labels(exchange, channel).inc(journalled)
        if quarantined:
            self.ticks_quarantined.labels(exchange, channel).inc(quarantined)

    def lost(self, exchange: str, channel: str, rows: int) -> None:
        """One batch could not be journalled; nobody else counts it as received."""
        self.ticks_received.labels(exchange, channel).inc(rows)
        self.ticks_lost.labels(exchange, channel).inc(rows)

    def lost_later(self, exchange: str, channel: str, rows: int) -> None:
        """Rows that were journalled are gone from the journal, before the database had them."""
        self.ticks_lost.labels(exchange, channel).inc(rows)

    def stored(self, rows_by_stream: Mapping[tuple[str, str], int], seconds: float) -> None:
        """One transaction was committed; rows by (exchange, channel)."""
        for (exchange, channel), rows in rows_by_stream.items():
            self.ticks_stored.labels(exchange, channel).inc(rows)
        self.batch_rows.observe(sum(rows_by_stream.values()))
        self.copy_seconds.observe(seconds)

    def latency(self, exchange: str, seconds: float) -> None:
        """Venue time to receive time; a venue clock that runs ahead of ours counts as none."""
        self.feed_latency.labels(exchange).observe(max(seconds, 0.0))

    def tick_to_order(self, seconds: float) -> None:
        """From the tick's arrival to its order leaving."""
        self.tick_to_order_seconds.observe(seconds)

    def backlog(self, journal: str, rows: int, size_bytes: int) -> None:
        """What waits in a journal now: `ticks` or `facts`."""
        self.journal_backlog_rows.labels(journal).set(rows)
        self.journal_backlog_bytes.labels(journal).set(size_bytes)

    def connected(self, exchange: str) -> None:
        """A venue's websocket is open."""
        self.connection_up.labels(exchange).set(1)

    def disconnected(self, exchange: str) -> None:
        """It has ended."""
        self.connection_up.labels(exchange).set(0)
        self.reconnects.labels(exchange).inc()

    def fact(self, fact: Fact) -> None:
        """A fact was recorded (runtime.pipeline.Observer). Candles are too many for that, and counted elsewhere."""
        match fact:
            case Signal():
                self.signals.labels(fact.strategy, fact.signal_type).inc()
            case Order():
                self.orders.labels(fact.status).inc()
            case Execution():
                self.fills.labels(fact.exchange, fact.side).inc()
            case Alert():
                self.alerts.labels(fact.alert_type, fact.severity).inc()
            case Equity():
                self.equity.labels(fact.portfolio).set(float(fact.equity))
                peak = fact.peak_equity
                self.drawdown_ratio.labels(fact.portfolio).set(float(fact.drawdown / peak) if peak > 0 else 0.0)
            case Gap() if not fact.to_ns:
                self.gaps.labels(fact.exchange, fact.reason).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format: CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _counter(self, name: str, says: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, says, labels, namespace="traderd", registry=self.registry)

    def _gauge(self, name: str, says: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, says, labels, namespace="traderd", registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
        return Histogram(name, says, labels, namespace="traderd", registry=self.registry, buckets=buckets)


async def watch_loop_lag(metrics: Metrics, interval_s: float) -> None:
    """Until cancelled: sleep for the interval and observe how much longer it took. Tasks are counted when asked for."""
    loop = asyncio.get_running_loop()
    metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
    while True:
        due = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        metrics.loop_lag.observe(max(loop.time() - due, 0.0))
