"""Time that passes only when nothing else can happen: minutes of a session in as long as its work takes.

Sockets are real. Before a timer may have its turn a byte is sent over one more connection of this machine to itself and
waited for: what was sent before has arrived by then, so that no timer overtakes it. What takes a thread or another
process its time has no place in here.
"""

import asyncio
import selectors
import socket
import time
from collections.abc import Callable

from traderd.adapters.websocket import WebsocketConnector, WebsocketLink


class _Selector(selectors.DefaultSelector):
    """Never waits for a timer."""

    passes: Callable[[float], None]

    def __init__(self) -> None:
        super().__init__()
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._near = socket.create_connection(server.getsockname())
            self._far, _ = server.accept()
        self._near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # only a socket can go on from here
            return super().select(None)
        self._near.send(b"?")
        self._far.recv(1)
        if not (ready := super().select(0)):
            self.passes(timeout)
        return ready

    def close(self) -> None:
        self._near.close()
        self._far.close()
        super().close()


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
        self._connector = WebsocketConnector()

    async def connect(
        self, url: str, on_frames: Callable[[list[bytes], int], None], timeout_s: float, frame_bytes_max: int
    ) -> WebsocketLink:
        """See Connector."""

        def each(frames: list[bytes], _: int) -> None:
            for frame in frames:
                on_frames([frame], self._clock.stamp_ns())

        return await self._connector.connect(url, each, timeout_s, frame_bytes_max)
