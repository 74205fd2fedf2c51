"""Bybit's public REST, version 5: instruments, clock, and the trades and candles of the past.

Sources: bybit-exchange.github.io/docs/v5, "Get Instruments Info", "Get Bybit Server Time", "Get Recent Public Trades",
"Get Kline"; 600 requests in five seconds are borne ("Rate Limit Rules"). A trade's `execId` is the id that the stream
tells. Of public trades only the newest are served: 1000, or 60 of spot. Refuses with a BadFrameError what isn't the
answer, and a list of instruments that goes on elsewhere when one that was asked for isn't in it.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Struct, field

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, Market, Side, Trade, VenueCandle
from traderd.venues.bybit_frames import UNREADABLE, TradeId
from traderd.venues.bybit_symbols import unified
from traderd.venues.dialect import Endpoint, Hole
from traderd.venues.numbers import MS_MAX, NS_MAX, decimal_of
from traderd.venues.told import candle_of, side_of, trade_of

SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}
INTERVALS = {
    **{"1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "4h": "240", "6h": "360"},
    **{"12h": "720", "1d": "D"},
}
"""Candles' lengths as the venue names them."""
_DAY_MINUTES = 1440
_PAGE = 1000
_SPOT_TRADES = 60
_CLOCK_DOUBT_NS = 10_000_000_000
"""Our clock may be ahead of the venue's: so long after its end a candle is closed for certain."""


class _PriceFilter(Struct, frozen=True, rename="camel"):
    tick_size: str = ""


class _LotSizeFilter(Struct, frozen=True, rename="camel"):
    qty_step: str = ""
    base_precision: str = ""
    """Spot's name of the step."""
    min_notional_value: str = ""
    min_order_amt: str = ""
    """Spot's name of the smallest notional."""


class _Listed(Struct, rename="camel"):
    symbol: str
    status: str
    base_coin: str
    quote_coin: str
    contract_type: str = ""
    settle_coin: str = ""
    delivery_time: str = "0"
    """Of a perpetual contract the time of its delisting."""
    price_filter: _PriceFilter = _PriceFilter()
    lot_size_filter: _LotSizeFilter = _LotSizeFilter()

    @property
    def expiry_ns(self) -> int:
        return milliseconds(self.delivery_time) * 1_000_000 if self.contract_type.endswith("Futures") else 0

    @property
    def unified(self) -> str:
        return unified(self.base_coin, self.quote_coin, self.settle_coin, self.expiry_ns)


class _OldTrade(Struct, rename="camel", gc=False):
    exec_id: TradeId
    symbol: str
    price: str
    size: str
    side: str
    time: str


class _Bar(Struct, array_like=True, gc=False):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str = ""
    """In the quote currency; of inverse contracts in the base currency."""


class _Clock(Struct, rename="camel"):
    time_nano: str


class _Listing(Struct, rename="camel"):
    rows: list[_Listed] = field(name="list")
    category: str
    next_page_cursor: str = ""


class _Trades(Struct):
    rows: list[_OldTrade] = field(name="list")


class _Bars(Struct):
    symbol: str
    rows: list[_Bar] = field(name="list")


class _Envelope(Struct, rename="camel"):
    """An answer that says no has an empty `result`."""

    ret_code: int
    result: msgspec.Raw = msgspec.Raw()


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_listing = msgspec.json.Decoder(_Listing).decode
_decode_clock = msgspec.json.Decoder(_Clock).decode
_decode_trades = msgspec.json.Decoder(_Trades).decode
_decode_bars = msgspec.json.Decoder(_Bars).decode


