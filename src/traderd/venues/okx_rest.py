"""OKX's public REST: instruments, clock, book snapshots, and the trades and candles of the past.

Source: okx.com/docs-v5, "Get instruments", "Get system time", "GET / Order book", "GET / Trades history" and
"GET / Candlesticks history". Trades are single fills, as the channel `trades-all` tells them.
Refuses with a BadFrameError what isn't the answer.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Generic, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from msgspec import Struct, field

from traderd.core.errors import BadFrameError
from traderd.core.market import BookSnapshot, Instrument, Market, Trade, VenueCandle
from traderd.venues.dialect import Endpoint, Hole
from traderd.venues.numbers import decimal_of
from traderd.venues.okx_events import LINKED, candle_from, ms_of, snapshot_of, trade_from
from traderd.venues.okx_frames import UNREADABLE, Bar, Book, Ms, T, TradeTold
from traderd.venues.okx_symbols import InstType, inst_type_of, unified

BARS: dict[str, tuple[str, int]] = {
    **{"1s": ("1s", 1_000), "1m": ("1m", 60_000), "3m": ("3m", 180_000), "5m": ("5m", 300_000)},
    **{"15m": ("15m", 900_000), "30m": ("30m", 1_800_000), "1h": ("1H", 3_600_000), "2h": ("2H", 7_200_000)},
    **{"4h": ("4H", 14_400_000), "6h": ("6Hutc", 21_600_000), "12h": ("12Hutc", 43_200_000)},
    **{"1d": ("1Dutc", 86_400_000)},
}
"""The venue's name of each candle and its length in milliseconds; without `utc` a day begins at 16:00 UTC."""
DEPTH = 400
"""Levels a side of the channel `books`, and as many as REST gives."""
_MARKETS: dict[str, Market] = {"": "spot", "linear": "linear", "inverse": "inverse"}
_TRADES_MAX = 100
_CANDLES_MAX = 300


class _Listed(Struct):
    """Figures are "" while an instrument is only announced."""

    symbol: str = field(name="instId")
    inst_type: str = field(name="instType")
    state: str = ""
    base: str = field(name="baseCcy", default="")
    quote: str = field(name="quoteCcy", default="")
    underlying: str = field(name="uly", default="")
    settle: str = field(name="settleCcy", default="")
    price_tick: str = field(name="tickSz", default="")
    quantity_step: str = field(name="lotSz", default="")
    contract_type: str = field(name="ctType", default="")
    contract_value: str = field(name="ctVal", default="")
    contract_multiplier: str = field(name="ctMult", default="")
    expiry: str = field(name="expTime", default="")
    """Of dated contracts; elsewhere when a delisting takes effect."""

    @property
    def expiry_ms(self) -> int:
        return ms_of(self.expiry) if self.inst_type == "FUTURES" else 0

    @property
    def pair(self) -> tuple[str, str]:
        """Base and quote currency: a contract names its underlying only."""
        if self.inst_type == "SPOT":
            return self.base, self.quote
        base, _, quote = self.underlying.partition("-")
        return base, quote

    @property
    def unified(self) -> str:
        return unified(*self.pair, self.settle if self.inst_type != "SPOT" else "", self.expiry_ms)


class _Clock(Struct):
    time_ms: Ms = field(name="ts")


class _Answer(Struct, Generic[T]):
    """What every question is answered with."""

    code: str
    data: list[T] = []


def _decoder(form: Any) -> Any:
    return msgspec.json.Decoder(form, strict=False).decode


_decode_listed = _decoder(_Answer[_Listed])
_decode_clock = _decoder(_Answer[_Clock])
_decode_books = _decoder(_Answer[Book])
_decode_trades = _decoder(_Answer[TradeTold])
_decode_bars = _decoder(_Answer[Bar])


