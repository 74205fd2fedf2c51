from decimal import Decimal
from typing import Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from made_up import BTC, ETH, START, quote
from traderd.core.facts import Execution, Order
from traderd.core.market import Instrument, Side
from traderd.core.orders import Report
from traderd.core.portfolio import EXECUTIONS_REMEMBERED, Portfolio
from traderd.core.ticker import TickerBoard

INITIAL = Decimal(100_000)

prices = st.decimals("0.01", "99999", places=2)
quantities = st.decimals("0.00001", "50", places=5)
fills = st.tuples(st.sampled_from([BTC, ETH]), st.sampled_from(["buy", "sell"]), quantities, prices)


def portfolio() -> Portfolio:
    return Portfolio("paper", "USDT", INITIAL, [BTC, ETH])


def booked(
    book: Portfolio,
    side: str,
    quantity: str | Decimal,
    price: str | Decimal,
    number: int,
    instrument: Instrument = BTC,
    fee: str | Decimal = "0",
    strategy: str = "ema",
    fee_currency: str = "USDT",
) -> Execution | None:
    """Book one fill."""
    way: Side = "buy" if side == "buy" else "sell"
    kind: Literal["market"] = "market"
    order = Order(
        f"o{number}",
        "paper",
        strategy,
        "s",
        "binance",
        instrument.symbol,
        way,
        kind,
        Decimal(1),
        None,
        "open",
        "paper",
        1,
        1,
    )
    figures = Decimal(quantity), Decimal(price), Decimal(fee)
    return book.apply(order, Report(f"o{number}", "trade", START + number, "P", f"x{number}", *figures, fee_currency))


def board_at(btc: tuple[str, str], eth: tuple[str, str]) -> TickerBoard:
    board = TickerBoard(2)
    board.quotes = [quote(*btc, START), quote(*eth, START + 7, ETH)]
    return board


def test_a_round_trip_earns_the_difference_less_the_fees() -> None:
    """Bought at 100, half sold at 120, the rest at 90, with a fee each time."""
    book = portfolio()
    opening = booked(book, "buy", "2", "100", 1, fee="0.2")
    assert opening is not None and opening.realized_pnl == Decimal("-0.2")
    half = booked(book, "sell", "1", "120", 2, fee="0.1")
    assert half is not None and half.realized_pnl == Decimal("19.9")
    rest = booked(book, "sell", "1", "90", 3, fee="0.1")
    assert rest is not None and rest.realized_pnl == Decimal("-10.1")
    assert book.cash == INITIAL + Decimal("9.6")
    assert (book.realized_pnl, book.fees) == (Decimal("9.6"), Decimal("0.4"))
    flat = book.position("binance", "BTC/USDT", TickerBoard(2))
    assert (flat.quantity, flat.entry_price, flat.unrealized_pnl, flat.realized_pnl) == (0, 0, 0, Decimal("9.6"))


def test_adding_to_a_position_averages_its_entry() -> None:
    """Weighted by quantity."""
    book = portfolio()
    booked(book, "buy", "1", "100", 1)
    booked(book, "buy", "3", "120", 2)
    assert book.position("binance", "BTC/USDT", TickerBoard(2)).entry_price == 115


def test_a_fill_beyond_the_position_closes_it_and_opens_the_other_side() -> None:
    """Long 1, sold 3: one unit realises, two are short from the fill's price and moment on."""
    book = portfolio()
    booked(book, "buy", "1", "100", 1)
    flip = booked(book, "sell", "3", "110", 2)
    assert flip is not None and flip.realized_pnl == 10
    position = book.position("binance", "BTC/USDT", TickerBoard(2))
    assert (position.quantity, position.entry_price, position.opened_ns) == (-2, 110, START + 2)
    cover = booked(book, "buy", "2", "105", 3)
    assert cover is not None and cover.realized_pnl == 10


def test_longs_are_worth_their_bid_and_shorts_cost_their_ask() -> None:
    """What closing now would bring; the valuation is as old as its oldest quote."""
    book = portfolio()
    booked(book, "buy", "2", "100", 1)
    booked(book, "sell", "5", "50", 2, ETH)
    value = book.value(board_at(("98", "99"), ("51", "52")))
    assert value is not None
    assert value.positions_value == 2 * 98 - 5 * 52
    assert value.unrealized_pnl == 2 * (98 - 100) + 5 * (50 - 52)
    assert value.equity == INITIAL - 4 - 10
    assert value.oldest_quote_ns == START


def test_a_position_without_a_quote_has_no_value() -> None:
    """A sum with an unknown in it is unknown."""
    book = portfolio()
    assert book.value(TickerBoard(2)) is not None
    booked(book, "buy", "1", "100", 1)
    assert book.value(TickerBoard(2)) is None


def test_the_same_execution_is_booked_once() -> None:
    """A repeated report changes nothing at all."""
    book = portfolio()
    booked(book, "buy", "1", "100", 1, fee="0.1")
    before = book.cash, book.fees, book.realized_pnl, book.quantity("binance", "BTC/USDT")
    assert booked(book, "buy", "1", "100", 1, fee="0.1") is None
    assert (book.cash, book.fees, book.realized_pnl, book.quantity("binance", "BTC/USDT")) == before


