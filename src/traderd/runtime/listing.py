"""What the venue lists: the instruments' own figures, asked for until the venue answers, and then once an hour.

Indices were given before the venue was asked, because rows and engine need them; the venue only adds steps and limits.
A symbol that the venue doesn't trade at the start is told and left out; it is not asked for again in this run. One that
it ceases to trade is delisted: only when it was missing twice in a row, as a venue's list may be short for a while.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from traderd.core.backoff import Backoff
from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument
from traderd.runtime.ports import Rest
from traderd.venues.dialect import Dialect, Endpoint, ListedInParts

REFRESH_S = 3600.0
_LOOK_AGAIN_S = 300.0
_TIMEOUT_S = 20.0


class ListingObserver(Protocol):
    """Who is told."""

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None: ...

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None: ...


async def listed(
    dialect: Dialect,
    endpoint: Endpoint,
    wanted: Sequence[Instrument],
    rest: Rest,
    backoff: Backoff,
    uniform: Callable[[], float],
    observer: ListingObserver,
) -> list[Instrument]:
    """The wanted instruments that the venue trades, with its figures and our indices."""
    while True:
        try:
            found = await _asked(dialect, endpoint, wanted, rest)
            break
        except (ConnectionError, BadFrameError) as error:
            delay_s = backoff.delay(uniform())
            observer.disconnected(dialect.exchange, f"instruments: {error}", delay_s)
            await asyncio.sleep(delay_s)
    for instrument in wanted:
        if instrument.symbol not in found:
            observer.refused(dialect.exchange, "", instrument.symbol, "the venue doesn't trade it")
    return list(found.values())


async def watch_listing(
    dialect: Dialect,
    endpoint: Endpoint,
    known: Sequence[Instrument],
    rest: Rest,
    changed: Callable[[list[Instrument]], None],
    delisted: Callable[[list[Instrument]], None],
    observer: ListingObserver,
    refresh_s: float = REFRESH_S,
    look_again_s: float = _LOOK_AGAIN_S,
) -> None:
    """For ever: tell which instruments have new figures or are traded again, and which are traded no more."""
    figures = {instrument.symbol: instrument for instrument in known}
    gone: set[str] = set()
    suspected: set[str] = set()
    while True:
        await asyncio.sleep(look_again_s if suspected else refresh_s)
        try:
            found = await _asked(dialect, endpoint, known, rest)
        except (ConnectionError, BadFrameError) as error:
            observer.refused(dialect.exchange, "", "", f"instruments: {error}")
            continue
        news = [now for symbol, now in found.items() if symbol in gone or now != figures[symbol]]
        figures |= found
        gone -= found.keys()
        missing = figures.keys() - found.keys() - gone
        ended, suspected = missing & suspected, missing - suspected
        gone |= ended
        if news:
            changed(news)
        if ended:
            delisted([figures[symbol] for symbol in figures if symbol in ended])


async def _asked(
    dialect: Dialect, endpoint: Endpoint, wanted: Sequence[Instrument], rest: Rest
) -> dict[str, Instrument]:
    """Those of the wanted that the venue trades now, by symbol, with our indices."""
    symbols = [instrument.symbol for instrument in wanted]
    told: dict[str, Instrument] = {}
    for part in dialect.by_listing(symbols) if isinstance(dialect, ListedInParts) else [symbols]:
        body = await rest.get(dialect.instruments_url(endpoint, part), _TIMEOUT_S)
        told |= {instrument.symbol: instrument for instrument in dialect.decode_instruments(body, part)}
    return {ours.symbol: replace(told[ours.symbol], index=ours.index) for ours in wanted if ours.symbol in told}
