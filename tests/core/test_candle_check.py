from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from made_up import BTC, ETH, MS, SECOND, START, trade
from traderd.core.alerts import AlertLog
from traderd.core.candle_check import CandleCheck, Comparisons
from traderd.core.candles import NEVER_NS, CandleBuilder
from traderd.core.facts import Alert, Candle
from traderd.core.gaps import GapLedger
from traderd.core.market import Instrument, Trade, VenueCandle

MINUTE = 60 * SECOND
OPEN = START - START % (5 * MINUTE) + 5 * MINUTE
GRACE = 500 * MS
BYBIT = structs.replace(BTC, exchange="bybit")


class Desk:
    """Our candles of one instrument, held against what a venue tells; time is what the test says it is."""

    def __init__(
        self, instrument: Instrument = BTC, timeframes: Sequence[str] = ("1s", "1m"), says_closed: bool = True
    ) -> None:
        self.at = instrument
        self.gaps = GapLedger("r")
        self.gaps.whole(instrument.exchange, instrument.symbol, "trade", OPEN - 10 * MINUTE)
        self.check = CandleCheck([instrument], timeframes, GRACE, AlertLog("r"))
        self.builder = CandleBuilder(instrument, timeframes, GRACE)
        self.marked: list[Candle] = []
        self.alerts: list[Alert] = []
        self.tell(OPEN - MINUTE, "1", "1", "1", "1", "0", closed=says_closed, received_ns=OPEN - MINUTE)

    def tell(self, open_ns: int, *figures: str, closed: bool = True, length: str = "1m", received_ns: int = 0) -> None:
        """The venue's candle: open, high, low, close and volume."""
        times = (received_ns or open_ns + MINUTE, received_ns or open_ns + MINUTE)
        self.check.on_venue_candle(VenueCandle(self.at, length, open_ns, *figures, closed, *times))

    def trades(self, *made: Trade) -> None:
        for each in made:
            self._ours(self.builder.on_trade(each))

    def beat(self, now_ns: int) -> None:
        self._ours(self.builder.on_beat(now_ns))
        for told in self.check.on_beat(now_ns, self.gaps):
            (self.alerts if isinstance(told, Alert) else self.marked).append(told)  # type: ignore[arg-type]  # one or the other

    def _ours(self, candles: Sequence[Candle]) -> None:
        for candle in candles:
            self.check.on_candle(0, candle)

    @property
    def counts(self) -> Comparisons:
        """Without the one candle of before, which nobody could have compared."""
        counts = self.check.counts[self.at.exchange, self.at.symbol]
        return structs.replace(counts, agreed=counts.agreed - 1)


def at(price: str, quantity: str, offset_ns: int, instrument: Instrument = BTC) -> Trade:
    return trade(price, quantity, OPEN + offset_ns, instrument)


