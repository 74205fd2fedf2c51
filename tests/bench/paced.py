"""A process that sends each websocket frame when it is due, and remembers when that was.

    python tests/bench/paced.py --rate 10000 --frames 300000 --times FILE [--symbols 10]

The frames are `generator`'s, encoded beforehand, with trades dated when they are due. It prints its addresses, waits
for a line on stdin, and from then on for nobody: frame n is due at the beginning plus n / rate, and whatever is due is
sent, also if earlier frames left late. FILE gets, of every trade, its symbol's place, its id, when it was due and when
it was handed to the socket (rows of an .npy array; nanoseconds since the epoch). What comes due while a full socket
takes nothing counts as handed over when it was due: it is the reader who is late. A second client hears nothing.
"""

import argparse
import asyncio
import ctypes
import json
import os
import select
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from generator import Exchange, Stream

from traderd.sim.prices import listings

AHEAD_NS = 200_000_000
"""From the line on stdin to the first frame."""
_PR_SET_TIMERSLACK = 29
_DIGITS = 13
"""Of a time in milliseconds."""


class Tape:
    """All frames back to back, where each of them ends, and which of them are trades."""

    def __init__(self, symbols: int, frames: int, trades_share: float, seed: int) -> None:
        draw = np.random.default_rng(seed)
        epoch_ms = int(time.time() * 1000)
        streams = [Stream(listing, epoch_ms) for listing in listings(symbols)]
        which = draw.integers(symbols, size=frames).tolist()
        trades = draw.random(frames) < trades_share
        steps = np.rint(draw.standard_t(3, frames) * 2).astype(int).tolist()
        sizes = draw.integers(1, 100_000, size=frames).tolist()
        made, ids, dates = [], [], []
        size = 0
        for n, is_trade, step, lots in zip(which, trades.tolist(), steps, sizes, strict=True):
            frame = streams[n].trade(lots, epoch_ms) if is_trade else streams[n].quote(step, lots)
            if is_trade:
                ids.append(int(frame.split(b'"t":', 1)[1].split(b",", 1)[0]))
                dates.append((size + frame.index(b'"E":') + 4, size + frame.index(b'"T":') + 4))
            size += len(frame)
            made.append(frame)
        self.content = np.frombuffer(bytearray(b"".join(made)), dtype=np.uint8)
        self.ends = np.cumsum([len(frame) for frame in made]).tolist()
        self.trades = np.flatnonzero(trades)
        self.places = np.array(which)[self.trades]
        self.ids = np.array(ids, dtype=np.int64)
        self._dates = np.array(dates, dtype=np.int64).reshape(-1, 2)

    def date(self, due_ns: np.ndarray) -> None:
        """Write into every trade that it happened when it is due."""
        ms = due_ns[self.trades] // 1_000_000
        for power in range(_DIGITS):
            digit = (ms // 10 ** (_DIGITS - 1 - power) % 10 + ord("0")).astype(np.uint8)
            for column in (0, 1):
                self.content[self._dates[:, column] + power] = digit


class PacedExchange(Exchange):
    """The little exchange of `generator`, with a sender of its own."""

    def __init__(self, tape: Tape, symbols: int, rate: float, times: Path) -> None:
        super().__init__([], symbols, rate, 600.0)
        self._tape, self._times = tape, times

    async def _send_all(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(sys.stdin.readline)
        begun_ns = time.time_ns() + AHEAD_NS
        due_ns = begun_ns + (np.arange(len(self._tape.ends)) * (1e9 / self._rate)).astype(np.int64)
        self._tape.date(due_ns)
        socket = writer.get_extra_info("socket")
        offset_ns = time.time_ns() - time.monotonic_ns()
        sent_ns = await asyncio.to_thread(send, socket.fileno(), self._tape, due_ns.tolist())
        stepped_us = abs(time.time_ns() - time.monotonic_ns() - offset_ns) // 1_000
        trades = self._tape.trades
        np.save(self._times, np.stack([self._tape.places, self._tape.ids, due_ns[trades], sent_ns[trades]]))
        self.report.set_result({"frames_sent": len(due_ns), "begun_ns": begun_ns, "clock_stepped_us": stepped_us})


def send(fd: int, tape: Tape, due_ns: list[int]) -> np.ndarray:
    """Send all, each frame not before it is due; when each was handed to the socket, or would have been if not full."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)  # a thread's sleeps else end up to 50 us late
    writable = select.poll()
    writable.register(fd, select.POLLOUT)
    content, ends, frames = memoryview(tape.content), tape.ends, len(due_ns)
    sent_ns = np.zeros(frames, dtype=np.int64)
    step_ns = (due_ns[-1] - due_ns[0]) / max(1, frames - 1)
    due, full_until_ns, full_ns = np.array(due_ns), 0, 0
    first = 0
    while first < frames:
        now = time.time_ns()
        if (early := due_ns[first] - now) > 0:
            time.sleep(early / 1e9)
            continue
        last = min(frames, max(first, int((now - due_ns[0]) / step_ns)) + 1)
        begin, end = ends[first - 1] if first else 0, ends[last - 1]
        while begin < end:
            try:
                begin += os.write(fd, content[begin:end])
            except BlockingIOError:
                writable.poll()
                full_ns = time.time_ns()
        bunch = due[first:last]
        sent_ns[first:last] = np.where(bunch <= full_until_ns, bunch, now)
        first, full_until_ns = last, full_ns
    return sent_ns


async def run(options: argparse.Namespace) -> None:
    """Prepare, listen, send, report."""
    tape = Tape(options.symbols, options.frames, options.trades_share, options.seed)
    exchange = PacedExchange(tape, options.symbols, options.rate, options.times)
    server = await asyncio.start_server(exchange.meet, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(json.dumps({"url": f"ws://{address}", "rest": f"http://{address}"}), flush=True)
    print(json.dumps(await exchange.report), flush=True)
    await exchange.over.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rate", type=float, required=True, help="frames per second")
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--times", type=Path, required=True)
    parser.add_argument("--symbols", type=int, default=10)
    parser.add_argument("--trades-share", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
