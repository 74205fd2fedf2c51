"""Kraken's public REST: instruments, clock, and the trades and candles of the past.

Sources: docs.kraken.com, "Spot REST" (AssetPairs, Time, Trades, OHLC) and "Historical data". A trade's `trade_id` is
the one that the websocket's version 2 tells; its time has digits below the microsecond that the websocket doesn't tell,
and they are cut off here, so that one trade has one time. Refuses with a BadFrameError what isn't the answer.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Raw, Struct

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, Side, Trade, VenueCandle
from traderd.venues.dialect import Endpoint, Hole
from traderd.venues.numbers import NS_MAX, decimal_of
from traderd.venues.told import candle_of, quantity_of, side_of, trade_of

UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)
"""What msgspec raises for foreign bytes, deep nesting, broken UTF-8 and numbers beyond all bounds."""
MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}
"""Candles' lengths."""
_ASSETS = {"XBT": "BTC", "XDG": "DOGE"}
"""REST still speaks version 1's asset names; version 2 of the websocket and ccxt say the usual ones."""
_OLD_ASSETS = {ours: theirs for theirs, ours in _ASSETS.items()}
_SIDES: dict[str, Side] = {"b": "buy", "s": "sell"}
_CANDLES_MAX = 720
_TRADES_MAX = 1000
_SECONDS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,30}))?").fullmatch

