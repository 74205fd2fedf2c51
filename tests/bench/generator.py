"""A process that sends websocket frames encoded beforehand, as fast as they are taken or at a given rate.

    python tests/bench/generator.py --port 0 --symbols 10 --frames 500000 [--rate R] [--trades-share 0.2] [--linger 60]

It plays Binance spot for one client: quotes and trades in the combined envelope, `exchangeInfo`, `time` and an
(unchanging) `depth`. Frames exist as bytes before the client comes: what is measured is the client. It prints one
JSON line when it listens (addresses), and one when everything is sent (frames, seconds, its own CPU), then keeps the
connection open until the client leaves or `--linger` passes. The first websocket gets the frames, a second one silence.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import resource
import time
from collections.abc import Iterator

import numpy as np
import psutil

from traderd.config import Sim
from traderd.sim import rest
from traderd.sim.market import Market
from traderd.sim.prices import Listing, listings
from traderd.sim.wire import decimal_text

FRAMES_PER_BUFFER = 2_000
SLICE_S = 0.005
_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Buffer:
    """Some frames back to back, and where each of them ends."""

    def __init__(self, frames: list[bytes]) -> None:
        self.content = b"".join(frames)
        self.ends = np.cumsum([len(frame) for frame in frames], dtype=np.uint32)

    def cut(self, first: int, last: int) -> memoryview:
        """Frames `first` to `last`, the last not included."""
        begin = int(self.ends[first - 1]) if first else 0
        return memoryview(self.content)[begin : int(self.ends[last - 1])]


def prepare(symbols: int, frames: int, trades_share: float, seed: int) -> list[Buffer]:
    """All frames, in the order of sending."""
    draw = np.random.default_rng(seed)
    streams = [Stream(listing, int(time.time() * 1000)) for listing in listings(symbols)]
    buffers = []
    for first in range(0, frames, FRAMES_PER_BUFFER):
        count = min(FRAMES_PER_BUFFER, frames - first)
        which = draw.integers(symbols, size=count).tolist()
        trades = (draw.random(count) < trades_share).tolist()
        steps = np.rint(draw.standard_t(3, count) * 2).astype(int).tolist()
        sizes = draw.integers(1, 100_000, size=count).tolist()
        now_ms = int(time.time() * 1000)
        rows = zip(which, trades, steps, sizes, strict=True)
        buffers.append(
            Buffer(
                [
                    streams[n].trade(size, now_ms) if is_trade else streams[n].quote(step, size)
                    for n, is_trade, step, size in rows
                ]
            )
        )
    return buffers


class Stream:
    """One symbol's frames: its price walks by ticks, its trade ids have no holes, its update ids rise."""

    def __init__(self, listing: Listing, epoch_ms: int) -> None:
        name = listing.venue_symbol
        self._tick, self._lot = listing.tick, listing.lot
        self._first, self._bid = listing.price_ticks, listing.price_ticks
        self._spread = max(1, listing.price_ticks // 100_000)
        self._trade_id = epoch_ms * 100
        self._update_id = epoch_ms * 1_000
        self._quote_head = f'{{"stream":"{name.lower()}@bookTicker","data":{{"u":'
        self._trade_head = f'{{"stream":"{name.lower()}@trade","data":{{"e":"trade","E":'
        self._name = f',"s":"{name}",'
        self._buys = False

    def quote(self, step: int, size: int) -> bytes:
        """The touch moves by `step` ticks, turned round where it would leave the neighbourhood of the first price."""
        bid = self._bid + step
        if not 0.5 < bid / self._first < 1.5:
            bid = self._bid
        self._bid = bid
        self._update_id += 3
        tick, lot = self._tick, self._lot
        return _frame(
            f"{self._quote_head}{self._update_id}{self._name}"
            f'"b":"{decimal_text(bid * tick)}","B":"{decimal_text(size * lot)}",'
            f'"a":"{decimal_text((bid + self._spread) * tick)}","A":"{decimal_text((100_001 - size) * lot)}"}}}}'
        )

    def trade(self, size: int, now_ms: int) -> bytes:
        """A trade at the touch, sides in turn."""
        self._trade_id += 1
        self._buys = not self._buys
        price = self._bid + self._spread if self._buys else self._bid
        return _frame(
            f'{self._trade_head}{now_ms}{self._name}"t":{self._trade_id},"p":"{decimal_text(price * self._tick)}",'
            f'"q":"{decimal_text(size * self._lot)}","T":{now_ms},"m":{"false" if self._buys else "true"},"M":true}}}}'
        )


_HEADERS = [bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big") for size in range(1_024)]


def _frame(payload: str) -> bytes:
    return _HEADERS[len(payload)] + payload.encode("ascii")


class Exchange:
    """The little of an exchange that the daemon asks for before it listens."""

    def __init__(self, buffers: list[Buffer], symbols: int, rate: float, linger_s: float) -> None:
        self._buffers = buffers
        self._rate = rate
        self._linger_s = linger_s
        self._market = Market(Sim(symbols=symbols), time.time_ns() // 1000)
        self._begun = time.monotonic()
        self._taken = False
        self.report: asyncio.Future[dict[str, float]] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, REST or websocket."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            target = head.split(" ", 2)[1]
            headers = {
                k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])
            }
            if headers.get("upgrade", "").lower() == "websocket":
                await self._stream(reader, writer, headers["sec-websocket-key"])
            else:
                self._answer(writer, target)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, target: str) -> None:
        self._market.elapsed_us = int((time.monotonic() - self._begun) * 1e6)
        status, body = rest.answer(self._market, target)
        head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head += "Connection: close\r\n\r\n"
        writer.write(head.encode() + body)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        accept = base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT_SUFFIX).digest()).decode()
        writer.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        listening = asyncio.create_task(_listen(reader, writer))
        if self._taken:
            await listening
            return
        self._taken = True
        try:
            await self._send_all(writer)
            await asyncio.wait([listening], timeout=self._linger_s)
        finally:
            listening.cancel()
            self.over.set()

    async def _send_all(self, writer: asyncio.StreamWriter) -> None:
        """`seconds` ends when the last frame is handed to the socket, not when the client has read it."""
        started, began, cpu, sent = time.time(), time.monotonic(), _cpu_s(), 0
        try:
            for piece, frames in self._paced() if self._rate else self._whole():
                due = began + sent / self._rate if self._rate else 0.0
                if (early := due - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                writer.write(piece)
                await writer.drain()
                sent += frames
        finally:
            seconds, cpu_s = time.monotonic() - began, _cpu_s() - cpu
            self.report.set_result(
                {
                    "started": started,
                    "frames_sent": sent,
                    "seconds": round(seconds, 3),
                    "frames_per_s": round(sent / seconds),
                    "cpu_s": round(cpu_s, 3),
                    "cpu_us_per_frame": round(cpu_s / max(sent, 1) * 1e6, 3),
                }
            )

    def _whole(self) -> Iterator[tuple[bytes, int]]:
        for buffer in self._buffers:
            yield buffer.content, len(buffer.ends)

    def _paced(self) -> Iterator[tuple[memoryview, int]]:
        size = max(1, round(self._rate * SLICE_S))
        for buffer in self._buffers:
            for first in range(0, len(buffer.ends), size):
                last = min(first + size, len(buffer.ends))
                yield buffer.cut(first, last), last - first


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer pings and subscriptions until the client says goodbye or is gone. Its frames are small and masked."""
    while True:
        try:
            opcode, payload = await _receive(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        if opcode == 0x8:
            writer.write(bytes((0x88, len(payload))) + payload)
            return
        if opcode == 0x9:
            writer.write(bytes((0x8A, len(payload))) + payload)
        if opcode == 0x1:
            writer.write(_frame(json.dumps({"result": None, "id": json.loads(payload).get("id")})))


async def _receive(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4)
    masked = await reader.readexactly(size)
    return first & 0x0F, bytes(byte ^ mask[n % 4] for n, byte in enumerate(masked))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def run(options: argparse.Namespace) -> None:
    """Prepare, listen, send, report."""
    began = time.monotonic()
    buffers = prepare(options.symbols, options.frames, options.trades_share, options.seed)
    prepared_s = round(time.monotonic() - began, 3)
    exchange = Exchange(buffers, options.symbols, options.rate, options.linger)
    server = await asyncio.start_server(exchange.meet, "127.0.0.1", options.port)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    memory_mib = psutil.Process().memory_info().rss >> 20  # ru_maxrss would begin with the parent's own
    opening = {
        "url": f"ws://{address}",
        "rest": f"http://{address}",
        "prepared_s": prepared_s,
        "memory_mib": memory_mib,
    }
    print(json.dumps(opening), flush=True)
    print(json.dumps(await exchange.report), flush=True)
    await exchange.over.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--symbols", type=int, default=10)
    parser.add_argument("--frames", type=int, default=500_000)
    parser.add_argument("--rate", type=float, default=0.0, help="frames per second; 0: as fast as they are taken")
    parser.add_argument("--trades-share", type=float, default=0.2)
    parser.add_argument(
        "--linger", type=float, default=60.0, help="seconds to wait for the client to leave after the last frame"
    )
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
