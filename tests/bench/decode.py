"""Microseconds per frame by dialect and kind, on recorded traffic: `python tests/bench/decode.py [CAPTURE…]`.

Each figure is the best of several repeats over the frames of one kind; `book` is what the local book costs a message.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from traderd.adapters.capture import Capture
from traderd.core.book import Book
from traderd.core.market import BookDelta, BookSnapshot, VenueEvent
from traderd.venues.dialect import Dialect
from traderd.venues.playback import Recorded, events_of
from traderd.venues.registry import dialect

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
DEFAULT = ("binance/spot_ethusdt", "binance/spot_four_symbols_2021", "kraken/ethusd_depth25")
TICKER = (
    b'{"channel":"ticker","type":"update","data":[{"symbol":"ETH/USD","bid":1877.29,"bid_qty":2.41130000,"ask":1877.30,'
    b'"ask_qty":0.07018245,"last":1877.30,"volume":20154.70312114,"vwap":1861.04,"low":1830.12,"high":1891.00,'
    b'"change":12.51,"change_pct":0.67,"timestamp":"2026-08-02T04:23:43.217117Z"}]}'
)
TRADE = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"ETH/USD","side":"buy","price":1877.30,"qty":0.07018245,'
    b'"ord_type":"limit","trade_id":4665906,"timestamp":"2026-08-02T04:23:43.217117Z"}]}'
)


def main(paths: list[Path]) -> None:
    """Print one line for each kind of each capture."""
    for path in paths:
        with Capture(path) as capture:
            spoken, records = dialect(capture.header.venue, 10), list(capture)
        spoken.discover()
        if spoken.exchange == "kraken":  # the captures have books only
            records += [Recorded(1, "frame", "ws1", text) for text in (TICKER, TRADE) for _ in range(1000)]
        print(f"{path.parent.name}/{path.name}")
        for kind, frames in by_kind(spoken, records).items():
            print_cost(kind, len(frames), best(partial(decode_all, spoken, frames)))
        events = [event for record in records for event in events_of(spoken, record)]
        books = [event for event in events if isinstance(event, BookDelta | BookSnapshot)]
        print_cost("book", len(books), best(partial(keep_all, books)))


def print_cost(kind: str, count: int, microseconds: float) -> None:
    """One line."""
    print(f"  {kind:14}{count:8} of them  {microseconds / count:8.2f} µs each")


def by_kind(spoken: Dialect, records: list[Recorded]) -> dict[str, list[bytes]]:
    """Frames by the type of what they say."""
    frames: dict[str, list[bytes]] = defaultdict(list)
    for record in records:
        if record.kind == "frame":
            events = events_of(spoken, record)
            frames[type(events[0]).__name__ if events else "(none)"].append(record.text)
    return frames


def decode_all(spoken: Dialect, frames: list[bytes]) -> None:
    """What the session does with each frame."""
    decode = spoken.decode
    for frame in frames:
        decode(frame, 1_723_161_254_024_619_568)


def keep_all(events: Sequence[VenueEvent]) -> None:
    """What the session does with each book message."""
    books: dict[str, Book] = defaultdict(Book)
    for event in events:
        if isinstance(event, BookDelta):
            books[event.instrument.symbol].delta(event)
        elif isinstance(event, BookSnapshot):
            books[event.instrument.symbol].snapshot(event)


def best(run: Callable[[], None], repeats: int = 7) -> float:
    """Microseconds of the fastest repeat."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - begin)
    return min(times) / 1000


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or [CAPTURES / f"{name}.frames.gz" for name in DEFAULT])
