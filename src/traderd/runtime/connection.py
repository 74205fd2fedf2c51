"""One websocket from its opening to its end: subscribe at the venue's pace, decode, keep books and count what comes.

What it finds it tells its session (`Desk`), which knows what an interruption means. A book that breaks is made whole by
the venue's rule; meanwhile nobody sees it. Refuses to hand on what nobody asked for.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from traderd.core.book import Book
from traderd.core.continuity import ConnectionSequence, Continuity, TradeNumbers
from traderd.core.errors import BadFrameError
from traderd.core.hearing import Hearing
from traderd.core.market import Ack, BookDelta, BookSnapshot, Instrument, Numbered, Quote, Trade, VenueEvent
from traderd.core.subscriptions import Subscriptions, is_busy
from traderd.runtime.bookkeeping import Bookkeeping
from traderd.runtime.ports import Link
from traderd.runtime.streams import UNASKED, Streams
from traderd.runtime.surroundings import Surroundings
from traderd.venues.dialect import Dialect, Endpoint

_CONNECT_TIMEOUT_S = 10.0
_REMADE_AT_ONCE = 4
_QUEUE_MAX = 8
_DELISTED = "delisted"


class Desk(Protocol):
    """The session behind a connection."""

    def flows(self, connection: "Connection", at: int, received_ns: int) -> None:
        """A stream's first message, or the first since it was lost; of a book: it is whole."""
        ...

    def broke(self, connection: "Connection", at: int, reason: str, from_ns: int) -> None:
        """A stream isn't whole any more."""
        ...

    def missed(self, connection: "Connection", at: int, from_ns: int, to_ns: int) -> None:
        """Between these two messages something of a stream got lost; with the second it flows again."""
        ...

    def bad_frame(self, reason: str, frame: bytes, received_ns: int) -> None:
        """A frame that isn't the venue's protocol."""
        ...


