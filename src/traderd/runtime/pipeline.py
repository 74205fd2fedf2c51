"""The path of a tick: event → engine, feed, journal; and of what the engine decides: facts → journal → exchange.

The fan-out is a few visible calls in a fixed order. Everything here is synchronous: a tick waits for nothing. Ticks
gather in memory for at most `flush_age_ms_max`, then go to the journal as one record; the drains (`runtime.drain`)
bring the journals to the database. An order's intent is on the disk before the order leaves.

Always true: received = pending + journalled + stored + quarantined + lost, of every venue and channel.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from traderd.core.derivatives import DerivativeBoard
from traderd.core.engine import Engine
from traderd.core.errors import JournalError
from traderd.core.facts import Alert, Candle, Derivative, Equity, Fact, Gap, Indicator, encode_facts
from traderd.core.gaps import GapLedger
from traderd.core.market import Beat, DerivativeEvent, Quote, Trade, VenueCandle, VenueEvent
from traderd.core.orders import Approved, Report
from traderd.runtime.ports import Batch, Clock, Feed, Journal, Loss, Matching, Observer, Reject, RowEncoder

_FRAME_BYTES_KEPT = 4_000
_BAD_BYTES_KEPT = 256 * 1024
"""Of the bad frames of one flush: a venue gone mad must not fill the disk."""
_FACTS_WAITING_MAX = 10_000
"""Facts kept in memory for a journal that takes none: beyond it what is only measured is dropped: candles, equity, …"""


class Counts(Struct):
    """Rows of one venue's channel since the start."""

    received: int = 0
    journalled: int = 0
    """Appended to the journal, stored or not yet."""
    quarantined: int = 0
    lost: int = 0


class Stream:
    """One venue's end of the pipeline: its session hands over what arrives."""

    def __init__(self, pipeline: "Pipeline", exchange: str, symbols: Sequence[str]) -> None:
        self.exchange = exchange
        self.symbols = symbols
        self.counts = {"quote": Counts(), "trade": Counts(), "": Counts(), "backfill": Counts()}
        self.quotes: list[Quote] = []
        self.lasts: list[str] = []
        """The text of the last trade that was known with each quote."""
        self.trades: list[Trade] = []
        self.bad: list[Reject] = []
        self.bad_bytes = 0
        self.flushing: Iterable[None] = ()
        """What is left to do of a flush that has begun."""
        self.in_hand = 0
        """Rows that are being encoded."""
        self.newest_ns = 0
        self.clock_ahead_ns = 0
        """How far the venue's clock is known to be ahead of ours."""
        self._pipeline = pipeline

    def on_events(self, events: Sequence[VenueEvent]) -> None:
        """Some frames' events, in the venue's order. The hot path."""
        pipeline, quotes, lasts = self._pipeline, self.quotes, self.lasts  # a flush takes them from us, never meanwhile
        engine, matching = pipeline.engine, pipeline.matching
        post, post_trade, working = engine.post_quote, engine.post_trade, matching.working
        for event in events:
            if type(event) is Quote:
                last = post(event)
                if last is None:
                    last = engine.judge_quote(event)
                quotes.append(event)
                lasts.append(last)
                if working and not event.flags and event.instrument.index in working:
                    matching.on_quote(event)  # of a doubtful one, which is stored, nobody hears
            elif type(event) is Trade:
                self.trades.append(event)
                if not (waits := post_trade(event)):
                    effects = engine.on_trade(event) if waits is None else engine.on_posted(event)
                    if effects:
                        pipeline.carry_out(effects)
            elif isinstance(event, DerivativeEvent):
                pipeline.on_derivative(event)
            elif type(event) is VenueCandle:
                pipeline.engine.on_venue_candle(event)
        if len(self.quotes) + len(self.trades) >= pipeline.flush_rows_max:
            pipeline.flush_stream(self)

    def on_bad_frame(self, channel: str, reason: str, frame: bytes, received_ns: int) -> None:
        """A frame that isn't what the venue's protocol says: kept as it came, of a flood only that it came and why."""
        shown = frame[:_FRAME_BYTES_KEPT] if self.bad_bytes < _BAD_BYTES_KEPT else b""
        self.bad_bytes += len(shown)
        self.bad.append(Reject(received_ns, self.exchange, channel, reason, shown))

    @property
    def pending(self) -> int:
        """Rows in memory that no journal holds yet."""
        return len(self.quotes) + len(self.trades) + len(self.bad) + self.in_hand


