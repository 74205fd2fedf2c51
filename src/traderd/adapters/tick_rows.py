"""Quotes, trades and quarantined frames → the rows of tick_data, public_trades and quarantine.

The column lists here and the tables in sql/once must agree; the COPY names its columns, so a difference fails at once.
A row with a number that can't be stored is handed back, never rounded.
"""

from collections.abc import Generator, Sequence
from typing import TypeVar

from traderd.adapters.columns import columns_of
from traderd.adapters.copy_rows import (
    BIGINT,
    CHOICE,
    MOMENT,
    MOMENT_OR_NONE,
    NUMERICS,
    SMALLINT,
    TEXT,
    Column,
    choices_of,
    copy_rows,
)
from traderd.core.market import Instrument, Quote, Trade
from traderd.runtime.ports import Batch, Reject

COLUMNS: dict[str, tuple[str, ...]] = {
    "tick_data": (
        "time",
        "symbol",
        "exchange",
        "bid",
        "ask",
        "bid_size",
        "ask_size",
        "last_price",
        "last_volume",
        "sequence",
        "time_venue",
        "flags",
    ),
    "public_trades": ("time", "symbol", "exchange", "trade_id", "side", "price", "quantity", "time_received", "flags"),
    "quarantine": ("time", "exchange", "channel", "reason", "payload"),
}
"""What the streams bring, by table."""
BACKFILL = "backfill"
"""The channel of trades that were fetched afterwards."""
BACKFILLED = ("time", "symbol", "exchange", "trade_id", "side", "price", "quantity", "time_received", "backfilled")
"""Their columns: the stream's trades leave the last one to its default, and so don't get longer by it."""

_VENUE_TIME_ERROR_NS_MAX = 86_400 * 10**9
_TRUE = choices_of([b"\x01"])
"""A boolean is one byte."""
_PRICES_FIRST, _AS_TOLD = (0, 2, 1, 3), (0, 1)
"""Where bid, ask, bid size and ask size stand in a quote's text; and a trade's price and quantity."""
_OF_A_QUOTE = ("time_received_ns", "instrument.index", "text", "sequence", "time_venue_ns", "flags")
_OF_A_TRADE = ("time_venue_ns", "time_received_ns", "instrument.index", "trade_id", "side", "text", "flags")
_PAYLOAD_CHARS_MAX = 4_000
_ROWS_A_STEP = 500
"""A fifth of a millisecond."""


T = TypeVar("T", Quote, Trade)
Steps = Generator[None, None, Batch]


class TickRows:
    """The encoder for one set of instruments."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        symbols = [instrument.symbol.encode() for instrument in instruments]
        self._names = choices_of(symbols, [instrument.exchange.encode() for instrument in instruments])

    def quotes(self, quotes: list[Quote], lasts: list[str]) -> Batch:
        """Rows of tick_data: each quote with the text of the last trade that was known when it came; "" for none."""
        return _whole(self.quote_steps(quotes, lasts))

    def trades(self, trades: list[Trade]) -> Batch:
        """Rows of public_trades, at the venue's time unless that is more than a day off."""
        return _whole(self.trade_steps(trades))

    def quote_steps(self, quotes: list[Quote], lasts: list[str]) -> Steps:
        """The same as `quotes`, in steps: all at once is milliseconds for a full table on a busy machine."""
        parts: list[Batch] = []
        for at in range(0, len(quotes), _ROWS_A_STEP):
            parts.append(self._quote_rows(quotes[at : at + _ROWS_A_STEP], lasts[at : at + _ROWS_A_STEP]))
            yield
        return _joined(parts)

    def trade_steps(self, trades: list[Trade]) -> Steps:
        """The same as `trades`, in steps."""
        parts: list[Batch] = []
        for at in range(0, len(trades), _ROWS_A_STEP):
            parts.append(self._trade_rows(trades[at : at + _ROWS_A_STEP], "trade"))
            yield
        return _joined(parts)

    def backfilled(self, trades: list[Trade]) -> Batch:
        """Rows of public_trades that REST told afterwards: at the venue's time, however long ago."""
        return self._trade_rows(trades, BACKFILL)

    def rejects(self, rejects: list[Reject]) -> Batch:
        """Rows of quarantine."""
        times = [reject.time_ns for reject in rejects]
        columns: list[Column] = [
            (MOMENT, times, None),
            (TEXT, [reject.exchange for reject in rejects], None),
            (TEXT, [reject.channel for reject in rejects], None),
            (TEXT, [reject.reason for reject in rejects], None),
            (TEXT, [_storable(reject.payload) for reject in rejects], None),
        ]
        payload, _ = copy_rows(columns, len(rejects))
        return Batch(len(times), payload, min(times, default=0), max(times, default=0), [])

    def _quote_rows(self, quotes: list[Quote], lasts: list[str]) -> Batch:
        times, codes, texts, sequences, venue_times, flags = columns_of(quotes, _OF_A_QUOTE)
        columns: list[Column] = [
            (MOMENT, times, None),
            (CHOICE, codes, self._names),
            (NUMERICS, texts, _PRICES_FIRST),
            (NUMERICS, lasts, _AS_TOLD),
            (BIGINT, sequences, None),
            (MOMENT_OR_NONE, venue_times, None),
            (SMALLINT, flags, None),
        ]
        return _batch(columns, times, quotes, "quote")

    def _trade_rows(self, trades: list[Trade], channel: str) -> Batch:
        late = channel == BACKFILL
        venue_times, received, codes, ids, sides, texts, flags = columns_of(trades, _OF_A_TRADE)
        times = venue_times if late else list(map(_trade_time, venue_times, received))
        columns: list[Column] = [
            (MOMENT, times, None),
            (CHOICE, codes, self._names),
            (TEXT, ids, None),
            (TEXT, sides, None),
            (NUMERICS, texts, _AS_TOLD),
            (MOMENT, received, None),
            (CHOICE, [0] * len(trades), _TRUE) if late else (SMALLINT, flags, None),
        ]
        return _batch(columns, times, trades, channel)


def _whole(steps: Steps) -> Batch:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            whole: Batch = end.value
            return whole


def _batch(columns: list[Column], times: list[int], ticks: list[T], channel: str) -> Batch:
    payload, bad = copy_rows(columns, len(ticks))
    rejects = [_reject(ticks[row].instrument.exchange, channel, ticks[row]) for row in bad]
    if bad:
        left_out = set(bad)
        times = [time_ns for row, time_ns in enumerate(times) if row not in left_out]
    return Batch(len(times), payload, min(times, default=0), max(times, default=0), rejects)


def _joined(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    some = [part for part in parts if part.rows]
    return Batch(
        sum(part.rows for part in some),
        b"".join(part.payload for part in some),
        min((part.first_ns for part in some), default=0),
        max((part.last_ns for part in some), default=0),
        [reject for part in parts for reject in part.rejects],
    )


def _trade_time(venue_ns: int, received_ns: int) -> int:
    """The venue's time; the receive time where the venue's is absent or can't be right."""
    return received_ns if abs(venue_ns - received_ns) > _VENUE_TIME_ERROR_NS_MAX else venue_ns


def _reject(exchange: str, channel: str, event: Quote | Trade) -> Reject:
    return Reject(event.time_received_ns, exchange, channel, "number_does_not_fit", repr(event).encode())


def _storable(payload: bytes) -> str:
    return payload[:_PAYLOAD_CHARS_MAX].decode(errors="replace").replace("\x00", "\ufffd")
