"""One venue's leave to connect and to ask: a budget and a ban that all connections to it share.

A venue that answers 429 or 418 means the address, not the connection: then nobody here knocks until it may be tried
again. Refuses to be quicker than half a connect a second in the long run, whatever a venue would bear: a storm of
reconnects has never helped.
"""

import asyncio

from traderd.core.budget import Budget
from traderd.core.errors import VenueRefusalError
from traderd.runtime.ports import Clock, Rest
from traderd.venues.dialect import Limits

_CONNECTS_PER_MINUTE_MAX = 30.0
_BURST = 1 / 3
"""Of a minute's connects; the rest fills up within the minute."""
_SNAPSHOTS_PER_S = 2.0
"""Binance: a snapshot of 1000 levels weighs 50 of 6000 a minute."""
_SNAPSHOTS_BURST = 20.0
_BAN_S = {403: 60.0, 418: 120.0, 429: 10.0}
"""Where the venue doesn't say how long."""


class Admission:
    """Of one venue."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        per_minute = min(limits.connects_per_minute, _CONNECTS_PER_MINUTE_MAX)
        burst = max(1.0, per_minute * _BURST)
        self._connects = Budget((per_minute - burst) / 60 or 1 / 60, burst)
        self._snapshots = Budget(_SNAPSHOTS_PER_S, _SNAPSHOTS_BURST)
        self._clock = clock
        self._banned_until_s = 0.0

    async def connect(self) -> None:
        """Wait until a connection may be opened."""
        await self._wait(self._connects)

    async def ask(self) -> None:
        """Wait until a snapshot may be fetched."""
        await self._wait(self._snapshots)

    def refused(self, error: BaseException) -> float:
        """Heed what came instead of a connection or a body; how many seconds everybody must wait now."""
        if isinstance(error, VenueRefusalError):
            wait_s = error.retry_after_s or _BAN_S.get(error.status, 60.0)
            self._banned_until_s = max(self._banned_until_s, self._now_s() + wait_s)
        return self.banned_s

    @property
    def banned_s(self) -> float:
        """For how long nobody may knock."""
        return max(0.0, self._banned_until_s - self._now_s())

    async def _wait(self, budget: Budget) -> None:
        await asyncio.sleep(budget.take(self._now_s()))
        while True:  # a ban may be prolonged meanwhile
            if not self.banned_s:
                return
            await asyncio.sleep(self.banned_s)

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9


class AdmittedRest:
    """A venue's REST for those who ask seldom: the list of its instruments, its clock. They heed its bans too."""

    def __init__(self, rest: Rest, admission: Admission) -> None:
        self._rest = rest
        self._admission = admission

    async def get(self, url: str, timeout_s: float) -> bytes:
        """See Rest. While nobody may knock it isn't asked: that is a ConnectionError as well."""
        if banned_s := self._admission.banned_s:
            raise ConnectionError(f"{url}: not asked: the venue won't have us for {banned_s:.0f} s")
        try:
            return await self._rest.get(url, timeout_s)
        except VenueRefusalError as refusal:
            self._admission.refused(refusal)
            raise
