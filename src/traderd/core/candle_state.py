"""What a CandleBuilder knows, as src/native/candle_bars.h lays it out in the memory: there and back.

A Head, and for each timeframe a Bar and the ring of its Closed.
"""

import struct
import sys

from traderd.core.candles import Bar, CandleBuilder
from traderd.core.traded import Figures, Traded, TradedSlowly

_HEAD = struct.Struct("=5q")  # deadline, floor, now, grace, kept from
_SUM = struct.Struct("=16s16s16s16s16s16s3q2i")  # prices, volumes, first, last, count, places of either
_BAR = struct.Struct("=4q")  # opened, ends, closed to, place of the next that is kept
_CLOSED = struct.Struct("=2q")  # opened, nothing
_NOTHING = bytes(_SUM.size)


def pack(builder: CandleBuilder, kept: int) -> bytes:
    """All that a builder knows. Raises OverflowError where there is more than C keeps."""
    head = builder.deadline_ns, builder.floor_ns, builder.now_ns, builder.grace_ns, builder.kept_from_ns
    try:
        return _HEAD.pack(*head) + b"".join(_packed(bar, builder.kept_from_ns, kept) for bar in builder.bars)
    except struct.error as error:
        raise OverflowError(*error.args) from error


def unpack(builder: CandleBuilder, state: bytes, kept: int) -> None:
    """What was packed, into a builder of the same timeframes that has had nothing yet. `kept`: closed bars of each."""
    head = _HEAD.unpack_from(state)
    builder.deadline_ns, builder.floor_ns, builder.now_ns, builder.grace_ns, builder.kept_from_ns = head
    at = _HEAD.size
    for bar in builder.bars:
        bar.part = _sum_at(state, at)
        bar.open_time_ns, bar.end_ns, bar.closed_to_ns, _ = _BAR.unpack_from(state, at + _SUM.size)
        at += _SUM.size + _BAR.size
        for _ in range(kept):
            opened_ns, _ = _CLOSED.unpack_from(state, at + _SUM.size)
            if part := _sum_at(state, at):
                bar.closed[opened_ns] = part
            at += _SUM.size + _CLOSED.size


def _packed(bar: Bar, keep_from_ns: int, kept: int) -> bytes:
    bar.keep_from(keep_from_ns)
    if len(bar.closed) > kept:
        raise OverflowError("more bars that may be amended than are kept in C")
    ring = [_summed(part) + _CLOSED.pack(opened_ns, 0) for opened_ns, part in sorted(bar.closed.items())]
    times = bar.open_time_ns, bar.end_ns, bar.closed_to_ns, len(ring) % kept
    free = bytes(_SUM.size + _CLOSED.size) * (kept - len(ring))
    return _summed(bar.part) + _BAR.pack(*times) + b"".join(ring) + free


def _sum_at(state: bytes, at: int) -> Traded | None:
    *figures, first_ns, last_ns, count, price_places, quantity_places = _SUM.unpack_from(state, at)
    digits = [int.from_bytes(figure, sys.byteorder) for figure in figures]
    known: Figures = (first_ns, last_ns, *digits, price_places, quantity_places, count)
    return TradedSlowly(*known) if count else None


def _summed(part: Traded | None) -> bytes:
    if part is None:
        return _NOTHING
    first_ns, last_ns, *digits, price_places, quantity_places, count = part.figures()
    figures = (digit.to_bytes(16, sys.byteorder) for digit in digits)
    return _SUM.pack(*figures, first_ns, last_ns, count, price_places, quantity_places)
