from collections import Counter
from pathlib import Path

import pytest

from made_up import QuoteJudge
from traderd.adapters.capture import Capture
from traderd.core.market import Quote, Trade
from traderd.core.quality import QualitySettings, TradeGate, names_of
from traderd.venues.playback import events_of
from traderd.venues.registry import dialect

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES.name}")


@pytest.mark.parametrize(
    ("name", "ticks"),
    [
        ("binance/spot_ethusdt", 30_183),
        ("binance/spot_four_symbols_2021", 86),
        ("binance/usdm_ethusdt", 68_068),
        ("coinbase/first_150", 28),
    ],
)
def test_nothing_of_real_traffic_is_doubted(name: str, ticks: int) -> None:
    """With the settings as they come: no jump, no crossed or repeated or old quote, no odd time."""
    quotes: dict[str, QuoteJudge] = {}
    trades: dict[str, TradeGate] = {}
    found, seen = Counter[str](), 0
    with Capture(CAPTURES / f"{name}.frames.gz") as capture:
        spoken = dialect(capture.header.venue, 10, capture.header.market)
        spoken.discover()
        for record in capture:
            for event in events_of(spoken, record):
                if isinstance(event, Quote):
                    gate = quotes.setdefault(event.instrument.venue_symbol, QuoteJudge(QualitySettings()))
                    found.update(names_of(gate.judge(event)))
                elif isinstance(event, Trade):
                    judge = trades.setdefault(event.instrument.venue_symbol, TradeGate(QualitySettings()))
                    found.update(names_of(judge.judge(event)))
                seen += isinstance(event, Quote | Trade)
    assert (found, seen) == (Counter(), ticks)
