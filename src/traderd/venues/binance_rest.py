"""Binance's public REST, spot and futures alike: clock, book snapshots, and the trades and candles of the past.

Sources: "Public Rest API for Binance" (github.com/binance/binance-spot-api-docs) and "Market Data" of the USD-M and
COIN-M futures (developers.binance.com/docs/derivatives). Refuses with a BadFrameError what isn't the answer.
"""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from msgspec import Struct, field

from traderd.core.errors import BadFrameError
from traderd.core.market import BookRule, BookSnapshot, Instrument, Level, Trade, VenueCandle
from traderd.venues.binance_frames import UNREADABLE, Id, Ms
from traderd.venues.binance_streams import TIMEFRAMES
from traderd.venues.dialect import Endpoint
from traderd.venues.numbers import check_levels, decimal_of
from traderd.venues.told import candle_of, trade_of

PAGE = 1000
"""Trades or candles of one answer."""
_CLOCK_DOUBT_NS = 10_000_000_000
"""Our clock may be ahead of the venue's: so long after its end a candle is closed for certain."""


class _Snapshot(Struct):
    update_id: Id = field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]
    matched_ms: Ms = field(name="T", default=0)


class _Time(Struct):
    time_ms: Ms = field(name="serverTime")


class OldTrade(Struct, gc=False):
    """Of historicalTrades."""

    trade_id: Id = field(name="id")
    price: str
    quantity: str = field(name="qty")
    time_ms: Ms = field(name="time")
    buyer_is_maker: bool = field(name="isBuyerMaker")


class OldAggTrade(Struct, gc=False):
    """Of aggTrades."""

    trade_id: Id = field(name="a")
    price: str = field(name="p")
    quantity: str = field(name="q")
    time_ms: Ms = field(name="T")
    buyer_is_maker: bool = field(name="m")


class _Bar(Struct, array_like=True, gc=False):
    open_time_ms: Ms
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_time_ms: Ms
    quote_volume: str = ""
    """Of inverse contracts the volume in the base currency."""
    trades_count: Id = 0


class Filter(Struct, rename="camel"):
    """One rule that an instrument's orders must keep."""

    filter_type: str
    tick_size: str = ""
    step_size: str = ""
    min_notional: str = ""
    notional: str = ""
    """What the futures call the smallest notional."""


_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_time = msgspec.json.Decoder(_Time).decode
_decode_bars = msgspec.json.Decoder(list[_Bar]).decode


class BinanceRest:
    """The REST half of a dialect."""

    _api: str
    """What stands before the name of every question: `/api/v3`."""
    _candles_span_ms_max = 2**53
    _rule: BookRule
    _decode_trades: Any

    def snapshot_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """A thousand levels a side: weight 50 of spot's 6000 a minute, 20 of the futures' 2400."""
        return self._url(endpoint, "depth", symbol=instrument.venue_symbol, limit=PAGE)

    def snapshot_symbol(self, url: str) -> str:
        """See Dialect."""
        parts = urlsplit(url)
        return parse_qs(parts.query).get("symbol", [""])[0].upper() if parts.path.endswith("/depth") else ""

    def decode_snapshot(self, body: bytes, instrument: Instrument, received_ns: int) -> BookSnapshot:
        """See Dialect."""
        snapshot: _Snapshot = read(_decode_snapshot, body)
        check_levels(snapshot.bids)
        check_levels(snapshot.asks)
        time_ns = snapshot.matched_ms * 1_000_000
        update_id = snapshot.update_id
        return BookSnapshot(
            instrument, snapshot.bids, snapshot.asks, update_id, None, time_ns, received_ns, rule=self._rule
        )

    def time_url(self, endpoint: Endpoint) -> str:
        """See Dialect."""
        return f"{endpoint.rest}{self._api}/time"

    def decode_time(self, body: bytes) -> int:
        """See Dialect. The venue tells milliseconds."""
        time: _Time = read(_decode_time, body)
        return time.time_ms * 1_000_000

    def decode_trades(self, body: bytes, instrument: Instrument, received_ns: int) -> list[Trade]:
        """See History."""
        trades = [_trade_of(old, instrument, received_ns) for old in read(self._decode_trades, body)]
        return sorted(trades, key=lambda trade: int(trade.trade_id))

    def candles_url(self, endpoint: Endpoint, instrument: Instrument, timeframe: str, from_ns: int, to_ns: int) -> str:
        """See History. At most a thousand candles an answer: the next question begins behind the last of them."""
        if timeframe not in TIMEFRAMES or not self._serves(timeframe) or to_ns <= from_ns:
            return ""
        first_ms, last_ms = -(-from_ns // 1_000_000), -(-to_ns // 1_000_000) - 1
        return self._url(
            endpoint,
            "klines",
            symbol=instrument.venue_symbol,
            interval=timeframe,
            startTime=first_ms,
            endTime=min(last_ms, first_ms + self._candles_span_ms_max),
            limit=PAGE,
        )

    def decode_candles(
        self, body: bytes, instrument: Instrument, timeframe: str, received_ns: int
    ) -> list[VenueCandle]:
        """See History. A candle whose end lies less than ten seconds back is not yet called closed."""
        return [_candle_of(bar, instrument, timeframe, received_ns) for bar in read(_decode_bars, body)]

    def _serves(self, timeframe: str) -> bool:
        return True

    def _url(self, endpoint: Endpoint, name: str, **parameters: str | int) -> str:
        return f"{endpoint.rest}{self._api}/{name}?{urlencode(parameters)}"


def read(decode: Any, body: bytes) -> Any:
    """The answer, or BadFrameError."""
    try:
        return decode(body)
    except UNREADABLE as error:
        raise BadFrameError("malformed") from error


def limits_of(filters: list[Filter]) -> dict[str, Any]:
    """Steps and smallest order value as an Instrument's fields; a filter of zero is none."""
    by_type = {each.filter_type: each for each in filters}
    tick, lot = by_type.get("PRICE_FILTER"), by_type.get("LOT_SIZE")
    notional = by_type.get("NOTIONAL") or by_type.get("MIN_NOTIONAL")
    least = (notional.min_notional or notional.notional) if notional else ""
    limits: dict[str, Any] = {}
    if tick and tick.tick_size.strip("0."):
        limits["price_tick"] = decimal_of(tick.tick_size)
    if lot and lot.step_size.strip("0."):
        limits["quantity_step"] = decimal_of(lot.step_size)
    if least.strip("0."):
        limits["notional_min"] = decimal_of(least)
    return limits


def _trade_of(old: OldTrade | OldAggTrade, instrument: Instrument, received_ns: int) -> Trade:
    """As the stream told it, or would have: the id is the stream's, m says whether the buyer was the maker."""
    return trade_of(
        instrument,
        str(old.trade_id),
        "sell" if old.buyer_is_maker else "buy",
        old.price,
        old.quantity,
        old.time_ms * 1_000_000,
        received_ns,
    )


def _candle_of(bar: _Bar, instrument: Instrument, timeframe: str, received_ns: int) -> VenueCandle:
    closed = received_ns > bar.close_time_ms * 1_000_000 + _CLOCK_DOUBT_NS
    return candle_of(
        instrument,
        timeframe,
        bar.open_time_ms * 1_000_000,
        (bar.open, bar.high, bar.low, bar.close),
        bar.volume,
        closed,
        0,
        received_ns,
        bar.quote_volume if instrument.market != "inverse" else "",
        bar.trades_count,
    )
