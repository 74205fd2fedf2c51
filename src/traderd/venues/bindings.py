"""Which instruments a dialect's frames may name.

A bound dialect refuses a frame that names another symbol. A discovering one, as replay needs for captures without an
instrument list, makes an instrument of every well-formed symbol that it meets, numbered in the order of meeting.
"""

import re
from collections.abc import Callable, Sequence

from traderd.core.errors import BadFrameError
from traderd.core.hearing import Reader
from traderd.core.market import Instrument

_SYMBOL = re.compile(r"[^\W_a-z][\w./-]{0,31}").fullmatch
"""Letters of any script: Binance has symbols in Chinese."""


class Bindings(dict[str, Instrument]):
    """Instruments by venue symbol; `bindings[unknown]` raises BadFrameError or, when discovering, makes one."""

    def __init__(self, make: Callable[[str, int], Instrument]) -> None:
        """`make(venue_symbol, index)` builds an instrument from the venue's symbol alone."""
        super().__init__()
        self._make = make
        self.discovering = False

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """These and no others, unless discovering."""
        self.clear()
        self.update((instrument.venue_symbol, instrument) for instrument in instruments)

    def __missing__(self, venue_symbol: str) -> Instrument:
        if not self.discovering or not _SYMBOL(venue_symbol):
            raise BadFrameError("unknown_symbol")
        instrument = self._make(venue_symbol, len(self))
        self[venue_symbol] = instrument
        return instrument


class Bound:
    """The part of a Dialect that all venues have alike: which instruments its frames may name."""

    usual: tuple[Reader, ...] = ()
    """See Dialect."""

    def __init__(self, make: Callable[[str, int], Instrument]) -> None:
        """See Bindings."""
        self._bound = Bindings(make)

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """See Dialect."""
        self._bound.bind(instruments)

    def discover(self) -> None:
        """See Dialect."""
        self._bound.discovering = True

    def instrument(self, venue_symbol: str) -> Instrument:
        """See Dialect."""
        return self._bound[venue_symbol]
