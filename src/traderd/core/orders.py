"""From a wish to an order: intents, approvals, execution reports, and the table of an order's states.

    pending ──► open ──► partially_filled ──► filled
       │          │              │
       ├► rejected├► cancelled   ├► cancelled
       └► unknown └► expired     └► expired        unknown ──► any state that the venue's own books name

Refuses a transition that the table doesn't have.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from traderd.core.facts import OrderStatus, OrderType
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
