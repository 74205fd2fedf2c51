"""A TCP proxy that does to a connection what networks do: late, slow, in small pieces, cut, corrupted, silent.

    with Proxy(("127.0.0.1", 5432), seed=1) as proxy:
        ... connect to 127.0.0.1, proxy.port ...
        proxy.latency_s = 0.2         # each way
        proxy.bytes_per_s = 256_000   # each way, each connection
        proxy.cut()                   # every connection ends now, by RST

It runs in a thread with an event loop of its own, so that tests may block; its figures may be changed at any time and
hold from the next bytes on. Everything random comes from `seed`. With `tls` it ends TLS before a server that has none.
"""

import asyncio
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Self

_READ_BYTES = 65_536
_IN_FLIGHT_MAX = 64
_POLL_S = 0.005


class Proxy:
    """From a free port of the loopback to `target`, a (host, port) or the path of a Unix socket."""

    def __init__(self, target: tuple[str, int] | str, *, seed: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.latency_s = 0.0
        self.jitter_s = 0.0
        """So much more at most; the order of bytes stays."""
        self.bytes_per_s = 0.0
        """0: as fast as it goes."""
        self.piece_bytes_max = 0
        """Bytes are passed on in pieces of 1 to so many; 0: as they came."""
        self.corruption = 0.0
        """Flipped bits for each byte, on average."""
        self.stopped = False
        """Nothing passes, nothing is closed, and new connections are taken: a peer that has frozen."""
        self.refusing = False
        """New connections are closed at once."""
        self.connections = 0
        """Taken so far."""
        self.bytes_passed = 0
        self.port = 0
        self._seed = seed
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def open_connections(self) -> int:
        """At this moment."""
        return len(self._open)

    def cut(self) -> None:
        """End every connection now, whatever is under way; new ones are taken."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        ending = list(self._open)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        if self.refusing:
            _reset(writer)
            return
        self._open.add(task)
        writers = [writer]
        try:
            far_reader, far_writer = await self._reach()
            writers.append(far_writer)
            number = self.connections
            await asyncio.gather(
                self._pass_on(reader, far_writer, f"{self._seed} {number} out"),
                self._pass_on(far_reader, writer, f"{self._seed} {number} in"),
            )
        except (OSError, asyncio.CancelledError):
            for each in writers:
                _reset(each)
        finally:
            self._open.discard(task)
            for each in writers:
                each.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, str):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seed: str) -> None:
        """One direction, to its end. Latency delays and doesn't slow: what is on its way waits in a line."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT_MAX)
        late = Random(seed + " late")
        sending = asyncio.create_task(self._send(line, writer, Random(seed), Corruption(seed)))
        try:
            while True:
                data = await reader.read(_READ_BYTES)
                due_s = time.monotonic() + self.latency_s + late.uniform(0, self.jitter_s)
                await line.put((due_s, data))
                if not data:
                    await sending
                    return
                if sending.done():
                    sending.result()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(
        self,
        line: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        random: Random,
        corruption: "Corruption",
    ) -> None:
        while True:
            due_s, data = await line.get()
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self._while_stopped()
            if not data:
                with suppress(OSError, RuntimeError, NotImplementedError):
                    writer.write_eof()
                return
            while data:
                size = random.randint(1, self.piece_bytes_max) if self.piece_bytes_max else len(data)
                if self.bytes_per_s:
                    size = min(size, max(1, int(self.bytes_per_s / 100)))
                    await asyncio.sleep(size / self.bytes_per_s)
                await self._while_stopped()
                piece, data = data[:size], data[size:]
                writer.write(corruption.on(piece, self.corruption))
                await writer.drain()
                self.bytes_passed += len(piece)
                if self.piece_bytes_max:
                    await asyncio.sleep(0)  # so that they are pieces on the wire too

    async def _while_stopped(self) -> None:
        while self.stopped:
            await asyncio.sleep(_POLL_S)


class Corruption:
    """Flips bits at places that only the seed and the number of bytes so far decide, however those came."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed + " corrupted")
        self._ahead = -1
        """Bytes until the next flip; -1: not drawn yet."""

    def on(self, piece: bytes, rate: float) -> bytes:
        if not rate:
            return piece
        wrong, at = bytearray(piece), 0
        while True:
            if self._ahead < 0:
                self._ahead = int(self._random.expovariate(rate))
            if at + self._ahead >= len(wrong):
                self._ahead -= len(wrong) - at
                return bytes(wrong)
            at += self._ahead
            wrong[at] ^= 1 << self._random.randrange(8)
            at, self._ahead = at + 1, -1


def _reset(writer: asyncio.StreamWriter) -> None:
    """By RST: what was under way is lost."""
    with suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
