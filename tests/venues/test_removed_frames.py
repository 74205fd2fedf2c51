"""One frame in a thousand is removed from real traffic: every break is found, no book is wrong, the ledger is exact."""

import os
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import compress, islice, pairwise
from pathlib import Path

import pytest
from lossy import BookKey, Frame, Reader, frames_of, lost_from, side_by_side

from traderd.core.tally import Tally

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
LONG = bool(os.environ.get("TRADERD_TEST_LONG"))
BATCH = 50
"""Readers beside each other: what the true book costs is shared."""
NUMBERED = [
    ("binance/spot_ethusdt", 10),
    ("binance/usdm_ethusdt", 4),
    ("binance/spot_four_symbols_2021", 60),
    ("coinbase/first_150", 20),
    ("bybit/first_400", 60),
]
"""With the number of seeds of an ordinary test run."""
SUMMED = [
    ("kraken/btcusd_depth10_resync", None),
    ("kraken/ethusd_depth25", 10),
    ("okx/three_instruments_2022", 25),
]
"""With the levels that the checksum covers; None: all that the book has."""

pytestmark = [
    pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES.name}"),
    pytest.mark.timeout(4 * 3600 if LONG else 120),
]


def _read(name: str) -> list[Frame]:
    try:
        return frames_of(CAPTURES / f"{name}.frames.gz")
    except KeyError:
        pytest.skip(f"{name.partition('/')[0]} isn't spoken here")


def _losses(frames: Sequence[Frame], short: int) -> list[set[int]]:
    """1,000 seeds when there is time."""
    return [lost_from(frames, seed) for seed in range(1_000 if LONG else short)]


@pytest.mark.parametrize(("name", "seeds"), NUMBERED)
def test_where_messages_are_numbered_the_ledger_has_exactly_what_was_removed(name: str, seeds: int) -> None:
    """Found at the very next message of the stream; what is shown equals the book of the whole capture, every time."""
    frames, found = _read(name), 0
    losses = iter(_losses(frames, seeds))
    while batch := list(islice(losses, BATCH)):
        for place, key, reader, truth in side_by_side(frames, batch):
            if key == ("", ""):
                found += _expect_exact_ledger(frames, batch[place], reader)
            else:
                assert reader.books[key].usable
                assert (reader.books[key].bids(), reader.books[key].asks()) == truth
    assert found >= 10


def _expect_exact_ledger(frames: Sequence[Frame], lost: set[int], reader: Reader) -> int:
    """Of each book's stream; returns how many breaks there were."""
    return sum(_expect_exact(key, _stream(frames, key), lost, reader) for key in reader.books)


def _stream(frames: Sequence[Frame], key: BookKey) -> list[int]:
    """The places of the frames whose loss this book could notice: on a numbered connection all of them."""
    return [
        frame.at
        for frame in frames
        if frame.recorded and (key in frame.keys or (frame.number is not None and frame.connection == key[0]))
    ]


def _expect_exact(key: BookKey, stream: Sequence[int], lost: set[int], reader: Reader) -> int:
    """Each loss lies in a gap that begins at the message before it; no gap is without; each is found at once."""
    kept = [at for at in stream if at not in lost]
    removed = [at for at in stream if at in lost and at < kept[-1]]
    spans = [(gap.from_ns, gap.to_ns or kept[-1]) for gap in reader.gaps.get(key, [])]
    spans += [(gap.from_ns, kept[-1]) for gap in reader.open_gaps if (gap.exchange, gap.symbol) == key]
    found = reader.found.get(key, [])
    for at in removed:
        (span,) = [span for span in spans if span[0] < at < span[1]]
        before, after = kept[bisect_left(kept, at) - 1], kept[bisect_right(kept, at)]
        if before == span[0]:
            assert after in found, f"{key}: {at} was lost and {after} didn't tell"
    for first, last in spans:
        assert any(kept[bisect_left(kept, at) - 1] == first and at < last for at in removed), f"{first} to {last}"
    return len(spans)


@pytest.mark.parametrize(("name", "levels"), SUMMED)
def test_where_books_are_summed_no_covered_level_is_ever_wrong(name: str, levels: int | None) -> None:
    """What a checksum covers is right whenever it is shown. What lies below it no reader of the venue can tell."""
    frames, breaks = _read(name), 0
    for _, key, reader, truth in side_by_side(frames, _losses(frames, 60)):
        if key == ("", ""):
            breaks += sum(len(gaps) for gaps in reader.gaps.values()) + len(reader.open_gaps)
            continue
        shown = reader.books[key]
        assert shown.usable
        assert (shown.bids()[:levels], shown.asks()[:levels]) == (truth[0][:levels], truth[1][:levels])
    assert breaks >= 20


@pytest.mark.parametrize("name", ["binance/spot_ethusdt", "binance/usdm_ethusdt"])
def test_every_removed_trade_is_found_at_the_next_one(name: str) -> None:
    """By the ids, which have no holes there."""
    frames = [frame for frame in _read(name) if frame.trades]
    for seed in range(1_000 if LONG else 30):
        dice = random.Random(seed)
        kept = [dice.random() >= 0.001 for _ in frames]
        kept[0] = kept[-1] = True
        kept[dice.randrange(1, len(kept) - 1)] = False
        tally = Tally()
        for frame in compress(frames, kept):
            tally.add_frame(frame.connection, frame.trades)
        (figures,) = tally.report()["trades"].values()
        assert figures["id_gaps"] == sum(not before and after for before, after in pairwise(kept))