_Digits = Annotated[int, Meta(ge=0, le=32)]
_UnixSeconds = Annotated[int, Meta(ge=0, le=NS_MAX // 1_000_000_000)]


class _Pair(Struct):
    pair_decimals: _Digits
    lot_decimals: _Digits
    wsname: str = ""
    status: str = "online"
    tick_size: str = ""
    costmin: str = ""


class _AssetPairs(Struct):
    error: list[str]
    result: dict[str, _Pair] = {}


class _UnixTime(Struct):
    unixtime: _UnixSeconds


class _Time(Struct):
    error: list[str]
    result: _UnixTime | None = None


class _OldTrade(Struct, array_like=True, gc=False):
    price: str
    quantity: str
    time: Raw
    side: str
    order_type: str
    miscellaneous: str
    trade_id: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Bar(Struct, array_like=True, gc=False):
    time: _UnixSeconds
    open: str
    high: str
    low: str
    close: str
    vwap: str
    volume: str
    trades_count: int | str = 0
    """A number, though the venue's own examples have texts."""


class _Trades(Struct):
    """By the pair's REST name, beside it `last`, where the next page begins."""

    error: list[str]
    result: dict[str, list[_OldTrade] | str | int] = {}


class _Bars(Struct):
    error: list[str]
    result: dict[str, list[_Bar] | str | int] = {}


_decode_pairs = msgspec.json.Decoder(_AssetPairs).decode
_decode_time = msgspec.json.Decoder(_Time).decode
_decode_trades = msgspec.json.Decoder(_Trades).decode
_decode_bars = msgspec.json.Decoder(_Bars).decode


class KrakenRest:
    """The REST half of the dialect."""

    trades_paged: Literal["forward", "backward", "none"] = "forward"

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """All pairs: asked for a list with one unknown pair in it, the venue refuses the whole list."""
        return f"{endpoint.rest}/0/public/AssetPairs"

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """See Dialect. Only pairs whose status is online."""
        listed = {_symbol_of(pair.wsname): pair for pair in _result(_decode_pairs, body).values()}
        online = [symbol for symbol in symbols if symbol in listed and listed[symbol].status == "online"]
        return [_instrument_from(listed[symbol], symbol, index) for index, symbol in enumerate(online)]

    def time_url(self, endpoint: Endpoint) -> str:
        """See Dialect."""
        return f"{endpoint.rest}/0/public/Time"

    def decode_time(self, body: bytes) -> int:
        """See Dialect. The venue tells whole seconds."""
        time: _UnixTime = _result(_decode_time, body)
        return time.unixtime * 1_000_000_000

    def trades_url(self, endpoint: Endpoint, instrument: Instrument, hole: Hole) -> str:
        """See History: from the time on, since the venue knows no page by id; `since` itself is left out."""
        query = {"pair": _rest_name(instrument), "since": max(0, hole.from_ns - 1), "count": _TRADES_MAX}
        return f"{endpoint.rest}/0/public/Trades?{urlencode(query)}"

    def decode_trades(self, body: bytes, instrument: Instrument, received_ns: int) -> list[Trade]:
        """See History."""
        trades = [_trade_of(old, instrument, received_ns) for old in _rows(_result(_decode_trades, body))]
        return sorted(trades, key=lambda trade: int(trade.trade_id))

    def candles_url(self, endpoint: Endpoint, instrument: Instrument, timeframe: str, from_ns: int, to_ns: int) -> str:
        """See History. The venue serves the last 720 of any timeframe, whatever is asked: "" for more than these."""
        minutes = MINUTES.get(timeframe, 0)
        if not minutes or not 0 < to_ns - from_ns <= _CANDLES_MAX * minutes * 60_000_000_000:
            return ""
        query = {"pair": _rest_name(instrument), "interval": minutes, "since": max(0, from_ns // 1_000_000_000 - 1)}
        return f"{endpoint.rest}/0/public/OHLC?{urlencode(query)}"

    def decode_candles(
        self, body: bytes, instrument: Instrument, timeframe: str, received_ns: int
    ) -> list[VenueCandle]:
        """See History. The answer's last candle is the one that is still being made."""
        bars = list(_rows(_result(_decode_bars, body)))
        return [_candle_of(bar, instrument, timeframe, at < len(bars) - 1, received_ns) for at, bar in enumerate(bars)]


def _result(decode: Any, body: bytes) -> Any:
    """REST wraps every answer: `error` is a list of texts, `result` is there when it is empty."""
    try:
        answer = decode(body)
    except UNREADABLE as error:
        raise BadFrameError("malformed") from error
    if answer.error or answer.result is None:
        raise BadFrameError("refused")
    return answer.result


def _rows(result: dict[str, Any]) -> Iterator[Any]:
    return (row for rows in result.values() if isinstance(rows, list) for row in rows)


def _symbol_of(wsname: str) -> str:
    return "/".join(_ASSETS.get(asset, asset) for asset in wsname.split("/"))


def _rest_name(instrument: Instrument) -> str:
    """`BTC/USD` → `XBTUSD`."""
    return "".join(_OLD_ASSETS.get(asset, asset) for asset in instrument.venue_symbol.split("/"))


def _instrument_from(pair: _Pair, symbol: str, index: int) -> Instrument:
    base, _, quote = symbol.partition("/")
    tick = decimal_of(pair.tick_size) if pair.tick_size else Decimal(1).scaleb(-pair.pair_decimals)
    notional_min = decimal_of(pair.costmin) if pair.costmin.strip("0.") else Decimal(0)
    return Instrument(
        index, "kraken", symbol, symbol, base, quote, tick, Decimal(1).scaleb(-pair.lot_decimals), notional_min
    )


def _trade_of(old: _OldTrade, instrument: Instrument, received_ns: int) -> Trade:
    return trade_of(
        instrument,
        str(old.trade_id),
        side_of(old.side, _SIDES),
        old.price,
        old.quantity,
        _microseconds(bytes(old.time)) * 1000,
        received_ns,
    )


def _microseconds(seconds: bytes) -> int:
    """`1688669597.8277369` → 1688669597827736: read as text, because no double holds it."""
    match = _SECONDS(seconds.decode("ascii", "replace"))
    if match is None or int(match[1]) >= NS_MAX // 1_000_000_000:
        raise BadFrameError("bad_time")
    return int(match[1]) * 1_000_000 + int((match[2] or "")[:6].ljust(6, "0"))


def _candle_of(bar: _Bar, instrument: Instrument, timeframe: str, closed: bool, received_ns: int) -> VenueCandle:
    """The money is the average price's, which the venue rounds."""
    money = f"{Decimal(quantity_of(bar.vwap)) * Decimal(quantity_of(bar.volume)):f}"
    count = str(bar.trades_count)
    if not (count.isascii() and count.isdecimal() and len(count) < 19):
        raise BadFrameError("bad_number")
    return candle_of(
        instrument,
        timeframe,
        bar.time * 1_000_000_000,
        (bar.open, bar.high, bar.low, bar.close),
        bar.volume,
        closed,
        0,
        received_ns,
        money,
        int(count),
    )
