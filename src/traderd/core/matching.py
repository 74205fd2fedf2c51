"""A simulated venue: approved orders fill against the live quotes.

An order is live `latency_ms` after it was sent. A market order then takes the far side of the first quote (or, when
none arrives, on a Beat, the newest one unless it is stale); a limit order takes it once it is at the limit or better,
and rests until then. No fill is larger than what the quote shows and earlier fills left of it: the rest waits for the
next quote.
Slippage, rounding and fees are always against us. Nobody else sees our orders, so they move no price.
Refuses to execute a client order id twice.
"""

from collections.abc import Collection, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_UP, Decimal

from msgspec import Struct

from traderd.core.market import Quote
from traderd.core.orders import DUPLICATE, Approved, Intent, Report
from traderd.core.ticker import TickerBoard

SEEN_MAX = 4_096

_ZERO = Decimal(0)
_FEE_QUANTUM = Decimal("1e-8")
_NONE: tuple[Report, ...] = ()


class PaperSettings(Struct, frozen=True):
    """How the simulated venue treats us."""

    fee_bps: Decimal
    slippage_bps: Decimal
    latency_ms: int
    quote_age_ms_max: int
    """On a Beat an older quote fills nothing."""


class PaperBook:
    """Our orders at the simulated venue, by instrument."""

    def __init__(self, settings: PaperSettings) -> None:
        self._settings = settings
        self._resting: dict[int, list[_Resting]] = {}
        self._shown: dict[int, _Shown] = {}
        self._seen: dict[str, None] = {}
        self._accepted = 0

    @property
    def working(self) -> Collection[int]:
        """The instruments, by index, of which an order waits for a quote."""
        return self._resting

    def submit(self, approved: Approved, now_ns: int) -> list[Report]:
        """Accept or reject one order. An id seen before (the newest 16,384 are remembered) is a duplicate."""
        intent = approved.intent
        reason = DUPLICATE if intent.client_order_id in self._seen else _fault(approved)
        if reason:
            return [Report(intent.client_order_id, "rejected", now_ns, reason=reason)]
        self._remember(intent.client_order_id)
        self._accepted += 1
        order = _Resting(
            intent=intent,
            exchange_order_id=f"P{self._accepted}-{intent.client_order_id}",
            live_ns=now_ns + self._settings.latency_ms * 1_000_000,
            remaining=intent.quantity,
        )
        self._resting.setdefault(intent.instrument.index, []).append(order)
        return [Report(intent.client_order_id, "new", now_ns, order.exchange_order_id)]

    def on_quote(self, quote: Quote) -> Sequence[Report]:
        """The fills that this quote brings. Worth calling only where an order is `working`."""
        index = quote.instrument.index
        return self._fill(index, quote, quote.time_received_ns) if index in self._resting else _NONE

    def on_beat(self, now_ns: int, board: TickerBoard) -> Sequence[Report]:
        """The fills at the newest quotes of orders that turned live since those arrived."""
        if not self._resting:
            return _NONE
        reports: list[Report] = []
        oldest_ns = now_ns - self._settings.quote_age_ms_max * 1_000_000
        for index in list(self._resting):
            quote = board.quotes[index]
            if quote is not None and quote.time_received_ns >= oldest_ns:
                reports += self._fill(index, quote, now_ns)
        return reports

    def expire(self, now_ns: int) -> list[Report]:
        """The venue closes: whatever still rests ends here."""
        ended = [order for orders in self._resting.values() for order in orders]
        self._resting.clear()
        return [
            Report(order.intent.client_order_id, "expired", now_ns, order.exchange_order_id, reason="the venue closed")
            for order in ended
        ]

    def _fill(self, index: int, quote: Quote, now_ns: int) -> list[Report]:
        shown = self._shown.get(index)
        if shown is None or shown.quote is not quote:
            shown = self._shown[index] = _Shown(quote, {"buy": quote.ask_size_text, "sell": quote.bid_size_text})
        reports = []
        for order in self._resting[index]:
            if order.live_ns <= now_ns:
                report = self._match(order, shown, now_ns)
                if report is not None:
                    reports.append(report)
        self._resting[index] = [order for order in self._resting[index] if order.remaining]
        if not self._resting[index]:
            del self._resting[index]
        return reports

    def _match(self, order: "_Resting", shown: "_Shown", now_ns: int) -> Report | None:
        intent = order.intent
        price = self._price(intent, shown.quote)
        step = intent.instrument.quantity_step
        quantity = min(order.remaining, shown.left[intent.side]) // step * step
        if price is None or quantity <= 0:
            return None
        order.remaining -= quantity
        order.fills += 1
        shown.left[intent.side] -= quantity
        execution_id = f"{intent.client_order_id}-x{order.fills}"
        fee = (price * quantity * self._settings.fee_bps / 10_000).quantize(_FEE_QUANTUM, ROUND_UP)
        return Report(
            client_order_id=intent.client_order_id,
            kind="trade",
            time_ns=now_ns,
            exchange_order_id=order.exchange_order_id,
            execution_id=execution_id,
            quantity=quantity,
            price=price,
            fee=fee,
            fee_currency=intent.instrument.quote,
            exchange_trade_id=execution_id,
        )

    def _price(self, intent: Intent, quote: Quote) -> Decimal | None:
        """What a fill costs now; None while a limit isn't reached."""
        limit, tick = intent.price, intent.instrument.price_tick
        slippage = self._settings.slippage_bps / 10_000
        if intent.side == "buy":
            far = Decimal(quote.ask_text)
            slipped = (far * (1 + slippage) / tick).to_integral_value(ROUND_CEILING) * tick
            return slipped if limit is None else min(slipped, limit) if far <= limit else None
        far = Decimal(quote.bid_text)
        slipped = max(tick, (far * (1 - slippage) / tick).to_integral_value(ROUND_FLOOR) * tick)
        return slipped if limit is None else max(slipped, limit) if far >= limit else None

    def _remember(self, client_order_id: str) -> None:
        self._seen[client_order_id] = None
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]


class _Resting(Struct):
    """An accepted order with something left to fill."""

    intent: Intent
    exchange_order_id: str
    live_ns: int
    remaining: Decimal
    fills: int = 0


class _Shown:
    """One quote and what our own fills left of its sizes, by the side of the order that takes them."""

    __slots__ = ("left", "quote")

    def __init__(self, quote: Quote, sizes: dict[str, str]) -> None:
        self.quote = quote
        self.left = {side: Decimal(text) for side, text in sizes.items()}


def _fault(approved: Approved) -> str:
    """Why the venue would reject the order; "" if it wouldn't. Minimum and steps as venues publish them."""
    intent, instrument = approved.intent, approved.intent.instrument
    if intent.quantity <= 0 or intent.quantity % instrument.quantity_step:
        return f"quantity {intent.quantity} isn't a positive multiple of {instrument.quantity_step}"
    if intent.price is not None and (intent.price <= 0 or intent.price % instrument.price_tick):
        return f"price {intent.price} isn't a positive multiple of {instrument.price_tick}"
    notional = intent.quantity * (intent.price or approved.reference_price)
    if notional < instrument.notional_min:
        return f"notional {notional} is below the minimum of {instrument.notional_min}"
    return ""
