"""A connection for an operator's act: the schema is up to date, and the audit log's rows about the act name who did it.

Refuses a schema for which files wait.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traderd.cli.database import database_of
from traderd.cli.options import load
from traderd.core.errors import MigrationError

if TYPE_CHECKING:
    import asyncpg

_MAY_NOTE = """
    SELECT coalesce(has_table_privilege(to_regclass('audit_logs'), 'INSERT'), false)
           AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('audit_logs') AND NOT tgisinternal)"""


@asynccontextmanager
async def operated(
    config_path: Path | None, command: str, timeout_s: float = 30.0
) -> AsyncIterator["asyncpg.Connection"]:
    """With the rights of the configuration's database user. A `timeout_s` of 0 is none.

    Raises TraderdError, also in place of the database's own faults.
    """
    from traderd.adapters.audit import sign  # noqa: PLC0415 - slow to load
    from traderd.adapters.migrations import pending  # noqa: PLC0415
    from traderd.adapters.postgres import connect, translate  # noqa: PLC0415

    config, path = load(config_path)
    async with database_of(config, path) as dsn:
        connection = await connect(dsn, name=f"traderd {command}", timeout_s=timeout_s, instance=config.instance)
        try:
            _refuse(await pending(connection))
            if not timeout_s:  # what is printed may wait for a reader
                await connection.execute("SET idle_in_transaction_session_timeout = 0")
            await sign(connection, command)
            yield connection
        except Exception as error:
            translated = translate(error)
            if translated is None or translated is error or isinstance(error, BrokenPipeError):  # of stdout
                raise
            raise translated from error
        finally:
            connection.terminate()


async def note_act(dsn: str, command: str, action: str, resource_type: str, **told: Any) -> None:
    """Write an act that no trigger sees into the audit log.

    Not where there is no log (a schema from before it, or undone to its base), or for a login that may only read.
    """
    from traderd.adapters.audit import record, sign  # noqa: PLC0415
    from traderd.adapters.postgres import connect  # noqa: PLC0415

    connection = await connect(dsn, name=f"traderd {command}")
    try:
        if await connection.fetchval(_MAY_NOTE):
            await sign(connection, command)
            await record(connection, action, resource_type, new=told)
    finally:
        connection.terminate()


def _refuse(waiting: tuple[str, ...]) -> None:
    if waiting:
        raise MigrationError(f"the schema isn't up to date, {waiting[0]} waits: run traderd migrate")