class BybitRest:
    """The REST half of the dialect."""

    market: Market
    trades_paged: Literal["forward", "backward", "none"] = "none"

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """All of the market that are traded: the venue knows no list of some."""
        return self._url(endpoint, "instruments-info", status="Trading", limit=_PAGE)

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """See Dialect. Only those whose status is Trading; refused when the list is cut and one of them not in it."""
        listing: _Listing = _result(_decode_listing, body)
        if listing.category != self.market:
            raise BadFrameError("malformed")
        wanted = frozenset(symbols)
        traded = (each for each in listing.rows if each.status == "Trading")
        listed = {symbol: each for each in traded if (symbol := each.unified) in wanted}
        if listing.next_page_cursor and len(listed) < len(wanted):
            raise BadFrameError("refused")
        found = [symbol for symbol in symbols if symbol in listed]
        return [self._instrument_from(listed[symbol], symbol, index) for index, symbol in enumerate(found)]

    def time_url(self, endpoint: Endpoint) -> str:
        """See Dialect."""
        return f"{endpoint.rest}/v5/market/time"

    def decode_time(self, body: bytes) -> int:
        """See Dialect. The venue tells nanoseconds."""
        clock: _Clock = _result(_decode_clock, body)
        return _whole(clock.time_nano, NS_MAX)

    def trades_url(self, endpoint: Endpoint, instrument: Instrument, hole: Hole) -> str:
        """See History: the newest, whatever is asked."""
        limit = _SPOT_TRADES if self.market == "spot" else _PAGE
        return self._url(endpoint, "recent-trade", symbol=instrument.venue_symbol, limit=limit)

    def decode_trades(self, body: bytes, instrument: Instrument, received_ns: int) -> list[Trade]:
        """See History. The venue tells the newest first."""
        told: _Trades = _result(_decode_trades, body)
        return [_trade_of(old, instrument, received_ns) for old in reversed(told.rows)]

    def candles_url(self, endpoint: Endpoint, instrument: Instrument, timeframe: str, from_ns: int, to_ns: int) -> str:
        """See History. At most a thousand candles an answer: the next question begins behind the last of them.

        Asked for more the venue serves the newest of them, so no more is asked for.
        """
        if timeframe not in INTERVALS or to_ns <= from_ns:
            return ""
        first_ms, last_ms = -(-from_ns // 1_000_000), -(-to_ns // 1_000_000) - 1
        last_ms = min(last_ms, first_ms + _PAGE * _minutes(timeframe) * 60_000 - 1)
        asked = {"interval": INTERVALS[timeframe], "start": first_ms, "end": last_ms, "limit": _PAGE}
        return self._url(endpoint, "kline", symbol=instrument.venue_symbol, **asked)

    def decode_candles(
        self, body: bytes, instrument: Instrument, timeframe: str, received_ns: int
    ) -> list[VenueCandle]:
        """See History. The venue tells the newest first."""
        if timeframe not in INTERVALS:
            raise BadFrameError("unknown_channel")
        told: _Bars = _result(_decode_bars, body)
        if told.symbol != instrument.venue_symbol:
            raise BadFrameError("unknown_symbol")
        return [_candle_of(bar, instrument, timeframe, received_ns) for bar in reversed(told.rows)]

    def _url(self, endpoint: Endpoint, question: str, **asked: object) -> str:
        return f"{endpoint.rest}/v5/market/{question}?{urlencode({'category': self.market, **asked})}"

    def _instrument_from(self, each: _Listed, symbol: str, index: int) -> Instrument:
        """A contract stands for one unit of the base currency if linear, for one of the quote currency if inverse."""
        lot = each.lot_size_filter
        return Instrument(
            index,
            "bybit",
            symbol,
            each.symbol,
            each.base_coin,
            each.quote_coin,
            decimal_of(each.price_filter.tick_size),
            decimal_of(lot.qty_step or lot.base_precision),
            _decimal_or_zero(lot.min_notional_value or lot.min_order_amt),
            self.market,
            each.settle_coin,
            Decimal(1),
            each.expiry_ns,
        )


def milliseconds(text: str) -> int:
    """A time as the venue writes it into texts; 0 for "". Raises BadFrameError."""
    return _whole(text, MS_MAX) if text else 0


def _whole(text: str, greatest: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= greatest):
        raise BadFrameError("bad_time")
    return int(text)


def _result(decode: Any, body: bytes) -> Any:
    """REST wraps every answer: `retCode` is 0 if it is one."""
    try:
        envelope = _decode_envelope(body)
        if envelope.ret_code:
            raise BadFrameError("refused")
        return decode(envelope.result)
    except UNREADABLE as error:
        raise BadFrameError("malformed") from error


def _decimal_or_zero(text: str) -> Decimal:
    return decimal_of(text) if text.strip("0.") else Decimal(0)


def _minutes(timeframe: str) -> int:
    interval = INTERVALS[timeframe]
    return int(interval) if interval.isdecimal() else _DAY_MINUTES


def _trade_of(old: _OldTrade, instrument: Instrument, received_ns: int) -> Trade:
    if old.symbol != instrument.venue_symbol:
        raise BadFrameError("unknown_symbol")
    return trade_of(
        instrument,
        old.exec_id,
        side_of(old.side, SIDES),
        old.price,
        old.size,
        milliseconds(old.time) * 1_000_000,
        received_ns,
    )


def _candle_of(bar: _Bar, instrument: Instrument, timeframe: str, received_ns: int) -> VenueCandle:
    open_ns = milliseconds(bar.start) * 1_000_000
    closed = received_ns > open_ns + _minutes(timeframe) * 60_000_000_000 + _CLOCK_DOUBT_NS
    prices = (bar.open, bar.high, bar.low, bar.close)
    money = bar.turnover if instrument.market != "inverse" else ""
    return candle_of(instrument, timeframe, open_ns, prices, bar.volume, closed, 0, received_ns, money)
