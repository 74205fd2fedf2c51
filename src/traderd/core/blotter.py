"""The orders of this run: those that work, and the newest of those that are done.

Refuses to grow: of the finished orders only the newest are kept, to recognise late news about them.
"""

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal

from traderd.core.facts import Order
from traderd.core.market import Side
from traderd.core.orders import is_final

FINISHED_MAX = 1024
_NONE: Mapping[str, Order] = {}


class Blotter:
    """Orders by client order id, the working ones by instrument too."""

    def __init__(self) -> None:
        self._working: dict[str, Order] = {}
        self._working_on: dict[tuple[str, str], dict[str, Order]] = {}
        self._finished: dict[str, Order] = {}

    def record(self, order: Order) -> None:
        """The newest state of a new or known order."""
        at = order.exchange, order.symbol
        if not is_final(order.status):
            self._working[order.client_order_id] = order
            self._working_on.setdefault(at, {})[order.client_order_id] = order
            return
        if self._working.pop(order.client_order_id, None) is not None:
            del self._working_on[at][order.client_order_id]
            if not self._working_on[at]:
                del self._working_on[at]
        self._finished[order.client_order_id] = order
        if len(self._finished) > FINISHED_MAX:
            del self._finished[next(iter(self._finished))]

    def find(self, client_order_id: str) -> Order | None:
        """The order, if it works or finished lately."""
        return self._working.get(client_order_id) or self._finished.get(client_order_id)

    def working(self) -> Iterator[Order]:
        """Every order whose end isn't known."""
        return iter(self._working.values())

    def working_on(self, exchange: str, symbol: str) -> Collection[Order]:
        """Those of one instrument, as long as nothing is recorded."""
        return self._working_on.get((exchange, symbol), _NONE).values()

    def remaining(self, exchange: str, symbol: str, side: Side) -> Decimal:
        """What the working orders of one instrument and side may still fill: the reserved exposure."""
        remaining = Decimal(0)
        for order in self.working_on(exchange, symbol):
            if order.side == side:
                remaining += order.quantity - order.filled_quantity
        return remaining