class Pipeline:
    """All streams, one engine, two journals."""

    def __init__(
        self,
        engine: Engine,
        rows: RowEncoder,
        tick_journal: Journal,
        fact_journal: Journal,
        feed: Feed,
        matching: Matching,
        observer: Observer,
        clock: Clock,
        gaps: GapLedger,
        flush_rows_max: int,
        journalled: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.feed = feed
        self.matching = matching
        self.flush_rows_max = flush_rows_max
        self.streams: list[Stream] = []
        self.send: Callable[[Approved], None] = _nowhere
        self.fault: Callable[[str], None] = lambda reason: None
        self._rows = rows
        self._tick_journal = tick_journal
        self._fact_journal = fact_journal
        self._observer = observer
        self._clock = clock
        self._gaps = engine.gaps = gaps
        self._journalled = journalled
        self.beaten_ns = 0
        """When the last beat was through."""
        self.lost_in_gaps: Counter[tuple[str, str]] = Counter()
        """Rows that could not be journalled since their venue's and channel's gap opened, of all markets."""
        self._facts: list[Fact] = []
        self._untold: deque[Fact] = deque()
        self._sending = False  # orders of one moment leave together: nothing is written that would part them
        self._derivatives = DerivativeBoard()

    def stream(self, exchange: str, symbols: Sequence[str]) -> Stream:
        """A new venue's end."""
        stream = Stream(self, exchange, symbols)
        self.streams.append(stream)
        return stream

    def on_beat(self) -> None:
        """Time passes: bars close, orders age, what gathered is journalled."""
        for _ in self.beat():
            pass

    def beat(self) -> Iterator[None]:
        """The same in steps between which ticks may come: encoding a full table takes a good part of a millisecond."""
        now = self._clock.time_ns()
        self.carry_out(self.engine.on_beat(Beat(now)))
        self.matching.on_beat(now)
        yield
        yield from self._flushing()
        self.beaten_ns = now

    def on_derivative(self, event: DerivativeEvent) -> None:
        """What a contract tells besides quotes and trades: recorded with a beat, at a bounded rate."""
        self._derivatives.on_event(event)

    def set_clock_offset(self, exchange: str, ahead_ns: int) -> None:
        """How far a venue's clock is ahead of ours, as far as that is certain: its times are read by it."""
        self.engine.set_clock_offset(exchange, ahead_ns)
        for stream in self.streams:
            if stream.exchange == exchange:
                stream.clock_ahead_ns = ahead_ns

    def on_report(self, report: Report) -> None:
        """An exchange said what happened to an order: journalled at once, so that no later order waits for that."""
        self.carry_out(self.engine.on_report(report))
        if not self._sending:
            self.flush_facts()

    def carry_out(self, effects: Sequence[Fact | Approved]) -> None:
        """Record the facts. With an order among the effects they are in the journal, and it goes to the outbox, before
        anybody is told.
        """
        orders: list[Approved] = []
        facts: list[Fact] = []
        for effect in effects:
            if isinstance(effect, Candle) or not isinstance(effect, Approved):  # most by far are candles
                self._keep(effect)
                facts.append(effect)
            else:
                orders.append(effect)
        self._untold += facts
        if orders and self.flush_facts():
            self._sending = True
            for approved in orders:
                self.send(approved)
            self._sending = False
        while self._untold:  # an exchange that answers at once has brought more, and told all
            self._tell(self._untold.popleft())
        if orders:
            self.flush_facts()

    def record(self, fact: Fact) -> None:
        """Keep one fact, and tell the outside."""
        self._keep(fact)
        self._tell(fact)

    def _keep(self, fact: Fact) -> None:
        if len(self._facts) < _FACTS_WAITING_MAX or not isinstance(fact, Candle | Indicator | Equity | Derivative):
            self._facts.append(fact)
        else:
            self.fault("the fact journal has taken nothing for long: what is only measured is dropped")

    def _tell(self, fact: Fact) -> None:
        self.feed.fact(fact)
        self._observer.fact(fact)

    def flush(self) -> None:
        """Everything gathered goes to the journals."""
        for _ in self._flushing():
            pass

    def _flushing(self) -> Iterator[None]:
        self.carry_out(self.engine.closed())
        for fact in self._derivatives.take(self._clock.time_ns()):
            self.record(fact)
        for stream in self.streams:
            yield from self._flushing_of(stream)
        self.flush_facts()

    def flush_facts(self) -> bool:
        """Facts to their journal; False if they could not be kept, and then trading has stopped."""
        try:
            if self._facts:
                self._fact_journal.append("facts", len(self._facts), encode_facts(self._facts), 0, 0)
                self._facts = []
                self._journalled()
        except JournalError as error:
            self.stop_trading(str(error))
            return False
        return True

    def flush_stream(self, stream: Stream) -> None:
        """One venue's rows to the tick journal."""
        for _ in self._flushing_of(stream):
            pass

    def _flushing_of(self, stream: Stream) -> Iterator[None]:
        """What a beat has begun is ended first, whoever goes on with it: rows must not overtake each other."""
        for steps in (stream.flushing, self._batches(stream)):
            stream.flushing = steps
            for _ in steps:
                yield
        stream.flushing = ()

    def _batches(self, stream: Stream) -> Iterator[None]:
        if stream.quotes:
            quotes, lasts = stream.quotes, stream.lasts
            stream.quotes, stream.lasts, stream.in_hand = [], [], len(quotes)
            batch = yield from self._rows.quote_steps(quotes, lasts)
            yield
            stream.in_hand = 0
            stream.newest_ns = quotes[-1].time_received_ns
            self._append(stream, "quote", "tick_data", batch)
            self.feed.ticks(quotes)
            yield
        if stream.trades:
            trades = stream.trades
            stream.trades, stream.in_hand = [], len(trades)
            batch = yield from self._rows.trade_steps(trades)
            stream.in_hand = 0
            stream.newest_ns = max(stream.newest_ns, trades[-1].time_received_ns)
            if trades[-1].time_venue_ns:
                sent_ns = trades[-1].time_venue_ns - stream.clock_ahead_ns
                self._observer.latency(stream.exchange, (trades[-1].time_received_ns - sent_ns) / 1e9)
            self._append(stream, "trade", "public_trades", batch)
            self.feed.ticks(trades)
            yield
        if stream.bad:
            bad, stream.bad, stream.bad_bytes = stream.bad, [], 0
            self._append(stream, "", "quarantine", self._rows.rejects(bad), quarantine=True)

    def backfill(self, stream: Stream, trades: list[Trade]) -> None:
        """Trades that were fetched afterwards go the way of all trades, but for the engine, whose time is over.

        Raises JournalError: then they are none of ours yet, and can be fetched again.
        """
        batch = self._rows.backfilled(trades)
        counts = stream.counts["backfill"]
        if batch.rows:
            label = f"public_trades:{stream.exchange}:backfill"
            self._tick_journal.append(label, batch.rows, batch.payload, batch.first_ns, batch.last_ns)
            counts.received += batch.rows
            counts.journalled += batch.rows
            self._observer.gathered(stream.exchange, "backfill", batch.rows, batch.rows, 0)
            self._journalled()
        if batch.rejects:
            self._append(stream, "backfill", "quarantine", self._rows.rejects(batch.rejects), quarantine=True)

    def gap_opened(self, exchange: str, symbol: str, channel: str, reason: str, from_ns: int, detail: str = "") -> None:
        """From here on data is missing."""
        gap = self._gaps.opened(exchange, symbol, channel, reason, from_ns, detail)
        if gap is not None:
            self.record(gap)
            if reason == "lost":
                title, name = "Ticks are being lost", f"{gap.gap_id}-alert"
                self.record(Alert(name, from_ns, "ticks_lost", "critical", title, detail, exchange, symbol))

    def gap_closed(
        self, exchange: str, symbol: str, channel: str, reason: str, to_ns: int, rows_lost: int = 0
    ) -> Gap | None:
        """From here on it is whole again. Returns the gap that this ended."""
        gap = self._gaps.closed(exchange, symbol, channel, reason, to_ns, rows_lost)
        if gap is not None:
            self.record(gap)
        return gap

    def lost_from_journal(self, loss: Loss) -> None:
        """The tick journal has lost rows that it had taken: they are journalled no more, and a gap says so at once."""
        table, _, stream_label = loss.label.partition(":")
        exchange, _, channel = stream_label.partition(":")
        concerned = {each.exchange: each for each in self.streams if exchange in ("", each.exchange)}
        for stream in concerned.values():  # one of a venue's markets, for which it was nobody knows
            shown = "trade" if channel == "backfill" else channel
            self.record(
                self._gaps.over(stream.exchange, shown, "lost", loss.first_ns, loss.last_ns, loss.rows, loss.reason)
            )
            if loss.own and exchange:
                counts = stream.counts[channel]
                counts.lost += loss.rows
                if table == "quarantine":
                    counts.quarantined -= loss.rows
                else:
                    counts.journalled -= loss.rows
        self.flush_facts()

    def healed(self, exchange: str, received_ns: int) -> None:
        """Data of this venue flows, for the first time or again."""
        for gap in self._gaps.healed(exchange, received_ns):
            self.record(gap)

    def whole(self, exchange: str, symbol: str, channel: str, received_ns: int) -> None:
        """This stream flows, for the first time or again."""
        for gap in self._gaps.whole(exchange, symbol, channel, received_ns):
            self.record(gap)

    def delisted(self, exchange: str, symbol: str) -> None:
        """A venue trades it no more: its open gaps end, and nothing is ordered."""
        for gap in self._gaps.delisted(exchange, symbol, self._clock.time_ns()):
            self.record(gap)

    def listed(self, exchange: str, symbol: str) -> None:
        """A venue trades it, perhaps again."""
        self._gaps.listed(exchange, symbol)

    def inherit_gaps(self, gaps: Sequence[Gap]) -> None:
        """What the database holds as open; it is for this run to end what earlier ones left."""
        for gap in self._gaps.inherit(gaps):
            self.record(gap)

    def _append(self, stream: Stream, channel: str, table: str, batch: Batch, quarantine: bool = False) -> None:
        counts = stream.counts[channel]
        if batch.rejects:
            rejected = self._rows.rejects(batch.rejects)
            self._append(stream, channel, "quarantine", rejected, quarantine=True)
        if not batch.rows:
            return
        counts.received += batch.rows
        label = f"{table}:{stream.exchange}:{channel}"
        self.flush_facts()  # a hole is on record before what came after it
        try:
            self._tick_journal.append(label, batch.rows, batch.payload, batch.first_ns, batch.last_ns)
        except JournalError as error:
            counts.lost += batch.rows
            self.lost_in_gaps[stream.exchange, channel] += batch.rows
            self._observer.lost(stream.exchange, channel, batch.rows, str(error))
            self.gap_opened(stream.exchange, "", channel, "lost", batch.first_ns, str(error))
            self.fault(str(error))
            return
        if quarantine:
            counts.quarantined += batch.rows
        else:
            counts.journalled += batch.rows
        self._observer.gathered(
            stream.exchange, channel, batch.rows, 0 if quarantine else batch.rows, batch.rows if quarantine else 0
        )
        lost = self.lost_in_gaps.pop((stream.exchange, channel), 0)
        self.gap_closed(stream.exchange, "", channel, "lost", batch.last_ns, lost)
        self._journalled()

    def stop_trading(self, reason: str) -> None:
        """What cannot be recorded must not be done. The alert waits, as all facts do, until the journal takes it."""
        for alert in self.engine.halt(reason):
            assert not isinstance(alert, Approved), "a halt orders nothing"
            self.record(alert)
        self.fault(reason)


def _nowhere(approved: Approved) -> None:
    raise AssertionError("the gateway is not connected")
