"""Quotes, trades and quarantined frames → the rows of tick_data, public_trades and quarantine.

The column lists here and the tables in sql/once must agree; the COPY names its columns, so a difference fails at once.
A row with a number that can't be stored is handed back, never rounded.
"""

from collections.abc import Generator, Sequence
from typing import TypeVar

from msgspec import Struct

from traderd.adapters.copy_columns import BigInts, Choices, Column, Numerics, SmallInts, Texts, Timestamps, encode_rows
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
_SIDES = Choices(["buy", "sell"])
_TRUE = Choices(["\x01"])
"""A boolean is one byte."""
_PAYLOAD_CHARS_MAX = 4_000


T = TypeVar("T")
Steps = Generator[None, None, T]


class _Encoded(Struct):
    columns: list[Column]
    bad: list[int]


class TickRows:
    """The encoder for one set of instruments."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._symbols = Choices([instrument.symbol for instrument in instruments])
        self._exchanges = Choices([instrument.exchange for instrument in instruments])

    def quotes(self, quotes: list[Quote], lasts: list[Trade | None]) -> Batch:
        """Rows of tick_data: each quote with the last trade that was known when it came."""
        return _whole(self.quote_steps(quotes, lasts))

    def trades(self, trades: list[Trade]) -> Batch:
        """Rows of public_trades, at the venue's time unless that is more than a day off."""
        return _whole(self.trade_steps(trades))

    def quote_steps(self, quotes: list[Quote], lasts: list[Trade | None]) -> Steps[Batch]:
        """The same as `quotes`, in steps: all at once is a millisecond and more for 400 rows on a busy machine."""
        encoded = yield from self._quote_columns(quotes, lasts)
        rejects = [_reject(quotes[row].instrument.exchange, "quote", quotes[row]) for row in encoded.bad]
        if rejects:
            bad = set(encoded.bad)
            lasts = [last for row, last in enumerate(lasts) if row not in bad]
            quotes = [quote for row, quote in enumerate(quotes) if row not in bad]
            encoded = yield from self._quote_columns(quotes, lasts)
        return _batch(encoded.columns, [quote.time_received_ns for quote in quotes], rejects)

    def trade_steps(self, trades: list[Trade]) -> Steps[Batch]:
        """The same as `trades`, in steps."""
        encoded = yield from self._trade_columns(trades)
        rejects = [_reject(trades[row].instrument.exchange, "trade", trades[row]) for row in encoded.bad]
        if rejects:
            bad = set(encoded.bad)
            trades = [trade for row, trade in enumerate(trades) if row not in bad]
            encoded = yield from self._trade_columns(trades)
        return _batch(encoded.columns, [_trade_time(trade) for trade in trades], rejects)

    def backfilled(self, trades: list[Trade]) -> Batch:
        """Rows of public_trades that REST told afterwards: at the venue's time, however long ago."""
        encoded = self._backfilled_columns(trades)
        rejects = [_reject(trades[row].instrument.exchange, BACKFILL, trades[row]) for row in encoded.bad]
        if rejects:
            bad = set(encoded.bad)
            trades = [trade for row, trade in enumerate(trades) if row not in bad]
            encoded = self._backfilled_columns(trades)
        return _batch(encoded.columns, [trade.time_venue_ns for trade in trades], rejects)

    def rejects(self, rejects: list[Reject]) -> Batch:
        """Rows of quarantine."""
        columns: list[Column] = [
            Timestamps([reject.time_ns for reject in rejects]),
            Texts.each([reject.exchange for reject in rejects]),
            Texts.each([reject.channel for reject in rejects]),
            Texts.each([reject.reason for reject in rejects]),
            Texts.each([_storable(reject.payload) for reject in rejects]),
        ]
        return _batch(columns, [reject.time_ns for reject in rejects], [])

    def _quote_columns(self, quotes: list[Quote], lasts: list[Trade | None]) -> Steps[_Encoded]:
        codes = [quote.instrument.index for quote in quotes]
        yield
        numbers = Numerics.parted([quote.text for quote in quotes], 4)
        bid, bid_size, ask, ask_size = numbers
        yield
        last_price, last_volume = Numerics.parted([last.text if last else "" for last in lasts], 2)
        numbers += last_price, last_volume
        yield
        columns: list[Column] = [
            Timestamps([quote.time_received_ns for quote in quotes]),
            Texts(self._symbols, codes),
            Texts(self._exchanges, codes),
            bid,
            ask,
            bid_size,
            ask_size,
            last_price,
            last_volume,
            BigInts([quote.sequence for quote in quotes]),
            Timestamps([quote.time_venue_ns for quote in quotes], nullable=True),
            SmallInts([quote.flags for quote in quotes]),
        ]
        yield
        return _Encoded(columns, sorted({row for number in numbers for row in number.bad}))

    def _trade_columns(self, trades: list[Trade]) -> Steps[_Encoded]:
        codes = [trade.instrument.index for trade in trades]
        numbers = Numerics.parted([trade.text for trade in trades], 2)
        columns: list[Column] = [
            Timestamps([_trade_time(trade) for trade in trades]),
            Texts(self._symbols, codes),
            Texts(self._exchanges, codes),
            Texts.each([trade.trade_id for trade in trades]),
            Texts(_SIDES, [trade.side == "sell" for trade in trades]),
            *numbers,
            Timestamps([trade.time_received_ns for trade in trades]),
            SmallInts([trade.flags for trade in trades]),
        ]
        yield
        return _Encoded(columns, sorted({row for number in numbers for row in number.bad}))

    def _backfilled_columns(self, trades: list[Trade]) -> _Encoded:
        codes = [trade.instrument.index for trade in trades]
        numbers = Numerics.parted([trade.text for trade in trades], 2)
        columns: list[Column] = [
            Timestamps([trade.time_venue_ns for trade in trades]),
            Texts(self._symbols, codes),
            Texts(self._exchanges, codes),
            Texts.each([trade.trade_id for trade in trades]),
            Texts(_SIDES, [trade.side == "sell" for trade in trades]),
            *numbers,
            Timestamps([trade.time_received_ns for trade in trades]),
            Texts(_TRUE, [0] * len(trades)),
        ]
        return _Encoded(columns, sorted({row for number in numbers for row in number.bad}))


def _whole(steps: Steps[T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            whole: T = end.value
            return whole


def _batch(columns: list[Column], times: list[int], rejects: list[Reject]) -> Batch:
    if not times:
        return Batch(0, b"", 0, 0, rejects)
    return Batch(len(times), encode_rows(columns, len(times)), min(times), max(times), rejects)


def _trade_time(trade: Trade) -> int:
    """The venue's time; the receive time where the venue's is absent or can't be right."""
    if abs(trade.time_venue_ns - trade.time_received_ns) > _VENUE_TIME_ERROR_NS_MAX:
        return trade.time_received_ns
    return trade.time_venue_ns


def _reject(exchange: str, channel: str, event: Quote | Trade) -> Reject:
    return Reject(event.time_received_ns, exchange, channel, "number_does_not_fit", repr(event).encode())


def _storable(payload: bytes) -> str:
    return payload[:_PAYLOAD_CHARS_MAX].decode(errors="replace").replace("\x00", "\ufffd")
