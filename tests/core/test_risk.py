from collections import Counter
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from made_up import BTC, ETH, MS, START, quote
from traderd.core.blotter import Blotter
from traderd.core.facts import Order, Position
from traderd.core.market import Side
from traderd.core.orders import Approved, Intent, OrderStatus, OrderType, Refused
from traderd.core.portfolio import Portfolio
from traderd.core.risk import RULES, RiskGate, RiskSettings
from traderd.core.ticker import TickerBoard

SETTINGS = RiskSettings(
    order_notional_max=Decimal(5_000),
    position_notional_max=Decimal(20_000),
    price_collar_bps_max=Decimal(100),
    quote_age_ms_max=2_000,
    cost_bps=Decimal(10),
    shorting=frozenset({"bear"}),
)
STEP = BTC.quantity_step


def intent(
    side: Side = "buy",
    quantity: str | Decimal = "1",
    price: str | Decimal | None = None,
    strategy: str = "ema",
    order_type: OrderType | None = None,
) -> Intent:
    limit = None if price is None else Decimal(price)
    kind = order_type or ("market" if price is None else "limit")
    return Intent("r-o9", "r-s9", strategy, BTC, side, kind, Decimal(quantity), limit, START)


def working(side: Side, quantity: str, status: OrderStatus = "open", price: str | None = None) -> Order:
    limit = None if price is None else Decimal(price)
    kind: OrderType = "market" if price is None else "limit"
    return Order(
        "r-o1", "paper", "ema", "s", "binance", "BTC/USDT", side, kind, Decimal(quantity), limit, status, "paper", 1, 1
    )


class Desk:
    """A gate with everything it looks at; BTC is quoted 999 to 1000, ETH 49 to 50."""

    def __init__(self, held: str = "0", cash: str = "100000", settings: RiskSettings = SETTINGS) -> None:
        self.gate = RiskGate(settings, [BTC, ETH])
        self.board = TickerBoard(2)
        self.board.quotes = [quote("999", "1000", START), quote("49", "50", START, ETH)]
        self.portfolio = Portfolio("paper", "USDT", Decimal(cash), [BTC, ETH])
        self.blotter = Blotter()
        if held != "0":
            self.hold(held)

    def hold(self, quantity: str, symbol: str = "BTC/USDT") -> None:
        price = Decimal(1000)
        position = Position(
            "paper", "binance", symbol, Decimal(quantity), price, price, Decimal(0), Decimal(0), "ema", 1, 1
        )
        book = self.portfolio
        book.restore(book.cash, Decimal(0), Decimal(0), book.cash, [position])

    def check(self, wish: Intent, now_ns: int = START, halted: str = "") -> Approved | Refused:
        return self.gate.check(wish, self.board, self.portfolio, self.blotter, now_ns, halted)

    def rule(self, wish: Intent, now_ns: int = START, halted: str = "") -> str:
        """The rule that refuses, "" if none does."""
        verdict = self.check(wish, now_ns, halted)
        return verdict.rule if isinstance(verdict, Refused) else ""


def test_a_sound_intent_is_approved_at_the_far_side() -> None:
    """Buys at the ask, sells at the bid."""
    assert Desk().check(intent()) == Approved(intent(), Decimal(1000))
    assert Desk(held="1").check(intent("sell")) == Approved(intent("sell"), Decimal(999))


def test_the_rules_stand_in_their_order() -> None:
    """The first that says no is the one that is told."""
    assert list(RULES)[:2] == ["halted", "unknown_symbol"]
    assert Desk().rule(intent(quantity="NaN"), halted="stop") == "halted"


def test_a_halt_refuses_everything_with_its_reason() -> None:
    """Whatever the intent."""
    verdict = Desk().check(intent(), halted="the journal is full")
    assert isinstance(verdict, Refused) and (verdict.rule, verdict.reason) == ("halted", "the journal is full")


@pytest.mark.parametrize("change", [{"index": 2}, {"index": -1}, {"symbol": "BTC/EUR"}, {"exchange": "kraken"}])
def test_a_symbol_that_is_not_traded_here_is_refused(change: dict[str, object]) -> None:
    """Its index alone proves nothing."""
    assert Desk().rule(structs.replace(intent(), instrument=structs.replace(BTC, **change))) == "unknown_symbol"


def test_another_quote_currency_than_the_portfolios_is_refused() -> None:
    """One portfolio, one currency: amounts of two can't be added."""
    desk = Desk()
    desk.portfolio = Portfolio("paper", "EUR", Decimal(100_000), [BTC, ETH])
    assert desk.rule(intent()) == "quote_currency"


@pytest.mark.parametrize("quantity", ["0", "-1", "NaN", "Infinity", "0.000001", "1E+40", "1E-40", "1E-400"])
def test_a_quantity_that_no_venue_could_take_is_refused(quantity: str) -> None:
    """Never a crash, however odd."""
    assert Desk().rule(intent(quantity=quantity)) == "malformed"


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity", "1E+40"])
def test_a_price_that_is_none_is_refused(price: str) -> None:
    """Of a limit order."""
    assert Desk().rule(intent(price=price)) == "malformed"


