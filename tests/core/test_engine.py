from collections.abc import Mapping, Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from made_up import BTC, ETH, MS, SECOND, START, quote, trade
from traderd.core.bars import BarSettings
from traderd.core.book import Book
from traderd.core.book_top import BookTop
from traderd.core.engine import Effect, Engine
from traderd.core.engine_settings import EngineSettings
from traderd.core.facts import (
    Alert,
    BookLevels,
    BreakerEvent,
    Candle,
    Equity,
    Execution,
    Indicator,
    Order,
    Position,
    Signal,
    SignalType,
    encode_fact,
)
from traderd.core.market import Beat, BookSnapshot, Instrument, Quote
from traderd.core.matching import PaperBook, PaperSettings
from traderd.core.orders import Approved, Report
from traderd.core.quality import CLOCK, JUMP
from traderd.core.risk import RiskSettings
from traderd.core.strategy import Opinion, StrategySlot
from traderd.strategies.ema_cross import EmaCross

INITIAL = Decimal(100_000)
RISK = RiskSettings(Decimal(5_000), Decimal(20_000), Decimal(100), 2_000, Decimal(10))


class Left(Struct, frozen=True):
    """What an earlier run left: nothing, unless told."""

    positions: tuple[Position, ...] = ()
    cash: str = ""
    realized_pnl: str = ""
    fees: str = ""
    peak_equity: str = ""
    open_orders: tuple[Order, ...] = ()


class Scripted:
    """A strategy that says what it is told, one word a candle."""

    warm = True
    indicators: Mapping[str, float] = {}

    def __init__(self, words: Sequence[SignalType | None]) -> None:
        self._words = iter(words)

    def on_candle(self, candle: Candle) -> Opinion | None:
        word = next(self._words, None)
        return word and Opinion(word, 1.0, 1.0, "as told")


def slot(strategy: object, name: str = "ema", allow_short: bool = False, instrument: Instrument = BTC) -> StrategySlot:
    return StrategySlot(name, "binance", instrument.symbol, "1s", Decimal(1_000), allow_short, strategy)  # type: ignore[arg-type]  # a Strategy


def configured(*slots: StrategySlot) -> EngineSettings:
    return EngineSettings(
        run="r",
        portfolio="paper",
        base_currency="USDT",
        initial_cash=INITIAL,
        timeframes=("1s", "1m"),
        candle_grace_ms=500,
        equity_interval_s=1.0,
        drawdown_pct_max=Decimal(10),
        risk=structs.replace(RISK, shorting=frozenset(each.name for each in slots if each.allow_short)),
        strategies=slots,
    )


class Market:
    """An engine, a paper venue and one instrument's market, a step being one second with a quote and a trade."""

    def __init__(self, engine: Engine, resume: bool = True) -> None:
        self.engine = engine
        self.venue = PaperBook(PaperSettings(Decimal(10), Decimal(0), 20, 2_000))
        self.effects: list[Effect] = []
        self.now_ns = START - START % (60 * SECOND)
        if resume:
            self.take(engine.resume(self.now_ns, Left()))

    def take(self, effects: Sequence[Effect]) -> None:
        """Carry out: remember, and send what is approved."""
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Approved):
                self.report(self.venue.submit(effect, self.now_ns))

    def report(self, reports: Sequence[Report]) -> None:
        for report in reports:
            self.take(self.engine.on_report(report))

    def quote(self, newest: Quote) -> None:
        self.engine.on_quote(newest)
        if newest.instrument.index in self.venue.working:
            self.report(self.venue.on_quote(newest))

    def step(self, price: str, size: str = "100") -> None:
        """A quote one cent around the price, then a trade at it, then a Beat, all in the next second."""
        self.now_ns += SECOND
        cents = Decimal("0.01")
        bid, ask = str(Decimal(price) - cents), str(Decimal(price) + cents)
        self.quote(quote(bid, ask, self.now_ns, bid_size=size, ask_size=size))
        self.take(self.engine.on_trade(trade(price, "1", self.now_ns + 5 * MS)))
        self.take(self.engine.on_beat(Beat(self.now_ns + 100 * MS)))

    def steps(self, *prices: str) -> "Market":
        for price in prices:
            self.step(price)
        return self

    def all(self, kind: type) -> list[Effect]:
        return [effect for effect in self.effects if type(effect) is kind]

    def orders(self) -> list[Order]:
        return [effect for effect in self.effects if isinstance(effect, Order)]

    def alerts(self) -> list[str]:
        return [effect.alert_type for effect in self.effects if isinstance(effect, Alert)]


def told(*words: SignalType | None, allow_short: bool = False) -> Market:
    """A market with a strategy that says these words on the candles that end one after the other."""
    return Market(Engine(configured(slot(Scripted(words), allow_short=allow_short)), [BTC, ETH]))


