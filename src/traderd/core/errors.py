"""Faults that have a name.

An expected outcome is a value (`Refused`), never one of these. Our own mistakes are not here either: they crash the
process.
"""


class TraderdError(Exception):
    """Base of the faults that are told to the operator in one line, without a traceback."""


class ConfigError(TraderdError):
    """The configuration can't be used. `lines` holds one sentence for each mistake, with the key's path."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class BadFrameError(TraderdError):
    """A venue sent bytes that are not what its protocol says.

    `reason` is short and from a small set, since it labels a counter: malformed, unknown_symbol, unknown_channel,
    bad_number, bad_side, bad_time, refused (a REST answer that says no).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StoreUnavailableError(TraderdError):
    """The database can't be reached, or a statement's outcome isn't known: read the cursor before going on."""


class StoreRefusedError(TraderdError):
    """The database understood the rows and refused them: repeating the same rows will not help."""


class JournalError(TraderdError):
    """The journal can't be written or read: what it was asked to keep is not kept."""


class ForeignJournalError(JournalError):
    """Journal and database don't belong together: one was restored, copied or exchanged. Nothing was dropped."""


class MigrationError(TraderdError):
    """The schema can't be brought up to date; nothing was half applied."""


class VenueRefusalError(ConnectionError):
    """A venue answered, and won't have us now: HTTP 403, 418 or 429. It is meant for all our connections to it."""

    def __init__(self, told: str, status: int, retry_after_s: float = 0.0) -> None:
        """`retry_after_s` is what the venue asks for, 0 where it doesn't say."""
        super().__init__(told)
        self.status = status
        self.retry_after_s = retry_after_s


REFUSALS = frozenset({403, 418, 429})
"""The HTTP answers that mean it."""


_BAN_S_MAX = 3 * 86_400.0
"""Binance bans for three days at the most."""


def retry_after_s(told: str | None) -> float:
    """Seconds of a `Retry-After`; 0 for none, and for a date, which no exchange sends."""
    return min(float(told), _BAN_S_MAX) if told and told.strip().isdecimal() else 0.0
