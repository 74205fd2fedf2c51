"""Who listens to which stream, and what each of them was sent.

An event is encoded once, whoever listens; what one turn has for a listener leaves in one write. A listener that doesn't
read is cut off when its backlog passes the limit, as Binance does: it never slows another, and memory stays bounded.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from traderd.sim.pit import Event
from traderd.sim.wire import combined, encode, frame

STREAMS_MAX = 1_024
"""Binance's own limit for one connection."""
_LEFT_MAX = 100


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
        """"" while it is here, then `left` or `too slow`."""
        self.outbox: list[bytes] = []

    def account(self) -> dict[str, Any]:
        """Its lines in the ledger."""
        return {"connection": self.number, "streams": list(self.streams), "sent": dict(self.sent), "end": self.end}


class Broadcast:
    """All listeners of one exchange."""

    def __init__(self, backlog_bytes_max: int) -> None:
        self._backlog_bytes_max = backlog_bytes_max
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
            self._audience.setdefault(stream, {})[listener] = None

    def unsubscribe(self, listener: Listener, streams: Iterable[str]) -> None:
        """The opposite; a stream that wasn't subscribed is nothing to complain about."""
        for stream in streams:
            listener.streams.pop(stream, None)
            audience = self._audience.get(stream, {})
            audience.pop(listener, None)
            if not audience:
                self._audience.pop(stream, None)

    def publish(self, events: Sequence[Event]) -> None:
        """Send one turn's events."""
        waiting: dict[Listener, None] = {}
        for event in events:
            self._generated[event.stream] += 1
            audience = self._audience.get(event.stream)
            if audience:
                self._address(event, audience)
                waiting.update(audience)
        for listener in waiting:
            self._flush(listener)

    def ledger(self) -> dict[str, Any]:
        """Messages generated and sent for each stream; the last hundred that left are remembered."""
        present = [listener.account() for listener in self._listeners]
        return {"generated": dict(self._generated), "connections": [*self._left, *present]}

    def _address(self, event: Event, audience: Iterable[Listener]) -> None:
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

    def _flush(self, listener: Listener) -> None:
        """Whole frames go straight to the transport, past the library's encoder: nothing writes half a frame there."""
        outbox, listener.outbox = listener.outbox, []
        connection = listener.connection
        if connection.state is not State.OPEN:
            return
        connection.transport.write(b"".join(outbox))
        if connection.transport.get_write_buffer_size() > self._backlog_bytes_max:
            listener.end = "too slow"
            self.unsubscribe(listener, list(listener.streams))
            connection.transport.abort()
