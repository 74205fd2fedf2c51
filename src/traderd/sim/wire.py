"""Events and books as Binance spot writes them, and websocket frames around them.

Numbers are text of eight decimals made from integers, so that nothing drifts. Field names and their order follow
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and recorded traffic.
"""

from collections.abc import Sequence

from traderd.sim.book import Level
from traderd.sim.pit import Candled, DepthChanged, Event, Quoted, Traded
from traderd.sim.prices import UNIT, Listing


def encode(event: Event) -> bytes:
    """The JSON object that a raw stream carries."""
    if isinstance(event, Quoted):
        return _quote(event).encode()
    if isinstance(event, Traded):
        return _trade(event).encode()
    if isinstance(event, Candled):
        return _kline(event).encode()
    return _depth(event).encode()


def combined(stream: str, payload: bytes) -> bytes:
    """The envelope of combined streams."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)


def frame(payload: bytes) -> bytes:
    """One whole unmasked text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65_536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), payload)


def decimal_text(units: int) -> str:
    """Units of 1e-8 as text: 268380000000 → `2683.80000000`."""
    whole, fraction = divmod(units, UNIT)
    return f"{whole}.{fraction:08d}"


def level_texts(levels: Sequence[Level], listing: Listing) -> list[tuple[str, str]]:
    """Levels as Binance writes them."""
    tick, lot = listing.tick, listing.lot
    return [(decimal_text(price * tick), decimal_text(lots * lot)) for price, lots in levels]


def _quote(event: Quoted) -> str:
    tick, lot = event.listing.tick, event.listing.lot
    return (
        f'{{"u":{event.update_id},"s":"{event.listing.venue_symbol}",'
        f'"b":"{decimal_text(event.bid * tick)}","B":"{decimal_text(event.bid_lots * lot)}",'
        f'"a":"{decimal_text(event.ask * tick)}","A":"{decimal_text(event.ask_lots * lot)}"}}'
    )


def _trade(event: Traded) -> str:
    listing = event.listing
    return (
        f'{{"e":"trade","E":{event.time_ms},"s":"{listing.venue_symbol}","t":{event.trade_id},'
        f'"p":"{decimal_text(event.price * listing.tick)}","q":"{decimal_text(event.lots * listing.lot)}",'
        f'"T":{event.time_ms},"m":{"true" if event.buyer_is_maker else "false"},"M":true}}'
    )


def _kline(event: Candled) -> str:
    """The ids of its first and last trade, which nobody here keeps, are left at -1, as of a bar without trades."""
    listing, name, bar = event.listing, event.listing.venue_symbol, event.bar
    open_, close, high, low = (decimal_text(ticks * listing.tick) for ticks in (bar.open, bar.close, bar.high, bar.low))
    return (
        f'{{"e":"kline","E":{event.time_ms},"s":"{name}","k":{{"t":{bar.open_ms},"T":{bar.open_ms + 59_999},'
        f'"s":"{name}","i":"1m","f":-1,"L":-1,"o":"{open_}","c":"{close}","h":"{high}","l":"{low}",'
        f'"v":"{decimal_text(bar.lots * listing.lot)}","n":{bar.trades},"x":{"true" if event.closed else "false"},'
        f'"q":"{decimal_text(bar.notional)}","V":"{decimal_text(bar.taker_buy_lots * listing.lot)}",'
        f'"Q":"{decimal_text(bar.taker_buy_notional)}","B":"0"}}}}'
    )


def _depth(event: DepthChanged) -> str:
    listing = event.listing
    return (
        f'{{"e":"depthUpdate","E":{event.time_ms},"s":"{listing.venue_symbol}","U":{event.first},"u":{event.last},'
        f'"b":{_levels(event.bids, listing)},"a":{_levels(event.asks, listing)}}}'
    )


def _levels(levels: Sequence[Level], listing: Listing) -> str:
    return "[" + ",".join([f'["{price}","{quantity}"]' for price, quantity in level_texts(levels, listing)]) + "]"