def test_the_same_figures_agree_to_the_last_digit_however_they_are_written() -> None:
    """After the grace and a moment; nothing is said about it."""
    desk = Desk()
    desk.trades(at("10.00", "1.5", 1), at("12", "0.25", SECOND), at("9.5", "1", 2 * SECOND), at("11", "1", 59 * SECOND))
    desk.tell(OPEN, "10.0", "12.00", "9.50000000", "11", "3.750")
    desk.beat(OPEN + MINUTE + 2 * SECOND)
    assert desk.counts == Comparisons()
    desk.beat(OPEN + MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(agreed=1)
    assert not desk.marked and not desk.alerts


@pytest.mark.parametrize("field", range(5))
def test_any_other_figure_is_a_difference(field: int) -> None:
    """Our bar is marked, and the alert says which figures and of when."""
    figures = ["10", "12", "9", "11", "4"]
    figures[field] = "10.00000001"
    desk = Desk()
    desk.trades(at("10", "1", 1), at("12", "1", SECOND), at("9", "1", 2 * SECOND), at("11", "1", 59 * SECOND))
    desk.tell(OPEN, *figures)
    desk.beat(OPEN + MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(differing=1)
    (bar,), (alert,) = desk.marked, desk.alerts
    assert (bar.timeframe, bar.open_time_ns, bar.differs) == ("1m", OPEN, True)
    assert alert.severity == "warning" and (alert.exchange, alert.symbol) == ("binance", "BTC/USDT")
    name = ("open", "high", "low", "close", "volume")[field]
    assert f"{name} {Decimal(['10', '12', '9', '11', '4'][field])}, the venue's 10.00000001" in alert.message
    assert "1m of 2023-11-14T22:15:00+00:00" in alert.message


def test_a_trade_that_comes_within_the_grace_is_in_the_bar_that_is_compared() -> None:
    """Though the venue's candle was there before it."""
    desk = Desk()
    desk.trades(at("10", "1", 1), at("10", "1", MINUTE + 1))
    desk.tell(OPEN, "10", "10", "10", "11", "2")
    desk.tell(OPEN, "10", "11", "10", "11", "2")
    late = at("11", "1", MINUTE - 1)
    late.time_received_ns = OPEN + MINUTE + 400 * MS
    desk.trades(late)
    desk.beat(OPEN + MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(agreed=1)


def test_trades_that_never_came_are_a_difference_and_a_quiet_minute_is_none() -> None:
    """The venue traded and we heard nothing of it; then neither."""
    desk = Desk()
    desk.tell(OPEN, "10", "10", "10", "10", "3")
    desk.tell(OPEN + MINUTE, "10", "10", "10", "10", "0.000")
    desk.beat(OPEN + 2 * MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(agreed=1, differing=1)
    told = {verdict: count for (*_, verdict), count in desk.check.by_verdict().items()}
    assert told == {"agreed": 2, "differing": 1, "incomparable": 0} and desk.check.compared == 3
    assert desk.marked == [] and "volume 0, the venue's 3" in desk.alerts[0].message


def test_what_may_have_a_hole_is_not_held_against_anybody() -> None:
    """A gap near the bar, and a bar that began before the trades did."""
    desk = Desk()
    desk.gaps.opened("binance", "BTC/USDT", "trade", "stale", OPEN + 30 * SECOND)
    desk.tell(OPEN, "10", "10", "10", "10", "3")
    desk.beat(OPEN + MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(incomparable=1)
    young = Desk()
    young.gaps = GapLedger("r")
    young.gaps.whole("binance", "BTC/USDT", "trade", OPEN + 1)
    young.tell(OPEN, "10", "10", "10", "10", "3")
    young.tell(OPEN + MINUTE, "10", "10", "10", "10", "0")
    young.beat(OPEN + 2 * MINUTE + 3 * SECOND)
    assert young.check.counts["binance", "BTC/USDT"] == Comparisons(agreed=1, incomparable=2)


def test_where_the_venue_never_says_closed_the_next_candle_does() -> None:
    """The newest figures of the one before count."""
    desk = Desk(says_closed=False)
    desk.trades(at("10", "1", 1), at("11", "1", 2 * SECOND))
    desk.tell(OPEN, "10", "10", "10", "10", "1", closed=False)
    desk.tell(OPEN, "10", "11", "10", "11", "2", closed=False)
    desk.beat(OPEN + 10 * MINUTE)
    assert desk.counts == Comparisons()
    desk.tell(OPEN + 9 * MINUTE, "10", "10", "10", "10", "1", closed=False, received_ns=OPEN + 10 * MINUTE)
    desk.beat(OPEN + 10 * MINUTE + 2 * SECOND)
    assert desk.counts == Comparisons()
    desk.beat(OPEN + 10 * MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(agreed=1)


def test_a_venue_that_says_closed_and_did_not_is_not_guessed_at() -> None:
    """Its last word on that minute is lost; so it is with a hole in its candles."""
    desk = Desk()
    desk.trades(at("10", "1", 1), at("11", "1", 2 * SECOND))
    desk.tell(OPEN, "10", "10", "10", "10", "1", closed=False)
    desk.tell(OPEN + MINUTE, "11", "11", "11", "11", "0", closed=False)
    desk.beat(OPEN + 3 * MINUTE)
    assert desk.counts == Comparisons(incomparable=1)
    desk.gaps.opened("binance", "BTC/USDT", "candle", "stale", OPEN + 70 * SECOND)
    desk.tell(OPEN + MINUTE, "11", "11", "11", "11", "3")
    desk.beat(OPEN + 4 * MINUTE)
    assert desk.counts == Comparisons(incomparable=2)


def test_a_difference_that_lasts_is_told_once_and_again_after_a_calm() -> None:
    """Counted and marked each time; alerts would be muted for a minute besides, so the calm is longer."""
    desk = Desk()
    for minute in range(30):
        opened = OPEN + minute * MINUTE
        desk.trades(at("10", "1", minute * MINUTE + 1))
        wrong = minute < 3 or minute == 5 or minute == 25
        desk.tell(opened, "10", "10", "10", "10", "2" if wrong else "1")
        desk.beat(opened + MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(agreed=25, differing=5)
    assert len(desk.marked) == 5
    assert [alert.time_ns for alert in desk.alerts] == [OPEN + n * MINUTE + MINUTE + 3 * SECOND for n in (0, 25)]


def test_longer_candles_are_held_against_several_of_ours() -> None:
    """Five minutes of Coinbase's against ours of one; no single one of ours is to blame."""
    desk = Desk(timeframes=("1s", "1m"))
    desk.check = CandleCheck([BTC], ("1s", "1m"), GRACE, AlertLog("r"))
    desk.tell(OPEN - 5 * MINUTE, "1", "1", "1", "1", "0", length="5m", received_ns=OPEN - 5 * MINUTE)
    desk.trades(at("10", "1", 1), at("12", "1", 70 * SECOND), at("9", "1", 130 * SECOND), at("11", "1", 290 * SECOND))
    desk.tell(OPEN, "10", "12", "9", "11", "4", length="5m")
    desk.beat(OPEN + 5 * MINUTE + 3 * SECOND)
    desk.tell(OPEN + 5 * MINUTE, "10", "12", "9", "11", "4", length="5m")
    desk.beat(OPEN + 10 * MINUTE + 3 * SECOND)
    assert (desk.counts.agreed, desk.counts.differing) == (1, 1)
    assert not desk.marked and len(desk.alerts) == 1


def test_candles_that_none_of_ours_divides_are_incomparable() -> None:
    """An engine of five minutes alone, and candles of one."""
    desk = Desk(timeframes=("5m",))
    desk.trades(at("10", "1", 1))
    desk.tell(OPEN, "10", "10", "10", "10", "1")
    desk.beat(OPEN + MINUTE + 3 * SECOND)
    assert desk.check.counts[BTC.exchange, BTC.symbol] == Comparisons(incomparable=2)


def test_a_candle_may_begin_with_the_last_close() -> None:
    """As Bybit's recorded: 65114.2 before anybody had traded in that minute, the low though nobody traded so low."""
    desk = Desk(BYBIT)
    desk.tell(OPEN - MINUTE, "65114", "65115", "65114", "65114.2", "0", received_ns=OPEN - MINUTE)
    desk.trades(at("65114.30", "0.01", 1, BYBIT), at("65115", "0.01", SECOND, BYBIT))
    desk.tell(OPEN, "65114.2", "65115", "65114.2", "65115", "0.02")
    desk.trades(at("65115", "1", MINUTE + 1, BYBIT), at("65114", "1", MINUTE + 2, BYBIT))
    desk.tell(OPEN + MINUTE, "65115", "65116", "65114", "65114", "2")
    desk.beat(OPEN + 2 * MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(agreed=1, differing=1)
    assert "high 65115, the venue's 65116" in desk.alerts[0].message


def test_a_stream_that_goes_silent_keeps_a_bounded_number_of_bars() -> None:
    """Trades go on without the venue's candles, and the other way round."""
    desk = Desk()
    for minute in range(100):
        desk.trades(at("10", "1", minute * MINUTE + 1))
    watch = desk.check._watches[0]
    assert watch is not None and len(watch._ours) <= 4
    other = Desk(timeframes=("5m",))
    for minute in range(100):
        other.tell(OPEN + minute * MINUTE, "1", "1", "1", "1", "1")
    watch = other.check._watches[0]
    assert watch is not None and len(watch._theirs) <= 4


@pytest.mark.parametrize("open_ns", [10**26, -(10**26), OPEN + 1, OPEN + 10_000 * MINUTE])
def test_a_candle_that_cannot_be_of_now_is_passed_over(open_ns: int) -> None:
    """However wild its time: the one that comes after it is compared."""
    desk = Desk()
    desk.tell(open_ns, "1", "1", "1", "1", "1", received_ns=OPEN)
    desk.trades(at("10", "1", 1))
    desk.tell(OPEN, "10", "10", "10", "10", "1")
    desk.beat(OPEN + MINUTE + 3 * SECOND)
    assert desk.counts == Comparisons(agreed=1)


def test_a_minute_of_many_symbols_is_compared_over_some_beats() -> None:
    """All of them, and none twice."""
    many = [structs.replace(BTC, index=number, symbol=f"S{number}/USDT") for number in range(250)]
    check, gaps = CandleCheck(many, ["1m"], GRACE, AlertLog("r")), GapLedger("r")
    for each in many:
        check.on_venue_candle(VenueCandle(each, "1m", OPEN, *("1",) * 5, True, OPEN, OPEN))
    compared = []
    for _ in range(5):
        check.on_beat(OPEN + MINUTE, gaps)
        compared.append(check.compared)
    assert compared == [100, 200, 250, 250, 250]
    assert all(each == Comparisons(incomparable=1) for each in check.counts.values())


def test_candles_of_weeks_or_months_are_none_of_ours() -> None:
    """No venue is asked for them."""
    check = CandleCheck([BTC], ["1m"], GRACE, AlertLog("r"))
    check.on_venue_candle(VenueCandle(BTC, "1M", OPEN, *("1",) * 5, True, OPEN, OPEN))
    assert check.counts == {}


def test_nothing_is_due_where_no_candle_came() -> None:
    """And a beat costs a comparison of two numbers."""
    check = CandleCheck([BTC, ETH], ["1m"], GRACE, AlertLog("r"))
    check.on_candle(0, structs.replace(CANDLE, open_time_ns=OPEN))
    assert check.due_ns >= NEVER_NS
    assert check.on_beat(OPEN + 100 * MINUTE, GapLedger("r")) == []
    assert check.counts == {}


CANDLE = Candle("binance", "BTC/USDT", "1m", 0, *("1",) * 6, 1)

courses = st.lists(
    st.tuples(st.integers(1, 9_999), st.integers(1, 999), st.integers(0, 40 * SECOND)), min_size=1, max_size=60
)


@given(courses)
def test_every_trade_accounted_for_agrees_and_one_less_differs(course: list[tuple[int, int, int]]) -> None:
    """Against a venue that adds its own trades up, minute by minute; then we miss any one of them."""
    made, now = [], OPEN
    for price, quantity, step in course:
        now += step
        made.append(trade(str(Decimal(price) / 100), str(Decimal(quantity) / 1000), now))
    minutes = {at: list(within) for at, within in groupby(made, lambda each: each.time_venue_ns // MINUTE * MINUTE)}
    for missed in (None, made[len(made) // 2]):
        desk = Desk()
        for opened, within in minutes.items():
            desk.trades(*(each for each in within if each is not missed))
            prices = [Decimal(each.price_text) for each in within]
            volume = sum(Decimal(each.quantity_text) for each in within)
            desk.tell(opened, *map(str, (prices[0], max(prices), min(prices), prices[-1], volume)))
            desk.beat(opened + MINUTE + 3 * SECOND)
        wrong = missed is not None
        assert desk.counts == Comparisons(agreed=len(minutes) - wrong, differing=wrong)