class OkxRest:
    """The REST half of the dialect."""

    trades_paged: Literal["forward", "backward", "none"] = "backward"

    def snapshot_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """As many levels a side as the stream keeps; 40 questions in two seconds are borne."""
        return _url(endpoint, "market/books", instId=instrument.venue_symbol, sz=DEPTH)

    def snapshot_symbol(self, url: str) -> str:
        """See Dialect."""
        parts = urlsplit(url)
        return parse_qs(parts.query).get("instId", [""])[0] if parts.path.endswith("/market/books") else ""

    def decode_snapshot(self, body: bytes, instrument: Instrument, received_ns: int) -> BookSnapshot:
        """See Dialect. One without a sequence id can't be joined to the stream."""
        books: list[Book] = _read(_decode_books, body)
        if len(books) != 1 or books[0].sequence < 0:
            raise BadFrameError("malformed")
        return snapshot_of(books[0], instrument, DEPTH, LINKED, received_ns)

    def by_listing(self, symbols: Sequence[str]) -> list[list[str]]:
        """Which symbols one question can be about: the venue has a list for each type of instrument."""
        parts: dict[InstType, list[str]] = {}
        for symbol in symbols:
            parts.setdefault(inst_type_of(symbol), []).append(symbol)
        return list(parts.values())

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """The list of the first symbol's type: see `by_listing`."""
        inst_type = inst_type_of(symbols[0]) if symbols else "SPOT"
        return _url(endpoint, "public/instruments", instType=inst_type)

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """See Dialect. Only instruments whose state is live."""
        wanted = frozenset(symbols)
        live = [each for each in _read(_decode_listed, body) if each.state == "live"]
        listed = {symbol: each for each in live if (symbol := each.unified) in wanted}
        found = [symbol for symbol in symbols if symbol in listed]
        return [_instrument_from(listed[symbol], symbol, index) for index, symbol in enumerate(found)]

    def time_url(self, endpoint: Endpoint) -> str:
        """See Dialect."""
        return f"{endpoint.rest}/api/v5/public/time"

    def decode_time(self, body: bytes) -> int:
        """See Dialect. The venue tells milliseconds."""
        clocks: list[_Clock] = _read(_decode_clock, body)
        if len(clocks) != 1:
            raise BadFrameError("malformed")
        return clocks[0].time_ms * 1_000_000

    def trades_url(self, endpoint: Endpoint, instrument: Instrument, hole: Hole) -> str:
        """See History: before the id where one is known, else before the time; three months are kept."""
        if hole.before_id.isdecimal():
            page = {"type": 1, "after": int(hole.before_id)}
        else:
            page = {"type": 2, "after": -(-hole.to_ns // 1_000_000) + 1}
        return _url(endpoint, "market/history-trades", instId=instrument.venue_symbol, **page, limit=_TRADES_MAX)

    def decode_trades(self, body: bytes, instrument: Instrument, received_ns: int) -> list[Trade]:
        """See History."""
        trades = [trade_from(told, instrument, received_ns) for told in _read(_decode_trades, body)]
        return sorted(trades, key=lambda trade: int(trade.trade_id))

    def candles_url(self, endpoint: Endpoint, instrument: Instrument, timeframe: str, from_ns: int, to_ns: int) -> str:
        """See History. The first 300 of them: the venue, asked for more, would begin with the newest."""
        if timeframe not in BARS or to_ns <= from_ns:
            return ""
        bar, length_ms = BARS[timeframe]
        first_ms, end_ms = -(-from_ns // 1_000_000), -(-to_ns // 1_000_000)
        return _url(
            endpoint,
            "market/history-candles",
            instId=instrument.venue_symbol,
            bar=bar,
            before=max(0, first_ms - 1),
            after=min(end_ms, first_ms + _CANDLES_MAX * length_ms),
            limit=_CANDLES_MAX,
        )

    def decode_candles(
        self, body: bytes, instrument: Instrument, timeframe: str, received_ns: int
    ) -> list[VenueCandle]:
        """See History. The venue answers with the newest first."""
        bars: list[Bar] = _read(_decode_bars, body)
        return [candle_from(bar, instrument, timeframe, received_ns) for bar in reversed(bars)]


def _read(decode: Any, body: bytes) -> Any:
    """The answer's rows. `code` is "0" when the venue has nothing against the question."""
    try:
        answer = decode(body)
    except UNREADABLE as error:
        raise BadFrameError("malformed") from error
    if answer.code != "0":
        raise BadFrameError("refused")
    return answer.data


def _url(endpoint: Endpoint, name: str, **parameters: str | int) -> str:
    return f"{endpoint.rest}/api/v5/{name}?{urlencode(parameters)}"


def _instrument_from(listed: _Listed, symbol: str, index: int) -> Instrument:
    """Sizes of contracts are told in contracts; a smallest order value the venue doesn't have."""
    base, quote = listed.pair
    spot = listed.inst_type == "SPOT"
    market = _MARKETS.get("" if spot else listed.contract_type, "spot")
    if (market == "spot") != spot:
        raise BadFrameError("malformed")
    return Instrument(
        index,
        "okx",
        symbol,
        listed.symbol,
        base,
        quote,
        decimal_of(listed.price_tick),
        decimal_of(listed.quantity_step),
        market=market,
        settle="" if spot else listed.settle,
        contract_size=Decimal(1) if spot else _contract_size(listed),
        expiry_ns=listed.expiry_ms * 1_000_000,
    )


def _contract_size(listed: _Listed) -> Decimal:
    return decimal_of(listed.contract_value) * decimal_of(listed.contract_multiplier or "1")
