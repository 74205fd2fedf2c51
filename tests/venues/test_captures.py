"""Real traffic, replayed, agrees in every figure with what was computed from it independently."""

import json
from pathlib import Path

import pytest

from traderd.adapters.capture import Capture
from traderd.core.tally import Tally
from traderd.venues.playback import events_of
from traderd.venues.registry import dialect

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
FIGURES = ("books", "trades", "bookTicker", "last_bookTicker")

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES.name}")


@pytest.mark.parametrize(
    "name",
    [
        "binance/spot_ethusdt",
        "binance/spot_four_symbols_2021",
        "binance/usdm_ethusdt",
        "kraken/btcusd_depth10_resync",
        "kraken/ethusd_depth25",
        "okx/three_instruments_2022",
    ],
)
def test_a_replayed_capture_agrees_in_every_figure(name: str) -> None:
    """Books, checksums, sums, trades and quotes, text by text; the book's depth is read from the traffic."""
    expected = json.loads((CAPTURES / "expected.json").read_text())[f"{name}.frames.gz"]
    tally = Tally()
    with Capture(CAPTURES / f"{name}.frames.gz") as capture:
        spoken = dialect(capture.header.venue, 10, capture.header.market)
        spoken.discover()
        for record in capture:
            for event in events_of(spoken, record):
                tally.add(event)
    figures = FIGURES[:2] if capture.header.venue == "okx" else FIGURES  # of OKX's tickers nothing was computed
    report = tally.report()
    assert {figure: report[figure] for figure in figures} == {figure: expected.get(figure, {}) for figure in figures}
    assert not capture.torn
