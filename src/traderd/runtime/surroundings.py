"""What every connection of a venue is given: the world's ports, who is told, and the venue's leave to connect."""

from collections.abc import Callable
from typing import Protocol

from traderd.runtime.admission import Admission
from traderd.runtime.ports import Clock, Connector, Rest


class SessionObserver(Protocol):
    """Who is told about the links: metrics and log."""

    def connected(self, exchange: str) -> None: ...

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None: ...

    def bad_frame(self, exchange: str, reason: str, frame: bytes) -> None: ...

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None: ...

    def resync(self, exchange: str, symbol: str, verdict: str) -> None: ...

    def remade(self, exchange: str, channel: str, symbol: str, reason: str) -> None: ...


class Tape(Protocol):
    """A recording of all traffic."""

    def frame(self, received_ns: int, connection: str, frame: bytes) -> None: ...

    def connected(self, received_ns: int, connection: str, url: str) -> None: ...

    def sent(self, received_ns: int, connection: str, frame: str) -> None: ...

    def answered(self, received_ns: int, url: str, body: bytes) -> None: ...


class Surroundings:
    """What every connection of a venue is given."""

    def __init__(
        self,
        connector: Connector,
        rest: Rest,
        clock: Clock,
        uniform: Callable[[], float],
        observer: SessionObserver,
        admission: Admission,
        tape: Tape | None = None,
    ) -> None:
        """`tape` is given all traffic as it came (`run --record`)."""
        self.connector = connector
        self.rest = rest
        self.clock = clock
        self.uniform = uniform
        self.observer = observer
        self.admission = admission
        self.tape = tape
