"""Numbers and times as venues write them: which texts may pass, and what they mean in exact terms.

A price or quantity passes only as plain decimal digits with at most one dot and at most 32 digits on either side of
it, a price only above zero. That rules out signs, exponents, blanks, underscores, NaN and infinity, and makes
`float(text)` finite. Refuses everything else with a BadFrameError: nothing is rounded or guessed.
"""

import re
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Final

from traderd.core.errors import BadFrameError
from traderd.core.market import Level

_QUANTITY = r"[0-9]{1,32}+(?:\.[0-9]{1,32}+)?+"
_PRICE = rf"(?=[0.]*+[1-9]){_QUANTITY}"
NS_MAX: Final = 2**63 - 1
"""The latest time that a 64-bit count of nanoseconds since the epoch holds: in the year 2262."""
MS_MAX: Final = NS_MAX // 1_000_000

is_quote = re.compile(f"{_PRICE},{_QUANTITY},{_PRICE},{_QUANTITY}").fullmatch
"""Whether f"{bid},{bid_size},{ask},{ask_size}" is two prices and two quantities."""
is_trade = re.compile(f"{_PRICE},{_QUANTITY}").fullmatch
"""Whether f"{price},{quantity}" is a price and a quantity."""
is_candle = re.compile(f"(?:{_PRICE},){{4}}{_QUANTITY}").fullmatch
"""Whether f"{open},{high},{low},{close},{volume}" is four prices and a quantity."""
is_rate = re.compile(f"-?{_QUANTITY}").fullmatch
"""Whether the text is a decimal that may be below zero: a funding rate."""
_are_levels = re.compile(f"(?:{_PRICE},{_QUANTITY},)*").fullmatch
_EXPONENT = re.compile(r"([0-9]{1,32}(?:\.[0-9]{1,32})?)[eE]([+-]?[0-9]{1,3})").fullmatch
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}):([0-5][0-9]|60)(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
).fullmatch


def quote_told_slowly(bid: str, bid_size: str, ask: str, ask_size: str) -> tuple[str, float, float] | None:
    """The four in one text, parted by commas, and both prices; None if they aren't two prices and two quantities."""
    text = f"{bid},{bid_size},{ask},{ask_size}"
    return (text, float(bid), float(ask)) if is_quote(text) else None


def trade_told_slowly(price: str, quantity: str) -> tuple[str, float] | None:
    """Both in one text, parted by a comma, and the price; None if they aren't a price and a quantity."""
    text = f"{price},{quantity}"
    return (text, float(price)) if is_trade(text) else None


def are_levels_slowly(levels: list[Level]) -> bool:
    """Whether every level is a price and a quantity. One match for all is the cheapest."""
    text = ",".join(chain.from_iterable(levels))
    return not levels or (bool(_are_levels(text + ",")) and text.count(",") == 2 * len(levels) - 1)


try:
    from traderd import native

    quote_told, trade_told, are_levels = native.quote_told, native.trade_told, native.are_levels
except ImportError:  # installed where no C compiler was at hand
    quote_told, trade_told, are_levels = quote_told_slowly, trade_told_slowly, are_levels_slowly


def check_levels(levels: list[Level]) -> None:
    """Raise BadFrameError unless every level is a price and a quantity."""
    if not are_levels(levels):
        raise BadFrameError("bad_number")


def without_exponent(text: str) -> str:
    """`5.1e-7` → `0.00000051`, exactly; a text without exponent comes back as it is, for the checks above to judge."""
    if not _EXPONENT(text):
        return text
    return format(Decimal(text), "f")


def decimal_of(text: str) -> Decimal:
    """A positive plain decimal out of a venue's instrument list. Raises BadFrameError."""
    if not is_trade(f"{text},0"):
        raise BadFrameError("bad_number")
    return Decimal(text)


class Rfc3339:
    """RFC 3339 texts into nanoseconds, exactly. Remembers the newest minute: a stream's times lie close together."""

    def __init__(self) -> None:
        self._minute = ("", "")
        self._minute_ns = 0

    def ns(self, text: str) -> int:
        """Nanoseconds since the epoch; 0 for "". Raises BadFrameError."""
        if not text:
            return 0
        match = _RFC3339(text)
        if match is None:
            raise BadFrameError("bad_time")
        minute, seconds, fraction, offset = match.groups()
        if (minute, offset) != self._minute:
            self._minute_ns = _minute_ns(minute, offset)
            self._minute = (minute, offset)
        return self._minute_ns + int(seconds) * 1_000_000_000 + (int(fraction.ljust(9, "0")) if fraction else 0)


def _minute_ns(minute: str, offset: str) -> int:
    try:
        elapsed = datetime.fromisoformat(f"{minute}:00{offset}") - datetime.fromisoformat("1970-01-01T00:00:00Z")
    except (ValueError, OverflowError) as error:
        raise BadFrameError("bad_time") from error
    ns = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000_000
    if not 0 <= ns <= NS_MAX - 61_000_000_000:
        raise BadFrameError("bad_time")
    return ns
