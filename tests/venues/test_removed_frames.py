"""One frame in a thousand is removed from real traffic: every break is found, no book is wrong, the ledger is exact.

TRADERD_TEST_LONG=1 tries 1,000 seeds of each capture, in four parts: `pytest -n 4` has them beside each other. On one
processor it takes three quarters of an hour, most of it for Binance's futures.
"""

import asyncio
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from lossy import FRAME_NS, Reader, Sides, StreamKey, Traffic, lost_from, side_by_side, traffic_of

from driven import DrivenLoop
from traderd.adapters.journal import FileJournal

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
LONG = bool(os.environ.get("TRADERD_TEST_LONG"))
PARTS = range(4 if LONG else 1)
BATCH = 50
"""Readers beside each other: what the true book costs is shared."""
NUMBERED = [
    ("binance/spot_ethusdt", 4),
    ("binance/usdm_ethusdt", 1),
    ("binance/spot_four_symbols_2021", 20),
    ("coinbase/first_150", 6),
    ("bybit/first_400", 20),
]
"""With the number of seeds of an ordinary test run."""
SUMMED = [
    ("kraken/btcusd_depth10_resync", None),
    ("kraken/ethusd_depth25", 10),
    ("okx/three_instruments_2022", 25),
]
"""With the levels that the checksum covers; None: all that the book has."""
Told = Callable[[set[int], str, Reader, Sides], None]
"""What is lost to this reader, a symbol whose book it shows, and what that book should be."""

pytestmark = [
    pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES.name}"),
    pytest.mark.timeout(4 * 3600 if LONG else 120),
]


def play(traffic: Traffic, losses: list[set[int]], folder: Path, told: Told) -> None:
    """In batches, each with a time of its own."""

    async def one(batch: list[set[int]]) -> None:
        async for place, symbol, reader, truth in side_by_side(traffic, batch, journal):
            told(batch[place], symbol, reader, truth)

    journal, waiting = FileJournal(folder, 2**20, 2**24), iter(losses)
    while batch := list(islice(waiting, BATCH)):
        with asyncio.Runner(loop_factory=DrivenLoop) as runner:
            runner.run(one(batch))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("name", "seeds"), NUMBERED)
def test_where_messages_are_numbered_the_ledger_has_exactly_what_was_removed(
    name: str, seeds: int, part: int, tmp_path: Path
) -> None:
    """Found at the very next message of the stream; what is shown equals the book of the whole capture, every time."""
    traffic, found = traffic_of(CAPTURES / f"{name}.frames.gz"), 0
    losses = [lost_from(traffic, seed) for seed in _seeds(part, seeds)]

    def told(lost: set[int], symbol: str, reader: Reader, truth: Sides) -> None:
        nonlocal found
        if symbol:
            assert (reader.book(symbol).bids(), reader.book(symbol).asks()) == truth
        else:
            found += _expect_exact_ledger(traffic, lost, reader)

    play(traffic, losses, tmp_path, told)
    assert found >= 10
    print(f"{name}: {len(losses)} seeds, {found} breaks")


def _seeds(part: int, few: int) -> range:
    """1,000 in all parts together, when there is time."""
    count = 1_000 // len(PARTS) if LONG else few
    return range(part * count, (part + 1) * count)


def _expect_exact_ledger(traffic: Traffic, lost: set[int], reader: Reader) -> int:
    """Of each stream that the venue numbers; returns how many breaks there were."""
    judged = [key for key in reader.heard if traffic.judged(key[1])]
    return sum(_expect_exact(key, traffic, lost, reader) for key in judged)


def _expect_exact(key: StreamKey, traffic: Traffic, lost: set[int], reader: Reader) -> int:
    """Each loss lies in a gap from the message before it to the next or to the whole book; each is found at once.

    No gap is without a loss.
    """
    kept, found, wholes = reader.heard[key], reader.found.get(key, []), reader.wholes.get(key, [])
    removed = [at for at in lost if kept[0] < at < kept[-1] and traffic.concerns(key, at)]
    closed, standing = _spans(key, reader)
    for at in removed:
        (first,) = [first for first, last in [*closed, *((begun, kept[-1]) for begun in standing)] if first < at < last]
        if _before(kept, at) == first:
            assert _after(kept, at) in found, f"{key}: {at} was lost and the next message didn't tell"
    for first in [*standing, *(first for first, _ in closed)]:
        assert any(_before(kept, at) == first for at in removed), f"{key}: {first} begins a gap and no loss"
    for first, last in closed:
        inside = [at for at in removed if first < at < last]
        assert last in (wholes if key[1] == "book" else [_after(kept, max(inside))]), f"{key}: {first} to {last}"
    return len(closed) + len(standing)


def _spans(key: StreamKey, reader: Reader) -> tuple[list[tuple[int, int]], list[int]]:
    """From which message to which the ledger's gaps of a stream go; and from which those that stand open."""
    standing = [gap for gap in reader.ledger.open_gaps() if (gap.symbol, gap.channel) == key]
    closed = [(gap.from_ns // FRAME_NS, gap.to_ns // FRAME_NS) for gap in reader.gaps.get(key, [])]
    return closed, [gap.from_ns // FRAME_NS for gap in standing]


def _before(kept: list[int], at: int) -> int:
    return kept[bisect_left(kept, at) - 1]


def _after(kept: list[int], at: int) -> int:
    return kept[bisect_right(kept, at)]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("name", "levels"), SUMMED)
def test_where_books_are_summed_no_covered_level_is_ever_wrong(
    name: str, levels: int | None, part: int, tmp_path: Path
) -> None:
    """What a checksum covers is right whenever it is shown, and no gap is without a loss.

    What lies below those levels no reader of the venue can tell.
    """
    traffic, breaks = traffic_of(CAPTURES / f"{name}.frames.gz"), 0
    losses = [lost_from(traffic, seed) for seed in _seeds(part, 25)]

    def told(lost: set[int], symbol: str, reader: Reader, truth: Sides) -> None:
        nonlocal breaks
        if not symbol:
            breaks += sum(_expect_true(key, traffic, lost, reader) for key in reader.found)
            return
        shown = reader.book(symbol)
        assert (shown.bids()[:levels], shown.asks()[:levels]) == (truth[0][:levels], truth[1][:levels])

    play(traffic, losses, tmp_path, told)
    assert breaks >= 10
    print(f"{name}: {len(losses)} seeds, {breaks} breaks")


def _expect_true(key: StreamKey, traffic: Traffic, lost: set[int], reader: Reader) -> int:
    """Each break follows a loss in a book that was whole; its gap goes from the message before to the whole book."""
    kept, found, wholes = reader.heard[key], reader.found[key], reader.wholes[key]
    closed, standing = _spans(key, reader)
    for at in found:
        whole = max(place for place in wholes if place < at)
        assert any(whole < each < at and traffic.concerns(key, each) for each in lost), f"{key}: {at} breaks, whole"
    assert sorted([*standing, *(first for first, _ in closed)]) == [_before(kept, at) for at in found]
    assert {last for _, last in closed} <= set(wholes)
    return len(found)
