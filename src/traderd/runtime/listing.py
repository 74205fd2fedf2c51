"""What the venue lists: the instruments' own figures, asked for until the venue answers, and then once an hour.

Indices were given before the venue was asked, because rows and engine need them; the venue only adds steps and limits.
A symbol that the venue doesn't trade at the start is told and left out, until it does. One that it ceases to trade is
delisted: only when it was missing twice in a row, as a venue's list may be short for a while.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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
Ask = Callable[[], Awaitable[dict[str, Instrument]]]
"""Those of the wanted that the venue trades now, by symbol, with its figures and our indices.

Raises ConnectionError and BadFrameError."""


class ListingObserver(Protocol):
    """Who is told."""

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None: ...

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None: ...


def asking(dialect: Dialect, endpoint: Endpoint, wanted: Sequence[Instrument], rest: Rest) -> Ask:
    """To ask a venue's REST in its own dialect, for as many lists as it has."""
    symbols = [instrument.symbol for instrument in wanted]

    async def ask() -> dict[str, Instrument]:
        told: dict[str, Instrument] = {}
        for part in dialect.by_listing(symbols) if isinstance(dialect, ListedInParts) else [symbols]:
            body = await rest.get(dialect.instruments_url(endpoint, part), _TIMEOUT_S)
            told |= {instrument.symbol: instrument for instrument in dialect.decode_instruments(body, part)}
        return {ours.symbol: replace(told[ours.symbol], index=ours.index) for ours in wanted if ours.symbol in told}

    return ask


async def listed(
    exchange: str,
    ask: Ask,
    wanted: Sequence[Instrument],
    backoff: Backoff,
    uniform: Callable[[], float],
    observer: ListingObserver,
) -> list[Instrument]:
    """The wanted instruments that the venue trades; what it doesn't is told."""
    while True:
        try:
            found = await ask()
            break
        except (ConnectionError, BadFrameError) as error:
            delay_s = backoff.delay(uniform())
            observer.disconnected(exchange, f"instruments: {error}", delay_s)
            await asyncio.sleep(delay_s)
    for instrument in wanted:
        if instrument.symbol not in found:
            observer.refused(exchange, "", instrument.symbol, "the venue doesn't trade it")
    return list(found.values())


async def watch_listing(
    exchange: str,
    ask: Ask,
    wanted: Sequence[Instrument],
    known: Sequence[Instrument],
    changed: Callable[[list[Instrument]], None],
    delisted: Callable[[list[Instrument]], None],
    observer: ListingObserver,
    refresh_s: float = REFRESH_S,
    look_again_s: float = _LOOK_AGAIN_S,
) -> None:
    """For ever: tell which instruments have new figures or are traded now and weren't, and which are traded no more.

    `known` are those of the wanted that the venue traded at the start.
    """
    figures = {instrument.symbol: instrument for instrument in known}
    gone = {instrument.symbol for instrument in wanted} - figures.keys()
    suspected: set[str] = set()
    while True:
        await asyncio.sleep(look_again_s if suspected else refresh_s)
        try:
            found = await ask()
        except (ConnectionError, BadFrameError) as error:
            observer.refused(exchange, "", "", f"instruments: {error}")
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
