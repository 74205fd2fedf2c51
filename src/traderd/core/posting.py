"""A tick that is as they all are goes onto the board: the way of nearly every one, in one call.

Of a thousand instruments few are in the processor's cache: what is needed of one is fetched together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from traderd.core.bounds import Bounds
from traderd.core.market import Quote, Trade


class PostingSlowly:
    """Lists by the instruments' index, which are somebody else's too."""

    def __init__(
        self,
        gates: Sequence[Bounds],
        quotes: list[Quote | None],
        trade_gates: Sequence[Bounds],
        trades: list[Trade | None],
        trade_texts: list[str],
        waiting: list[Trade],
        waits: bytes,
    ) -> None:
        """The gates' bounds, the newest quotes and trades, and the texts of these. `waits`: 1 for each instrument whose
        trades may wait for each other; `waiting` is where.
        """
        self._gates = gates
        self._quotes = quotes
        self._trade_gates = trade_gates
        self._trades = trades
        self._trade_texts = trade_texts
        self._waiting = waiting
        self._waits = waits

    def post(self, quote: Quote) -> str | None:
        """Put it onto the board; the text of the newest trade, or None for a quote that must be judged first."""
        index, bid, ask = quote.instrument.index, quote.bid, quote.ask
        gate = self._gates[index]
        if bid < ask and gate.admits(quote.text, bid, ask, quote.time_venue_ns, quote.time_received_ns):
            self._quotes[index] = quote
            return self._trade_texts[index]
        return None

    def post_trade(self, trade: Trade) -> bool | None:
        """Put it onto the board; whether it is among those that wait then, or None where it must be judged first."""
        index, price = trade.instrument.index, trade.price
        gate = self._trade_gates[index]
        if not gate.admits(trade.trade_id, price, price, trade.time_venue_ns, trade.time_received_ns):
            return None
        if waits := bool(self._waits[index]):
            self._waiting.append(trade)
        self._trades[index] = trade
        self._trade_texts[index] = trade.text
        return waits


if TYPE_CHECKING:
    Posting = PostingSlowly
else:
    try:
        from traderd.native import Posting
    except ImportError:  # installed where no C compiler was at hand
        Posting = PostingSlowly
