from decimal import Decimal
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from made_up import BTC, START, figures_of, trade
from traderd.core.bars import BarBuilder, BarSettings, builders_of
from traderd.core.candles import timeframe_ns
from traderd.core.market import Trade

rows = st.lists(
    st.tuples(st.decimals("0.01", "999", places=2), st.decimals("0.001", "99", places=3), st.integers(0, 3_000)),
    max_size=80,
)
kinds = st.sampled_from(["tick", "volume", "dollar"])


def plainly(trades: list[Trade], kind: str, size: Decimal) -> list[list[Trade]]:
    """The trades of each full bar, by running sums."""
    bars, inside, filled = [], [], Decimal(0)
    for each in trades:
        price, quantity = Decimal(each.price_text), Decimal(each.quantity_text)
        filled += {"tick": Decimal(1), "volume": quantity, "dollar": price * quantity}[kind]
        inside.append(each)
        if filled >= size:
            bars.append(inside)
            inside, filled = [], Decimal(0)
    return bars


@given(rows, kinds, st.integers(1, 50))
def test_a_bar_ends_with_the_trade_that_fills_it(
    rows: list[tuple[Decimal, Decimal, int]], kind: str, size: int
) -> None:
    """Against running sums, figure by figure; no two bars have the same time."""
    at, trades = START, []
    for price, quantity, step in rows:
        at += step
        trades.append(trade(f"{price:f}", f"{quantity:f}", at))
    builder = BarBuilder(BTC, BarSettings(kind, Decimal(size)))  # type: ignore[arg-type]  # a kind
    bars = [bar for each in trades if (bar := builder.on_trade(each))]
    expected = plainly(trades, kind, Decimal(size))
    assert len(bars) == len(expected)
    for bar, inside in zip(bars, expected, strict=True):
        prices = [Decimal(each.price_text) for each in inside]
        made = figures_of(bar)
        assert made[:4] == (prices[0], max(prices), min(prices), prices[-1])
        assert made.volume == sum(Decimal(each.quantity_text) for each in inside)
        assert made.quote_volume == sum(Decimal(each.price_text) * Decimal(each.quantity_text) for each in inside)
        assert bar.trades_count == len(inside)
        assert bar.open_time_ns >= inside[0].time_venue_ns // 1_000 * 1_000
    times = [bar.open_time_ns // 1_000 for bar in bars]
    assert all(len(list(same)) == 1 for _, same in groupby(times))
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("kind", "size", "name"),
    [("tick", "500", "500-ticks"), ("volume", "0.50", "0.5-units"), ("dollar", "1E+5", "100000-dollars")],
)
def test_no_bars_name_is_a_length_of_time(kind: str, size: str, name: str) -> None:
    """And all end in s, by which the other tools' views leave them out."""
    settings = BarSettings(kind, Decimal(size))  # type: ignore[arg-type]  # a kind
    assert settings.timeframe == name
    with pytest.raises(ValueError, match="is not a timeframe"):
        timeframe_ns(name)


@pytest.mark.parametrize(
    ("market", "kind", "trades"),
    [("linear", "volume", 5), ("linear", "dollar", 1), ("inverse", "volume", 50), ("inverse", "dollar", 5)],
)
def test_a_contract_counts_for_what_it_stands_for(market: str, kind: str, trades: int) -> None:
    """Contracts of 100 (units if linear, dollars if inverse), one a trade at a price of 10, until 500 are full."""
    contract = replace(BTC, market=market, contract_size=Decimal(100))
    size = Decimal(1_000) if (market, kind) == ("linear", "dollar") else Decimal(500)
    builder = BarBuilder(contract, BarSettings(kind, size))  # type: ignore[arg-type]  # a kind
    filled = [number for number in range(1, 60) if builder.on_trade(trade("10", "1", START + number, contract))]
    assert filled[0] == trades


def test_bars_are_made_of_the_symbols_that_are_named() -> None:
    """None named: of all."""
    some, every = BarSettings("tick", Decimal(1), frozenset({"ETH/USDT"})), BarSettings("tick", Decimal(2))
    assert len(builders_of([some, every], BTC)) == 1


@given(rows, kinds, st.integers(1, 50))
def test_every_trade_is_in_one_bar_or_in_the_one_in_progress(
    rows: list[tuple[Decimal, Decimal, int]], kind: str, size: int
) -> None:
    """Volumes, values and counts of the bars and of what follows them are those of all the trades."""
    trades = [trade(f"{price:f}", f"{quantity:f}", START + number) for number, (price, quantity, _) in enumerate(rows)]
    builder = BarBuilder(BTC, BarSettings(kind, Decimal(size)))  # type: ignore[arg-type]  # a kind
    bars = [bar for each in trades if (bar := builder.on_trade(each))]
    inside = sum(bar.trades_count for bar in bars)
    rest = trades[inside:]
    assert sum(figures_of(bar).volume for bar in bars) == sum(Decimal(each.quantity_text) for each in trades[:inside])
    assert len(plainly(rest, kind, Decimal(size))) == 0, "what is in progress would have filled a bar"


def test_a_trade_larger_than_a_bar_is_one_bar_and_what_is_over_counts_for_no_other() -> None:
    """Whole in the bar that it fills, as the module says; the next bar begins empty."""
    builder = BarBuilder(BTC, BarSettings("volume", Decimal(10)))
    made = [
        builder.on_trade(trade("5", quantity, START + n)) for n, quantity in enumerate(["9", "35", "9.999", "0.001"])
    ]
    assert [bar and bar.volume for bar in made] == [None, "44", None, "10.000"]
    assert [bar.trades_count for bar in made if bar] == [2, 2]
