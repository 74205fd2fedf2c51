"""What both halves of healing know: whom they look after, how patiently, and who is told.

Refuses nothing; there is nothing here but terms.
"""

from typing import Protocol

from msgspec import Struct

from traderd.core.market import Instrument
from traderd.runtime.pipeline import Stream
from traderd.venues.dialect import Endpoint, History

FORSAKEN_NS = 600 * 1_000_000_000
"""A symbol that isn't listened to so long after the start isn't configured any more."""
ATTEMPTS_MAX = 10
"""At answers that can't be used."""
_REASONS_MAX = 3


class Patience(Struct, frozen=True):
    """How long is waited for what, and how often a venue is asked."""

    look_s: float = 2.0
    """Between two looks for gaps."""
    settle_s: float = 1.0
    """After a gap's end, until the first trades behind it are stored."""
    quiet_s: float = 60.0
    """Without a trade behind it for so long a hole is taken to reach to the present."""
    asks_per_s: float = 2.0
    asks_burst: float = 20.0
    """A venue counts these together with the book snapshots, which are more urgent."""
    backoff_max_s: float = 600.0
    candles_s: float = 86_400.0
    """A venue that gives no candles is asked for so long, and ten times at the least."""


class Admission(Protocol):
    """The venue's leave to ask, which its sessions need too."""

    async def ask(self) -> None:
        """Wait until it may be asked."""
        ...

    def refused(self, error: BaseException) -> float:
        """Heed what came instead of an answer; how many seconds everybody must wait now."""
        ...


class HealingObserver(Protocol):
    """Who is told: the log."""

    def healing_delayed(self, exchange: str, reason: str, delay_s: float) -> None:
        """The venue, the database or the journal can't now."""
        ...


class Ward(Struct, frozen=True):
    """One instrument whose holes are healed, and where its trades are to be had."""

    instrument: Instrument
    history: History
    endpoint: Endpoint
    stream: Stream


def pause_ns(attempts: int, patience: Patience) -> int:
    """After so many attempts that failed, until the next."""
    return int(min(patience.backoff_max_s, 2.0**attempts) * 1e9)


def in_brief(reasons: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(reasons) - _REASONS_MAX
    told = "; ".join(reasons[:_REASONS_MAX])
    return f"{told}; and {more} more" if more > 0 else told
