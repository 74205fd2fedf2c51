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


class MigrationError(TraderdError):
    """The schema can't be brought up to date; nothing was half applied."""
