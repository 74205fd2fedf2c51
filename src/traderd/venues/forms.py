"""The form that nearly all frames of a stream have, read in one go instead of as any JSON: a quarter of the time.

A form is a frame as the venue writes it, with names in angle brackets where its values stand: `"s":"<symbol>"`. A frame
that differs in anything, an order of fields, a blank, an escape, a number with more digits than a float holds exactly,
an unknown symbol, is left to the dialect's own decoder, which judges it; so a form can make nothing wrong, and a venue
that changes its form makes us slower, not blind. Where no C compiler was at hand every frame is left to it.

Values: `symbol`; of a quote `sequence`, `bid`, `bid_size`, `ask`, `ask_size` and perhaps `time_ms`; of a trade
`trade_id`, `price`, `quantity`, `time_ms` and `buyer_is_maker`; and `name` and `number`, which are of no interest.
"""

import re
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from traderd.core.market import Instrument, Quote, Trade

native: ModuleType | None
try:
    from traderd import native
except ImportError:  # installed where no C compiler was at hand
    native = None

T = TypeVar("T", Quote, Trade)

_VALUE = re.compile(r"<(\w+)>")


def pieces_of(form: str) -> tuple[bytes | str, ...]:
    """What stands in every frame as bytes, and the names of the values between."""
    return tuple(part if place % 2 else part.encode() for place, part in enumerate(_VALUE.split(form)))


def reader(form: str, instruments: dict[str, Instrument], make: type[T]) -> Callable[[bytes, int], T | None]:
    """Of (frame, received_ns): what the frame tells, or None if it isn't just so.

    Instruments are looked up by the venue's symbol. Others may be added later; where one is replaced make a new reader.
    """
    if not form or native is None:
        return _left
    read: Callable[[bytes, int], T | None] = native.Form(pieces_of(form), instruments, make).read
    return read


def _left(frame: bytes, received_ns: int) -> None:
    """To the decoder."""
