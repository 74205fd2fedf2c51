"""The tapes of one venue that is heard through ccxt, held against the venue's REST trades at intervals.

What a tape lacks is stored and written down as a gap (`unseen`); what REST doesn't reach, or can't tell, is on record
too (`unchecked`). What becomes of the gaps is for `runtime.tape_healing` to say, once the trades are stored. Refuses to
judge trades that may still be on their way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from traderd.adapters.ccxt_client import CcxtClient
from traderd.core.errors import BadFrameError, JournalError
from traderd.core.market import Instrument, Trade
from traderd.core.tape import Finding, Tape
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.ports import Clock
from traderd.runtime.surroundings import SessionObserver

_SETTLED_NS = 2 * 10**9
"""So long a trade may take to us by websocket before it counts as missing."""
_TRANSIT_NS = 10**9
"""What an earlier run was sent last may have been on its way to us so long."""
_PAGE = 1000


class CcxtTapes:
    """By instrument; each is there from when it is listened to until it isn't traded any more."""

    def __init__(
        self,
        client: CcxtClient,
        stream: Stream,
        pipeline: Pipeline,
        clock: Clock,
        observer: SessionObserver,
        ask: Callable[..., Awaitable[Any]],
        read: Callable[[Instrument, Any, int], list[Trade]],
        heard_until_ns: int,
    ) -> None:
        """`ask` calls one of ccxt's methods, `read` makes trades of its answer, received then.

        `heard_until_ns`: the newest trade of an earlier run, 0 if there was none.
        """
        self._client = client
        self._exchange = stream.exchange
        self._stream = stream
        self._pipeline = pipeline
        self._clock = clock
        self._observer = observer
        self._ask = ask
        self._read = read
        self._from_ns = max(0, heard_until_ns - _TRANSIT_NS)
        self._left: dict[str, Tape] = {}
        self._tapes: dict[str, Tape] = {}
        self._flowing: set[str] = set()
        self._pages: dict[str, int | None] = {}

    @property
    def by_symbol(self) -> Mapping[str, Tape]:
        """Those of what is listened to now."""
        return self._tapes

    def begin(self, instrument: Instrument) -> None:
        """It is listened to from now on; the tape goes on where it was left, in this run or an earlier one."""
        left = self._left.pop(instrument.symbol, None)
        self._tapes[instrument.symbol] = left or Tape(self._from_ns)

    def leave(self, instrument: Instrument) -> None:
        """The venue trades it no more."""
        self._left[instrument.symbol] = self._tapes.pop(instrument.symbol)
        self._flowing.discard(instrument.symbol)

    def new(self, instrument: Instrument, trades: list[Trade]) -> list[Trade]:
        """Those of the websocket's trades that came for the first time, oldest first."""
        symbol, tape = instrument.symbol, self._tapes[instrument.symbol]
        new = [trade for trade in trades if tape.add(trade)]
        if new and symbol not in self._flowing and not tape.given_up:  # from here on candles can be compared
            self._flowing.add(symbol)
            self._pipeline.whole(self._exchange, symbol, "trade", new[0].time_received_ns)
        return sorted(new, key=lambda trade: trade.time_venue_ns)

    def checker(self, instrument: Instrument, pace_s: float) -> Callable[[], Awaitable[bool]]:
        """A step that holds the tape against REST; True once it is clear that this can't be."""
        tape = self._tapes[instrument.symbol]
        heard = 0

        async def step() -> bool:
            nonlocal heard
            await asyncio.sleep(pace_s)
            if not self._client.can("fetchTrades"):
                return self._give_up(instrument, tape, "the venue has no REST trades")
            asked_ns = self._clock.time_ns()
            page = self._read(instrument, await self._page(instrument.symbol), self._clock.time_ns())
            finding = tape.compare(page, asked_ns - _SETTLED_NS)
            if finding.verdict == "incomparable":
                return self._give_up(instrument, tape, "REST numbers trades otherwise than the websocket does")
            stood_still = tape.heard == heard
            self._found(instrument, tape, finding)
            if finding.missing and stood_still:
                # The tape stands still while trades are made: ccxt waits on a subscription that is dead.
                await self._client.close()
            heard = tape.heard
            return False

        return step

    async def _page(self, symbol: str) -> Any:
        """The venue's newest trades, as many as it gives: not every venue takes a limit of a thousand."""
        try:
            return await self._ask("fetch_trades", symbol, None, self._pages.get(symbol, _PAGE))
        except BadFrameError:
            if symbol in self._pages:
                raise
            self._pages[symbol] = None
            return await self._ask("fetch_trades", symbol)

    def _found(self, instrument: Instrument, tape: Tape, finding: Finding) -> None:
        """Write down what is missing, store it, and say what could not be compared."""
        symbol, missing = instrument.symbol, finding.missing
        if missing:
            told = f"{len(missing)} trades came by REST alone"
            first_ns, last_ns = missing[0].time_venue_ns, missing[-1].time_venue_ns
            self._pipeline.gap_opened(self._exchange, symbol, "trade", "unseen", first_ns, told)
            try:
                self._pipeline.backfill(self._stream, missing)
            except JournalError as fault:
                tape.checked_ns = finding.from_ns  # compared again, when the journal takes them
                self._observer.refused(self._exchange, "trade", symbol, str(fault))
                return
            for trade in missing:
                tape.add(trade)
            self._pipeline.gap_closed(self._exchange, symbol, "trade", "unseen", last_ns)
        if finding.verdict == "out_of_reach":
            why, from_ns = "REST doesn't reach back so far", finding.from_ns
            self._pipeline.gap_opened(self._exchange, symbol, "trade", "unchecked", from_ns, why)
        else:
            self._pipeline.gap_closed(self._exchange, symbol, "trade", "unchecked", tape.since_ns)

    def _give_up(self, instrument: Instrument, tape: Tape, why: str) -> bool:
        self._observer.refused(self._exchange, "trade", instrument.symbol, f"the tape can't be checked: {why}")
        from_ns, tape.given_up = tape.checked_ns or self._clock.time_ns(), f"the tape can't be checked: {why}"
        self._pipeline.gap_opened(self._exchange, instrument.symbol, "trade", "unchecked", from_ns, why)
        return True
