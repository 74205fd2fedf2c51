"""Which venues are heard through ccxt, and what `traderd check` says of them."""

from pathlib import Path

import pytest

from traderd.config import load_config, plan
from traderd.core.errors import ConfigError


def outline(tmp_path: Path, venue: str) -> dict[str, object]:
    file = tmp_path / "config.yaml"
    file.write_text(f"venues: [{{{venue}}}]\n")
    shown: dict[str, object] = plan(load_config(file), file)["venues"][0]
    return shown


def test_any_other_venue_of_ccxt_s_is_heard_through_it_and_that_is_said(tmp_path: Path) -> None:
    """With how each channel comes, and what the venue hasn't got."""
    shown = outline(tmp_path, "name: bitfinex, symbols: [BTC/USD, BTC/USD:BTC], tape_check_s: 20")
    assert str(shown["path"]).startswith(
        "through ccxt, the slower path: its websockets, trades checked against REST each 20 s"
    )
    told = ["quote (websocket)", "trade (websocket)", "book (websocket)", "candle (polled)"]
    assert (shown["channels"], shown["unavailable"], shown["streams"]) == (told, [], 8)
    few = outline(tmp_path, "name: gate, symbols: ['BTC/USDT:USDT'], channels: [quote, open_interest, liquidation]")
    assert (few["channels"], few["unavailable"]) == (["quote (websocket)"], ["open_interest", "liquidation"])


def test_a_venue_that_is_spoken_natively_may_be_heard_through_ccxt_all_the_same(tmp_path: Path) -> None:
    """By choice alone."""
    assert outline(tmp_path, "name: kraken, symbols: [BTC/USD]")["path"] == "native"
    assert "through ccxt" in str(outline(tmp_path, "name: kraken, via: ccxt, symbols: [BTC/USD]")["path"])


@pytest.mark.parametrize(
    ("venue", "told"),
    [
        (
            "name: bitfinx, symbols: [A/B]",
            "neither spoken natively nor a venue of ccxt's: 'bitfinx': did you mean 'bitfinex'?",
        ),
        (
            "name: bitfinex, symbols: [A/B], channels: [liquidation]",
            "channels: through ccxt there are only book, candle, funding, mark, open_interest, quote, trade",
        ),
        (
            "name: bitfinex, symbols: [A/B], endpoint: sim",
            "the simulated exchange speaks binance's protocol, not bitfinex's",
        ),
        ("name: bitfinex, symbols: [A/B], tape_check_s: 1", "tape_check_s: must be at least 5"),
        ("name: ../etc, symbols: [A/B]", "expected a venue as ccxt spells it"),
    ],
)
def test_what_can_not_be_meant_is_told(tmp_path: Path, venue: str, told: str) -> None:
    """In one line, with what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        outline(tmp_path, venue)
    assert any(told in line for line in caught.value.lines), caught.value.lines
