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
from lossy import Reader, Sides, StreamKey, Traffic, lost_from, side_by_side, traffic_of

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
    """Each loss lies in a gap that begins at the message before it; no gap is without; each is found at once."""
    kept = reader.heard[key]
    removed = [at for at in lost if kept[0] < at < kept[-1] and traffic.concerns(key, at)]
    standing = [gap for gap in reader.ledger.open_gaps() if (gap.symbol, gap.channel) == key]
    spans = [(gap.from_ns // 1_000, gap.to_ns // 1_000) for gap in reader.gaps.get(key, [])]
    spans += [(gap.from_ns // 1_000, kept[-1]) for gap in standing]
    found = reader.found.get(key, [])
    for at in removed:
        (span,) = [span for span in spans if span[0] < at < span[1]]
        before, after = kept[bisect_left(kept, at) - 1], kept[bisect_right(kept, at)]
        if before == span[0]:
            assert after in found, f"{key}: {at} was lost and {after} didn't tell"
    for first, last in spans:
        assert any(kept[bisect_left(kept, at) - 1] == first and at < last for at in removed), f"{first} to {last}"
    return len(spans)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("name", "levels"), SUMMED)
def test_where_books_are_summed_no_covered_level_is_ever_wrong(
    name: str, levels: int | None, part: int, tmp_path: Path
) -> None:
    """What a checksum covers is right whenever it is shown. What lies below it no reader of the venue can tell."""
    traffic, breaks = traffic_of(CAPTURES / f"{name}.frames.gz"), 0

    def told(lost: set[int], symbol: str, reader: Reader, truth: Sides) -> None:
        nonlocal breaks
        if not symbol:
            breaks += sum(len(found) for found in reader.found.values())
            return
        shown = reader.book(symbol)
        assert (shown.bids()[:levels], shown.asks()[:levels]) == (truth[0][:levels], truth[1][:levels])

    play(traffic, [lost_from(traffic, seed) for seed in _seeds(part, 25)], tmp_path, told)
    assert breaks >= 10