RISE_AND_FALL = [str(price) for price in [*range(100, 90, -1), *range(91, 111), *range(110, 90, -1)]]


def test_a_rise_and_a_fall_become_a_round_trip_with_accounts_that_add_up() -> None:
    """Signal, order, fill, position, and flat again; every figure from the facts alone."""
    market = Market(Engine(configured(slot(EmaCross(3, 8))), [BTC, ETH])).steps(*RISE_AND_FALL)
    signals = [each for each in market.effects if isinstance(each, Signal)]
    fills = [each for each in market.effects if isinstance(each, Execution)]
    assert [each.signal_type for each in signals] == ["LONG", "EXIT_LONG"]
    assert [each.side for each in fills] == ["buy", "sell"]
    bought, sold = fills
    assert (
        bought.quantity
        == sold.quantity
        == (Decimal(1000) / Decimal(str(signals[0].price))).quantize(BTC.quantity_step, "ROUND_DOWN")
    )
    assert bought.fee == (bought.price * bought.quantity / 1000).quantize(Decimal("1e-8"), "ROUND_UP")
    earned = (sold.price - bought.price) * bought.quantity - bought.fee - sold.fee
    assert bought.realized_pnl + sold.realized_pnl == earned
    positions = [each for each in market.effects if isinstance(each, Position)]
    assert [each.quantity for each in positions] == [bought.quantity, 0]
    last = market.all(Equity)[-1]
    assert isinstance(last, Equity)
    assert last.equity == last.cash == INITIAL + earned
    assert (last.realized_pnl, last.fees, last.unrealized_pnl) == (earned, bought.fee + sold.fee, 0)
    final = {order.client_order_id: order.status for order in market.orders()}
    assert final == {"r-o1": "filled", "r-o2": "filled"}
    counts = market.engine.counts
    assert (counts.signals, counts.orders, counts.fills, counts.refused) == (2, 2, 2, {})


def test_the_effects_of_a_signal_come_in_the_order_of_their_doing() -> None:
    """The candle, the signal, the pending order, and only then the leave to send it; ids are dense."""
    market = told("LONG").steps("100", "101", "102")
    kinds = [type(effect) for effect in market.effects]
    place = kinds.index(Signal)
    assert kinds[place - 1 : place + 3] == [Candle, Signal, Order, Approved]
    signal, order, approved = market.effects[place : place + 3]
    assert isinstance(signal, Signal) and isinstance(order, Order) and isinstance(approved, Approved)
    assert (signal.signal_id, order.client_order_id, order.status) == ("r-s1", "r-o1", "pending")
    assert (order.signal_id, approved.intent.client_order_id) == ("r-s1", "r-o1")


def test_the_effects_of_a_fill_are_execution_order_position_and_equity() -> None:
    """What happened, then what it led to."""
    market = told("LONG").steps("100", "101", "102")
    kinds = [type(effect) for effect in market.effects]
    place = kinds.index(Execution)
    assert kinds[place : place + 4] == [Execution, Order, Position, Equity]


def test_an_ordinary_quote_is_on_the_board_and_has_no_effects() -> None:
    """Nothing else of the board changes."""
    engine = Engine(configured(), [BTC, ETH])
    newest = quote("1", "2", START, ETH)
    engine.on_quote(newest)
    assert engine.board.quotes == [None, newest]


def test_nothing_is_ordered_before_the_books_are_recovered() -> None:
    """Candles and signals are recorded all the same, and warm the strategies."""
    market = Market(Engine(configured(slot(Scripted(["LONG"]))), [BTC, ETH]), resume=False).steps("100", "101", "102")
    (signal,) = market.all(Signal)
    assert isinstance(signal, Signal) and "no order: the books are not recovered yet" in signal.reason
    assert market.all(Candle) and not market.orders() and not market.all(Equity)


def test_a_halt_refuses_orders_until_it_is_lifted() -> None:
    """Refused ones are on record with the rule; the halt is told once."""
    market = told("LONG", "LONG", "LONG")
    market.take(market.engine.halt("the journal is full"))
    assert market.engine.halt("the journal is full") == []
    market.steps("100", "101")
    (refused,) = market.orders()
    assert (refused.status, refused.reason) == ("rejected", "halted: the journal is full")
    assert market.alerts() == ["trading_halted", "order_refused"]
    assert market.engine.counts.refused == {"halted": 1}
    market.take(market.engine.lift_halt())
    market.steps("102", "103")
    assert market.orders()[-1].status in ("open", "filled")


