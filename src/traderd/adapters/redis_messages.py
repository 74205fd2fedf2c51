"""What Redis is told, word for word: keys, channels, JSON bodies, and the commands as RESP bytes. Sends nothing.

    cache:ticker:{symbol}      JSON, the newest quote of any venue, gone after ten seconds without one
    traderd:ticks:{symbol}     the same JSON as a message: newest wins
    traderd:ticks              the same JSONs of many symbols in one message, where that is configured
    traderd:candles:{symbol}   traderd:signals:{symbol}   traderd:orders:{symbol}   one message for each fact
    traderd:alerts             one message for each alert
    stream:quotes:{symbol}     stream:trades:{symbol}     Redis streams with every tick, where that is configured

A body is one JSON object. Prices and quantities are exact decimal text, times are ISO 8601 in UTC with microseconds.
A message's `seq` is higher than that of any earlier one of this daemon, in this life and in those before.

Commands are encoded by hand: a publish costs about a microsecond so, and ten through redis-py's pipeline
(`tests/bench/redis_rate.py`). Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from traderd.core.facts import Alert, Candle, Fact, Order, Signal
from traderd.core.market import Quote, Trade
from traderd.core.quality import names_of

CACHE_KEY: Final = "cache:ticker:"
TICKS: Final = "traderd:ticks"
QUOTE_STREAM: Final = "stream:quotes:"
TRADE_STREAM: Final = "stream:trades:"
CHANNELS: Final[dict[type[Fact], str]] = {
    Candle: "traderd:candles",
    Signal: "traderd:signals",
    Order: "traderd:orders",
    Alert: "traderd:alerts",
}
"""Facts of other kinds aren't published: they are in the database."""
UNPUBLISHED: Final = frozenset({"bid", "ask", "bid_size", "ask_size", "expires_ns"})
"""Fields of facts that stand in the database alone: a candle's closing quote has the ticks' own channel."""
_TTL_MS: Final = b"10000"

Sequence = Callable[[], int]
"""The next message's number."""


class Ticker(msgspec.Struct, gc=False):
    """The body of a ticker, field for field."""

    seq: int
    exchange: str
    symbol: str
    bid: str
    ask: str
    bid_size: str
    ask_size: str
    last: str | None
    """Price of the last trade; None when there was none yet."""
    time: str | None
    """The venue's; ours where it sends none."""
    time_received: str | None


class StreamedQuote(msgspec.Struct, gc=False):
    """The body of an entry of stream:quotes."""

    exchange: str
    symbol: str
    bid: str
    ask: str
    bid_size: str
    ask_size: str
    sequence: int
    time: str | None
    time_received: str | None
    flags: tuple[str, ...]
    """Why it is doubtful; empty for a clean one."""


class StreamedTrade(msgspec.Struct, gc=False):
    """The body of an entry of stream:trades."""

    exchange: str
    symbol: str
    trade_id: str
    side: str
    price: str
    quantity: str
    time: str | None
    time_received: str | None
    flags: tuple[str, ...]


_encode: Final = msgspec.json.Encoder().encode


class Place(NamedTuple):
    """Where a symbol's ticker goes: the beginnings of its two commands, up to the body's length."""

    set_head: bytes
    publish_head: bytes


@lru_cache(maxsize=65_536)
def place_of(symbol: str) -> Place:
    """Made once for a symbol."""
    key, channel = f"{CACHE_KEY}{symbol}".encode(), f"{TICKS}:{symbol}".encode()
    return Place(
        b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$" % (len(key), key),
        b"\r\n*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$" % (len(channel), channel),
    )


def ticker_of(quote: Quote, last: Trade | None, seq: int) -> bytes:
    """The quote as JSON."""
    instrument, received = quote.instrument, iso(quote.time_received_ns)
    bid, bid_size, ask, ask_size = quote.texts
    return _encode(
        Ticker(
            seq,
            instrument.exchange,
            instrument.symbol,
            bid,
            ask,
            bid_size,
            ask_size,
            last.price_text if last is not None else None,
            iso(quote.time_venue_ns) if quote.time_venue_ns else received,
            received,
        )
    )


