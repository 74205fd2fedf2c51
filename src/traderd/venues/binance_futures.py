"""Binance's futures: USD-M (linear) and COIN-M (inverse), perpetual and dated.

Sources: developers.binance.com/docs/derivatives, "USDS Margined Futures" and "COIN Margined Futures"; for the linear
addresses "Important WebSocket Change Notice": since 2026-04-23 quotes and books are had at /public and everything else
at /market, one connection each. Recordings of the older addresses read the same: the frames didn't change.
Trades are the aggregated ones: single trades are no documented stream, and REST serves them only to account holders.
Refuses with a BadFrameError what isn't the protocol; the reasons are named in `binance_frames`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Literal

import msgspec
from msgspec import Raw, Struct, field

from traderd.core.errors import BadFrameError
from traderd.core.market import LINKS_FROM_REST, Instrument, OpenInterest
from traderd.venues.binance import split_symbol
from traderd.venues.binance_frames import FUTURES_QUOTE, LINEAR_TRADE, AggTrade, Ms
from traderd.venues.binance_rest import PAGE, BinanceRest, Filter, OldAggTrade, limits_of, read
from traderd.venues.binance_streams import HEARTBEAT_FRAME, STREAMS_PER_FRAME, BinanceStreams
from traderd.venues.dialect import AnyChannel, Endpoint, Heartbeating, Hole, Limits
from traderd.venues.numbers import decimal_of
from traderd.venues.told import quantity_of

Contracts = Literal["linear", "inverse"]
_STREAMS: dict[AnyChannel, str] = {
    "quote": "bookTicker",
    "trade": "aggTrade",
    "book": "depth@100ms",
    "candle": "kline_1m",
    "funding": "markPrice@1s",
    "mark": "markPrice@1s",
    "liquidation": "forceOrder",
}
_PUBLIC = frozenset({"quote", "book"})
"""What the linear market's /public address carries."""
_ENDPOINTS = {
    "linear": Endpoint(websocket="wss://fstream.binance.com", rest="https://fapi.binance.com"),
    "inverse": Endpoint(websocket="wss://dstream.binance.com", rest="https://dapi.binance.com"),
}
_QUOTES = {
    "linear": frozenset({"USDT", "USDC", "BUSD", "FDUSD", "USD1", "USDE", "BFUSD", "BTC"}),
    "inverse": frozenset({"USD"}),
}
"""What is or was quoted in, for captures that come without a list of instruments."""
_PERPETUAL = "PERP"
_DELIVERY_HOUR = 8
"""Contracts are delivered at 08:00 UTC of the day in their name."""


class _Contract(Struct, rename="camel"):
    symbol: str
    contract_type: str
    delivery_date: Ms
    base_asset: str
    quote_asset: str
    margin_asset: str
    status: str = ""
    contract_status: str = ""
    """COIN-M's name for the status."""
    contract_size: Raw = Raw(b"1")
    """COIN-M: dollars a contract."""
    filters: list[Filter] = []

    @property
    def trading(self) -> bool:
        return "TRADING" in (self.status, self.contract_status)

    @property
    def expiry_ms(self) -> int:
        """0 for the perpetual ones, whose delivery date lies in the year 2100."""
        return 0 if self.contract_type.endswith("PERPETUAL") else self.delivery_date

    @property
    def unified(self) -> str:
        """`BTC/USDT:USDT`, `BTC/USDT:USDT-261225`."""
        perpetual = f"{self.base_asset}/{self.quote_asset}:{self.margin_asset}"
        if not self.expiry_ms:
            return perpetual
        return f"{perpetual}-{datetime.fromtimestamp(self.expiry_ms // 1000, UTC):%y%m%d}"


class _ExchangeInfo(Struct):
    symbols: list[_Contract]


class _OpenInterest(Struct):
    quantity: str = field(name="openInterest")
    symbol: str
    time_ms: Ms = field(name="time", default=0)


_decode_exchange_info = msgspec.json.Decoder(_ExchangeInfo).decode
_decode_open_interest = msgspec.json.Decoder(_OpenInterest).decode