def test_resuming_does_not_lift_a_halt() -> None:
    """A journal that failed during the start still forbids trading after it."""
    market = Market(Engine(configured(slot(Scripted(["LONG"]))), [BTC, ETH]), resume=False)
    market.take(market.engine.halt("the journal is full"))
    market.take(market.engine.resume(START, Left()))
    market.steps("100", "101", "102")
    assert [order.status for order in market.orders()] == ["rejected"]


def test_a_signal_while_an_order_works_is_recorded_without_another() -> None:
    """One order in flight a symbol and strategy."""
    market = told("LONG", "LONG")
    market.venue.submit = lambda approved, now_ns: []  # type: ignore[method-assign]  # a venue that never answers
    market.steps("100", "101", "102", "103")
    signals = [each.reason for each in market.all(Signal) if isinstance(each, Signal)]
    assert len(signals) == 2 and "no order: order r-o1 is still pending" in signals[1]
    assert [order.status for order in market.orders()] == ["pending"]


def test_what_is_so_already_needs_no_order() -> None:
    """Long while long, out while flat, short without leave."""
    market = told("EXIT_LONG", "SHORT", "LONG", None, "LONG").steps("100", "101", "102", "103", "104", "105")
    reasons = [each.reason for each in market.all(Signal) if isinstance(each, Signal)]
    assert [reason.partition("; no order: ")[2] for reason in reasons] == [
        "no long position to leave",
        "ema may not sell short",
        "",
        "already long",
    ]


def test_a_short_strategy_turns_round_in_one_order() -> None:
    """Long, then short by the same notional: what is held goes with it."""
    market = told("LONG", None, "SHORT", allow_short=True).steps("100", "100", "100", "100", "100", "100")
    quantities = [each.quantity for each in market.all(Position) if isinstance(each, Position)]
    assert len(quantities) == 2 and quantities[0] > 0 > quantities[1]
    assert abs(quantities[0] + quantities[1]) < Decimal("0.01")


def test_refused_orders_raise_one_alert_a_minute_and_a_rule() -> None:
    """Each is on record, but nobody is flooded."""
    market = told(*["LONG"] * 9)
    market.engine.halt("stop")
    market.steps(*["100"] * 9)
    assert len([order for order in market.orders() if order.status == "rejected"]) == 8
    assert market.alerts() == ["order_refused"]


def test_a_stale_quote_refuses_the_order() -> None:
    """Trades come in but quotes have stopped."""
    market = told("LONG").steps("100")
    market.now_ns += 3 * SECOND
    market.take(market.engine.on_trade(trade("100", "1", market.now_ns)))
    (order,) = market.orders()
    assert order.reason.startswith("stale_quote: the quote is 3000 ms old")


def filled_long() -> Market:
    """A market whose strategy holds a long position from order r-o1, execution r-o1-x1."""
    market = told("LONG").steps("100", "101", "102")
    assert market.engine.portfolio.quantity("binance", "BTC/USDT") > 0
    market.effects.clear()
    return market


def a_fill(number: int = 9, **changes: object) -> Report:
    figures = Decimal(1), Decimal(100), Decimal(0)
    report = Report("r-o1", "trade", START + SECOND, "P1", f"r-o1-x{number}", *figures, "USDT")
    return structs.replace(report, **changes)


def test_a_repeated_fill_changes_nothing() -> None:
    """It is counted and forgotten."""
    market = filled_long()
    before = market.engine.portfolio.cash
    assert market.engine.on_report(a_fill(1)) == ()
    assert market.engine.portfolio.cash == before
    assert market.engine.counts.repeated_fills == 1


def test_a_fill_of_a_filled_order_is_booked_and_halts_trading() -> None:
    """It is our money whatever the order says, and something is badly wrong."""
    market = filled_long()
    held = market.engine.portfolio.quantity("binance", "BTC/USDT")
    market.take(market.engine.on_report(a_fill()))
    assert market.engine.portfolio.quantity("binance", "BTC/USDT") == held + 1
    assert [type(effect) for effect in market.effects] == [Execution, Position, Equity, Alert]
    assert market.alerts() == ["trading_halted"] and market.engine.refusal


@pytest.mark.parametrize(
    "report",
    [
        a_fill(client_order_id="r-o77"),
        a_fill(quantity=Decimal("NaN")),
        a_fill(price=Decimal(-1)),
        a_fill(execution_id=""),
        Report("r-o1", "cancelled", START),
    ],
)
def test_a_report_that_contradicts_the_books_halts_trading_and_books_nothing(report: Report) -> None:
    """A stranger's order, figures that are none, an end after the end."""
    market = filled_long()
    before = market.engine.portfolio.cash
    market.take(market.engine.on_report(report))
    assert market.engine.portfolio.cash == before
    assert market.alerts() == ["trading_halted"] and market.engine.refusal


