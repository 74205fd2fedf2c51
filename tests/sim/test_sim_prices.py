"""Prices walk for ever without reaching zero, and the same seed walks the same way."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from traderd.sim.prices import PRICE_TICKS_MIN, REGIMES, UNIT, Walk, listings


def test_the_first_symbols_are_the_known_ones_and_the_rest_are_numbered() -> None:
    """Names and venue names are in step, and no name comes twice."""
    listed = listings(40)
    assert [listing.symbol for listing in listed[:7]] == [
        "BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT", "XRP/USDT", "ADA/USDT", "DOGE/USDT",
    ]  # fmt: skip
    assert (listed[12].symbol, listed[12].venue_symbol) == ("SYM0012/USDT", "SYM0012USDT")
    assert len({listing.venue_symbol for listing in listed}) == 40


def test_every_listing_has_exact_notionals_and_fine_ticks() -> None:
    """A tick times a lot is a whole number of units; a tick is at most 2.5 basis points; the price is on its grid."""
    for listing in listings(500):
        assert listing.tick * listing.lot % UNIT == 0, listing
        assert listing.price % listing.tick == 0, listing
        assert listing.price_ticks >= 4_000, listing
        assert listing.notional_step * UNIT == listing.tick * listing.lot
        assert 1_000 * UNIT < listing.lots_typical * listing.lot * listing.price // UNIT <= 2_000 * UNIT, listing


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(),
    number=st.integers(0, 60),
    gaps_us=st.lists(st.integers(0, 10_000_000_000), min_size=1, max_size=60),
)
def test_a_price_never_falls_below_its_floor_and_the_walk_is_repeatable(
    seed: int, number: int, gaps_us: list[int]
) -> None:
    """Whatever the seed and however long the silences, up to hours each."""
    listing = listings(61)[number]
    walk, again = Walk(seed, listing), Walk(seed, listing)
    time_us = 0
    for gap_us in gaps_us:
        time_us += gap_us
        price = walk.price_ticks(time_us)
        assert price >= PRICE_TICKS_MIN
        assert price == again.price_ticks(time_us)


def test_weather_and_trends_change_and_returns_are_heavy_tailed() -> None:
    """In ten minutes all regimes come, trends go both ways, and the rest of the returns has fat tails (normal: 3)."""
    walk = Walk(3, listings(1)[0])
    prices, regimes, drifts = [], set(), []
    for time_us in range(0, 600_000_000, 50_000):
        prices.append(walk.price_ticks(time_us))
        regimes.add(walk.regime.name)
        drifts.append(walk.drift * 0.05)
    returns = [after / before - 1 - drift for (before, after), drift in zip(pairwise(prices), drifts[1:], strict=True)]
    square = sum(x**2 for x in returns) / len(returns)
    fourth = sum(x**4 for x in returns) / len(returns)
    assert regimes == {regime.name for regime in REGIMES}
    assert 0.3 < sum(drift > 0 for drift in drifts) / len(drifts) < 0.7
    assert fourth / square**2 > 5
    assert max(prices) / min(prices) < 1.2


def test_two_seeds_walk_two_ways() -> None:
    """A seed that nothing reads would pass every other test."""
    listing = listings(1)[0]
    one, other = Walk(1, listing), Walk(2, listing)
    assert [one.price_ticks(t) for t in range(0, 10**6, 10**5)] != [
        other.price_ticks(t) for t in range(0, 10**6, 10**5)
    ]
