"""Time that passes only when nothing else can happen: minutes of a session in as long as its work takes.

Sockets are real. What this machine sends to itself has arrived before the next look at the sockets, so that no timer
overtakes it; what takes a thread or another process its time has no place in here.
"""

import asyncio
import selectors
import time
from collections.abc import Callable

from traderd.adapters.websocket import PicowsConnector, PicowsLink


class _Selector(selectors.DefaultSelector):
    """Never waits for a timer."""

    passes: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # only a socket can go on from here
            return super().select(None)
        self.passes(timeout)
        return []


class DrivenLoop(asyncio.SelectorEventLoop):
    """Its clock jumps to the next timer as soon as nobody has anything else to do."""

    def __init__(self) -> None:
        self._now_s = time.monotonic()
        selector = _Selector()
        selector.passes = self._pass
        super().__init__(selector)

    def time(self) -> float:
        return self._now_s

    def _pass(self, seconds: float) -> None:
        self._now_s += seconds


class DrivenLoops(asyncio.DefaultEventLoopPolicy):
    """For pytest's loops."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return DrivenLoop()


class DrivenClock:
    """runtime.ports.Clock by the running loop."""

    def __init__(self) -> None:
        self._ahead_ns = time.time_ns() - time.monotonic_ns()
        self._stamp_ns = 0

    def time_ns(self) -> int:
        return self.monotonic_ns() + self._ahead_ns

    def monotonic_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e9)

    def stamp_ns(self) -> int:
        """The time of a frame: they rise strictly."""
        self._stamp_ns = max(self._stamp_ns + 1, self.time_ns())
        return self._stamp_ns


class DrivenConnector:
    """Real websockets whose frames come by a driven clock."""

    def __init__(self, clock: DrivenClock) -> None:
        self._clock = clock
        self._connector = PicowsConnector()

    async def connect(
        self, url: str, on_frame: Callable[[bytes, int], None], timeout_s: float, frame_bytes_max: int
    ) -> PicowsLink:
        """See Connector."""
        stamp_ns = self._clock.stamp_ns
        return await self._connector.connect(
            url, lambda frame, _: on_frame(frame, stamp_ns()), timeout_s, frame_bytes_max
        )
