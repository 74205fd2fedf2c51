"""What the venue lists: the instruments' own figures, asked for until the venue answers.

Indices were given before the venue was asked, because rows and engine need them; the venue only adds steps and limits.
A symbol that the venue doesn't trade is told and left out; it is not asked for again in this run.
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
    symbols = [instrument.symbol for instrument in wanted]
    parts = dialect.by_listing(symbols) if isinstance(dialect, ListedInParts) else [symbols]
    while True:
        try:
            found: dict[str, Instrument] = {}
            for part in parts:
                body = await rest.get(dialect.instruments_url(endpoint, part), _TIMEOUT_S)
                found |= {instrument.symbol: instrument for instrument in dialect.decode_instruments(body, part)}
            break
        except (ConnectionError, BadFrameError) as error:
            delay_s = backoff.delay(uniform())
            observer.disconnected(dialect.exchange, f"instruments: {error}", delay_s)
            await asyncio.sleep(delay_s)
    for symbol in symbols:
        if symbol not in found:
            observer.refused(dialect.exchange, "", symbol, "the venue doesn't trade it")
    return [
        replace(found[instrument.symbol], index=instrument.index) for instrument in wanted if instrument.symbol in found
    ]
