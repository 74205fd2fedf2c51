"""The frames of one read, as far as they are quotes and trades of streams that flow: the way of nearly every tick.

What isn't so plain is left to who asked: a first message, a number out of order, a frame that no reader knows.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from traderd.core.continuity import TradeNumbers
from traderd.core.market import Quote, Trade, VenueEvent

Reader = Callable[[bytes, int], Quote | Trade | None]
"""Of (frame, received_ns): what the frame tells, or None if it isn't of the one form that it knows."""


_DIGITS_MAX = 18


class HearingSlowly:
    """One connection's."""

    def __init__(
        self,
        quote_slots: "array[int]",
        trade_slots: "array[int]",
        heard_ns: "array[int]",
        numbers: TradeNumbers | None,
        quote: type[Quote],
        trade: type[Trade],
    ) -> None:
        """Arrays of int32, int32 and int64, which are somebody else's too: the streams by their instruments' index, -1
        for what nobody asked for, and when each was heard last, 0 while it doesn't flow. `numbers` where the venue
        numbers an instrument's trades.
        """
        self._slots: dict[type, array[int]] = {quote: quote_slots, trade: trade_slots}
        self._heard_ns = heard_ns
        self._numbers = numbers

    def hear(self, event: VenueEvent, now_ns: int) -> bool:
        """Note when its stream was heard; False, and nothing is noted, for what isn't plain."""
        slots = self._slots.get(type(event))
        if slots is None:
            return False
        at = slots[event.instrument.index]  # type: ignore[union-attr]  # a quote or a trade
        if at < 0 or self._heard_ns[at] <= 0 or (isinstance(event, Trade) and not self._follows(event, at)):
            return False
        self._heard_ns[at] = now_ns
        return True

    def take(
        self,
        frames: list[bytes],
        received_ns: int,
        at: int,
        readers: tuple[Reader, ...],
        ready: list[VenueEvent],
    ) -> int:
        """Read those from that place on, received a nanosecond apart, and add what they tell to what is ready.

        Returns the place of the first that isn't plain, or how many there are.
        """
        for place in range(at, len(frames)):
            event = _read(readers, frames[place], received_ns + place)
            if event is None or not self.hear(event, received_ns + place):
                return place
            ready.append(event)
        return len(frames)

    def _follows(self, trade: Trade, at: int) -> bool:
        """Whether the trade is its stream's next, which is noted then."""
        numbers, text = self._numbers, trade.trade_id
        if numbers is None:
            return True
        number = int(text) if text.isdecimal() and text.isascii() and len(text) <= _DIGITS_MAX else -1
        last = numbers.last[at]
        if number < 0 or numbers.behind or (last >= 0 and number != last + 1):
            return False
        numbers.last[at] = number
        return True


def _read(readers: Sequence[Reader], frame: bytes, now_ns: int) -> Quote | Trade | None:
    for read in readers:
        if (event := read(frame, now_ns)) is not None:
            return event
    return None


if TYPE_CHECKING:
    Hearing = HearingSlowly
else:
    try:
        from traderd.native import Hearing
    except ImportError:  # installed where no C compiler was at hand
        Hearing = HearingSlowly
