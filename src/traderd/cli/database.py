"""The database that a configuration names, for as long as a command needs it.

An embedded one is started and stopped again, or, beside a running daemon, is the daemon's own. Refuses a state folder
that another command, or a daemon which is only starting or stopping, holds.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from traderd.config import Config, state_path


@asynccontextmanager
async def database_of(config: Config, path: Path, *, alone: bool = False) -> AsyncIterator[str]:
    """The DSN. With `alone`, an embedded database isn't shared with a running daemon.

    `path` is the configuration's. Raises StateInUseError and EmbeddedServerError.
    """
    if config.database != "embedded":
        yield config.database_dsn
        return
    from traderd.adapters.embedded import EmbeddedPostgres, StateLock  # noqa: PLC0415 - slow to load
    from traderd.adapters.http_api import announced  # noqa: PLC0415
    from traderd.adapters.server_process import StateInUseError  # noqa: PLC0415

    state_dir = state_path(config, path)
    lock = StateLock(state_dir)
    try:
        lock.acquire()
    except StateInUseError:
        daemon = announced(state_dir)
        if alone or daemon is None:
            raise
        yield daemon.database  # trusts whoever may enter the folder of its socket: there is no password to be left out
        return
    postgres = EmbeddedPostgres(state_dir)
    try:
        yield await postgres.start()
    finally:
        await postgres.stop()
        lock.release()
