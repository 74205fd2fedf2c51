"""Who listens to which stream, and what each of them was sent.

An event is encoded once, whoever listens; what one turn has for a listener leaves in one write. A listener that doesn't
read is cut off when its backlog passes the limit, as Binance does: it never slows another, and memory stays bounded.
Which trades and quotes they were is kept only when asked for.
"""

import asyncio
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from traderd.sim.faults import Faults, Spoiler, names
from traderd.sim.pit import Event, Quoted, Traded
from traderd.sim.wire import combined, encode, frame

STREAMS_MAX = 1_024
"""Binance's own limit for one connection."""
_LEFT_MAX = 100
_CONNECTS_MAX = 10_000
_IDS_MAX = 1_000_000
"""Remembered of each stream."""
Ids = dict[str, "array[int]"]


class Listener:
    """One websocket client."""

    def __init__(self, number: int, connection: ServerConnection, combined: bool) -> None:
        self.number = number
        self.connection = connection
        self.combined = combined
        """Whether messages wear the envelope that names their stream."""
        self.streams: dict[str, None] = {}
        """A set that keeps its order."""
        self.sent: Counter[str] = Counter()
        self.end = ""
        """"" while it is here, then `left`, `cut`, `aged` or `too slow`."""
        self.outbox: list[bytes] = []
        self.since_s = asyncio.get_running_loop().time()
        self.ids: Ids = {}
        """What it was sent of each stream, where that is remembered: trade ids and quotes' update ids."""
        self.sent_us: Ids = {}
        """When, of each of these: microseconds since the epoch."""
        self.deaf = False
        """It is sent nothing more, whatever it subscribes to."""

    def account(self) -> dict[str, Any]:
        """Its lines in the ledger."""
        account = {"connection": self.number, "streams": list(self.streams), "sent": dict(self.sent), "end": self.end}
        return account | ({"ids": _listed(self.ids), "sent_us": _listed(self.sent_us)} if self.ids else {})


