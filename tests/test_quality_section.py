from pathlib import Path

import pytest

from traderd.config import load_config
from traderd.config.engine import engine_settings
from traderd.core.engine import Engine
from traderd.core.errors import ConfigError

VENUES = "venues:\n  - {name: binance, endpoint: sim, symbols: [BTC/USDT]}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_bars_and_quality_reach_the_engine(file: Path) -> None:
    """With the names under which the bars are stored."""
    bars = "[{kind: tick, size: 500}, {kind: dollar, size: 100000.5, symbols: [BTC/USDT]}]"
    file.write_text(f"{VENUES}engine: {{bars: {bars}, book_snapshot_interval_s: 5}}\nquality: {{jump_sigmas: 8}}\n")
    settings = engine_settings(load_config(file), "r")
    assert [each.timeframe for each in settings.bars] == ["500-ticks", "100000.5-dollars"]
    assert [each.symbols for each in settings.bars] == [frozenset(), frozenset({"BTC/USDT"})]
    assert (settings.quality.jump_sigmas, settings.book_snapshot_interval_s) == (8.0, 5.0)


@pytest.mark.parametrize(
    ("bars", "told"),
    [
        ("{kind: tick, size: 1.5}", "engine.bars[0].size: must be a whole number of trades"),
        ("{kind: tick, size: 2, symbols: [ETH/USDT]}", "engine.bars[0].symbols[0]: no venue is asked for 'ETH/USDT'"),
        ("{kind: volume, size: 2}, {kind: volume, size: 2.0}", "engine.bars[1].size: such bars are there twice"),
        ("{kind: time, size: 2}", "engine.bars[0].kind"),
        ("{kind: tick, size: 0}", "engine.bars[0].size"),
    ],
)
def test_bars_that_cannot_be_meant_are_refused(file: Path, bars: str, told: str) -> None:
    """One line that says where and why."""
    file.write_text(f"{VENUES}engine: {{bars: [{bars}]}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert any(told in line for line in caught.value.lines)


STRATEGY = "strategies: [{type: ema_cross, name: a, exchange: binance, symbol: BTC/USDT, timeframe: 500-ticks}]\n"


def test_a_strategy_names_bars_as_they_are_stored(file: Path) -> None:
    """And the engine takes them."""
    file.write_text(f"{VENUES}engine: {{bars: [{{kind: tick, size: 500}}]}}\n{STRATEGY}")
    settings = engine_settings(load_config(file), "r")
    assert [each.timeframe for each in settings.strategies] == [each.timeframe for each in settings.bars]
    Engine(settings, [])


@pytest.mark.parametrize(
    ("bars", "told"),
    [
        ("{kind: tick, size: 50}", "1m; nor among engine.bars of BTC/USDT: 50-ticks"),
        ("{kind: tick, size: 500, symbols: [ETH/USDT]}", "'500-ticks' isn't in engine.timeframes: 1s, 1m"),
        ("{kind: tik, size: 500}", "engine.bars[0].kind"),
        ("{kind: tick, size: x}", "engine.bars[0].size"),
    ],
)
def test_a_strategy_on_bars_that_nobody_makes_is_refused(file: Path, bars: str, told: str) -> None:
    """With those that there are; a mistake in the bars themselves is told, too."""
    file.write_text(f"{VENUES.replace('[BTC', '[ETH/USDT, BTC')}engine: {{bars: [{bars}]}}\n{STRATEGY}")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert any(told in line for line in caught.value.lines)
