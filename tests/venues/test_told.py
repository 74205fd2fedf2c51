"""What every dialect builds of a venue's texts: exact, or refused by a reason of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, Liquidation, Quote, Trade, VenueCandle
from traderd.venues.told import (
    candle_of,
    has_empty_side,
    liquidation_of,
    price_of,
    quantity_of,
    quote_of,
    rate_of,
    side_of,
    trade_of,
)

BTC = Instrument(0, "kraken", "BTC/USD", "BTC/USD", "BTC", "USD")
PRICES = ("1.50", "2", "1", "1.9")


def test_texts_are_kept_beside_their_floats() -> None:
    """As they were sent, zeros at the end and all; a quote without a number is told apart by its nanoseconds."""
    assert quote_of(BTC, "1.50", "0", "2", "3.0", 7, 8, 1_009) == Quote(BTC, 1.5, 2.0, "1.50,0,2,3.0", 7, 8, 1_009)
    assert quote_of(BTC, "1.50", "0", "2", "3.0", -1, 8, 1_009).sequence == 9
    assert trade_of(BTC, "5", "sell", "1.50", "2", 8, 9) == Trade(BTC, "5", "sell", 1.5, "1.50,2", 8, 9)
    assert candle_of(BTC, "1m", 60, PRICES, "0", True, 8, 9) == VenueCandle(
        BTC, "1m", 60, "1.50", "2", "1", "1.9", "0", True, 8, 9
    )
    assert liquidation_of(BTC, "buy", "1.50", "2", 8, 9) == Liquidation(BTC, "buy", "1.50", "2", 8, 9)
    assert (price_of("0.10"), quantity_of("0"), rate_of("-0.0001")) == ("0.10", "0", "-0.0001")
    assert side_of("Buy", {"Buy": "buy"}) == "buy"


@pytest.mark.parametrize("text", ["", "-1", "NaN", "1e5", "1,2", " 1", "1_0", "9" * 33, "٣"])
@pytest.mark.parametrize(
    "build",
    [
        lambda text: quote_of(BTC, text, "1", "2", "1", 0, 0, 0),
        lambda text: quote_of(BTC, "1", "1", "2", text, 0, 0, 0),
        lambda text: trade_of(BTC, "1", "buy", text, "1", 0, 0),
        lambda text: trade_of(BTC, "1", "buy", "1", text, 0, 0),
        lambda text: candle_of(BTC, "1m", 0, ("1", "1", text, "1"), "1", False, 0, 0),
        lambda text: candle_of(BTC, "1m", 0, ("1", "1", "1", "1"), text, False, 0, 0),
        lambda text: liquidation_of(BTC, "buy", "1", text, 0, 0),
        price_of,
        quantity_of,
    ],
)
def test_what_is_no_number_is_refused_wherever_it_stands(build: Callable[[str], Any], text: str) -> None:
    """Never read as another, never rounded."""
    with pytest.raises(BadFrameError, match="bad_number"):
        build(text)


def test_a_price_of_nothing_is_none_and_a_side_is_one_of_two() -> None:
    """Zero is a quantity; only a rate may be below it."""
    for build in (lambda: price_of("0.00"), lambda: candle_of(BTC, "1m", 0, ("0", "1", "1", "1"), "1", False, 0, 0)):
        with pytest.raises(BadFrameError, match="bad_number"):
            build()
    with pytest.raises(BadFrameError, match="bad_number"):
        rate_of("+1")
    with pytest.raises(BadFrameError, match="bad_side"):
        side_of("buy", {"Buy": "buy"})
    assert has_empty_side("0.0", "0", "1", "1") and has_empty_side("1", "1", "0", "0.00")
    assert not has_empty_side("0", "1", "1", "0")
