"""ccxt's unified structures into our events: https://docs.ccxt.com/#/README?id=public-api.

Numbers keep the text that the venue sent wherever ccxt hands it through (`Written`); what ccxt has read as a float is
the shortest decimal that is that float, so that zeros at the end may be missing. Refuses with a BadFrameError what is
no price, no quantity, no side or no time, as our own dialects do.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    BookRule,
    BookSnapshot,
    Funding,
    Instrument,
    Level,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Trade,
    VenueCandle,
)
from traderd.venues.dialect import Endpoint
from traderd.venues.numbers import MS_MAX, check_levels, is_trade, without_exponent
from traderd.venues.told import candle_of, price_of, quantity_of, quote_of, rate_of, side_of, trade_of

_TICK_SIZE: Final = 4
_DECIMAL_PLACES: Final = 2
"""How a venue of ccxt's tells its precision: `exchange.precisionMode`."""
_DECIMALS_MAX: Final = 32
_ID_CHARS_MAX: Final = 128
_NOT_SO: Final = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What reading a structure raises that isn't built as ccxt says."""
_P = ParamSpec("_P")
_T = TypeVar("_T")
_UNVERIFIED: Final = BookRule("none")
"""ccxt tells no number by which a lost message would show."""
CANDLE_MS: Final = 60_000
_ENDED_MS: Final = 30_000
"""So long after its end a candle will change no more, though no later one was told."""
_SIDES: Final[dict[str, Side]] = {"buy": "buy", "sell": "sell"}


class Written(float):
    """A float that remembers how it was written. Given to ccxt as the type of its numbers, which then reckons on."""

    text: str

    def __new__(cls, value: Any) -> "Written":
        """Raises ValueError and TypeError as `float` does."""
        written = super().__new__(cls, value)
        written.text = value if isinstance(value, str) else repr(float(value))
        return written


def _or_refused(read: Callable[_P, _T]) -> Callable[_P, _T]:
    """Whatever a structure is like: what it says, or a BadFrameError."""

    @wraps(read)
    def reading(*args: _P.args, **named: _P.kwargs) -> _T:
        try:
            return read(*args, **named)
        except _NOT_SO as error:
            raise BadFrameError("malformed") from error

    return reading


def text_of(number: Any) -> str:
    """The plain decimal text of one of ccxt's numbers, for the checks of `numbers` to judge; "" for None."""
    if number is None:
        return ""
    text = number.text if isinstance(number, Written) else str(number)
    return without_exponent(text)


@_or_refused
def quote_from(bid: Sequence[Any], ask: Sequence[Any], time_ms: Any, instrument: Instrument, received_ns: int) -> Quote:
    """Best bid and ask out of (price, quantity) each; ccxt tells no update id. Raises BadFrameError."""
    bid_text, bid_size, ask_text, ask_size = (text_of(value) for value in (*bid[:2], *ask[:2]))
    return quote_of(instrument, bid_text, bid_size, ask_text, ask_size, -1, _time_ns(time_ms), received_ns)


@_or_refused
def quote_from_ticker(ticker: Mapping[str, Any], instrument: Instrument, received_ns: int) -> Quote:
    """A ticker of which the venue tells the sizes too. Raises BadFrameError."""
    bid, ask = (ticker.get("bid"), ticker.get("bidVolume")), (ticker.get("ask"), ticker.get("askVolume"))
    return quote_from(bid, ask, ticker.get("timestamp"), instrument, received_ns)


@_or_refused
def quote_from_book(book: Mapping[str, Any], instrument: Instrument, received_ns: int) -> Quote | None:
    """The best level of each side; None while a side is empty. Raises BadFrameError."""
    bids, asks = book["bids"], book["asks"]
    if not len(bids) or not len(asks):
        return None
    return quote_from(bids[0], asks[0], book.get("timestamp"), instrument, received_ns)


@_or_refused
def trade_from(trade: Mapping[str, Any], instrument: Instrument, received_ns: int) -> Trade:
    """One public trade; one without an id is named by what it is. Raises BadFrameError."""
    price, quantity = text_of(trade.get("price")), text_of(trade.get("amount"))
    side, time_ns = side_of(str(trade.get("side")), _SIDES), _time_ns(trade.get("timestamp"))
    trade_id = str(trade.get("id") or f"{time_ns // 1_000_000}-{side}-{price}-{quantity}")
    if len(trade_id) > _ID_CHARS_MAX or not trade_id.isprintable():
        raise BadFrameError("malformed")
    return trade_of(instrument, trade_id, side, price, quantity, time_ns, received_ns)


@_or_refused
def book_from(book: Mapping[str, Any], instrument: Instrument, received_ns: int, depth: int) -> BookSnapshot:
    """The best levels, so many a side, as a book that begins anew. Raises BadFrameError."""
    bids, asks = _levels(book["bids"], depth), _levels(book["asks"], depth)
    time_ns = _time_ns(book.get("timestamp"))
    return BookSnapshot(instrument, bids, asks, 0, None, time_ns, received_ns, depth, _UNVERIFIED)