def test_a_notional_is_judged_to_its_last_digit_however_many_it_has() -> None:
    """As many before and behind the points as are judged at all."""
    quantity, price = Decimal("9" * 30 + "." + "9" * 30), Decimal("8" * 30 + "." + "8" * 30)
    with localcontext(prec=200):
        notional = quantity * price
        barely_less = notional - Decimal("1E-60")
    for limit, rule in ((barely_less, "order_notional_max"), (notional, "")):
        settings = structs.replace(SETTINGS, order_notional_max=limit, position_notional_max=Decimal("1E+70"))
        desk = Desk(cash="1E+70", settings=settings)
        desk.board.quotes[0] = quote("999", str(price), START)
        wish = intent(quantity=quantity)
        fine = structs.replace(wish, instrument=structs.replace(BTC, quantity_step=Decimal("1E-30")))
        assert desk.rule(fine) == rule


def test_a_limit_order_has_a_price_and_a_market_order_has_none() -> None:
    """Otherwise its collar could not be judged."""
    assert Desk().rule(intent(order_type="limit")) == "malformed"
    assert Desk().rule(intent(price="1000", order_type="market")) == "malformed"


def test_an_order_of_unknown_fate_blocks_its_symbol() -> None:
    """Until the venue's books end it."""
    desk = Desk()
    desk.blotter.record(working("buy", "0.1", "unknown"))
    assert desk.rule(intent(quantity="0.1")) == "unknown_order"
    desk.blotter.record(working("buy", "0.1", "open"))
    assert desk.rule(intent(quantity="0.1")) == ""


def test_no_quote_no_order() -> None:
    """A guard that cannot tell says no."""
    desk = Desk()
    desk.board.quotes[0] = None
    assert desk.rule(intent()) == "missing_quote"


def test_a_quote_is_stale_when_older_than_its_limit_or_from_the_future() -> None:
    """Age counts from when it was received."""
    assert Desk().rule(intent(), START + 2_000 * MS) == ""
    assert Desk().rule(intent(), START + 2_001 * MS) == "stale_quote"
    assert Desk().rule(intent(), START - 2_001 * MS) == "stale_quote"


@pytest.mark.parametrize(("bid", "ask"), [("1001", "1000"), ("1000", "1000")])
def test_a_crossed_or_locked_quote_is_not_believed(bid: str, ask: str) -> None:
    """One venue's own best bid is below its best ask."""
    desk = Desk()
    desk.board.quotes[0] = quote(bid, ask, START)
    assert desk.rule(intent()) == "crossed_quote"


def test_an_order_is_as_large_as_the_limit_and_no_larger() -> None:
    """At the worse of far side and limit price."""
    assert Desk().rule(intent(quantity="5")) == ""
    assert Desk().rule(intent(quantity="5.00001")) == "order_notional_max"
    assert Desk().rule(intent(quantity="5", price="1000.01")) == "order_notional_max"


def test_an_order_below_the_venues_minimum_is_refused_here() -> None:
    """5 USDT on this instrument."""
    assert Desk().rule(intent(quantity="0.005")) == ""
    assert Desk().rule(intent(quantity="0.00499")) == "order_notional_min"


def test_the_position_limit_counts_working_orders_as_filled() -> None:
    """Their exposure is reserved."""
    assert Desk(held="15").rule(intent(quantity="5")) == ""
    assert Desk(held="15").rule(intent(quantity="5", price="1000")) == ""
    assert Desk(held="15.1").rule(intent(quantity="5")) == "position_notional_max"
    desk = Desk(held="13")
    desk.blotter.record(working("buy", "2.5"))
    assert desk.rule(intent(quantity="5")) == "position_notional_max"
    assert desk.rule(intent(quantity="4.5")) == ""


def test_a_position_that_outgrew_its_limits_can_still_be_left() -> None:
    """Only what opens is limited; one step more than is held opens."""
    desk = Desk(held="30")
    assert desk.rule(intent("sell", "30")) == ""
    assert desk.rule(intent("sell", "30.00001", strategy="bear")) == "order_notional_max"


@pytest.mark.parametrize(
    ("price", "rule"), [("1009.49", ""), ("1009.50", "price_collar"), ("989.50", "price_collar"), ("989.51", "")]
)
def test_a_limit_price_stays_within_the_collar_around_the_mid(price: str, rule: str) -> None:
    """100 bps of 999.5 on both sides."""
    assert Desk().rule(intent(price=price)) == rule


def test_selling_more_than_is_held_needs_the_right_to() -> None:
    """Working sells are as good as sold."""
    assert Desk(held="1").rule(intent("sell", "1.1")) == "short_sale"
    assert Desk(held="1").rule(intent("sell", "1.1", strategy="bear")) == ""
    desk = Desk(held="1")
    desk.blotter.record(working("sell", "0.6"))
    assert desk.rule(intent("sell", "0.4")) == ""
    assert desk.rule(intent("sell", "0.5")) == "short_sale"