class Broadcast:
    """All listeners of one exchange."""

    def __init__(self, backlog_bytes_max: int, seed: int = 0, remember: bool = False) -> None:
        """`remember`: keep the ids of what was made and sent."""
        self._backlog_bytes_max = backlog_bytes_max
        self._remember = remember
        self._ids: Ids = {}
        self._spoiler = Spoiler(seed)
        self.faults = Faults()
        self.lies = 0
        """How often a subscription was lied about since the faults were told."""
        self._connects: deque[float] = deque(maxlen=_CONNECTS_MAX)
        self._generated: Counter[str] = Counter()
        self._audience: dict[str, dict[Listener, None]] = {}
        self._listeners: dict[Listener, None] = {}
        self._left: deque[dict[str, Any]] = deque(maxlen=_LEFT_MAX)
        self._number = 0

    def join(self, connection: ServerConnection, streams: Iterable[str], combined: bool) -> Listener:
        """From now on this client hears these streams."""
        self._number += 1
        listener = Listener(self._number, connection, combined)
        self._listeners[listener] = None
        self.subscribe(listener, streams)
        return listener

    def leave(self, listener: Listener) -> None:
        """The client is gone; its account stays in the ledger for a while."""
        listener.end = listener.end or "left"
        self._left.append(listener.account())
        self.unsubscribe(listener, list(listener.streams))
        self._listeners.pop(listener, None)

    def subscribe(self, listener: Listener, streams: Iterable[str]) -> None:
        """A stream that doesn't exist is taken without a word, as Binance does, and stays silent."""
        for stream in streams:
            listener.streams[stream] = None
            if listener.deaf or names(self.faults.delisted, stream):
                continue
            if not (names(self.faults.unsent, stream) and self._lie()):
                self._audience.setdefault(stream, {})[listener] = None

    def unsubscribe(self, listener: Listener, streams: Iterable[str]) -> None:
        """The opposite; a stream that wasn't subscribed is nothing to complain about."""
        for stream in streams:
            listener.streams.pop(stream, None)
            self._silence(listener, stream)

    def inflict(self, faults: Faults) -> None:
        """What is wrong from now on; what happens only once happens now, to whoever is here."""
        self.faults = faults
        self.lies = 0
        for listener in list(self._listeners):
            for stream in list(listener.streams):
                if faults.stall or faults.half_open or names((*faults.drop, *faults.delisted), stream):
                    self._silence(listener, stream)
            listener.deaf = listener.deaf or faults.stall or faults.half_open
            if faults.half_open:
                _go_half_open(listener.connection)
            if faults.cut:
                self._cut(listener, "cut")

    def refuses(self, streams: Iterable[str]) -> bool:
        """Whether to say no to this subscription, though nothing is wrong with it."""
        return any(names(self.faults.refused, stream) for stream in streams) and self._lie()

    def knock(self) -> None:
        """Somebody wants to connect, and perhaps may not."""
        self._connects.append(time.time())

    def cut_the_old(self) -> None:
        """End the connections that have come of age."""
        born_s = asyncio.get_running_loop().time() - self.faults.age_s
        for listener in list(self._listeners):
            if listener.since_s < born_s:
                self._cut(listener, "aged")

    def publish(self, events: Sequence[Event]) -> None:
        """Send one turn's events."""
        waiting: dict[Listener, None] = {}
        now_us = time.time_ns() // 1_000
        for event in events:
            self._generated[event.stream] += 1
            if self._remember:
                _note(self._ids, event)
            audience = self._audience.get(event.stream)
            if audience:
                self._address(event, audience, now_us)
                waiting.update(audience)
        for listener in waiting:
            self._flush(listener)

    def ledger(self) -> dict[str, Any]:
        """Messages generated and sent for each stream; the last hundred that left are remembered.

        `connects`: when somebody wanted to connect (epoch seconds). `ids`, where they are remembered: of each stream
        the trades' ids and the quotes' update ids, in the order in which they came to be; of a connection besides
        `sent_us`, when each of its ids was sent (epoch microseconds).
        """
        present = [listener.account() for listener in self._listeners]
        told = {"generated": dict(self._generated), "connections": [*self._left, *present]}
        return told | {"connects": list(self._connects)} | ({"ids": _listed(self._ids)} if self._remember else {})

    def _address(self, event: Event, audience: Iterable[Listener], now_us: int) -> None:
        payload = encode(event)
        bare = wrapped = b""
        for listener in audience:
            if listener.combined:
                wrapped = wrapped or frame(combined(event.stream, payload))
                listener.outbox.append(wrapped)
            else:
                bare = bare or frame(payload)
                listener.outbox.append(bare)
            listener.sent[event.stream] += 1
            if self._remember and _note(listener.ids, event):
                listener.sent_us.setdefault(event.stream, array("q")).append(now_us)

    def _flush(self, listener: Listener) -> None:
        """Whole frames go straight to the transport, past the library's encoder: nothing writes half a frame there."""
        outbox, listener.outbox = listener.outbox, []
        connection = listener.connection
        if connection.state is not State.OPEN or connection.transport.is_closing():
            return  # uvloop raises at a write to one that is gone, and nobody at all would be served after that
        faults = self.faults
        if faults.repeat or faults.reorder or faults.corrupt:
            outbox = self._spoiler.spoil(outbox, faults)
        connection.transport.write(b"".join(outbox))
        if connection.transport.get_write_buffer_size() > self._backlog_bytes_max:
            self._cut(listener, "too slow")

    def _cut(self, listener: Listener, end: str) -> None:
        listener.end = listener.end or end
        for stream in listener.streams:
            self._silence(listener, stream)
        listener.connection.transport.abort()

    def _silence(self, listener: Listener, stream: str) -> None:
        """It is sent no more of this; what it believes to be subscribed to stays."""
        audience = self._audience.get(stream, {})
        audience.pop(listener, None)
        if not audience:
            self._audience.pop(stream, None)

    def _lie(self) -> bool:
        self.lies += 1
        return self.lies <= self.faults.lies_max


def _go_half_open(connection: ServerConnection) -> None:
    """Nothing is read any more, so that no ping is answered; our own pings stop."""
    connection.transport.pause_reading()
    if connection.keepalive_task is not None:
        connection.keepalive_task.cancel()


def _note(ids: Ids, event: Event) -> bool:
    """Whether it was noted: depth has no id of its own, and there is a bound."""
    if isinstance(event, Traded):
        number = event.trade_id
    elif isinstance(event, Quoted):
        number = event.update_id
    else:
        return False
    kept = ids.setdefault(event.stream, array("q"))
    if len(kept) >= _IDS_MAX:
        return False
    kept.append(number)
    return True


def _listed(ids: Ids) -> dict[str, list[int]]:
    return {stream: numbers.tolist() for stream, numbers in ids.items()}