class BinanceFutures(BinanceStreams, BinanceRest):
    """The dialect of Binance's linear or inverse futures."""

    channels: frozenset[AnyChannel] = frozenset({*_STREAMS, "open_interest"})
    """Open interest is REST's only: `open_interest_url`. A liquidation is the largest of each second, no more."""
    heartbeat = Heartbeating(frame=HEARTBEAT_FRAME, interval_s=20.0, silence_max_s=60.0)
    """The venue pings every three minutes only, and liquidations alone may be hours apart: so we ask."""
    limits = Limits(
        streams_per_connection=1024,
        frames_per_s=8.0,
        streams_per_frame=STREAMS_PER_FRAME,
        connection_age_s=24 * 3600.0,
        connects_per_minute=60.0,
    )
    """Ten messages a second, of which two are left for pongs; how many connections it doesn't say: spot's figure."""
    book_resync: Literal["rest", "resubscribe"] = "rest"
    trades_numbered = True
    trades_paged: Literal["forward", "backward", "none"] = "forward"
    quote_form = FUTURES_QUOTE
    trade_form, trade_told = LINEAR_TRADE, AggTrade
    _decode_trades = staticmethod(msgspec.json.Decoder(list[OldAggTrade]).decode)

    def __init__(self, market: Contracts) -> None:
        """USD-M is linear, COIN-M inverse."""
        super().__init__(partial(_instrument_of, market), LINKS_FROM_REST, _STREAMS)
        self.market = market
        self.live = _ENDPOINTS[market]
        self._api = "/fapi/v1" if market == "linear" else "/dapi/v1"
        if market == "inverse":
            self._candles_span_ms_max = 200 * 86_400_000 - 1  # "Maximum time interval is 200 days."

    def symbol_to_venue(self, symbol: str) -> str:
        """`BTC/USDT:USDT` → `BTCUSDT`, `BTC/USD:BTC` → `BTCUSD_PERP`, `BTC/USDT:USDT-261225` → `BTCUSDT_261225`."""
        pair, _, settled = symbol.partition(":")
        expiry = settled.partition("-")[2] or (_PERPETUAL if self.market == "inverse" else "")
        return pair.replace("/", "").upper() + (f"_{expiry}" if expiry else "")

    def by_connection(self, channels: Sequence[AnyChannel]) -> list[list[AnyChannel]]:
        """Which channels can share a connection: the linear market has two addresses, the inverse one."""
        streamed = [channel for channel in channels if channel in _STREAMS]
        if self.market == "inverse":
            return [streamed] if streamed else []
        public = [channel for channel in streamed if channel in _PUBLIC]
        return [group for group in (public, [c for c in streamed if c not in _PUBLIC]) if group]

    def websocket_url(
        self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]
    ) -> str:
        """Raises ValueError for channels that can't share a connection."""
        if self.market == "inverse":
            return f"{endpoint.websocket}/stream"
        groups = self.by_connection(channels)
        if len(groups) > 1:
            raise ValueError(f"{', '.join(channels)} can't share a connection")
        return f"{endpoint.websocket}/{'public' if groups and groups[0][0] in _PUBLIC else 'market'}/stream"

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """All contracts: the venue knows no shorter list."""
        return f"{endpoint.rest}{self._api}/exchangeInfo"

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """See Dialect. Only contracts whose status is TRADING."""
        trading = [contract for contract in read(_decode_exchange_info, body).symbols if contract.trading]
        wanted = frozenset(symbols)
        listed = {symbol: each for each in trading if (symbol := each.unified) in wanted}
        found = [symbol for symbol in symbols if symbol in listed]
        return [self._instrument_from(listed[symbol], symbol, index) for index, symbol in enumerate(found)]

    def trades_url(self, endpoint: Endpoint, instrument: Instrument, hole: Hole) -> str:
        """See History: behind the id where one is known, else from the time (weight 20 of 2400 a minute)."""
        if hole.after_id.isdecimal():
            start = {"fromId": int(hole.after_id) + 1}
        else:
            start = {"startTime": hole.from_ns // 1_000_000}
        return self._url(endpoint, "aggTrades", symbol=instrument.venue_symbol, **start, limit=PAGE)

    def open_interest_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """The address of one contract's open interest."""
        return self._url(endpoint, "openInterest", symbol=instrument.venue_symbol)

    def decode_open_interest(self, body: bytes, instrument: Instrument, received_ns: int) -> OpenInterest:
        """That address's answer, in units of the base currency if linear, else in contracts. Raises BadFrameError."""
        told: _OpenInterest = read(_decode_open_interest, body)
        if told.symbol != instrument.venue_symbol:
            raise BadFrameError("unknown_symbol")
        return OpenInterest(instrument, quantity_of(told.quantity), told.time_ms * 1_000_000, received_ns)

    def _serves(self, timeframe: str) -> bool:
        return timeframe != "1s"

    def _instrument_from(self, contract: _Contract, symbol: str, index: int) -> Instrument:
        return Instrument(
            index,
            self.exchange,
            symbol,
            contract.symbol,
            contract.base_asset,
            contract.quote_asset,
            market=self.market,
            settle=contract.margin_asset,
            contract_size=_size_of(contract),
            expiry_ns=contract.expiry_ms * 1_000_000,
            **limits_of(contract.filters),
        )


def _size_of(contract: _Contract) -> Decimal:
    return decimal_of(bytes(contract.contract_size).decode("ascii", "replace"))


def _instrument_of(market: Contracts, venue_symbol: str, index: int) -> Instrument:
    """`BTCUSD_PERP`, `ETHUSDT_261225` → an instrument that knows nothing but its name."""
    pair, _, contract = venue_symbol.partition("_")
    base, quote = split_symbol(pair, _QUOTES[market])
    settle = quote if market == "linear" else base
    symbol = f"{base}/{quote}:{settle}" if quote else base
    dated = bool(contract) and contract != _PERPETUAL
    return Instrument(
        index,
        "binance",
        f"{symbol}-{contract}" if dated else symbol,
        venue_symbol,
        base,
        quote,
        market=market,
        settle=settle,
        expiry_ns=_expiry_ns(contract) if dated else 0,
    )


def _expiry_ns(date: str) -> int:
    """`261225` → its delivery; 0 for what is no date."""
    try:
        day = datetime.strptime(date, "%y%m%d").replace(hour=_DELIVERY_HOUR, tzinfo=UTC)
    except ValueError:
        return 0
    return int(day.timestamp()) * 1_000_000_000
