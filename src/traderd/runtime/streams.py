"""The streams of one session, by number: which event belongs to which, and when each was last heard.

An instrument has only those channels that its venue offers of it: nobody waits for a dated contract's funding.
Made once, so that a tick costs two look-ups and one store, however many streams there are. What a venue ceases to
trade keeps its numbers, but nobody asks for it and what may still come of it is nobody's.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import Final

from traderd.core.market import (
    BookDelta,
    BookSnapshot,
    Funding,
    Instrument,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
    VenueCandle,
)
from traderd.venues.dialect import AnyChannel

_EVENTS: Final[dict[AnyChannel, tuple[type, ...]]] = {
    "quote": (Quote,),
    "trade": (Trade,),
    "book": (BookSnapshot, BookDelta),
    "candle": (VenueCandle,),
    "funding": (Funding,),
    "mark": (MarkPrice,),
    "open_interest": (OpenInterest,),
    "liquidation": (Liquidation,),
}
_FLOORS_S: Final[dict[AnyChannel, float]] = {
    **{"quote": 2.5, "book": 2.5, "mark": 3.5},
    **{"trade": 15.0, "funding": 60.0, "open_interest": 60.0, "candle": 120.0, "liquidation": 600.0},
}
"""What moves with every order may be suspected soon; what waits for somebody to trade may not."""
UNASKED: Final = -1


class Streams:
    """Numbered by channel and then by instrument, from 0."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        channels: Sequence[AnyChannel],
        offers: Callable[[Instrument, AnyChannel], bool],
    ) -> None:
        """`offers` says whether the venue has a channel of an instrument: see Dialect."""
        self.instruments = instruments
        self.channels = channels
        self.of = [
            (instrument, channel) for channel in channels for instrument in instruments if offers(instrument, channel)
        ]
        self.names = [(instrument.venue_symbol, str(channel)) for instrument, channel in self.of]
        self.floors_s = [_FLOORS_S[channel] for _, channel in self.of]
        size = max((instrument.index for instrument in instruments), default=-1) + 1
        self.slots = {kind: array("i", [UNASKED]) * size for kinds in _EVENTS.values() for kind in kinds}
        """By the event's type and its instrument's index."""
        self.retired: set[int] = set()
        """Instruments, by their index."""
        self.refused: set[int] = set()
        """Places of which the venue wouldn't hear, on this link or an earlier one."""
        self._places: dict[int, list[int]] = {instrument.index: [] for instrument in instruments}
        for at, (instrument, _) in enumerate(self.of):
            self._places[instrument.index].append(at)
            self._place(at, at)

    def __len__(self) -> int:
        return len(self.of)

    @property
    def wanted(self) -> list[Instrument]:
        """Those that are asked for."""
        return [instrument for instrument in self.instruments if instrument.index not in self.retired]

    @property
    def apart(self) -> list[list[Instrument]]:
        """Those that are asked for, and apart from them those of which something was refused before.

        Some venues refuse a whole frame because of one stream in it: those that are known mustn't wait for that.
        """
        doubtful = {self.of[at][0].index for at in self.refused}
        parts = [[each for each in self.wanted if (each.index in doubtful) is doubted] for doubted in (False, True)]
        return [part for part in parts if part]

    def refuse(self, places: Sequence[int]) -> list[Instrument]:
        """The venue won't hear of these; the instruments of which it wasn't known that something is refused."""
        known = {self.of[at][0].index for at in self.refused}
        self.refused.update(places)
        named = {self.of[at][0].index: self.of[at][0] for at in places}
        return [instrument for index, instrument in named.items() if index not in known]

    def retire(self, instrument: Instrument) -> list[int]:
        """The venue trades it no more; its places, none if it isn't here or is retired."""
        return self._turn(instrument, self.retired.add) if instrument.index not in self.retired else []

    def revive(self, instrument: Instrument) -> list[int]:
        """The venue trades it again; its places, none if it isn't here or wasn't retired."""
        return self._turn(instrument, self.retired.remove) if instrument.index in self.retired else []

    def _turn(self, instrument: Instrument, turn: Callable[[int], None]) -> list[int]:
        places = self._places.get(instrument.index, [])
        if places:
            turn(instrument.index)
        for at in places:
            self._place(at, UNASKED if instrument.index in self.retired else at)
        return places

    def _place(self, at: int, slot: int) -> None:
        instrument, channel = self.of[at]
        for kind in _EVENTS[channel]:
            self.slots[kind][instrument.index] = slot

    def siblings(self, at: int) -> list[int]:
        """All streams of the same instrument, this one too."""
        return self._places[self.of[at][0].index]
