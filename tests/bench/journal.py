"""What the journal costs, and what an order's intent waits for the disk:  python tests/bench/journal.py [FOLDER]

One record of 50 quotes is appended over and over, as a flush does; then intents of one kilobyte are forced to the disk
one by one, on a quiet disk and while ticks are written and forced beside it as the daemon does at 50,000 a second; and
beside each the same bytes without a journal, which is what the disk itself costs. FOLDER is on the disk that is asked
about; default: the folder of temporary files.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

from traderd.adapters.journal import FileJournal
from traderd.adapters.tick_rows import TickRows
from traderd.core.market import Instrument, Quote

MIB = 1024 * 1024
ROWS = 50
INTENTS = 400
TICKS_PER_SECOND = 50_000
SYNC_INTERVAL_S = 0.2


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        payload = batch()
        appending(Path(folder), payload)
        reading(Path(folder))
        intents(Path(folder) / "quiet", "on a quiet disk")
        with_ticks(Path(folder), payload)


def batch() -> bytes:
    """Fifty quotes as they are journalled."""
    instrument = Instrument(0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
    now = time.time_ns()
    quotes = [
        Quote(instrument, 67_249.77, 67_250.22, "67249.77,0.04,67250.22,0.03", n, now + n, now + n) for n in range(ROWS)
    ]
    return TickRows([instrument]).quotes(quotes, [None] * ROWS).payload


def appending(folder: Path, payload: bytes) -> None:
    """CPU and wall time of a tick, a sync every 200 ms' worth of ticks at the full rate included or not."""
    for name, every in (("without a sync", 0), ("forced every 10,000 ticks", 200)):
        journal = FileJournal(folder / name, 64 * MIB, 2048 * MIB)
        records, started, used = 20_000, time.perf_counter(), time.process_time()
        changes: list[float] = []
        journal.append("tick_data:binance:quote", ROWS, payload, 0, 0)
        in_a_segment = 64 * MIB // journal.size
        for number in range(1, records):
            before = time.perf_counter()
            journal.append("tick_data:binance:quote", ROWS, payload, 0, 0)
            if not number % in_a_segment:
                changes.append((time.perf_counter() - before) * 1e3)
            if every and number % every == 0:
                journal.sync()
        wall, cpu = time.perf_counter() - started, time.process_time() - used
        journal.close()
        ticks = records * ROWS
        each = f"{cpu / ticks * 1e6:.3f} us of CPU, {wall / ticks * 1e6:.3f} us"
        print(f"append {name}: {each} a tick of {len(payload) / ROWS:.0f} bytes")
        print(f"  at the change of a segment, in ms: {', '.join(f'{change:.1f}' for change in changes)}")


def reading(folder: Path) -> None:
    """The drain's side: CPU of a tick read back and checked."""
    journal = FileJournal(folder / "without a sync", 64 * MIB, 2048 * MIB)
    used, rows, after = time.process_time(), 0, 0
    while records := journal.read(after, 4 * MIB):
        rows += sum(record.rows for record in records)
        after = records[-1].position
    print(f"read back: {(time.process_time() - used) / rows * 1e6:.3f} us of CPU a tick")
    journal.close()


def intents(folder: Path, when: str) -> None:
    """How long append and sync of one intent take; in turn with the same by the system's calls alone."""
    journal = FileJournal(folder, 64 * MIB, 2048 * MIB)
    bare = os.open(folder / "bare", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    intent = b"x" * 1_000
    waits: dict[str, list[float]] = {"intent durable": [], "the disk alone": []}
    for _ in range(INTENTS):
        started = time.perf_counter()
        journal.append("facts", 2, intent, 0, 0)
        journal.sync()
        ended = time.perf_counter()
        waits["intent durable"].append((ended - started) * 1e6)
        os.write(bare, intent)
        os.fdatasync(bare)
        waits["the disk alone"].append((time.perf_counter() - ended) * 1e6)
        time.sleep(0.005)
    os.close(bare)
    journal.close()
    for name, each in waits.items():
        cuts = quantiles(each, n=1000)
        print(f"{name} {when}: p50 {cuts[499]:,.0f} us, p99 {cuts[989]:,.0f} us, p99.9 {cuts[998]:,.0f} us")


def with_ticks(folder: Path, payload: bytes) -> None:
    """The same beside a tick journal at work."""
    stop = threading.Event()
    writing = threading.Thread(target=_write_ticks, args=(folder, payload, stop))
    writing.start()
    intents(folder / "busy", f"beside {TICKS_PER_SECOND:,} ticks a second")
    stop.set()
    writing.join()


def _write_ticks(folder: Path, payload: bytes, stop: threading.Event) -> None:
    journal = FileJournal(folder / "beside", 64 * MIB, 2048 * MIB)
    synced = due = time.perf_counter()
    syncing: threading.Thread | None = None
    while not stop.is_set():
        journal.append("tick_data:binance:quote", ROWS, payload, 0, 0)
        due += ROWS / TICKS_PER_SECOND
        if due - synced > SYNC_INTERVAL_S and not (syncing and syncing.is_alive()):
            sync: Callable[[], None] = journal.detached_sync()
            syncing, synced = threading.Thread(target=sync), due
            syncing.start()
        time.sleep(max(0.0, due - time.perf_counter()))
    if syncing:
        syncing.join()
    journal.close()


if __name__ == "__main__":
    main()
