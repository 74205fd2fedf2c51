"""What a connection should hear, what the venue said it would send, and what really comes.

A stream is wanted, then acknowledged, then seen. One that gets no further is asked for again, alone and ever more
rarely: also one that was acknowledged, because an acknowledgement proves nothing. A refusal of a stream that was asked
for together with others may be about one of those; refused alone it is parked: nobody asks again on this connection.
Refuses to take a venue that is busy for one that doesn't know the stream.
"""

import re
from collections.abc import Iterable, Sequence
from math import inf

from msgspec import Struct

Name = tuple[str, str]
"""A stream: (symbol as the venue spells it, channel)."""
_PATIENCE_S = {"quote": 5.0, "book": 5.0, "mark": 10.0, "funding": 30.0, "trade": 60.0, "candle": 120.0}
_PATIENCE_ELSE_S = 1800.0
"""Liquidations may be hours apart."""
_UNANSWERED_S = 5.0
_ALONE_S = 1.0
_REPAIR_S = 2.0
_PATIENCE_S_MAX = 3600.0
_BUSY = re.compile(
    r"rate|busy|too many|too fast|limit|again|timeout|internal|unavailable|overload", re.IGNORECASE
).search


def is_busy(reason: str) -> bool:
    """Whether a venue refuses for now, and not because it doesn't know the stream."""
    return _BUSY(reason) is not None


class Census(Struct, frozen=True):
    """How many streams are how far."""

    wanted: int
    acknowledged: int
    seen: int
    parked: int


class Subscriptions:
    """One connection's streams, by their places in the list it was given."""

    def __init__(self, streams: Sequence[Name], now_ns: int) -> None:
        """All of them were just asked for, together."""
        self._names = list(streams)
        self._places = {name: at for at, name in enumerate(self._names)}
        self.acknowledged: set[int] = set()
        self.seen: set[int] = set()
        self.parked: dict[int, str] = {}
        """Why each isn't asked for any more."""
        self._alone: set[int] = set()
        self._waiting = {at: self._patience_s(at) for at in range(len(self._names))}
        self._due_ns = {at: now_ns + int(_UNANSWERED_S * 1e9) for at in self._waiting}

    def acknowledge(self, symbol: str, channel: str, now_ns: int) -> None:
        """The venue says that it will send it; "" where it doesn't say which."""
        for at in self._meant(symbol, channel):
            if at not in self.acknowledged:
                self.acknowledged.add(at)
                self.parked.pop(at, None)
                if at in self._due_ns:
                    self._due_ns[at] = max(self._due_ns[at], now_ns + int(self._waiting[at] * 1e9))

    def refuse(self, symbol: str, channel: str, reason: str, now_ns: int) -> list[int]:
        """The venue won't; returns those that are parked by it, once."""
        parked = []
        for at in self._meant(symbol, channel):
            if at in self.seen or at in self.parked:
                continue
            if at not in self._alone:
                self._due_ns[at] = now_ns + int(_ALONE_S * 1e9)
            elif is_busy(reason):
                self._due_ns[at] = now_ns + int(self._later(at) * 1e9)
            else:
                self.parked[at] = reason
                self._due_ns.pop(at, None)
                parked.append(at)
        return parked

    def see(self, at: int) -> None:
        """Its first message, or the first since it was lost."""
        self.seen.add(at)
        self._due_ns.pop(at, None)
        self.parked.pop(at, None)

    def lose(self, places: Iterable[int], now_ns: int) -> None:
        """They were seen and fell silent: to be asked for at once, and again soon if that doesn't help."""
        for at in places:
            self.seen.discard(at)
            self.acknowledged.discard(at)
            self._waiting[at] = _REPAIR_S
            self._due_ns[at] = now_ns

    def retire(self, places: Iterable[int], reason: str) -> None:
        """The venue has no such streams any more: nobody asks for them."""
        for at in places:
            self.seen.discard(at)
            self.acknowledged.discard(at)
            self._due_ns.pop(at, None)
            self.parked[at] = reason

    def revive(self, places: Iterable[int], now_ns: int) -> None:
        """The venue has them again: to be asked for at once."""
        for at in places:
            self.parked.pop(at, None)
            self._due_ns[at] = now_ns

    def due(self, now_ns: int, most: int) -> list[int]:
        """What must be asked for again now, what was lost first; the next time is twice as far."""
        due = sorted((at for at, due_ns in self._due_ns.items() if due_ns <= now_ns), key=self._waiting.__getitem__)
        for at in due[:most]:
            self._alone.add(at)
            self._due_ns[at] = now_ns + int(self._later(at) * 1e9)
        return due[:most]

    @property
    def patience_s(self) -> float:
        """How soon the liveliest stream that is still asked for should be heard; infinite where none is."""
        return min((self._patience_s(at) for at in range(len(self._names)) if at not in self.parked), default=inf)

    @property
    def census(self) -> Census:
        """The counts now."""
        return Census(len(self._names), len(self.acknowledged), len(self.seen), len(self.parked))

    def _later(self, at: int) -> float:
        wait_s = self._waiting[at]
        self._waiting[at] = min(_PATIENCE_S_MAX, self._waiting[at] * 2)
        return wait_s

    def _patience_s(self, at: int) -> float:
        return _PATIENCE_S.get(self._names[at][1], _PATIENCE_ELSE_S)

    def _meant(self, symbol: str, channel: str) -> list[int]:
        """The streams that an answer is about; an answer that names no symbol is about none that could be told."""
        if symbol and channel:
            at = self._places.get((symbol, channel))
            return [] if at is None else [at]
        return [at for at, name in enumerate(self._names) if symbol and name[0] == symbol]
