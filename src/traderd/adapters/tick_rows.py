"""Quotes, trades and quarantined frames → the rows of tick_data, public_trades and quarantine.

The column lists here and the tables in sql/once must agree; the COPY names its columns, so a difference fails at once.
A row with a number that can't be stored is handed back, never rounded.
"""

from collections.abc import Generator, Sequence
from typing import TypeVar

from traderd.adapters.copy_rows import (
    BIGINT,
    CHOICE,
    MOMENT,
    MOMENT_OR_NONE,
    NUMERICS,
    SMALLINT,
    TEXT,
    Column,
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
_SIDES = [b"buy", b"sell"]
_TRUE = [b"\x01"]
"""A boolean is one byte."""
_PRICES_FIRST, _AS_TOLD = (0, 2, 1, 3), (0, 1)
"""Where bid, ask, bid size and ask size stand in a quote's text; and a trade's price and quantity."""
_PAYLOAD_CHARS_MAX = 4_000
_ROWS_A_STEP = 500
"""A fifth of a millisecond."""


T = TypeVar("T", Quote, Trade)
Steps = Generator[None, None, Batch]


class TickRows:
    """The encoder for one set of instruments."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._symbols = [instrument.symbol.encode() for instrument in instruments]
        self._exchanges = [instrument.exchange.encode() for instrument in instruments]

    def quotes(self, quotes: list[Quote], lasts: list[Trade | None]) -> Batch:
        """Rows of tick_data: each quote with the last trade that was known when it came."""
        return _whole(self.quote_steps(quotes, lasts))

    def trades(self, trades: list[Trade]) -> Batch:
        """Rows of public_trades, at the venue's time unless that is more than a day off."""
        return _whole(self.trade_steps(trades))

    def quote_steps(self, quotes: list[Quote], lasts: list[Trade | None]) -> Steps:
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

    def _quote_rows(self, quotes: list[Quote], lasts: list[Trade | None]) -> Batch:
        times = [quote.time_received_ns for quote in quotes]
        codes = [quote.instrument.index for quote in quotes]
        columns: list[Column] = [
            (MOMENT, times, None),
            (CHOICE, codes, self._symbols),
            (CHOICE, codes, self._exchanges),
            (NUMERICS, [quote.text for quote in quotes], _PRICES_FIRST),
            (NUMERICS, [last.text if last else "" for last in lasts], _AS_TOLD),
            (BIGINT, [quote.sequence for quote in quotes], None),
            (MOMENT_OR_NONE, [quote.time_venue_ns for quote in quotes], None),
            (SMALLINT, [quote.flags for quote in quotes], None),
        ]
        return _batch(columns, times, quotes, "quote")

    def _trade_rows(self, trades: list[Trade], channel: str) -> Batch:
        late = channel == BACKFILL
        times = [trade.time_venue_ns for trade in trades] if late else [_trade_time(trade) for trade in trades]
        codes = [trade.instrument.index for trade in trades]
        columns: list[Column] = [
            (MOMENT, times, None),
            (CHOICE, codes, self._symbols),
            (CHOICE, codes, self._exchanges),
            (TEXT, [trade.trade_id for trade in trades], None),
            (CHOICE, [trade.side == "sell" for trade in trades], _SIDES),
            (NUMERICS, [trade.text for trade in trades], _AS_TOLD),
            (MOMENT, [trade.time_received_ns for trade in trades], None),
            (CHOICE, [0] * len(trades), _TRUE) if late else (SMALLINT, [trade.flags for trade in trades], None),
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


def _trade_time(trade: Trade) -> int:
    """The venue's time; the receive time where the venue's is absent or can't be right."""
    if abs(trade.time_venue_ns - trade.time_received_ns) > _VENUE_TIME_ERROR_NS_MAX:
        return trade.time_received_ns
    return trade.time_venue_ns


def _reject(exchange: str, channel: str, event: Quote | Trade) -> Reject:
    return Reject(event.time_received_ns, exchange, channel, "number_does_not_fit", repr(event).encode())


def _storable(payload: bytes) -> str:
    return payload[:_PAYLOAD_CHARS_MAX].decode(errors="replace").replace("\x00", "\ufffd")
