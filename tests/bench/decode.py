"""Microseconds of CPU a frame, by dialect and kind, beside ccxt's handler: `python tests/bench/decode.py`.

Of recorded traffic (`python tests/bench/decode.py CAPTURE…` for other files), then of the tests' sample frame of
each kind, over and over. Each figure is the best of several repeats. `book` is a book message decoded and kept, ours
exact and checked, ccxt's as floats and by its own rule.
"""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "venues"))

from rivals import Rival
from spoken import ALL

from traderd.adapters.capture import Capture
from traderd.core.book import Book
from traderd.core.market import Ack, BookDelta, BookSnapshot, Heartbeat, Instrument, Numbered, VenueEvent
from traderd.venues.dialect import Dialect
from traderd.venues.playback import Recorded, events_of
from traderd.venues.registry import recorded_dialect

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
FRAMES_MAX = 4_000
"""Of one kind: ccxt takes its time."""
NOW = 1_723_161_254_024_619_568
_BOOKS = (BookDelta, BookSnapshot)
_OTHERS = (*_BOOKS, Ack, Heartbeat)


async def main(paths: list[Path]) -> None:
    """Print one line for each kind of each capture, then of each dialect's samples."""
    for path in paths:
        with Capture(path) as capture:
            venue, market, records = capture.header.venue, capture.header.market, list(capture)
        address = next((record.text.decode() for record in records if record.kind == "connect"), "")
        try:
            spoken = recorded_dialect(venue, 10, market, address)
        except KeyError:
            continue
        spoken.discover()
        print(f"{path.parent.name}/{path.name}")
        measure_capture(venue, getattr(spoken, "market", market or "spot"), spoken, records)
    for each in ALL:
        print(f"{each.name}: samples")
        rival = Rival(each.venue, each.market, [each.instrument])
        for frame in each.frames:
            made = each.make()  # of two streams that tell the same only the first is read
            kind = kind_of(made.decode(frame, NOW))
            if kind:
                print_cost(kind, [frame] * 1_000, made, rival)


def measure_capture(venue: str, market: str, spoken: Dialect, records: list[Recorded]) -> None:
    """Ticks and the like by kind, then the books."""
    by_kind: dict[str, list[bytes]] = defaultdict(list)
    instruments: dict[str, Instrument] = {}
    for record in records:
        for event in events_of(spoken, record):
            if (instrument := getattr(event, "instrument", None)) is not None:
                instruments[instrument.symbol] = instrument
        if record.kind == "frame" and (kind := kind_of(spoken.decode(record.text, NOW))):
            by_kind[kind].append(record.text)
    rival = Rival(venue, market, list(instruments.values()))
    for kind, frames in by_kind.items():
        print_cost(kind, frames[:FRAMES_MAX], spoken, rival)
    print_books(spoken, rival, records)


def kind_of(events: Sequence[VenueEvent]) -> str:
    """The type of what the frame says; "" for books, which are measured by themselves, and for what is no data."""
    told = [event for event in events if not isinstance(event, Numbered)]
    return "" if not told or isinstance(told[0], _OTHERS) else type(told[0]).__name__


def print_cost(kind: str, frames: list[bytes], spoken: Dialect, rival: Rival) -> None:
    """One line."""
    texts = [frame.decode() for frame in frames]
    ours = best(partial(decode_all, spoken, frames), len(frames))
    theirs = best(partial(feed_all, rival, texts), len(frames), repeats=3) if rival.handles(texts[0]) else 0.0
    print_line(kind, len(frames), ours, theirs)


def print_line(kind: str, count: int, ours: float, theirs: float) -> None:
    """`theirs` is 0 where ccxt makes nothing of the frame."""
    beside = f"ccxt {theirs:8.2f} µs, {theirs / ours:5.1f} times" if theirs else "ccxt: nothing"
    print(f"  {kind:14}{count:8} of them  {ours:8.2f} µs each   {beside}")


def print_books(spoken: Dialect, rival: Rival, records: list[Recorded]) -> None:
    """One line. Both sides start from the same snapshots; what ccxt would have to wait for is left out."""
    snapshots: list[BookSnapshot] = []
    frames: list[bytes] = []
    symbols: set[str] = set()
    for record in records:
        events = [event for event in events_of(spoken, record) if isinstance(event, _BOOKS)]
        if record.kind == "http":
            snapshots += [event for event in events if isinstance(event, BookSnapshot)]
        elif events:
            frames.append(record.text)
            symbols |= {event.instrument.symbol for event in events}
    if not frames:
        return
    frames = list(islice(frames, FRAMES_MAX))
    texts = [frame.decode() for frame in frames]

    books: dict[str, Book] = defaultdict(Book)

    def begin() -> None:
        books.clear()
        rival.forget_books()
        for snapshot in snapshots:
            books[snapshot.instrument.symbol].snapshot(snapshot)
            rival.begin_book(snapshot)

    ours = best(partial(keep_all, spoken, frames, books), len(frames), before=begin)
    theirs = best(partial(feed_all, rival, texts), len(frames), repeats=3, before=begin)
    kept = all(map(rival.has_book, symbols))
    print_line("book", len(frames), ours, theirs if kept else 0.0)


def decode_all(spoken: Dialect, frames: list[bytes]) -> None:
    """What the session does with each frame."""
    decode = spoken.decode
    for frame in frames:
        decode(frame, NOW)


def feed_all(rival: Rival, texts: list[str]) -> None:
    """What ccxt does with each."""
    feed = rival.feed
    for text in texts:
        feed(text)


def keep_all(spoken: Dialect, frames: list[bytes], books: dict[str, Book]) -> None:
    """What the session does with each book message."""
    decode = spoken.decode
    for frame in frames:
        for event in decode(frame, NOW):
            if isinstance(event, BookDelta):
                books[event.instrument.symbol].delta(event)
            elif isinstance(event, BookSnapshot):
                books[event.instrument.symbol].snapshot(event)


def best(run: Callable[[], None], count: int, repeats: int = 7, before: Callable[[], None] = lambda: None) -> float:
    """Microseconds for each of `count`, of the fastest repeat."""
    times = []
    for _ in range(repeats):
        before()
        begin = time.process_time_ns()
        run()
        times.append(time.process_time_ns() - begin)
    return min(times) / 1000 / count


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    asyncio.run(main(given or sorted(CAPTURES.glob("*/*.frames.gz"))))
