"""What the conductors tell, into metrics and log lines: one place where an event of the daemon gets its name.

A flood of the same trouble is one line with a count. Nothing here is called for every tick.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs
from prometheus_client import Counter as Metric
from structlog.typing import FilteringBoundLogger

from traderd.adapters.logs import RateLimited
from traderd.adapters.metrics import Metrics
from traderd.core.facts import Alert, Candle, Execution, Fact, Gap, Order, Signal
from traderd.core.subscriptions import Census
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import JournalRecord, Loss

_SHOWN_BYTES = 200


class Telemetry:
    """Observer of pipeline, drains, sessions and listings."""

    def __init__(self, metrics: Metrics, log: FilteringBoundLogger, start_position: int) -> None:
        """`start_position`: of the tick journal when this run began; what lies before it is an earlier run's."""
        self._metrics = metrics
        self._log = log.bind()  # the logger itself: one that is told its settings first would ask for them at each line
        self._limited = RateLimited(log, lines_max=3, interval_s=10.0)
        self._start_position = start_position
        self._database_up: bool | None = None
        self._candles: Counter[tuple[str]] = Counter()  # by timeframe
        self._grown: dict[tuple[Metric, tuple[str, ...]], int] = {}
        self.stored_rows: Counter[tuple[str, str, str]] = Counter()
        """Rows of this run that the database has, by table, exchange and channel."""
        self.recovered_rows = 0
        """Rows of earlier runs that this run brought to the database."""
        self.duplicate_rows = 0
        """Of the rows that the database has: told once more, by a venue or by healing, and so not stored again."""
        self._candles_compared = 0
        self.refused_rows = 0
        self.disconnects = 0

    def gathered(self, exchange: str, channel: str, received: int, journalled: int, quarantined: int) -> None:
        """A batch was journalled."""
        self._metrics.gathered(exchange, channel, received, journalled, quarantined)

    def lost(self, exchange: str, channel: str, rows: int, reason: str) -> None:
        """A batch could not be journalled."""
        self._metrics.lost(exchange, channel, rows)
        self._limited.error("ticks lost", "lost", venue=exchange, channel=channel, rows=rows, reason=reason)

    def lost_from_journal(self, journal: str, loss: Loss) -> None:
        """A journal has lost what it had taken. Whether an earlier run's rows were counted nobody here knows."""
        _, _, stream = loss.label.partition(":")
        exchange, _, channel = stream.partition(":")
        self._metrics.journal_losses.labels(journal).inc()
        if loss.own and exchange:
            self._metrics.lost_later(exchange, channel, loss.rows)
        self._limited.error(
            "records lost", journal, journal=journal, label=loss.label, rows=loss.rows, reason=loss.reason
        )

    def latency(self, exchange: str, seconds: float) -> None:
        """Venue time to receive time."""
        self._metrics.latency(exchange, seconds)

    def tick_to_order(self, seconds: float) -> None:
        """A tick became an order that left."""
        self._metrics.tick_to_order(seconds)

    def fact(self, fact: Fact) -> None:
        """A fact was recorded: the ones that an operator wants to see are log lines too."""
        if type(fact) is Candle:  # hundreds a second
            self._candles[(fact.timeframe,)] += 1
            return
        self._metrics.fact(fact)
        match fact:
            case Signal():
                self._log.info("signal", strategy=fact.strategy, symbol=fact.symbol, type=fact.signal_type)
            case Order() if fact.status != "pending":
                self._log.info(
                    "order",
                    order=fact.client_order_id,
                    symbol=fact.symbol,
                    side=fact.side,
                    status=fact.status,
                    reason=fact.reason,
                )
            case Execution():
                self._log.info(
                    "fill",
                    order=fact.client_order_id,
                    symbol=fact.symbol,
                    side=fact.side,
                    quantity=str(fact.quantity),
                    price=str(fact.price),
                )
            case Alert():
                self._log.warning("alert", type=fact.alert_type, severity=fact.severity, message=fact.message)
            case Gap():
                self._gap(fact)

    def _gap(self, gap: Gap) -> None:
        """A lost link is a gap in each of its streams, maybe thousands: all are in the ledger, a few are told."""
        event = f"gap {'opened' if gap.status == 'open' else gap.status}"
        told = {"symbol": gap.symbol, "channel": gap.channel, "reason": gap.reason, "why_not": gap.why_not}
        self._warn(event, gap.exchange, **told, **({"candles": gap.candles} if gap.candles else {}))

    def _warn(self, event: str, exchange: str, **told: Any) -> None:
        """A few lines for each venue and kind of event, so that no kind hides another."""
        self._limited.warning(event, f"{event}:{exchange}", venue=exchange, **told)

    def fault(self, reason: str) -> None:
        """Something can't be recorded."""
        self._limited.error("journal fault", "journal", reason=reason)

    def stored(self, records: Sequence[JournalRecord], seconds: float, refused: int) -> None:
        """A transaction was committed. Facts are not counted as ticks."""
        rows: Counter[tuple[str, str]] = Counter()
        for record in records:
            table, _, stream = record.label.partition(":")
            if not stream:
                continue
            exchange, _, channel = stream.partition(":")
            rows[exchange, channel] += record.rows
            if record.position > self._start_position:
                self.stored_rows[table, exchange, channel] += record.rows
            else:
                self.recovered_rows += record.rows
        if rows:
            self._metrics.stored(rows, seconds)
            self.refused_rows += refused if records[-1].position > self._start_position else 0
        if refused:
            self._limited.error("rows refused by the database", "refused", rows=refused)

    def were_there(self, rows: int) -> None:
        """The database had so many rows already."""
        self.duplicate_rows += rows

    def unavailable(self, reason: str) -> None:
        """The database takes nothing now; what arrives is journalled."""
        self._metrics.database_up.set(0)
        self._database_up = False
        self._limited.warning("database is away, journalling", "database", reason=reason)

    def estranged(self, reason: str) -> None:
        """The database answers, and isn't this journal's."""
        self._metrics.database_up.set(0)
        self._database_up = False
        self._limited.error("journal and database don't belong together", "database", reason=reason)

    def available(self) -> None:
        """The database answers."""
        self._metrics.database_up.set(1)
        if self._database_up is False:
            self._log.info("database is back")
        self._database_up = True

    def connected(self, exchange: str) -> None:
        """A venue's link is up."""
        self._metrics.connected(exchange)
        self._log.info("connected", venue=exchange)

    def slower_path(self, exchange: str) -> None:
        """A venue is heard through ccxt."""
        self._metrics.slower_path.labels(exchange).set(1)
        self._log.info("heard through ccxt, the slower path", venue=exchange)

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None:
        """A venue's link is gone, or could not be made."""
        self.disconnects += 1
        self._metrics.disconnected(exchange)
        self._metrics.link_ends.labels(exchange, _kind_of(reason)).inc()
        self._warn("disconnected", exchange, reason=reason, retry_s=round(delay_s, 2))

    def bad_frame(self, exchange: str, reason: str, frame: bytes) -> None:
        """A frame isn't the venue's protocol; it goes to quarantine."""
        self._metrics.bad_frames.labels(exchange, reason).inc()
        shown = frame[:_SHOWN_BYTES].decode(errors="replace")
        self._limited.warning("bad frame", f"{exchange} {reason}", venue=exchange, reason=reason, frame=shown)

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None:
        """The venue refused a subscription, a symbol or a snapshot."""
        self._warn("refused", exchange, channel=channel, symbol=symbol, reason=reason)

    def remade(self, exchange: str, channel: str, symbol: str, reason: str) -> None:
        """A silent stream was asked for again."""
        self._metrics.streams_remade.labels(exchange, channel).inc()
        self._warn("stream remade", exchange, channel=channel, symbol=symbol, reason=reason)

    def links(self, venue: str, up: int, wanted: int, census: Census, renewals: int) -> None:
        """How a seat's links and streams are now."""
        for state, links in (("wanted", wanted), ("up", up)):
            self._metrics.connections.labels(venue, state).set(links)
        for state, streams in structs.asdict(census).items():
            self._metrics.streams.labels(venue, state).set(streams)
        self._metrics.links_renewed.labels(venue).set(renewals)

    def healing_delayed(self, exchange: str, reason: str, delay_s: float) -> None:
        """What is missing can't be fetched now."""
        self._warn("healing delayed", exchange, reason=reason, retry_s=round(delay_s, 1))

    def resync(self, exchange: str, symbol: str, verdict: str) -> None:
        """A book broke and is made whole again."""
        self._metrics.book_resyncs.labels(exchange, verdict).inc()
        self._warn("book resync", exchange, symbol=symbol, reason=verdict)

    def clock_offset(self, exchange: str, seconds: float, uncertainty_s: float) -> None:
        """How far the venue's clock is ahead of ours."""
        self._metrics.clock_offset.labels(exchange).set(seconds)
        self._metrics.clock_uncertainty.labels(exchange).set(uncertainty_s)

    def clock_silent(self, exchange: str, reason: str) -> None:
        """The venue doesn't say what time it is."""
        self._warn("the venue's clock can't be read", exchange, reason=reason)

    def measured(self, pipeline: Pipeline, ticks_bytes: int, facts_bytes: int, facts_rows: int) -> None:
        """The gauges, once a beat."""
        journalled = 0
        for stream in pipeline.streams:
            self._metrics.pending_rows.labels(stream.exchange).set(stream.pending)
            journalled += sum(counts.journalled + counts.quarantined for counts in stream.counts.values())
        self._metrics.backlog("ticks", max(0, journalled - self.stored_rows.total()), ticks_bytes)
        self._metrics.backlog("facts", facts_rows, facts_bytes)
        engine = pipeline.engine
        self._grow(self._metrics.candles, self._candles)
        self._grow(self._metrics.flagged_ticks, engine.counts.flagged)
        late = {(timeframe,): count for timeframe, count in engine.late.by_timeframe.items()}
        self._grow(self._metrics.late_trades, late)
        if engine.candle_check.compared > self._candles_compared:
            self._candles_compared = engine.candle_check.compared
            self._grow(self._metrics.candles_compared, engine.candle_check.by_verdict())
        self._limited.flush()

    def _grow(self, metric: Metric, counts: Mapping[Any, int]) -> None:
        """Bring a counter's series up to what was counted elsewhere."""
        for labels, count in counts.items():
            seen = self._grown.get((metric, labels), 0)
            if count > seen:
                metric.labels(*labels).inc(count - seen)
                self._grown[metric, labels] = count


_KINDS = {
    **{"no data": "stalled", "silent": "silent", "renewal": "renewal"},
    **{"closed by": "closed", "connection lost": "lost"},
}


def _kind_of(reason: str) -> str:
    """A label from a small set; what could not even be opened is `refused`."""
    return next((kind for words, kind in _KINDS.items() if reason.startswith(words)), "refused")
