"""A quote that is as they all are goes onto the board: the way of nearly every tick, in one call.

Of a thousand instruments few are in the processor's cache: what is needed of one is fetched together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from traderd.core.bounds import Bounds
from traderd.core.market import Quote


class PostingSlowly:
    """Lists by the instruments' index: the gates' bounds, the newest quotes, and the texts of the newest trades."""

    def __init__(self, gates: Sequence[Bounds], quotes: list[Quote | None], trade_texts: list[str]) -> None:
        """Three lists, which are somebody else's too; of `quotes` only this and a judge's verdict may set one."""
        self._gates = gates
        self._quotes = quotes
        self._trade_texts = trade_texts

    def post(self, quote: Quote) -> str | None:
        """Put it onto the board; the text of the newest trade, or None for a quote that must be judged first."""
        index, bid, ask = quote.instrument.index, quote.bid, quote.ask
        gate = self._gates[index]
        if bid < ask and gate.admits(quote.text, bid, ask, quote.time_venue_ns, quote.time_received_ns):
            self._quotes[index] = quote
            return self._trade_texts[index]
        return None


if TYPE_CHECKING:
    Posting = PostingSlowly
else:
    try:
        from traderd.native import Posting
    except ImportError:  # installed where no C compiler was at hand
        Posting = PostingSlowly
