"""The risk gate: the only maker of `Approved`. An intent passes every rule or is refused by the first that says no.

Notionals are taken at the worse of the quote's far side and the limit price. An order that only takes off what is held
passes the two maxima: a limit that keeps one from getting out protects nobody.
Refuses whatever it can't judge: a guard that cannot tell says no.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, localcontext

from msgspec import Struct

from traderd.core.blotter import Blotter
from traderd.core.market import Instrument, Quote
from traderd.core.orders import Approved, Intent, Refused
from traderd.core.portfolio import Portfolio
from traderd.core.quality import names_of
from traderd.core.ticker import TickerBoard

_ZERO = Decimal(0)
_DIGITS_MAX = 30
"""A price or quantity with more digits before or behind its point is not judged: products must stay exact."""
_EXACT = Context(prec=2 * 2 * _DIGITS_MAX + 60)
"""For two such numbers, and what a share of costs adds to them."""
_LEAST = Decimal(1).scaleb(-_DIGITS_MAX)


class RiskSettings(Struct, frozen=True):
    """Limits; notionals in the quote currency."""

    order_notional_max: Decimal
    position_notional_max: Decimal
    price_collar_bps_max: Decimal
    """Distance of a limit price from the quote's mid."""
    quote_age_ms_max: int
    cost_bps: Decimal
    """Fee and slippage that a buy's cash must cover besides its price."""
    shorting: frozenset[str] = frozenset()
    """Names of the strategies that may sell what isn't held."""


class _Case(Struct):
    """One intent and all that judging it needs. From `far_side` on it is only there once it was weighed."""

    intent: Intent
    settings: RiskSettings
    instruments: Sequence[Instrument]
    places: Mapping[tuple[str, str], int]
    """Of the instruments, by exchange and symbol."""
    board: TickerBoard
    portfolio: Portfolio
    blotter: Blotter
    now_ns: int
    halted: str
    gap: str = ""
    """Why the symbol's data can't be relied on, if a hole in it is open."""
    far_side: Decimal = _ZERO
    worst_price: Decimal = _ZERO
    exposure: Decimal = _ZERO
    """Position in the order's direction (negative: the order takes off) if all working orders that way fill."""
    opening: Decimal = _ZERO
    """The part of the quantity that doesn't take off an existing position."""

    @property
    def quote(self) -> Quote | None:
        return self.board.quotes[self.intent.instrument.index]

    @property
    def known_quote(self) -> Quote:
        quote = self.quote
        assert quote is not None, "the rule missing_quote comes first"
        return quote

    def weigh(self) -> None:
        """Once, when the rules above have made sure of quantity, price and quote."""
        intent, quote = self.intent, self.known_quote
        at, is_buy = intent.instrument, intent.side == "buy"
        held = self.portfolio.quantity(at.exchange, at.symbol)
        self.far_side = Decimal(quote.ask_text if is_buy else quote.bid_text)
        self.worst_price = max(self.far_side, intent.price or _ZERO)
        self.exposure = (held if is_buy else -held) + self.blotter.remaining(at.exchange, at.symbol, intent.side)
        self.opening = min(intent.quantity, max(_ZERO, self.exposure + intent.quantity))


class RiskGate:
    """All rules, in fixed order."""

    def __init__(self, settings: RiskSettings, instruments: Sequence[Instrument]) -> None:
        self._settings = settings
        self._instruments = instruments
        self._places = {(each.exchange, each.symbol): each.index for each in instruments}

    def check(
        self,
        intent: Intent,
        board: TickerBoard,
        portfolio: Portfolio,
        blotter: Blotter,
        now_ns: int,
        halted: str,
        gap: str = "",
    ) -> Approved | Refused:
        """Judge one intent. `halted` says why nothing may pass; "" when trading is on, and `gap` which hole in
        the symbol's data is open.
        """
        case = _Case(
            intent, self._settings, self._instruments, self._places, board, portfolio, blotter, now_ns, halted, gap
        )
        with localcontext(_EXACT):
            for name, rule in RULES.items():
                if rule is _order_notional_max:  # the first that needs it
                    case.weigh()
                reason = rule(case)
                if reason:
                    return Refused(intent, name, reason)
            return Approved(intent, case.far_side)


def _halted(case: _Case) -> str:
    return case.halted


def _unknown_symbol(case: _Case) -> str:
    at = case.intent.instrument
    known = case.instruments[at.index] if 0 <= at.index < len(case.instruments) else None
    if known is None or (known.exchange, known.symbol) != (at.exchange, at.symbol):
        return f"{at.exchange} {at.symbol} isn't traded here"
    return ""


def _quote_currency(case: _Case) -> str:
    at, base = case.intent.instrument, case.portfolio.base_currency
    return "" if at.quote == base else f"{at.symbol} is paid in {at.quote}, the portfolio is in {base}"


