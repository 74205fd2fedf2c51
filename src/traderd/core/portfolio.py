"""What we own and owe, exactly: cash, positions, realised profit, fees, and their value at the market.

A position keeps its cost and not its average price, so that nothing is rounded but the share of the cost that a partial
close takes out, and that share is taken from the one side and given to the other. Always and exactly:

    cash + sum of costs = initial cash + realised profit           equity = initial cash + realised + unrealised

Refuses to book the same execution twice, and to value a position that has no quote.
"""

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal, localcontext

from msgspec import Struct

from traderd.core import facts
from traderd.core.market import Instrument, Quote
from traderd.core.orders import Report
from traderd.core.ticker import TickerBoard

EXECUTIONS_REMEMBERED = 4_096

_ZERO = Decimal(0)
_COST_QUANTUM = Decimal("1e-16")
"""The product of two 8-decimal numbers: a cost is a multiple of it."""
_EXACT = Context(prec=80)
_ENTRY = Context(prec=34)
"""Digits of an average entry price: enough that times quantity it gives back the cost, which a restart needs."""
_LATEST_NS = 2**63 - 1


class Holding(Struct):
    """One symbol's position. `quantity` and `cost` are signed alike; both are 0 when flat."""

    exchange: str
    symbol: str
    index: int | None
    """Of its instrument; None when this run trades no such instrument, and so has no quote for it."""
    strategy: str = ""
    """Whose fill was the last."""
    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO
    realized_pnl: Decimal = _ZERO
    last_price: Decimal = _ZERO
    opened_ns: int = 0
    updated_ns: int = 0
    by_strategy: dict[str, Decimal] = {}


class Valuation(Struct, frozen=True):
    """The portfolio at the market: longs at the bid, shorts at the ask."""

    equity: Decimal
    positions_value: Decimal
    unrealized_pnl: Decimal
    oldest_quote_ns: int
    """When the oldest quote that it rests on was received; the end of time when nothing is held."""


