"""What comes in: every tick is judged, what is believed goes on the board, and trades become candles and bars.

The hottest path there is. A tick costs the same however many instruments there are, and a beat that ends no bar costs
nothing. Trades of instruments whose candles nobody waits for (`heeded`) become candles together, with the next beat: at
a thousand symbols one by one would find none of what it needs in the processor's cache, and cost several times as much.
Refuses to decide anything: what candles lead to is the engine's.
"""

from collections.abc import Container, Sequence

from traderd.core.bars import BarSettings, builders_of
from traderd.core.candle_builders import CandleBuilders, Told
from traderd.core.candles import LateTrades
from traderd.core.market import Instrument, Quote, Trade
from traderd.core.posting import Posting
from traderd.core.quality import CLOCK, JUMP, REPEATED, QualitySettings, QuoteGate, TradeGate, names_of
from traderd.core.ticker import TickerBoard

_CLOCK_STEP_NS = 1_000_000_000
"""By as much as this our clock doesn't go back by itself: it was set."""


class Intake:
    """The gates and builders of all instruments, by their index."""

    def __init__(
        self,
        board: TickerBoard,
        instruments: Sequence[Instrument],
        timeframes: Sequence[str],
        grace_ns: int,
        bars: Sequence[BarSettings],
        quality: QualitySettings,
        heeded: Container[int] | None = None,
    ) -> None:
        """`heeded` are the instruments whose candles are told at once; None: all."""
        self.flagged: dict[tuple[str, ...], int] = {}
        """Doubtful ticks by venue, channel (`quote`, `trade`) and reason."""
        self._board = board
        self._exchanges = [instrument.exchange for instrument in instruments]
        self._builders = CandleBuilders(instruments, timeframes, grace_ns, board.quotes)
        self._bars = {at: made for at, each in enumerate(instruments) if (made := builders_of(bars, each))}
        self._quote_gates = [QuoteGate(quality) for _ in instruments]
        self._trade_gates = [TradeGate(quality) for _ in instruments]
        self._heeded = range(len(instruments)) if heeded is None else heeded
        self._waiting: list[Trade] = []
        posting = Posting(
            self._quote_gates,
            board.quotes,
            self._trade_gates,
            board.trades,
            board.trade_texts,
            self._waiting,
            bytes(at not in self._heeded for at in range(len(instruments))),
        )
        self.post, self.post_trade = posting.post, posting.post_trade
        """See there. Bound, not wrapped: it is the hottest path there is."""
        self._closed: Told = []
        self._now_ns = 0

    @property
    def late(self) -> LateTrades:
        """Trades that came after their bar's grace."""
        return self._builders.late

    def on_quote(self, quote: Quote) -> None:
        """The board alone, if the quote is to be believed."""
        if self.post(quote) is None:
            self.judge(quote)

    def judge(self, quote: Quote) -> str:
        """One that wasn't posted: the gate says what is wrong with it, if anything is. As `post`, never None."""
        index = quote.instrument.index
        if flags := self._quote_gates[index].judge(quote, self._board.quotes[index]):
            self._doubt(quote, flags)
            if not flags & REPEATED:  # which says nothing new
                self._board.doubts[index] = flags
        else:
            self._board.doubts[index] = 0
            self._board.quotes[index] = quote
        return self._board.trade_texts[index]

    def on_trade(self, trade: Trade) -> Told:
        """The board and the candles, if the trade is to be believed; the candles and bars that it closes, if heeded."""
        waits = self.post_trade(trade)
        if waits is None:
            return self._on_judged(trade)
        return [] if waits else self.built([trade])

    def built(self, trades: list[Trade]) -> Told:
        """The candles and bars that these close, which are on the board."""
        told = self._builders.on_trades(trades)
        if self._bars:
            told += [
                (trade.instrument.index, bar)
                for trade in trades
                for builder in self._bars.get(trade.instrument.index, ())
                if (bar := builder.on_trade(trade))
            ]
        return told

    def closed(self) -> Told:
        """The candles and bars of the trades that waited."""
        self._settle()
        closed, self._closed = self._closed, []
        return closed

    def on_beat(self, now_ns: int) -> Told:
        """The candles whose end is more than the grace ago; `closed` are told before."""
        self._settle()
        if now_ns < self._now_ns - _CLOCK_STEP_NS:
            return self._on_clock_set_back(now_ns)
        self._now_ns = now_ns
        return self._builders.on_beat(now_ns)

    def set_clock_offset(self, exchange: str, offset_ns: int) -> None:
        """How far a venue's clock is ahead of ours: its times are judged by it, and its bars end by it."""
        for index, name in enumerate(self._exchanges):
            if name == exchange:
                self._quote_gates[index].set_offset(offset_ns)
                self._trade_gates[index].set_offset(offset_ns)
                self._builders.set_clock_offset(index, offset_ns)

    def _on_clock_set_back(self, now_ns: int) -> Told:
        """The operator's hand, or NTP's: nothing may wait for a time that was only believed."""
        self._now_ns = now_ns
        for gate in (*self._quote_gates, *self._trade_gates):
            gate.clock_set_back()
        for bars in self._bars.values():
            for each in bars:
                each.clock_set_back()
        return self._builders.clock_set_back(now_ns)

    def _on_judged(self, trade: Trade) -> Told:
        """A trade that the gate must look at, and those that it confirms, onto the board and into the candles."""
        index = trade.instrument.index
        gate = self._trade_gates[index]
        if flags := gate.judge(trade):
            self._doubt(trade, flags)
            if flags & CLOCK:
                trade.time_venue_ns = 0
            if flags & (JUMP | REPEATED):
                return []
        self._settle()
        told = self.built([*gate.confirmed(), trade])
        self._board.trades[index] = trade
        self._board.trade_texts[index] = trade.text
        if index in self._heeded:
            return told
        self._closed += told
        return []

    def _settle(self) -> None:
        """What waited becomes candles, in the order in which it came."""
        if self._waiting:
            waiting = self._waiting.copy()
            self._waiting.clear()
            self._closed += self.built(waiting)

    def _doubt(self, tick: Quote | Trade, flags: int) -> None:
        tick.flags = flags
        channel = "quote" if isinstance(tick, Quote) else "trade"
        for reason in names_of(flags):
            key = (tick.instrument.exchange, channel, reason)
            self.flagged[key] = self.flagged.get(key, 0) + 1