def test_a_fee_in_a_foreign_currency_halts_trading() -> None:
    """Cash would no longer be what the venue says."""
    market = told("LONG")
    market.venue.submit = lambda approved, now_ns: []  # type: ignore[method-assign]  # answered by hand below
    market.steps("100", "101")
    market.take(market.engine.on_report(a_fill(1, fee=Decimal("0.01"), fee_currency="BNB")))
    assert market.all(Execution) and "BNB" in market.engine.refusal


def test_an_order_of_unknown_fate_blocks_its_symbol_for_every_strategy() -> None:
    """Silence is not rejection; the exposure stays reserved until the venue says how it ended."""
    slots = slot(Scripted(["LONG"]), "a"), slot(Scripted([None, "LONG", "LONG"]), "b")
    market = Market(Engine(configured(*slots), [BTC, ETH]))
    market.venue.submit = lambda approved, now_ns: []  # type: ignore[method-assign]  # answered by hand below
    market.steps("100", "101")
    market.take(market.engine.on_report(Report("r-o1", "unknown", market.now_ns, reason="timed out")))
    market.steps("102")
    assert [(order.strategy, order.status) for order in market.orders()] == [
        ("a", "pending"),
        ("a", "unknown"),
        ("b", "rejected"),
    ]
    assert market.orders()[-1].reason == "unknown_order: the fate of order r-o1 is unknown"
    assert market.alerts() == ["order_unknown", "order_refused"]
    market.take(market.engine.on_report(Report("r-o1", "cancelled", market.now_ns)))
    market.steps("103")
    assert (market.orders()[-1].strategy, market.orders()[-1].status) == ("b", "pending")


def test_the_venues_rejection_ends_the_order_with_an_alert() -> None:
    """And the next signal may try again."""
    market = told("LONG")
    market.venue.submit = lambda approved, now_ns: []  # type: ignore[method-assign]  # answered by hand below
    market.steps("100", "101")
    market.take(market.engine.on_report(Report("r-o1", "rejected", market.now_ns, reason="no such luck")))
    assert (market.orders()[-1].status, market.orders()[-1].reason) == ("rejected", "no such luck")
    assert market.alerts() == ["order_rejected"]


def test_a_drawdown_trips_the_breaker_and_only_an_operator_resets_it() -> None:
    """From then on the peak starts anew."""
    settings = structs.replace(
        configured(slot(Scripted(["LONG", None, None, None, "EXIT_LONG"]))), initial_cash=Decimal(1_500)
    )
    market = Market(Engine(settings, [BTC, ETH])).steps("100", "100", "100", "80", "80")
    assert market.alerts() == ["breaker_tripped"]
    market.steps("80")
    assert market.orders()[-1].reason.startswith("halted: breaker tripped: equity")
    (trip,) = market.all(BreakerEvent)
    assert isinstance(trip, BreakerEvent) and trip.actions_taken == ("halt_trading",)
    assert (trip.event_id, trip.portfolio, trip.threshold, trip.resolved_ns) == ("r-b1", "paper", 10, 0)
    equity = next(each for each in market.effects if isinstance(each, Equity) and each.time_ns >= trip.triggered_ns)
    assert trip.actual == (equity.drawdown * 100 / equity.peak_equity).quantize(Decimal("1e-6")) >= 10
    market.take(market.engine.reset_breaker())
    assert market.all(BreakerEvent)[1] == structs.replace(trip, resolved_ns=market.now_ns + 100 * MS)
    market.steps("80")
    assert market.engine.refusal == "" and "breaker_reset" in market.alerts()
    last = market.all(Equity)[-1]
    assert isinstance(last, Equity) and last.drawdown == 0 and last.peak_equity == last.equity


def test_a_held_position_whose_quote_went_stale_keeps_trading_off_until_a_fresh_one() -> None:
    """Equity is still recorded at the newest quote, but neither the breaker nor the peak believes it."""
    market = filled_long()
    peak = market.engine.portfolio.peak_equity
    market.engine.board.quotes[0] = quote("900", "901", market.now_ns)
    market.take(market.engine.on_beat(Beat(market.now_ns + 2_001 * MS)))
    assert market.engine.refusal == "breaker waiting: a position has no fresh quote"
    assert market.all(Equity) and market.engine.portfolio.peak_equity == peak
    market.steps("102", "102", "102")
    assert market.engine.refusal == ""


def test_equity_is_recorded_once_an_interval() -> None:
    """However often time is told."""
    engine = Engine(configured(), [BTC, ETH])
    engine.resume(START, Left())
    beats = [START + number * 50 * MS for number in range(100)]
    recorded = [effect.time_ns for now in beats for effect in engine.on_beat(Beat(now)) if isinstance(effect, Equity)]
    assert recorded == [START + number * SECOND for number in range(5)]


