"""What a venue tells by REST alone: open interest, asked for each contract once in an interval.

The requests are spread over the interval, and wait for the venue's budget as all others do. A venue that doesn't answer
is told, and asked again in the next round; what it trades no more isn't asked for. Ends only by being cancelled.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, OpenInterest
from traderd.runtime.ports import Clock, Rest
from traderd.venues.dialect import Endpoint

INTERVAL_S = 60.0
_TIMEOUT_S = 10.0


@runtime_checkable
class TellsOpenInterest(Protocol):
    """A dialect whose venue tells open interest by REST."""

    exchange: str

    def open_interest_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """The address of one contract's open interest."""
        ...

    def decode_open_interest(self, body: bytes, instrument: Instrument, received_ns: int) -> OpenInterest:
        """That address's answer. Raises BadFrameError."""
        ...


class Leave(Protocol):
    """The venue's budget."""

    async def ask(self) -> None: ...

    def refused(self, error: BaseException) -> float: ...


class PollObserver(Protocol):
    """Who is told."""

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None: ...


async def poll_open_interest(
    dialect: TellsOpenInterest,
    endpoint: Endpoint,
    wanted: Callable[[], Sequence[Instrument]],
    rest: Rest,
    clock: Clock,
    leave: Leave,
    sink: Callable[[OpenInterest], None],
    observer: PollObserver,
    interval_s: float = INTERVAL_S,
) -> None:
    """For ever: one answer for each contract and interval into the sink; `wanted` are those traded now."""
    while True:
        instruments = wanted()
        if not instruments:
            await asyncio.sleep(interval_s)
        for instrument in instruments:
            await leave.ask()
            try:
                body = await rest.get(dialect.open_interest_url(endpoint, instrument), _TIMEOUT_S)
                sink(dialect.decode_open_interest(body, instrument, clock.time_ns()))
            except (ConnectionError, BadFrameError) as fault:
                observer.refused(dialect.exchange, "open_interest", instrument.symbol, str(fault))
                leave.refused(fault)
            await asyncio.sleep(interval_s / len(instruments))