def test_the_memory_of_executions_is_bounded() -> None:
    """It forgets the oldest and keeps the newest."""
    book = portfolio()
    for number in range(EXECUTIONS_REMEMBERED + 1):
        book._remember(f"x{number}")
    assert not book.has_booked("x0")
    assert book.has_booked("x1") and book.has_booked(f"x{EXECUTIONS_REMEMBERED}")


def test_a_fee_in_another_currency_is_recorded_but_never_mixed_in() -> None:
    """Whether it can be booked is asked for, so that an alarm is raised."""
    book = portfolio()
    fill = booked(book, "buy", "1", "100", 1, fee="0.001", fee_currency="BNB")
    assert fill is not None and (fill.fee, fill.fee_currency, fill.realized_pnl) == (Decimal("0.001"), "BNB", 0)
    assert (book.cash, book.fees) == (INITIAL - 100, 0)
    assert not book.accounts_for(Report("o", "trade", 1, fee=Decimal("0.001"), fee_currency="BNB"))
    assert book.accounts_for(Report("o", "trade", 1))


def test_each_strategy_owns_what_its_own_fills_made() -> None:
    """Two strategies on one symbol share a position but not its parts."""
    book = portfolio()
    booked(book, "buy", "2", "100", 1, strategy="a")
    booked(book, "sell", "3", "100", 2, strategy="b")
    assert book.quantity("binance", "BTC/USDT") == -1
    assert book.quantity_of("a", "binance", "BTC/USDT") == 2
    assert book.quantity_of("b", "binance", "BTC/USDT") == -3


def test_the_peak_only_rises_until_it_is_forgotten() -> None:
    """Drawdown is measured from it."""
    book = portfolio()
    booked(book, "buy", "1", "100", 1)
    for bid in ("150", "120"):
        value = book.value(board_at((bid, "999"), ("1", "2")))
        assert value is not None
        book.observe(value)
    assert book.peak_equity == INITIAL + 50
    assert book.equity(value, START, "paper").drawdown == 30
    book.forget_peak()
    book.observe(value)
    assert book.peak_equity == INITIAL + 20


@given(st.lists(fills, max_size=40), st.decimals("0", "9", places=8))
def test_money_is_never_created_nor_destroyed(
    sequence: list[tuple[Instrument, str, Decimal, Decimal]], fee: Decimal
) -> None:
    """For any sequence of fills, to the last digit; and a position is the sum of its fills."""
    book, sums = portfolio(), {BTC.symbol: Decimal(0), ETH.symbol: Decimal(0)}
    realized = Decimal(0)
    for number, (instrument, side, quantity, price) in enumerate(sequence):
        execution = booked(book, side, quantity, price, number, instrument, fee)
        assert execution is not None
        realized += execution.realized_pnl
        sums[instrument.symbol] += quantity if side == "buy" else -quantity
    assert book.realized_pnl == realized
    assert book.cash + sum(holding.cost for holding in book.held()) == INITIAL + realized
    assert {symbol: book.quantity("binance", symbol) for symbol in sums} == sums
    value = book.value(board_at(("101.37", "101.38"), ("7.01", "7.03")))
    assert value is not None
    assert value.equity == INITIAL + book.realized_pnl + value.unrealized_pnl == book.cash + value.positions_value


@given(st.lists(fills, max_size=30))
def test_what_is_restored_from_the_facts_goes_on_to_the_last_digit(
    sequence: list[tuple[Instrument, str, Decimal, Decimal]],
) -> None:
    """Through JSON and back, costs included."""
    before, after = portfolio(), portfolio()
    for number, (instrument, side, quantity, price) in enumerate(sequence):
        booked(before, side, quantity, price, number, instrument, "0.5")
    board = board_at(("101.37", "101.38"), ("7.01", "7.03"))
    stored = [before.position("binance", symbol, board) for symbol in ("BTC/USDT", "ETH/USDT")]
    positions = msgspec.json.decode(msgspec.json.encode(stored), type=list[type(stored[0])])  # type: ignore[misc]  # Position
    after.restore(before.cash, before.realized_pnl, before.fees, before.peak_equity, positions)
    assert after.value(board) == before.value(board)
    assert [after.position("binance", symbol, board) for symbol in ("BTC/USDT", "ETH/USDT")] == stored


def test_a_restored_position_of_an_unknown_symbol_cannot_be_valued() -> None:
    """So equity is unknown and the breaker stays open."""
    book = portfolio()
    booked(book, "buy", "1", "100", 1)
    strange = structs.replace(book.position("binance", "BTC/USDT", TickerBoard(2)), symbol="DOGE/USDT")
    book.restore(INITIAL, Decimal(0), Decimal(0), INITIAL, [strange])
    assert [holding.index for holding in book.held()] == [None]
    assert book.value(board_at(("1", "2"), ("1", "2"))) is None