def test_a_start_takes_over_positions_money_and_the_breakers_trip() -> None:
    """The next EXIT sells what the earlier run bought; a trip outlives the restart."""
    before = filled_long().engine
    position = before.portfolio.position("binance", "BTC/USDT", before.board)
    book = before.portfolio
    left = Left((position,), str(book.cash), str(book.realized_pnl), str(book.fees), str(book.peak_equity))
    market = Market(Engine(configured(slot(Scripted(["EXIT_LONG"]))), [BTC, ETH]), resume=False)
    market.take(market.engine.resume(START, left))
    market.steps("102", "102", "102")
    assert market.engine.portfolio.quantity("binance", "BTC/USDT") == 0
    assert market.engine.portfolio.cash == INITIAL + market.engine.portfolio.realized_pnl
    again = Engine(configured(), [BTC, ETH])
    trip = BreakerEvent("q-b7", "paper", "drawdown", Decimal(10), Decimal(50), START - SECOND, "equity 1.00")
    again.resume(START, left, "equity 1.00 against a peak of 2.00", trip)
    assert "tripped" in again.refusal
    assert structs.replace(trip, resolved_ns=START) in again.reset_breaker()


def test_a_trip_of_before_there_were_events_is_reset_without_one() -> None:
    """Its alert is all that an older version left."""
    engine = Engine(configured(), [BTC, ETH])
    engine.resume(START, Left(), "equity 1.00 against a peak of 2.00")
    assert [type(effect) for effect in engine.reset_breaker()] == [Alert]


def test_an_indicator_is_told_once_a_candle_however_many_strategies_use_it() -> None:
    """Behind its candle and before what follows from it, under the candle's open time, exactly as the float is."""
    slots = [slot(EmaCross(2, 3), "a"), slot(EmaCross(2, 4), "b")]
    market = Market(Engine(configured(*slots), [BTC, ETH])).steps(*[str(price) for price in range(100, 107)])
    told = [each for each in market.effects if isinstance(each, Indicator)]
    assert len({(each.time_ns, each.name) for each in told}) == len(told)
    assert {each.name for each in told} == {"EMA_2", "EMA_3", "EMA_4"}
    closes = {each.open_time_ns: each for each in market.effects if isinstance(each, Candle) and each.timeframe == "1s"}
    first = next(each for each in told if each.name == "EMA_2")
    second_close = sorted(closes)[1]
    assert (first.time_ns, first.value) == (second_close, Decimal("100.5"))
    place = market.effects.index(closes[second_close])
    assert market.effects[place + 1] is first


def test_a_candle_keeps_the_quote_at_which_it_was_closed() -> None:
    """Prices and sizes as the venue sent them; none where there was no quote yet."""
    market = Market(Engine(configured(), [BTC, ETH])).steps("100", "101")
    candle = market.all(Candle)[0]
    assert isinstance(candle, Candle)
    assert (candle.close, candle.bid, candle.ask, candle.bid_size) == ("100", "100.99", "101.01", "100")
    bare = Engine(configured(), [BTC, ETH])
    bare.on_trade(trade("100", "1", START))
    assert not bare.on_trade(trade("100", "1", START + SECOND)), "no strategy waits for it"
    (closed,) = bare.closed()
    assert isinstance(closed, Candle) and closed.bid is None


def test_a_signal_lasts_until_the_next_candle() -> None:
    """Of its strategy's timeframe."""
    signal = told("LONG").steps("100", "101").all(Signal)[0]
    assert isinstance(signal, Signal) and signal.expires_ns - signal.time_ns == SECOND


def test_a_fill_carries_the_exchanges_own_id_of_it() -> None:
    """The paper exchange's is its own."""
    fill = told("LONG").steps("100", "101", "102").all(Execution)[0]
    assert isinstance(fill, Execution) and fill.exchange_trade_id == fill.execution_id != ""


def left_open(status: str = "open") -> Order:
    quantities = Decimal(1), None
    return Order(
        "q-o5", "paper", "ema", "q-s5", "binance", "BTC/USDT", "buy", "market", *quantities, status, "paper", 1, 1
    )  # type: ignore[arg-type]  # a literal


def test_paper_orders_end_with_the_run_that_sent_them() -> None:
    """The simulated venue lives in memory: it can't fill them any more."""
    effects = Engine(configured(), [BTC, ETH]).resume(START, Left(open_orders=(left_open(),)))
    (ended,) = [effect for effect in effects if isinstance(effect, Order)]
    assert (ended.client_order_id, ended.status, ended.cancelled_ns) == ("q-o5", "expired", START)


