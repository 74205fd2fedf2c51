"""From an opinion to a quantity: the one place where market measurements turn into what we own or owe.

Refuses (with a reason) an opinion that asks for what is already so.
"""

from decimal import ROUND_DOWN, Decimal

from msgspec import Struct

from traderd.core.facts import SignalType
from traderd.core.market import Side


class Wish(Struct, frozen=True):
    """What to order so that an opinion comes true."""

    side: Side
    quantity: Decimal


def size(
    signal_type: SignalType, held: Decimal, order_notional: Decimal, reference_price: Decimal, quantity_step: Decimal
) -> Wish | str:
    """The order for an opinion of a strategy that holds `held` (signed), or why there is none.

    Opening quantities are rounded down to the step; what is held on the other side is closed exactly by it.
    """
    if signal_type == "EXIT_LONG":
        return Wish("sell", held) if held > 0 else "no long position to leave"
    if signal_type == "EXIT_SHORT":
        return Wish("buy", -held) if held < 0 else "no short position to leave"
    wanted = 1 if signal_type == "LONG" else -1
    if held * wanted > 0:
        return f"already {'long' if held > 0 else 'short'}"
    steps = (order_notional / reference_price / quantity_step).to_integral_value(ROUND_DOWN)
    if steps == 0:
        return f"{order_notional} buys less than one step of {quantity_step}"
    return Wish("buy" if wanted > 0 else "sell", steps * quantity_step + abs(held))


def side_of(signal_type: SignalType) -> Side:
    """The side of the order that such an opinion leads to."""
    return "buy" if signal_type in {"LONG", "EXIT_SHORT"} else "sell"
