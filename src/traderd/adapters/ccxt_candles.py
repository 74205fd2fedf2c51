"""A venue's candles through ccxt, asked for by REST once they have ended: then they change no more.

Refuses those that ended before the last full minute: there is nothing of ours to hold against them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from traderd.core.market import Instrument, VenueCandle
from traderd.venues.ccxt_words import CANDLE_MS, ended_candles_from

_CANDLE_S: Final = CANDLE_MS // 1000
_DELAY_S = 5.0
"""So long after a minute's end the venue is first asked for its candle; all of them within half a minute."""
_BACK_MS: Final = 10 * CANDLE_MS
"""After an interruption no more than this is asked for."""


class EndedCandles:
    """One instrument's, of a minute each."""

    def __init__(self, instrument: Instrument, place: float, ask: Callable[..., Awaitable[Any]], now_ns: int) -> None:
        """`place` from 0 to 1 is the instrument's among all; `ask` calls one of ccxt's methods."""
        self._instrument = instrument
        self._place = place
        self._ask = ask
        self._done_ms = now_ns // 1_000_000 - 2 * CANDLE_MS

    async def new(self, now_ns: Callable[[], int]) -> list[VenueCandle]:
        """Those that have ended since the last one, oldest first. Raises what `ask` does, and BadFrameError."""
        since_ms = max(self._done_ms + 1, now_ns() // 1_000_000 - _BACK_MS)
        rows = await self._ask("fetch_ohlcv", self._instrument.symbol, "1m", since_ms)
        candles = ended_candles_from(rows, self._instrument, now_ns(), self._done_ms)
        if candles:
            self._done_ms = candles[-1].open_time_ns // 1_000_000
        return candles

    def pause_s(self, now_ns: int) -> float:
        """Seconds until the next one is there; the instruments are spread over half a minute."""
        due_s = _DELAY_S + self._place * _CANDLE_S / 2
        return (due_s - now_ns / 1e9) % _CANDLE_S
