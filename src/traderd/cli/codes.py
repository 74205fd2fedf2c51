"""What the end of a command means: exit codes, and the lines in which a fault is told.

A fault that has a name is one line and a code; anything else is our own mistake, and keeps its traceback.
"""

from collections.abc import Iterator
from enum import IntEnum

from traderd.core.errors import ConfigError, MigrationError, StoreUnavailableError, TraderdError


class ExitCode(IntEnum):
    """What the command's end means; `traderd --help` tells it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    REFUSED = 4
    PROBLEMS = 5
    INTERRUPTED = 130


MEANING = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed, or something unexpected: see the line on stderr",
    ExitCode.USAGE: "wrong arguments, or a configuration that can't be used; nothing was started",
    ExitCode.UNAVAILABLE: "a service that is needed isn't there: the database, or for status the daemon",
    ExitCode.REFUSED: "refused: the schema is newer or was changed, or the state folder is in use",
    ExitCode.PROBLEMS: "doctor, check, audit verify or journal verify found problems",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


def exit_code(fault: TraderdError) -> ExitCode:
    """What a fault means to whoever waits for the command."""
    from traderd.adapters.server_process import EmbeddedServerError, StateInUseError  # noqa: PLC0415 - slow to load

    meanings: list[tuple[type[TraderdError], ExitCode]] = [
        (ConfigError, ExitCode.USAGE),
        (StateInUseError, ExitCode.REFUSED),
        (MigrationError, ExitCode.REFUSED),
        (StoreUnavailableError, ExitCode.UNAVAILABLE),
        (EmbeddedServerError, ExitCode.UNAVAILABLE),
    ]
    return next((code for kind, code in meanings if isinstance(fault, kind)), ExitCode.FAILED)


def leaves(fault: BaseException) -> Iterator[BaseException]:
    """The faults in a group, however deep; a single fault is its own."""
    if isinstance(fault, BaseExceptionGroup):
        for inner in fault.exceptions:
            yield from leaves(inner)
    else:
        yield fault


def lines(fault: TraderdError) -> list[str]:
    """A fault as lines for stderr: one, but for a configuration, which tells every mistake."""
    return fault.lines if isinstance(fault, ConfigError) else ["traderd: " + " ".join(str(fault).split())]
