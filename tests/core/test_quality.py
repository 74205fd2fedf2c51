import random
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from made_up import BTC, MS, SECOND, START, QuoteJudge, quote, trade
from traderd.core.market import Quote
from traderd.core.quality import (
    CLOCK,
    CROSSED,
    JUMP,
    REPEATED,
    STALE,
    PriceWatch,
    QualitySettings,
    QuoteGate,
    TradeGate,
    names_of,
)

SETTINGS = QualitySettings()
STEP = SETTINGS.sample_ms * MS


def walk(count: int, seed: int, sigma: float = 0.001) -> list[float]:
    """A random walk of log returns."""
    chance = random.Random(seed)
    prices, level = [], 4.0
    for _ in range(count):
        level += chance.gauss(0, sigma)
        prices.append(float(np.exp(level)))
    return prices


def warm(gate: PriceWatch, at: float = 100.0) -> int:
    """The gate after a calm minute; returns the time."""
    now = START
    for number in range(2 * SETTINGS.warmup):
        now += STEP
        assert gate.believes(at * (1 + 1e-5 * (number % 2)), now)
    return now


def test_the_deviation_is_the_weighted_one_of_the_log_returns() -> None:
    """Against numpy: a plain mean of squares at first, exponential weights from then on."""
    prices, settings = walk(3_000, 1), replace(SETTINGS, jump_sigmas=1_000.0)
    watch = PriceWatch(settings)
    for number, price in enumerate(prices):
        watch.believes(price, START + number * STEP)
    squares = np.diff(np.log(np.array(prices))) ** 2
    alpha = 1 - 0.5 ** (1 / settings.halflife)
    first = int(1 / alpha)
    variance = float(np.mean(squares[:first]))
    for square in squares[first:]:
        variance += alpha * (float(square) - variance)
    assert sqrt(watch.variance) == pytest.approx(sqrt(variance), rel=1e-9)
    assert sqrt(watch.variance) == pytest.approx(0.001, rel=0.1)


@given(st.integers(0, 10_000), st.floats(0.02, 0.5), st.booleans())
def test_a_lone_jump_is_found_and_leaves_no_trace(seed: int, size: float, up: bool) -> None:
    """Far outside the walk's deviations: the bad print alone is doubted, and the next one isn't."""
    prices, watch = walk(200, seed, 0.0002), PriceWatch(SETTINGS)
    for number, price in enumerate(prices):
        assert watch.believes(price, START + number * STEP)
    now, sigma = START + 200 * STEP, sqrt(watch.variance)
    assert not watch.believes(prices[-1] * (1 + size if up else 1 - size), now)
    assert sqrt(watch.variance) == sigma
    assert watch.believes(prices[-1], now + 1)


@given(st.integers(0, 10_000))
def test_what_is_doubted_is_what_the_formula_says(seed: int) -> None:
    """The band recomputed from the watch's own state before each print, at regular samples."""
    chance, watch = random.Random(seed), PriceWatch(replace(SETTINGS, confirmations=10**6, jump_floor_bps=1.0))
    price, since = 100.0, 0
    for number in range(300):
        told = price * (1 + chance.choice([0.0, 0.0, 0.0, 0.02, -0.01]) * chance.random())
        reference, sigma, samples = watch.reference, sqrt(watch.variance), watch.samples
        limit = max(1e-4, SETTINGS.jump_sigmas * sigma) * sqrt(max(1, number - since))
        believed = watch.believes(told, START + number * STEP)
        if samples >= SETTINGS.warmup:
            move = abs(log(told / reference))
            assert believed == (move <= limit) or abs(move - limit) < 1e-9
        else:
            assert believed
        price = told if believed else price
        since = number if watch.reference == told else since


def test_a_new_level_is_believed_when_it_stands() -> None:
    """After so many further prints; until then each of them is doubted."""
    gate = PriceWatch(SETTINGS)
    now = warm(gate)
    verdicts = [gate.believes(150.0, now + number) for number in range(1, SETTINGS.confirmations + 3)]
    assert verdicts == [False] * SETTINGS.confirmations + [True] * 2
    assert not gate.believes(100.0, now + 100)