def test_a_real_venues_orders_work_on_over_a_restart() -> None:
    """They reserve their exposure and block their strategy until the venue's books end them."""
    settings = structs.replace(configured(slot(Scripted(["LONG"]))), environment="live")
    market = Market(Engine(settings, [BTC, ETH]), resume=False)
    market.take(market.engine.resume(START, Left(open_orders=(left_open("unknown"),))))
    market.steps("100", "101")
    (signal,) = market.all(Signal)
    assert isinstance(signal, Signal) and "order q-o5 is still unknown" in signal.reason


def test_a_position_without_a_feed_keeps_trading_off() -> None:
    """Equity can't be told, and the operator is."""
    before = filled_long().engine
    strange = structs.replace(before.portfolio.position("binance", "BTC/USDT", before.board), symbol="DOGE/USDT")
    market = Market(Engine(configured(slot(Scripted(["LONG"]))), [BTC, ETH]), resume=False)
    market.take(market.engine.resume(START, Left((strange,), "99000", "0", "1", "100000")))
    market.steps("100", "101")
    assert market.orders()[-1].status == "rejected" and "position_unknown" in market.alerts()


def test_the_venues_steps_replace_those_known_at_the_start() -> None:
    """Another instrument in the same place is our own mistake."""
    market = told("LONG")
    market.engine.describe(structs.replace(BTC, quantity_step=Decimal("0.1")))
    market.steps("100", "101")
    assert market.orders()[0].quantity % Decimal("0.1") == 0
    with pytest.raises(ValueError, match="is BTC/USDT's"):
        market.engine.describe(structs.replace(ETH, index=0))


def test_a_strategy_hears_only_its_own_candles() -> None:
    """Its exchange, symbol and timeframe."""
    heard: list[Candle] = []

    class Listening(Scripted):
        def on_candle(self, candle: Candle) -> None:
            heard.append(candle)

    engine = Engine(configured(slot(Listening([]), instrument=ETH)), [BTC, ETH])
    market = Market(engine).steps("100", "101")
    engine.on_trade(trade("50", "1", market.now_ns, ETH))
    engine.on_beat(Beat(market.now_ns + 100 * SECOND))
    assert [(each.symbol, each.timeframe) for each in heard] == [("ETH/USDT", "1s")]


def test_strategies_that_could_not_work_are_our_own_mistake() -> None:
    """One name for two, or a timeframe that isn't built."""
    with pytest.raises(ValueError, match="same name"):
        Engine(configured(slot(Scripted([])), slot(Scripted([]))), [BTC])
    with pytest.raises(ValueError, match="aren't made"):
        Engine(configured(structs.replace(slot(Scripted([])), timeframe="5m")), [BTC])


def test_a_strategy_of_an_instrument_that_is_not_here_hears_nothing() -> None:
    """As in a replay of other symbols."""
    market = Market(Engine(configured(slot(Scripted(["LONG"]), instrument=ETH)), [BTC])).steps("100", "101", "102")
    assert market.engine.counts.signals == 0


def test_late_and_early_trades_are_counted() -> None:
    """Over all instruments."""
    market = told().steps("100", "101")
    market.engine.on_trade(trade("100", "1", market.now_ns - 10 * SECOND, received_ns=market.now_ns))
    market.engine.on_trade(trade("100", "1", market.now_ns + 100 * SECOND, received_ns=market.now_ns))
    assert market.engine.late.trades == 1
    assert market.engine.counts.flagged == {("binance", "trade", "clock"): 1}


walks = st.lists(st.tuples(st.integers(-300, 300), st.sampled_from(["0", "0.5", "3", "100"])), min_size=10, max_size=60)


def walked(moves: Sequence[tuple[int, str]], allow_short: bool) -> Market:
    """A random walk in cents from 100, whose quotes show these sizes: many fills are partial."""
    market = Market(Engine(configured(slot(EmaCross(2, 5, allow_short), allow_short=allow_short)), [BTC, ETH]))
    cents = 10_000
    for move, size in moves:
        cents = max(5_000, cents + move)
        market.step(str(Decimal(cents) / 100), size)
    return market


def encoded(market: Market) -> list[bytes]:
    return [repr(each).encode() if isinstance(each, Approved) else encode_fact(each) for each in market.effects]


