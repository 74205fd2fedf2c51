"""From a wish to an order: intents, approvals, execution reports, and the table of an order's states.

    pending ──► open ──► partially_filled ──► filled
       │          │              │
       ├► rejected├► cancelled   ├► cancelled
       └► unknown └► expired     └► expired        unknown ──► any state that the venue's own books name

Refuses a transition that the table doesn't have.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct, structs

from traderd.core.errors import TraderdError
from traderd.core.facts import Environment, Order, OrderStatus, OrderType
from traderd.core.market import Instrument, Side


class Intent(Struct, frozen=True):
    """What a strategy wants done, sized, before anybody checked it."""

    client_order_id: str
    signal_id: str
    strategy: str
    instrument: Instrument
    side: Side
    order_type: OrderType
    quantity: Decimal
    price: Decimal | None
    time_ns: int


class Approved(Struct, frozen=True):
    """An intent that the risk gate let through. Only `core.risk` makes one; the exchange port takes nothing else."""

    intent: Intent
    reference_price: Decimal
    """The quote's far side at approval: what the collar and the reservation were computed from."""


class Refused(Struct, frozen=True):
    """An intent that was not let through, and the one rule that says so."""

    intent: Intent
    rule: str
    reason: str


class Report(Struct, frozen=True):
    """An execution report, as FIX means it: what the exchange says happened to one order."""

    client_order_id: str
    kind: Literal["new", "trade", "rejected", "cancelled", "expired", "unknown"]
    time_ns: int
    exchange_order_id: str = ""
    execution_id: str = ""
    quantity: Decimal = Decimal(0)
    """Of this fill alone."""
    price: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    fee_currency: str = ""
    reason: str = ""
    exchange_trade_id: str = ""
    """The exchange's own id of this fill, where it tells one."""


_ANY_KNOWN: frozenset[OrderStatus] = frozenset(
    {"open", "partially_filled", "filled", "cancelled", "rejected", "expired"}
)

NEXT_STATUS: dict[OrderStatus, frozenset[OrderStatus]] = {
    "pending": _ANY_KNOWN | {"unknown"},
    "open": _ANY_KNOWN - {"open", "rejected"} | {"unknown"},
    "partially_filled": frozenset({"partially_filled", "filled", "cancelled", "expired", "unknown"}),
    "unknown": _ANY_KNOWN,
    "filled": frozenset(),
    "cancelled": frozenset(),
    "rejected": frozenset(),
    "expired": frozenset(),
}
"""Every status and the statuses that may follow it. A final status has none."""


def is_final(status: OrderStatus) -> bool:
    """Whether nothing can follow."""
    return not NEXT_STATUS[status]


DUPLICATE = "duplicate"
"""The reason of a `rejected` report that only says: the venue has this client order id already."""


class OrderContradictionError(TraderdError):
    """A report says what can't be true of its order: an overfill, a fill without figures, an impossible status."""


def apply_report(order: Order, report: Report) -> Order:
    """The order as the report leaves it. Raises OrderContradictionError.

    Late news is no contradiction: an acknowledgement behind its fill, silence about an order whose end is known, an end
    told twice, or a duplicate's rejection (which judges the repeat and not the order) change no status. Whether a fill
    was seen before is the portfolio's to know.
    """
    if report.kind == "new":
        return _acknowledged(order, report)
    if report.kind == "trade":
        return _filled(order, report)
    if _is_no_news(order, report):
        return order
    _require_next(order, report.kind)
    return structs.replace(
        order,
        status=report.kind,
        updated_ns=report.time_ns,
        cancelled_ns=report.time_ns if report.kind in {"cancelled", "expired"} else 0,
        exchange_order_id=report.exchange_order_id or order.exchange_order_id,
        reason=report.reason,
    )


def is_fill(report: Report) -> bool:
    """Whether the report has all that booking a fill needs."""
    return (
        report.kind == "trade"
        and report.execution_id != ""
        and _is_positive(report.quantity)
        and _is_positive(report.price)
        and report.fee.is_finite()
    )


def order_of(verdict: Approved | Refused, portfolio: str, environment: Environment) -> Order:
    """The order that a judged intent becomes: pending, or rejected with the rule that refused it."""
    intent = verdict.intent
    return Order(
        client_order_id=intent.client_order_id,
        portfolio=portfolio,
        strategy=intent.strategy,
        signal_id=intent.signal_id,
        exchange=intent.instrument.exchange,
        symbol=intent.instrument.symbol,
        side=intent.side,
        order_type=intent.order_type,
        quantity=intent.quantity,
        price=intent.price,
        status="pending" if isinstance(verdict, Approved) else "rejected",
        environment=environment,
        created_ns=intent.time_ns,
        updated_ns=intent.time_ns,
        reason="" if isinstance(verdict, Approved) else f"{verdict.rule}: {verdict.reason}",
    )


def _is_no_news(order: Order, report: Report) -> bool:
    return (
        order.status == report.kind
        or (report.kind == "rejected" and report.reason == DUPLICATE)
        or (report.kind == "unknown" and is_final(order.status))
    )


def _acknowledged(order: Order, report: Report) -> Order:
    status = order.status
    if status in {"pending", "unknown"}:
        status = "partially_filled" if order.filled_quantity else "open"
    return structs.replace(
        order,
        status=status,
        updated_ns=report.time_ns,
        submitted_ns=order.submitted_ns or report.time_ns,
        exchange_order_id=report.exchange_order_id or order.exchange_order_id,
    )


def _filled(order: Order, report: Report) -> Order:
    if not is_fill(report):
        raise OrderContradictionError(f"{order.client_order_id}: a fill without id, quantity or price")
    filled = order.filled_quantity + report.quantity
    if filled > order.quantity:
        raise OrderContradictionError(f"{order.client_order_id}: {filled} filled of an order for {order.quantity}")
    status: OrderStatus = "filled" if filled == order.quantity else "partially_filled"
    _require_next(order, status)
    paid = (order.average_fill_price or Decimal(0)) * order.filled_quantity + report.price * report.quantity
    return structs.replace(
        order,
        status=status,
        updated_ns=report.time_ns,
        submitted_ns=order.submitted_ns or report.time_ns,
        filled_ns=report.time_ns if status == "filled" else 0,
        exchange_order_id=report.exchange_order_id or order.exchange_order_id,
        filled_quantity=filled,
        average_fill_price=paid / filled,
        fee=order.fee + report.fee,
        fee_currency=report.fee_currency or order.fee_currency,
    )


def _require_next(order: Order, status: OrderStatus) -> None:
    if status not in NEXT_STATUS[order.status]:
        raise OrderContradictionError(f"{order.client_order_id}: {status} can't follow {order.status}")


def _is_positive(number: Decimal) -> bool:
    return number.is_finite() and number > 0