def cache(symbol: str, body: bytes) -> bytes:
    """SET with its time to live."""
    return b"%b%d\r\n%b\r\n$2\r\nPX\r\n$5\r\n%b\r\n" % (place_of(symbol).set_head, len(body), body, _TTL_MS)


def cache_and_publish(symbol: str, body: bytes) -> bytes:
    """SET, then PUBLISH: who subscribes first and reads the cache then misses nothing."""
    place, size = place_of(symbol), len(body)
    return b"%b%d\r\n%b\r\n$2\r\nPX\r\n$5\r\n10000%b%d\r\n%b\r\n" % (
        place.set_head, size, body, place.publish_head, size, body,
    )  # fmt: skip


def publish(channel: str, body: bytes) -> bytes:
    """PUBLISH one message."""
    return command(b"PUBLISH", channel.encode(), body)


def together(bodies: Iterable[bytes]) -> bytes:
    """Tickers of many symbols as the body of one message."""
    return b'{"type":"ticks","ticks":[' + b",".join(bodies) + b"]}"


def stream_entry(tick: Quote | Trade, entries_max: int) -> bytes:
    """XADD one tick to its symbol's stream, which keeps about so many (whole nodes are cut off: `~`)."""
    key = stream_of(tick).encode()
    return command(b"XADD", key, b"MAXLEN", b"~", b"%d" % entries_max, b"*", b"tick", _streamed(tick))


def stream_of(tick: Quote | Trade) -> str:
    """The key of its stream."""
    return (QUOTE_STREAM if type(tick) is Quote else TRADE_STREAM) + tick.instrument.symbol


def command(*words: bytes) -> bytes:
    """Any command: an array of bulk strings."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def channel_of(fact: Fact) -> str:
    """Alerts have one channel; everything else has one for each symbol."""
    channel = CHANNELS[type(fact)]
    return channel if isinstance(fact, Alert) else f"{channel}:{fact.symbol}"  # type: ignore[union-attr]


def message_of(fact: Fact, seq: int) -> bytes:
    """The fact's own fields, its kind as `type`, and times as text: `time_ns` becomes `time`, null for not yet."""
    fields: dict[str, Any] = msgspec.to_builtins(fact)
    told = {
        name.removesuffix("_ns"): iso(value) if name.endswith("_ns") else value
        for name, value in fields.items()
        if name not in UNPUBLISHED
    }
    return orjson.dumps({"seq": seq, **told})


def iso(time_ns: int) -> str | None:
    """Nanoseconds since the epoch → `2026-01-31T23:59:59.123456Z`; None for 0."""
    if not time_ns:
        return None
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    return f"{_iso_second(seconds)}.{fraction_ns // 1000:06d}Z"


@lru_cache(maxsize=64)
def _iso_second(seconds: int) -> str:
    """Ticks of one moment share it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _streamed(tick: Quote | Trade) -> bytes:
    instrument, flags = tick.instrument, tuple(names_of(tick.flags)) if tick.flags else ()
    time, received = iso(tick.time_venue_ns or tick.time_received_ns), iso(tick.time_received_ns)
    if type(tick) is Trade:
        price, quantity = tick.texts
        return _encode(
            StreamedTrade(
                instrument.exchange, instrument.symbol, tick.trade_id, tick.side, price, quantity, time, received,
                flags,
            )
        )  # fmt: skip
    assert type(tick) is Quote
    bid, bid_size, ask, ask_size = tick.texts
    return _encode(
        StreamedQuote(
            instrument.exchange, instrument.symbol, bid, ask, bid_size, ask_size, tick.sequence, time, received, flags,
        )
    )  # fmt: skip