class Connection:
    """One link. `open` it, let `look` be called now and then, wait for its end with `wait_closed`."""

    def __init__(
        self, name: str, dialect: Dialect, endpoint: Endpoint, streams: Streams, desk: Desk, world: Surroundings
    ) -> None:
        self.name = name
        self.heard_ns = array("q", bytes(8 * (len(streams) + 1)))
        """When each stream was last heard, 0 while it isn't; the last place is for what nobody asked for.

        An array, as the slots are: a list's integers lie one by one in memory, and each would be fetched and freed.
        """
        self.last_frame_ns = 0
        self.opened_ns = 0
        self.deliver: Callable[[Sequence[VenueEvent]], None] = lambda events: None
        self.mistake: BaseException | None = None
        self._dialect = dialect
        self._endpoint = endpoint
        self._streams = streams
        self._desk = desk
        self._world = world
        self._clock = world.clock
        self._observer = world.observer
        self._exchange = dialect.exchange
        self._link: Link | None = None
        self._verdict = ""  # why we closed the link, if it was us
        self._sequence = ConnectionSequence()
        self._numbered_ns = 0  # when the newest numbered frame came
        self._trade_numbers = TradeNumbers(len(streams.of)) if dialect.trades_numbered else None
        slots = streams.slots[Quote], streams.slots[Trade]
        self._hearing = Hearing(*slots, self.heard_ns, self._trade_numbers, Quote, Trade)
        self.bookkeeping = Bookkeeping(dialect, endpoint, streams, world, self)
        self._outbox: deque[str] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._next_send_ns = 0
        self._beaten_ns = 0

    async def open(self) -> None:
        """Connect and ask for everything. Raises ConnectionError."""
        channels, instruments = self._streams.channels, self._streams.wanted
        url = self._dialect.websocket_url(self._endpoint, instruments, channels)
        if self._world.tape is not None:
            self._world.tape.connected(self._clock.time_ns(), self.name, url)
        self.subscriptions = Subscriptions(self._streams.names, self._clock.time_ns())
        retired = self._streams.retired
        self.subscriptions.retire((at for at, (of, _) in enumerate(self._streams.of) if of.index in retired), _DELISTED)
        size = self._dialect.limits.frame_bytes_max
        self._link = await self._world.connector.connect(url, self._on_frames, _CONNECT_TIMEOUT_S, size)
        self.last_frame_ns = self.opened_ns = self._clock.time_ns()
        self._beaten_ns = self._clock.monotonic_ns()
        for part in self._streams.apart:
            self.send(self._dialect.subscribe_frames(part, channels))
        self.bookkeeping.begin(self.opened_ns)

    async def wait_closed(self) -> str:
        """Wait for the end and say why; a mistake of ours beside the link is raised here."""
        assert self._link is not None
        reason = await self._link.wait_closed()
        if self.mistake is not None:
            raise self.mistake
        return self._verdict or reason

    def hang_up(self, verdict: str) -> None:
        """Close it, for this reason."""
        self._verdict = self._verdict or verdict
        if self._link is not None:
            self._link.close()

    def leave(self) -> None:
        """Nothing of it is used any more."""
        self.bookkeeping.leave()
        if self._timer is not None:
            self._timer.cancel()
        self._outbox.clear()
        if self._link is not None:
            self._link.close()
            self._link = None

    @property
    def books(self) -> dict[int, Book]:
        """By instrument."""
        return self.bookkeeping.books

    def brings(self, at: int) -> bool:
        """Whether a stream is heard here, and of a book whether it is whole."""
        instrument, channel = self._streams.of[at]
        return self.heard_ns[at] > 0 and not (channel == "book" and instrument.index in self.bookkeeping.unwhole)

    def look(self, now_ns: int) -> None:
        """Now and then: heartbeat, silence of the whole link, streams to be asked for again."""
        beat, monotonic_ns = self._dialect.heartbeat, self._clock.monotonic_ns()
        if beat.frame and monotonic_ns - self._beaten_ns > beat.interval_s * 1e9:
            self._beaten_ns = monotonic_ns
            self._outbox.appendleft(beat.frame)
            self._pump()
        silence_s = (now_ns - self.last_frame_ns) / 1e9
        if silence_s > beat.silence_max_s:
            self.hang_up(f"silent for {silence_s:.1f} s")
            return
        if len(self._outbox) < _QUEUE_MAX:
            for at in self.subscriptions.due(now_ns, _REMADE_AT_ONCE):
                self._remake(at)
        self.bookkeeping.look(now_ns, self.subscriptions.seen, self.subscriptions.parked)

    def lose(self, places: Sequence[int], now_ns: int) -> None:
        """These streams fell silent: ask for them again, and tell when they are back."""
        for at in places:
            self.heard_ns[at] = 0
            instrument, channel = self._streams.of[at]
            if channel == "book":
                self.bookkeeping.lose(instrument, now_ns)
        self.subscriptions.lose(places, now_ns)

    def retire(self, instrument: Instrument, places: Sequence[int]) -> None:
        """The venue trades it no more: leave its streams, forget its book."""
        for at in places:
            self.heard_ns[at] = 0
            self.send(self._dialect.resubscribe_frames(instrument, self._streams.of[at][1])[:1])
        self.subscriptions.retire(places, _DELISTED)
        self.bookkeeping.retire(instrument)

    def revive(self, instrument: Instrument, places: Sequence[int], now_ns: int) -> None:
        """The venue trades it again: ask for its streams."""
        self.subscriptions.revive(places, now_ns)
        if "book" in self._streams.channels:
            self.bookkeeping.revive(instrument, now_ns)

    def _on_frames(self, frames: list[bytes], received_ns: int) -> None:
        """The hot path: the frames of one read, received a nanosecond apart, into events, each to its place."""
        self.last_frame_ns = received_ns + len(frames) - 1
        if self._world.tape is not None:
            self._record(frames, received_ns)
        ready: list[VenueEvent] = []
        at = 0
        while (at := self._hearing.take(frames, received_ns, at, self._dialect.usual, ready)) < len(frames):
            ready = self._on_frame(frames[at], received_ns + at, ready)
            at += 1
        self._hand_on(ready)

    def _on_frame(self, frame: bytes, now_ns: int, ready: list[VenueEvent]) -> list[VenueEvent]:
        """Any frame. What it tells is ready too, or is handed on after what was ready; returns what is ready then."""
        try:
            events = self._dialect.decode(frame, now_ns)
        except BadFrameError as error:
            ready = self._hand_on(ready)
            self._desk.bad_frame(error.reason, frame, now_ns)
            return ready
        if not events:
            return ready
        kind = type(events[0])
        plain = len(events) == 1 and self._hearing.hear(events[0], now_ns)  # what nearly every frame is
        if plain or ((kind is Quote or kind is Trade) and self._hear(events, kind, now_ns)):
            ready += events
            return ready
        ready = self._hand_on(ready)
        self._on_others(events, now_ns)
        return ready

    def _hear(self, events: Sequence[VenueEvent], kind: type[VenueEvent], now_ns: int) -> bool:
        """Note of which streams a frame tells; whether all of it is of this kind and of streams that flow."""
        if kind is Trade and self._trade_numbers is not None:
            self._follow_trades(events, now_ns, self._trade_numbers)
        slots, heard, whole = self._streams.slots[kind], self.heard_ns, True
        for event in events:
            at = slots[event.instrument.index] if type(event) is kind else UNASKED  # type: ignore[union-attr]
            if heard[at] > 0:
                heard[at] = now_ns
            else:
                whole = False
        return whole

    def _record(self, frames: Sequence[bytes], received_ns: int) -> None:
        """On the tape."""
        assert self._world.tape is not None
        for now_ns, frame in enumerate(frames, received_ns):
            self._world.tape.frame(now_ns, self.name, frame)

    def _hand_on(self, ready: list[VenueEvent]) -> list[VenueEvent]:
        """Before anything else happens; returns a list for what comes then."""
        if ready:
            self.deliver(ready)
        return []

    def _on_others(self, events: Sequence[VenueEvent], received_ns: int) -> None:
        """Books, answers, first messages, and what nobody asked for."""
        wanted: list[VenueEvent] = []
        for event in events:
            slots = self._streams.slots.get(type(event))
            if slots is None:
                if not self._on_link_event(event, received_ns):
                    break
                continue
            at = slots[event.instrument.index]  # type: ignore[union-attr]  # an event with a slot has an instrument
            if at == UNASKED:
                continue
            if at not in self.subscriptions.seen:
                self.subscriptions.see(at)
            if isinstance(event, BookDelta | BookSnapshot):
                self.bookkeeping.take(at, event)
            else:
                if self.heard_ns[at] <= 0:
                    self._desk.flows(self, at, received_ns)
                wanted.append(event)
            self.heard_ns[at] = received_ns
        if wanted:
            self.deliver(wanted)

    def _on_link_event(self, event: VenueEvent, received_ns: int) -> bool:
        """Answers and numbers; False if the rest of the frame is of the past."""
        if isinstance(event, Numbered):
            step = self._sequence.follow(event.number)
            if step.continuity is Continuity.REPEATED:
                return False
            if step.breaks:
                self._numbers_broke(received_ns)
            self._numbered_ns = received_ns
            return True
        if isinstance(event, Ack):
            self._on_answer(event, received_ns)
        return True

    def _on_answer(self, ack: Ack, received_ns: int) -> None:
        """A subscription was granted or refused; a symbol of which something is parked is told once."""
        if ack.accepted:
            self.subscriptions.acknowledge(ack.symbol, ack.channel, received_ns)
            self._streams.refused -= self.subscriptions.acknowledged
            return
        parked = self.subscriptions.refuse(ack.symbol, ack.channel, ack.reason, received_ns)
        for instrument in self._streams.refuse(parked):
            reason = f"{ack.reason}; it isn't asked for any more"
            self._observer.refused(self._exchange, ack.channel, instrument.symbol, reason)
        if not ack.symbol or is_busy(ack.reason):
            self._observer.refused(self._exchange, ack.channel, ack.symbol, ack.reason)

    def _numbers_broke(self, received_ns: int) -> None:
        """Frames of this connection are lost, and nobody knows whose: everything on it has a hole since the last one.

        A book is whole again when it was begun anew, the rest with this frame.
        """
        self._observer.resync(self._exchange, "", "connection_sequence")
        for at, (instrument, channel) in enumerate(self._streams.of):
            if self.heard_ns[at] <= 0:
                continue
            if channel == "book":
                self._desk.broke(self, at, "sequence", self._numbered_ns)
                self.bookkeeping.renew(instrument, received_ns)
            else:
                self._desk.missed(self, at, self._numbered_ns, received_ns)

    def _follow_trades(self, events: Sequence[VenueEvent], received_ns: int, numbers: TradeNumbers) -> None:
        """Where the venue numbers an instrument's trades the next one tells what got lost before it."""
        slots, heard_ns = self._streams.slots[Trade], self.heard_ns
        for event in events:
            if type(event) is not Trade or (at := slots[event.instrument.index]) == UNASKED:
                continue
            if heard_ns[at] <= 0:  # what came before has a gap of its own
                numbers.begin_anew(at)
            if numbers.breaks(at, int(event.trade_id)):
                self._desk.missed(self, at, heard_ns[at], received_ns)

    def _remake(self, at: int) -> None:
        instrument, channel = self._streams.of[at]
        state = "acknowledged but silent" if at in self.subscriptions.acknowledged else "not acknowledged, or silent"
        self._observer.remade(self._exchange, channel, instrument.symbol, state)
        self.send(self._dialect.resubscribe_frames(instrument, channel))

    def broke(self, at: int, reason: str, received_ns: int) -> None:
        """See BookReader."""
        self._desk.broke(self, at, reason, self.heard_ns[at] or received_ns)

    def flows(self, at: int, received_ns: int) -> None:
        """See BookReader. What REST made whole is heard too."""
        self.heard_ns[at] = max(self.heard_ns[at], received_ns)
        self._desk.flows(self, at, received_ns)

    def fail(self, mistake: BaseException) -> None:
        """A mistake beside the link ends the session: nothing goes on half alive."""
        self.mistake = mistake
        self.hang_up("a mistake of ours")

    def send(self, frames: Sequence[str]) -> None:
        """Queue them; they leave at the venue's pace."""
        self._outbox.extend(frames)
        self._pump()

    def _pump(self) -> None:
        """No more frames a second than the venue bears."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._outbox and self._link is not None:
            now_ns = self._clock.monotonic_ns()
            if now_ns < self._next_send_ns:
                delay_s = (self._next_send_ns - now_ns) / 1e9
                self._timer = asyncio.get_running_loop().call_later(delay_s, self._pump)
                return
            self._next_send_ns = now_ns + int(1e9 / self._dialect.limits.frames_per_s)
            frame = self._outbox.popleft()
            if self._world.tape is not None:
                self._world.tape.sent(self._clock.time_ns(), self.name, frame)
            self._link.send(frame)
