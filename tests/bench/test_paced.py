"""The paced generator's own clock can't be slowed by who reads from it."""

import socket
import threading
import time

import numpy as np
from paced import Tape, send

FRAMES = 3_000
RATE = 10_000.0
PAUSE_S = 0.15


def drained(end: socket.socket, size: int, from_ns: int) -> threading.Thread:
    """Reads everything, from then on."""

    def read() -> None:
        time.sleep(max(0.0, (from_ns - time.time_ns()) / 1e9))
        left = size
        while left:
            left -= len(end.recv(1 << 16))

    reading = threading.Thread(target=read)
    reading.start()
    return reading


def test_a_reader_that_pauses_is_late_by_all_of_its_pause_and_not_by_its_first_frame_alone() -> None:
    """What came due while the socket was full counts from then on, as if it had been handed over."""
    tape = Tape(symbols=2, frames=FRAMES, trades_share=0.5, seed=1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        due_ns = time.time_ns() + (np.arange(FRAMES) * (1e9 / RATE)).astype(np.int64)
        reading = drained(theirs, tape.ends[-1], int(due_ns[0] + PAUSE_S * 1e9))
        sent_ns = send(ours.fileno(), tape, due_ns.tolist())
        reading.join()
    late_ns = sent_ns - due_ns
    full = (due_ns > due_ns[0] + 50e6) & (due_ns < due_ns[0] + (PAUSE_S - 0.02) * 1e9)
    assert full.sum() > 500
    assert not late_ns[full].any()
    assert (late_ns >= 0).all()