def test_a_buy_is_paid_from_free_cash_with_its_costs() -> None:
    """1000 and 10 bps; what working buys will take isn't free."""
    assert Desk(cash="1001").rule(intent()) == ""
    assert Desk(cash="1000.99").rule(intent()) == "cash"
    desk = Desk(cash="1501")
    desk.blotter.record(working("buy", "0.5"))
    assert desk.rule(intent()) == "cash"
    desk = Desk(cash="1501.50")
    desk.blotter.record(working("buy", "0.5", price="990"))
    assert desk.rule(intent()) == ""


def test_what_a_short_sale_brought_does_not_buy_anything_else() -> None:
    """But it pays for closing the short."""
    desk = Desk(cash="2000")
    desk.hold("-30", "ETH/USDT")
    assert desk.rule(intent()) == "cash"
    desk = Desk(held="-2", cash="2000")
    assert desk.rule(intent(quantity="2")) == ""
    assert desk.rule(intent(quantity="3")) == "cash"


def test_a_short_without_a_quote_leaves_free_cash_unknown() -> None:
    """And so no buy passes."""
    desk = Desk()
    desk.hold("-1", "ETH/USDT")
    desk.board.quotes[1] = None
    assert desk.rule(intent()) == "cash"


wild = st.decimals(allow_nan=True, allow_infinity=True)
amounts = st.one_of(st.integers(1, 600_000).map(lambda steps: steps * STEP), wild)


class Market(Struct, frozen=True):
    """What surrounds an intent, mostly plausible."""

    held: Decimal
    cash: int
    bid: Decimal
    ask: Decimal
    age_ms: int
    resting: list[tuple[Side, int]]


@st.composite
def markets(draw: st.DrawFn) -> Market:
    bid = draw(st.decimals("500", "1500", places=2))
    return Market(
        held=draw(st.integers(-2_500_000, 2_500_000)) * STEP,
        cash=draw(st.integers(-1_000, 60_000)),
        bid=bid,
        ask=bid + draw(st.integers(-1, 500)) * Decimal("0.01"),
        age_ms=draw(st.integers(-2_100, 2_100)),
        resting=draw(st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 500_000)), max_size=2)),
    )


def assert_within_limits(wish: Intent, market: Market) -> None:
    """Reckoned anew from the outcome: the position if all fills, its worth, the cash that is left."""
    assert wish.quantity.is_finite() and wish.quantity > 0 and wish.quantity % STEP == 0
    assert abs(market.age_ms) <= 2_000 and market.bid < market.ask
    far, sign = (market.ask, 1) if wish.side == "buy" else (market.bid, -1)
    worst = max(far, wish.price or Decimal(0))
    reserved = sum((steps * STEP for way, steps in market.resting if way == wish.side), Decimal(0))
    reached = market.held * sign + reserved + wish.quantity
    if reached > 0:  # it opens something
        assert wish.quantity * worst <= SETTINGS.order_notional_max
        assert reached * worst <= SETTINGS.position_notional_max
        assert wish.side == "buy" or wish.strategy == "bear"
        if wish.side == "buy" and market.held >= 0:
            assert wish.quantity * worst + reserved * market.ask <= market.cash
    mid = (market.bid + market.ask) / 2
    if wish.price is not None:
        assert abs(wish.price - mid) * 10_000 <= mid * SETTINGS.price_collar_bps_max
    assert wish.quantity * far >= BTC.notional_min


def test_whatever_the_intent_an_approved_breaks_no_limit() -> None:
    """Odd figures, odd markets; and enough of all intents are approved for this to mean something."""
    verdicts = Counter[type]()

    @given(
        markets(),
        st.sampled_from(["buy", "sell"]),
        amounts,
        st.one_of(st.none(), st.none(), st.integers(-2_000, 2_000), wild),
        st.sampled_from(["ema", "bear"]),
    )
    @settings(max_examples=400)
    def judge(market: Market, side: Side, quantity: Decimal, price: int | Decimal | None, strategy: str) -> None:
        desk = Desk(held=str(market.held), cash=str(market.cash))
        desk.board.quotes[0] = quote(str(market.bid), str(market.ask), START)
        for number, (way, steps) in enumerate(market.resting):
            desk.blotter.record(structs.replace(working(way, str(steps * STEP)), client_order_id=f"r-o{number}"))
        limit = market.bid + price * Decimal("0.01") if isinstance(price, int) else price
        wish = intent(side, quantity, limit, strategy)
        verdict = desk.check(wish, START + market.age_ms * MS)
        verdicts[type(verdict)] += 1
        if isinstance(verdict, Approved):
            assert_within_limits(wish, market)

    judge()
    assert verdicts[Approved] > 20 and verdicts[Refused] > 20


def test_a_symbol_with_an_open_hole_in_its_data_is_not_traded() -> None:
    """Whatever else is well; the reason is the hole's."""
    desk = Desk()
    gate = RiskGate(SETTINGS, [BTC, ETH])
    refused = gate.check(intent(), desk.board, desk.portfolio, desk.blotter, START, "", "a gap is open")
    assert isinstance(refused, Refused) and (refused.rule, refused.reason) == ("gap", "a gap is open")