def _malformed(case: _Case) -> str:
    intent = case.intent
    quantity, price, step = intent.quantity, intent.price, intent.instrument.quantity_step
    if not _is_measurable(quantity) or quantity % step:
        return f"a quantity of {quantity} isn't a positive multiple of {step}"
    if (intent.order_type == "limit") != (price is not None):
        return f"a {intent.order_type} order with a price of {price}"
    if price is not None and not _is_measurable(price):
        return f"a limit price of {price}"
    return ""


def _is_measurable(number: Decimal) -> bool:
    return number.is_finite() and number > 0 and number.adjusted() < _DIGITS_MAX and not number % _LEAST


def _unknown_order(case: _Case) -> str:
    at = case.intent.instrument
    for order in case.blotter.working_on(at.exchange, at.symbol):
        if order.status == "unknown":
            return f"the fate of order {order.client_order_id} is unknown"
    return ""


def _gap(case: _Case) -> str:
    return case.gap


def _missing_quote(case: _Case) -> str:
    return "" if case.quote else "there was no quote yet"


def _doubtful_quote(case: _Case) -> str:
    flags = case.board.doubts[case.intent.instrument.index]
    return f"the newest quote is doubtful: {', '.join(names_of(flags))}" if flags else ""


def _stale_quote(case: _Case) -> str:
    age_ms = (case.now_ns - case.known_quote.time_received_ns) / 1e6
    if abs(age_ms) > case.settings.quote_age_ms_max:  # one from the future is as little to be trusted
        return f"the quote is {age_ms:.0f} ms old, {case.settings.quote_age_ms_max} is the limit"
    return ""


def _crossed_quote(case: _Case) -> str:
    quote = case.known_quote
    return "" if 0.0 < quote.bid < quote.ask else f"the quote is {quote.bid_text} bid, {quote.ask_text} asked"


def _order_notional_max(case: _Case) -> str:
    notional = case.intent.quantity * case.worst_price
    if case.opening and notional > case.settings.order_notional_max:
        return f"{notional:.2f} is more than {case.settings.order_notional_max}"
    return ""


def _order_notional_min(case: _Case) -> str:
    notional, least = case.intent.quantity * case.far_side, case.intent.instrument.notional_min
    return "" if notional >= least else f"{notional:.8f} is less than the venue's minimum of {least}"


def _position_notional_max(case: _Case) -> str:
    notional = (case.exposure + case.intent.quantity) * case.worst_price
    if case.opening and notional > case.settings.position_notional_max:
        return f"the position could reach {notional:.2f}, {case.settings.position_notional_max} is the limit"
    return ""


def _price_collar(case: _Case) -> str:
    price = case.intent.price
    if price is None:
        return ""
    mid = (Decimal(case.known_quote.bid_text) + Decimal(case.known_quote.ask_text)) / 2
    if abs(price - mid) * 10_000 > case.settings.price_collar_bps_max * mid:
        return f"a limit of {price} is more than {case.settings.price_collar_bps_max} bps from the mid of {mid}"
    return ""


def _short_sale(case: _Case) -> str:
    if case.intent.side == "buy" or not case.opening or case.intent.strategy in case.settings.shorting:
        return ""
    return f"{case.opening} more than is held would be sold, and {case.intent.strategy} may not sell short"


def _cash(case: _Case) -> str:
    """What opening buys cost must lie there free of what working buys and short positions will take.

    Working sells count for nothing, closing a short is paid from what its sale brought.
    """
    if case.intent.side == "sell" or not case.opening:
        return ""
    owed = _owed(case)
    if owed is None:
        return "a short position or a working order has no quote: free cash can't be told"
    needed = case.opening * case.worst_price * (1 + case.settings.cost_bps / 10_000)
    free = case.portfolio.cash - owed
    return "" if needed <= free else f"{needed:.2f} needed, {free:.2f} free"


def _owed(case: _Case) -> Decimal | None:
    owed = _ZERO
    for holding in case.portfolio.held():
        if holding.quantity < 0:
            quote = None if holding.index is None else case.board.quotes[holding.index]
            if quote is None:
                return None
            owed -= holding.quantity * Decimal(quote.ask_text)
    for order in case.blotter.working():
        if order.side == "buy":
            place = case.places.get((order.exchange, order.symbol))
            quote = None if place is None else case.board.quotes[place]
            if quote is None:
                return None
            price = max(order.price or _ZERO, Decimal(quote.ask_text))
            owed += (order.quantity - order.filled_quantity) * price
    return owed * (1 + case.settings.cost_bps / 10_000)


RULES: dict[str, Callable[[_Case], str]] = {
    "halted": _halted,
    "unknown_symbol": _unknown_symbol,
    "quote_currency": _quote_currency,
    "malformed": _malformed,
    "unknown_order": _unknown_order,
    "gap": _gap,
    "missing_quote": _missing_quote,
    "doubtful_quote": _doubtful_quote,
    "stale_quote": _stale_quote,
    "crossed_quote": _crossed_quote,
    "order_notional_max": _order_notional_max,
    "order_notional_min": _order_notional_min,
    "position_notional_max": _position_notional_max,
    "price_collar": _price_collar,
    "short_sale": _short_sale,
    "cash": _cash,
}
"""Each returns why not, or "". Later rules rely on what earlier ones made sure of."""