def test_prints_that_jump_about_confirm_nothing() -> None:
    """Each elsewhere: none of them is believed."""
    gate = PriceWatch(SETTINGS)
    now = warm(gate)
    assert not any(gate.believes(price, now + 1) for price in (150.0, 300.0, 50.0, 900.0, 20.0, 150.0))


def test_a_long_silence_excuses_a_long_way() -> None:
    """The band grows with the square root of time."""
    gate = PriceWatch(replace(SETTINGS, jump_floor_bps=50.0))
    now = warm(gate)
    assert not gate.believes(101.0, now + STEP)
    assert gate.believes(101.0, now + 10 * STEP)


def quotes_of(gate: QuoteJudge, *told: Quote) -> list[int]:
    return [gate.judge(each) for each in told]


def test_a_quote_that_is_crossed_for_longer_than_a_second_is_flagged() -> None:
    """Not before, and no longer than it lasts."""
    gate = QuoteJudge(SETTINGS)
    times = (0, 500, 1_000, 1_001, 1_500)
    told = [quote("10.1", "10", START + at * MS, ask_size=str(at + 1)) for at in times]
    assert quotes_of(gate, *told) == [0, 0, 0, CROSSED, CROSSED]
    assert gate.judge(quote("10", "10.1", START + 2 * SECOND)) == 0


def test_the_same_message_again_is_flagged_and_a_new_one_with_the_same_figures_is_not() -> None:
    """By the venue's number where it has one, else by its time."""
    gate = QuoteJudge(SETTINGS)
    first = replace(quote("10", "10.1", START + 7), time_venue_ns=0, sequence=77)
    again = replace(first, time_received_ns=START + 10_008)
    newer = replace(again, sequence=78)
    assert quotes_of(gate, first, again, newer) == [0, REPEATED, 0]
    unnumbered = replace(first, sequence=7, time_venue_ns=START)
    echoed = replace(unnumbered, time_received_ns=START + 5_009, sequence=9)
    later = replace(echoed, time_venue_ns=START + 1)
    assert quotes_of(QuoteJudge(SETTINGS), unnumbered, echoed, later) == [0, REPEATED, 0]


@pytest.mark.parametrize(
    ("ahead_ms", "flags"),
    [(0, 0), (2_000, 0), (2_001, CLOCK), (-5_000, 0), (-5_001, STALE), (-86_400_001, CLOCK), (10**12, CLOCK)],
)
def test_a_quotes_venue_time_is_held_against_ours(ahead_ms: int, flags: int) -> None:
    """Ahead, old, or out of all reason; by the venue's clock, however far that is off ours."""
    for offset_ns in (0, 3_600 * SECOND, -3_600 * SECOND):
        gate = QuoteGate(SETTINGS)
        gate.set_offset(offset_ns)
        told = replace(quote("10", "10.1", START), time_venue_ns=START + offset_ns + ahead_ms * MS)
        assert gate.judge(told, None) == flags


def test_a_trade_may_be_old_but_not_from_the_future() -> None:
    """Venues send the last trades at the beginning."""
    gate = TradeGate(SETTINGS)
    ages = (0, -3_600 * SECOND, 2_001 * MS, -86_401 * SECOND)
    assert [gate.judge(trade("10", "1", START + age, received_ns=START)) for age in ages] == [0, 0, CLOCK, CLOCK]


def test_a_trade_that_comes_twice_is_flagged() -> None:
    """By its id."""
    gate = TradeGate(SETTINGS)
    assert [gate.judge(trade("10", "1", START)) for _ in range(2)] == [0, REPEATED]


def test_held_trades_come_back_when_they_are_confirmed_and_not_when_they_are_refuted() -> None:
    """At most as many as it takes to confirm them."""
    for prices, confirmed in (((150, 150, 150, 150), 3), ((150, 150, 100), 0)):
        gate = TradeGate(SETTINGS)
        now = warm(gate)
        flags = [gate.judge(trade(str(price), "1", now + number, BTC)) for number, price in enumerate(prices)]
        assert flags == [JUMP] * (len(prices) - 1) + [0]
        assert len(gate.confirmed()) == confirmed
        assert gate.held == []


def test_flags_have_names() -> None:
    """Each bit one."""
    assert list(names_of(JUMP | CLOCK)) == ["jump", "clock"]