@_or_refused
def candles_from(rows: Sequence[Sequence[Any]], instrument: Instrument, received_ns: int) -> list[VenueCandle]:
    """Candles of a minute as they are now; ccxt doesn't say of any that it has ended. Raises BadFrameError."""
    return [_candle(row, instrument, received_ns, closed=False) for row in rows]


@_or_refused
def ended_candles_from(
    rows: Sequence[Sequence[Any]], instrument: Instrument, received_ns: int, after_ms: int
) -> list[VenueCandle]:
    """Those that open behind `after_ms` and have ended: a later one is there, or it ended long ago.

    Raises BadFrameError.
    """
    opened = sorted(row[0] for row in rows)
    now_ms = received_ns // 1_000_000
    return [
        _candle(row, instrument, received_ns, closed=True)
        for row in sorted(rows, key=lambda row: int(row[0]))
        if row[0] > after_ms and (row[0] < opened[-1] or row[0] + CANDLE_MS + _ENDED_MS <= now_ms)
    ]


@_or_refused
def funding_from(told: Mapping[str, Any], instrument: Instrument, received_ns: int) -> Funding:
    """The rate of the next funding time. Raises BadFrameError."""
    next_ns = _time_ns(told.get("fundingTimestamp") or told.get("nextFundingTimestamp"))
    text = text_of(told.get("fundingRate"))
    rate = f"-{without_exponent(text[1:])}" if text.startswith("-") else text
    return Funding(instrument, rate_of(rate), next_ns, _time_ns(told.get("timestamp")), received_ns)


@_or_refused
def mark_from(told: Mapping[str, Any], instrument: Instrument, received_ns: int) -> MarkPrice:
    """Mark and index price out of a ticker or a funding rate; the index may be missing. Raises BadFrameError."""
    index = text_of(told.get("indexPrice"))
    time_ns = _time_ns(told.get("timestamp"))
    mark = price_of(text_of(told.get("markPrice")))
    return MarkPrice(instrument, mark, price_of(index) if index else "", time_ns, received_ns)


@_or_refused
def open_interest_from(told: Mapping[str, Any], instrument: Instrument, received_ns: int) -> OpenInterest:
    """In contracts or units of the base currency, as ccxt has it of the venue. Raises BadFrameError."""
    quantity = quantity_of(text_of(told.get("openInterestAmount")))
    return OpenInterest(instrument, quantity, _time_ns(told.get("timestamp")), received_ns)


@_or_refused
def described(market: Mapping[str, Any], precision_mode: int, instrument: Instrument) -> Instrument:
    """The instrument with what ccxt tells of its market; what it doesn't tell stays as it is."""
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    contract = bool(market.get("contract"))
    return replace(
        instrument,
        venue_symbol=str(market["id"]),
        base=str(market["base"]),
        quote=str(market["quote"]),
        price_tick=_step(precision.get("price"), precision_mode, instrument.price_tick),
        quantity_step=_step(precision.get("amount"), precision_mode, instrument.quantity_step),
        notional_min=_above_zero((limits.get("cost") or {}).get("min"), Decimal(0)),
        market="inverse" if market.get("inverse") else "linear" if contract else "spot",
        settle=str(market.get("settle") or "") if contract else "",
        contract_size=_above_zero(market.get("contractSize"), Decimal(1)) if contract else Decimal(1),
        expiry_ns=_time_ns(market.get("expiry")),
        feed="ccxt",
    )


def rebased(addresses: Any, endpoint: Endpoint) -> Any:
    """ccxt's `urls['api']` with scheme and host of every address replaced, as another server of the protocol needs."""
    if isinstance(addresses, Mapping):
        return {name: rebased(address, endpoint) for name, address in addresses.items()}
    parts = urlsplit(str(addresses))
    base = endpoint.websocket if parts.scheme in ("ws", "wss") else endpoint.rest
    return base + parts.path


def _levels(side: Sequence[Sequence[Any]], depth: int) -> list[Level]:
    """The best first, as ccxt has them; what is empty is no level."""
    levels = [(text_of(level[0]), text_of(level[1])) for level in side[:depth]]
    check_levels(levels)
    return [level for level in levels if level[1].strip("0.")]


def _candle(row: Sequence[Any], instrument: Instrument, received_ns: int, closed: bool) -> VenueCandle:
    open_, high, low, close, volume = (text_of(number) for number in row[1:6])
    open_ns = _time_ns(row[0])
    return candle_of(instrument, "1m", open_ns, (open_, high, low, close), volume, closed, 0, received_ns)


def _step(precision: Any, mode: int, unknown: Decimal) -> Decimal:
    if precision is None or mode not in (_TICK_SIZE, _DECIMAL_PLACES):
        return unknown
    if mode == _DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(precision)) if abs(precision) <= _DECIMALS_MAX else unknown
    return _above_zero(precision, unknown)


def _above_zero(number: Any, otherwise: Decimal) -> Decimal:
    text = text_of(number)
    return Decimal(text) if is_trade(f"{text},0") else otherwise


def _time_ns(time_ms: Any) -> int:
    """Nanoseconds; 0 where the venue tells none."""
    if time_ms is None:
        return 0
    if not isinstance(time_ms, int) or not 0 <= time_ms <= MS_MAX:
        raise BadFrameError("bad_time")
    return time_ms * 1_000_000
