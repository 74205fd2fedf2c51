"""What a venue told, in our words: the one place where a dialect's texts become prices and quantities.

Every number is checked by `numbers` before it is believed and is kept as the text that was sent.
Refuses with a BadFrameError what is no price, no quantity, no rate and no side ("bad_number", "bad_side"); what a
frame otherwise looks like is its dialect's own affair. Times are nanoseconds since the epoch, 0 where none was told.
"""

from collections.abc import Mapping

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, Liquidation, Quote, Side, Trade, VenueCandle
from traderd.venues.numbers import is_candle, is_rate, is_trade, quote_told, trade_told


def quote_of(
    instrument: Instrument,
    bid: str,
    bid_size: str,
    ask: str,
    ask_size: str,
    sequence: int,
    time_ns: int,
    received_ns: int,
) -> Quote:
    """A negative sequence is none: what the receive time has below a microsecond tells neighbours apart."""
    told = quote_told(bid, bid_size, ask, ask_size)
    if told is None:
        raise BadFrameError("bad_number")
    text, bid_price, ask_price = told
    number = sequence if sequence >= 0 else received_ns % 1000
    return Quote(instrument, bid_price, ask_price, text, number, time_ns, received_ns)


def has_empty_side(bid: str, bid_size: str, ask: str, ask_size: str) -> bool:
    """Whether a side has neither price nor quantity: a market that has no quote now, which is no fault of a frame."""
    return not (bid + bid_size).strip("0.") or not (ask + ask_size).strip("0.")


def trade_of(
    instrument: Instrument, trade_id: str, side: Side, price: str, quantity: str, time_ns: int, received_ns: int
) -> Trade:
    """`side` is the taker's."""
    told = trade_told(price, quantity)
    if told is None:
        raise BadFrameError("bad_number")
    return Trade(instrument, trade_id, side, told[1], told[0], time_ns, received_ns)


def candle_of(
    instrument: Instrument,
    timeframe: str,
    open_ns: int,
    prices: tuple[str, str, str, str],
    volume: str,
    closed: bool,
    time_ns: int,
    received_ns: int,
    quote_volume: str = "",
    trades_count: int = 0,
) -> VenueCandle:
    """`prices` are open, high, low and close. See VenueCandle for the last two, which only REST is asked for."""
    open_, high, low, close = prices
    if not is_candle(f"{open_},{high},{low},{close},{volume}"):
        raise BadFrameError("bad_number")
    if quote_volume:
        quantity_of(quote_volume)
    times = (time_ns, received_ns)
    return VenueCandle(
        instrument, timeframe, open_ns, open_, high, low, close, volume, closed, *times, quote_volume, trades_count
    )


def liquidation_of(
    instrument: Instrument, side: Side, price: str, quantity: str, time_ns: int, received_ns: int
) -> Liquidation:
    """`side` is the closing order's."""
    if not is_trade(f"{price},{quantity}"):
        raise BadFrameError("bad_number")
    return Liquidation(instrument, side, price, quantity, time_ns, received_ns)


def side_of(word: str, sides: Mapping[str, Side]) -> Side:
    """By the venue's own words for buy and sell."""
    if (side := sides.get(word)) is None:
        raise BadFrameError("bad_side")
    return side


def price_of(text: str) -> str:
    """A price above zero that stands alone, as the text that it is."""
    if not is_trade(f"{text},0"):
        raise BadFrameError("bad_number")
    return text


def quantity_of(text: str) -> str:
    """A quantity that stands alone, as the text that it is."""
    if not is_trade(f"1,{text}"):
        raise BadFrameError("bad_number")
    return text


def rate_of(text: str) -> str:
    """A rate, which may be below zero, as the text that it is."""
    if not is_rate(text):
        raise BadFrameError("bad_number")
    return text