class Portfolio:
    """One account in one base currency."""

    def __init__(self, name: str, base_currency: str, initial_cash: Decimal, instruments: Iterable[Instrument]) -> None:
        self.name = name
        self.base_currency = base_currency
        self.initial_cash = initial_cash
        self.cash = initial_cash
        self.realized_pnl = _ZERO
        self.fees = _ZERO
        self.peak_equity = initial_cash
        self._indices = {(each.exchange, each.symbol): each.index for each in instruments}
        self._holdings: dict[tuple[str, str], Holding] = {}
        self._executions: dict[str, None] = {}

    def restore(
        self,
        cash: Decimal,
        realized_pnl: Decimal,
        fees: Decimal,
        peak_equity: Decimal,
        positions: Iterable[facts.Position],
    ) -> None:
        """Go on from what an earlier run left. A position wholly belongs to the strategy that it names."""
        self.cash, self.realized_pnl, self.fees, self.peak_equity = cash, realized_pnl, fees, peak_equity
        self._holdings = {(each.exchange, each.symbol): self._restored(each) for each in positions}

    def has_booked(self, execution_id: str) -> bool:
        """Whether this fill was applied, as far back as the newest 16,384 go."""
        return execution_id in self._executions

    def accounts_for(self, report: Report) -> bool:
        """Whether the report's fee is in the base currency (or nothing): other fees can't be booked here."""
        return not report.fee or report.fee_currency == self.base_currency

    def apply(self, order: facts.Order, report: Report) -> facts.Execution | None:
        """Book one fill of the order; None when it is booked already, and then nothing changes.

        A fee in a foreign currency is recorded but not booked: ask `accounts_for` and raise the alarm.
        """
        if self.has_booked(report.execution_id):
            return None
        self._remember(report.execution_id)
        fee = report.fee if self.accounts_for(report) else _ZERO
        change = report.quantity if order.side == "buy" else -report.quantity
        holding = self._holding(order.exchange, order.symbol)
        with localcontext(_EXACT):
            realized = _book(holding, change, report.price, report.time_ns) - fee
            self.cash -= change * report.price + fee
            self.fees += fee
            self.realized_pnl += realized
            holding.realized_pnl += realized
            holding.by_strategy[order.strategy] = holding.by_strategy.get(order.strategy, _ZERO) + change
        holding.strategy = order.strategy
        return _execution(order, report, realized)

    def quantity(self, exchange: str, symbol: str) -> Decimal:
        """Signed position of the account."""
        holding = self._holdings.get((exchange, symbol))
        return holding.quantity if holding else _ZERO

    def quantity_of(self, strategy: str, exchange: str, symbol: str) -> Decimal:
        """Signed share of that position that one strategy's fills made."""
        holding = self._holdings.get((exchange, symbol))
        return holding.by_strategy.get(strategy, _ZERO) if holding else _ZERO

    def held(self) -> Iterator[Holding]:
        """Every holding that isn't flat."""
        return (holding for holding in self._holdings.values() if holding.quantity)

    def value(self, board: TickerBoard) -> Valuation | None:
        """What all is worth now; None when a position has no quote at all."""
        worth, cost, oldest_ns = _ZERO, _ZERO, _LATEST_NS
        with localcontext(_EXACT):
            for holding in self.held():
                quote = _quote(holding, board)
                if quote is None:
                    return None
                worth += holding.quantity * _mark(holding, quote)
                cost += holding.cost
                oldest_ns = min(oldest_ns, quote.time_received_ns)
            return Valuation(self.cash + worth, worth, worth - cost, oldest_ns)

    def observe(self, valuation: Valuation) -> None:
        """Let the peak rise to a valuation that is believed."""
        self.peak_equity = max(self.peak_equity, valuation.equity)

    def forget_peak(self) -> None:
        """The next valuation that is believed is the new peak."""
        self.peak_equity = _ZERO

    def position(self, exchange: str, symbol: str, board: TickerBoard) -> facts.Position:
        """The position as a fact, at the newest quote or else at the last fill's price."""
        holding = self._holding(exchange, symbol)
        quote = _quote(holding, board)
        price = _mark(holding, quote) if quote else holding.last_price
        with localcontext(_EXACT):
            entry = _ENTRY.divide(holding.cost, holding.quantity) if holding.quantity else _ZERO
            unrealized = holding.quantity * price - holding.cost
        return facts.Position(
            portfolio=self.name,
            exchange=exchange,
            symbol=symbol,
            quantity=holding.quantity,
            entry_price=entry,
            current_price=price,
            unrealized_pnl=unrealized,
            realized_pnl=holding.realized_pnl,
            strategy=holding.strategy,
            opened_ns=holding.opened_ns,
            updated_ns=holding.updated_ns,
        )

    def equity(self, valuation: Valuation, now_ns: int, environment: facts.Environment) -> facts.Equity:
        """A valuation as a fact."""
        return facts.Equity(
            portfolio=self.name,
            time_ns=now_ns,
            equity=valuation.equity,
            cash=self.cash,
            positions_value=valuation.positions_value,
            unrealized_pnl=valuation.unrealized_pnl,
            realized_pnl=self.realized_pnl,
            fees=self.fees,
            peak_equity=self.peak_equity,
            drawdown=max(_ZERO, self.peak_equity - valuation.equity),
            initial_cash=self.initial_cash,
            base_currency=self.base_currency,
            environment=environment,
        )

    def _holding(self, exchange: str, symbol: str) -> Holding:
        key = (exchange, symbol)
        if key not in self._holdings:
            self._holdings[key] = Holding(exchange, symbol, self._indices.get(key))
        return self._holdings[key]

    def _restored(self, position: facts.Position) -> Holding:
        with localcontext(_EXACT):
            cost = (position.entry_price * position.quantity).quantize(_COST_QUANTUM)
        return Holding(
            exchange=position.exchange,
            symbol=position.symbol,
            index=self._indices.get((position.exchange, position.symbol)),
            strategy=position.strategy,
            quantity=position.quantity,
            cost=cost,
            realized_pnl=position.realized_pnl,
            last_price=position.current_price,
            opened_ns=position.opened_ns,
            updated_ns=position.updated_ns,
            by_strategy={position.strategy: position.quantity},
        )

    def _remember(self, execution_id: str) -> None:
        self._executions[execution_id] = None
        if len(self._executions) > EXECUTIONS_REMEMBERED:
            del self._executions[next(iter(self._executions))]


def _book(holding: Holding, change: Decimal, price: Decimal, time_ns: int) -> Decimal:
    """Change the holding by a signed quantity and return what that realised, before fees.

    What goes against the position closes it first; what is left over opens the other side.
    """
    held = holding.quantity
    closing = max(min(change, -held), _ZERO) if held < 0 else min(max(change, -held), _ZERO)
    opening = change - closing
    removed = _ZERO
    if closing:
        removed = holding.cost if closing == -held else (holding.cost * -closing / held).quantize(_COST_QUANTUM)
    if opening and held + closing == 0:
        holding.opened_ns = time_ns
    holding.quantity = held + change
    holding.cost += opening * price - removed
    holding.last_price = price
    holding.updated_ns = time_ns
    return -closing * price - removed


def _quote(holding: Holding, board: TickerBoard) -> Quote | None:
    return None if holding.index is None else board.quotes[holding.index]


def _mark(holding: Holding, quote: Quote) -> Decimal:
    return Decimal(quote.ask_text if holding.quantity < 0 else quote.bid_text)


def _execution(order: facts.Order, report: Report, realized: Decimal) -> facts.Execution:
    return facts.Execution(
        execution_id=report.execution_id,
        client_order_id=order.client_order_id,
        portfolio=order.portfolio,
        strategy=order.strategy,
        exchange=order.exchange,
        symbol=order.symbol,
        side=order.side,
        quantity=report.quantity,
        price=report.price,
        fee=report.fee,
        fee_currency=report.fee_currency,
        realized_pnl=realized,
        environment=order.environment,
        time_ns=report.time_ns,
        exchange_trade_id=report.exchange_trade_id,
    )