@given(walks, st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_replay_of_the_same_events_gives_the_same_effects(moves: list[tuple[int, str]], allow_short: bool) -> None:
    """Byte by byte, ids included."""
    assert encoded(walked(moves, allow_short)) == encoded(walked(moves, allow_short))


@given(walks, st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_facts_of_any_course_add_up(moves: list[tuple[int, str]], allow_short: bool) -> None:
    """A position is the sum of its executions, equity is the initial cash with all that was won and lost since."""
    market = walked(moves, allow_short)
    executions = [each for each in market.effects if isinstance(each, Execution)]
    signed = sum((each.quantity if each.side == "buy" else -each.quantity for each in executions), Decimal(0))
    assert market.engine.portfolio.quantity("binance", "BTC/USDT") == signed
    realized = sum((each.realized_pnl for each in executions), Decimal(0))
    for equity in (each for each in market.effects if isinstance(each, Equity)):
        assert equity.equity == INITIAL + equity.realized_pnl + equity.unrealized_pnl
        assert equity.equity == equity.cash + equity.positions_value
        assert equity.drawdown >= 0
    assert market.engine.portfolio.realized_pnl == realized
    assert allow_short or signed >= 0
    sent = [each.intent.client_order_id for each in market.effects if isinstance(each, Approved)]
    assert len(sent) == len(set(sent)) == market.engine.counts.orders


def warmed(*words: SignalType | None) -> Market:
    """A market that the gate knows well: a minute of calm, two ticks a second."""
    return told(*[None] * 59, *words).steps(*["100.00", "100.01"] * 30)


def test_a_quote_that_jumps_is_not_the_mid_and_its_symbol_is_not_ordered_until_a_clean_one_comes() -> None:
    """The order is refused by name; the board keeps the quote before; the row has its flag."""
    market = warmed("LONG", "LONG", "LONG")
    before = market.engine.board.quotes[0]
    market.now_ns += 100 * MS
    bad = quote("150", "150.02", market.now_ns)
    market.quote(bad)
    assert bad.flags == JUMP and market.engine.board.quotes[0] is before
    market.take(market.engine.on_beat(Beat(market.now_ns + 2 * SECOND)))
    (refused,) = market.orders()
    assert refused.status == "rejected" and "the newest quote is doubtful: jump" in refused.reason
    market.steps("100.00", "100.01")
    assert market.orders()[-1].status in ("open", "filled")
    assert market.engine.counts.flagged == {("binance", "quote", "jump"): 1}


def test_a_bad_print_is_in_no_candle_and_a_new_level_is_in_all() -> None:
    """Held until the next prints confirm it: then nothing is missing."""
    for prices, high, count in ((["150"], "100.01", 3), (["150"] * 4, "150", 7)):
        market = warmed()
        market.effects.clear()
        for number, price in enumerate(["100.00", *prices, prices[-1] if len(prices) > 1 else "100.01"]):
            at_ns = market.now_ns + SECOND + number * MS
            market.take(market.engine.on_trade(trade(price, "1", at_ns)))
        market.take(market.engine.on_trade(trade(prices[-1] if len(prices) > 1 else "100.00", "1", at_ns + MS)))
        market.take(market.engine.on_beat(Beat(at_ns + 2 * SECOND)))
        newest = [each for each in market.all(Candle) if isinstance(each, Candle) and each.timeframe == "1s"][-1]
        assert (Decimal(newest.high), newest.trades_count) == (Decimal(high), count)


def test_a_trade_from_2099_is_dated_when_it_came() -> None:
    """It opens no partition there, and no candle."""
    engine = Engine(configured(), [BTC, ETH])
    far = trade("100", "1", 4_085_000_000 * SECOND, received_ns=START)
    engine.on_trade(far)
    assert (far.flags, far.time_venue_ns) == (CLOCK, 0)
    second, _ = engine.on_beat(Beat(START + 600 * SECOND))
    assert isinstance(second, Candle) and second.open_time_ns == START - START % SECOND
    assert engine.board.trades[0] is far


def test_a_venues_clock_that_is_off_by_an_hour_is_read_by_its_offset() -> None:
    """Once it is known; before, its trades are dated by ours."""
    engine = Engine(configured(), [BTC, ETH])
    hour = 3_600 * SECOND
    first, second = (trade("100", "1", START + number + hour, received_ns=START + number) for number in (0, 1))
    engine.on_trade(first)
    engine.set_clock_offset("binance", hour)
    engine.on_trade(second)
    assert (first.flags, second.flags) == (CLOCK, 0)


@pytest.mark.parametrize(
    ("bars", "timeframe", "times"),
    [
        (BarSettings("tick", Decimal(3)), "3-ticks", [0, 3, 6]),
        (BarSettings("volume", Decimal("2"), frozenset({"BTC/USDT"})), "2-units", [0, 2, 4, 6]),
        (BarSettings("dollar", Decimal(400)), "400-dollars", [0, 4]),
    ],
)
def test_a_strategy_on_bars_of_trades_hears_and_orders_like_one_on_seconds(
    bars: BarSettings, timeframe: str, times: list[int]
) -> None:
    """Each bar once, as it fills; its signal has no known end; the order leaves, and the bar is told as a fact."""
    heard: list[Candle] = []

    class Listening(Scripted):
        def on_candle(self, candle: Candle) -> Opinion | None:
            heard.append(candle)
            return super().on_candle(candle)

    settings = structs.replace(
        configured(structs.replace(slot(Listening(["LONG"])), timeframe=timeframe)), bars=(bars,)
    )
    market = Market(Engine(settings, [BTC, ETH])).steps(*["100"] * 9)
    began = market.now_ns - 8 * SECOND + 5 * MS
    full = [each for each in heard if each.timeframe == timeframe]
    assert [each.open_time_ns for each in full] == [began + n * SECOND for n in times][: len(full)] and len(full) > 1
    assert (
        full == [each for each in market.effects if isinstance(each, Candle) and each.timeframe == timeframe] == heard
    )
    (signal,) = market.all(Signal)
    assert isinstance(signal, Signal) and signal.expires_ns == 0
    assert market.orders()[-1].status == "filled"


def test_a_strategy_on_bars_that_are_not_made_of_its_symbol_is_our_own_mistake() -> None:
    """As one on a timeframe that isn't built."""
    bars = BarSettings("tick", Decimal(3), frozenset({"ETH/USDT"}))
    strategy = structs.replace(slot(Scripted([])), timeframe="3-ticks")
    with pytest.raises(ValueError, match="3-ticks, which aren't made"):
        Engine(structs.replace(configured(strategy), bars=(bars,)), [BTC, ETH])


@pytest.mark.parametrize("ahead_ns", [-2 * SECOND, 2 * SECOND])
def test_bars_end_by_the_venues_clock(ahead_ns: int) -> None:
    """Each venue's by its own, half a second after the bar's end there."""
    kraken = structs.replace(ETH, exchange="kraken")
    engine = Engine(configured(), [BTC, kraken])
    engine.set_clock_offset("kraken", ahead_ns)
    opened = START - START % SECOND
    engine.on_trade(trade("100", "1", opened))
    engine.on_trade(trade("100", "1", opened, kraken, received_ns=opened - ahead_ns))
    closed: dict[str, int] = {}
    for step in range(-15, 40):
        for effect in engine.on_beat(Beat(opened + SECOND + step * 100 * MS)):
            if isinstance(effect, Candle):
                closed.setdefault(effect.exchange, step * 100 * MS)
    assert closed == {"binance": 500 * MS, "kraken": 500 * MS - ahead_ns}
    assert engine.late.trades == 0


class ReadingBooks(Scripted):
    """A strategy that looks at books."""

    def __init__(self) -> None:
        super().__init__([])
        self.seen: list[BookTop | None] = []

    def on_book(self, top: BookTop | None) -> None:
        self.seen.append(top)


def test_a_strategy_that_reads_books_is_shown_the_whole_ones() -> None:
    """Spread, microprice and imbalance as its candle closes; None while there is no whole book."""
    reader = ReadingBooks()
    market = Market(Engine(configured(slot(reader)), [BTC, ETH]))
    book = Book()
    market.engine.show_books({0: book})
    market.steps("100", "100")
    book.snapshot(BookSnapshot(BTC, [("99", "1")], [("101", "3")], 7, None, START, START))
    market.steps("100")
    assert reader.seen == [None, BookTop(99.0, 101.0, 2.0, 99.5, -0.5)]
    book.reset()
    market.steps("100")
    assert reader.seen[-1] is None


def test_the_best_levels_are_recorded_once_in_each_interval() -> None:
    """Of whole books alone, and not at all unless asked for."""
    engine = Engine(structs.replace(configured(), book_snapshot_interval_s=5.0), [BTC, ETH])
    book = Book()
    levels = [(str(100 - number), "1") for number in range(30)], [(str(101 + number), "1") for number in range(30)]
    book.snapshot(BookSnapshot(BTC, *levels, 7, None, START, START))
    engine.show_books({0: book, 1: Book()})
    at_ns = START - START % (5 * SECOND)
    found = [effect for step in range(11) for effect in engine.on_beat(Beat(at_ns + step * SECOND))]
    assert [type(each) for each in found] == [BookLevels] * 3
    assert isinstance(found[0], BookLevels)
    assert (found[0].bids, found[0].asks) == (levels[0][:20], levels[1][:20])
    assert (found[0].sequence, found[0].spread, found[0].imbalance) == (7, Decimal(1), 0.0)


def test_bars_of_trades_come_beside_the_candles() -> None:
    """And no strategy hears of them."""
    settings = structs.replace(configured(), bars=(BarSettings("tick", Decimal(2)),))
    market = Market(Engine(settings, [BTC, ETH])).steps("100", "101", "102", "103")
    bars = [each for each in market.all(Candle) if isinstance(each, Candle) and each.timeframe == "2-ticks"]
    assert [(each.open, each.close) for each in bars] == [("100", "101"), ("102", "103")]
