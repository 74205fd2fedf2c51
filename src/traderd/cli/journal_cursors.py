"""What `traderd journal` asks of the database: how far it has each journal, where it can be asked at all."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from traderd.cli.operator import operated
from traderd.config import Config, state_path
from traderd.core.errors import TraderdError

if TYPE_CHECKING:
    from traderd.adapters.journal_survey import JournalSurvey

_ASK_S_MAX = 5.0


class Cursors(NamedTuple):
    """The database's answer."""

    positions: dict[str, int]
    """By journal id; what it doesn't know isn't there."""
    why_not: str
    """Why there is no answer; "" where there is."""


async def asked(config: Config, path: Path, journal_ids: Sequence[str]) -> Cursors:
    """A database that can't be reached is no fault here. An embedded one is asked only while its daemon runs."""
    import asyncpg  # noqa: PLC0415 - slow to load

    from traderd.adapters.http_api import announced  # noqa: PLC0415
    from traderd.adapters.journal_cursors import cursors  # noqa: PLC0415
    from traderd.adapters.postgres import connect  # noqa: PLC0415

    dsn = config.database_dsn
    if config.database == "embedded":
        daemon = announced(state_path(config, path))
        if daemon is None:
            return Cursors({}, "not asked: it is embedded, and its daemon doesn't run")
        dsn = daemon.database
    try:
        connection = await connect(dsn, name="traderd journal", timeout_s=_ASK_S_MAX)
    except TraderdError as error:
        return Cursors({}, f"can't be asked: {error}")
    try:
        known = await cursors(connection, journal_ids)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        return Cursors({}, f"can't be asked: {error}")
    finally:
        connection.terminate()
    return Cursors({journal: position for journal, (position, _) in known.items()}, "")


async def accepted(
    config_path: Path | None, surveys: "Mapping[str, JournalSurvey]", venues: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """What was accepted, by journal: how far the database was, and where it goes on. Gaps are of ticks alone."""
    from traderd.adapters.journal_cursors import accept, cursors  # noqa: PLC0415 - slow to load

    done = {}
    async with operated(config_path, "journal accept") as connection:
        known = await cursors(connection, [found.journal_id for found in surveys.values()])
        for name, found in surveys.items():
            oldest_ns = min((segment.from_ns for segment in found.segments if segment.from_ns), default=0)
            until = datetime.fromtimestamp(oldest_ns / 1e9, UTC) if oldest_ns else None
            concerned = venues if name == "ticks" else ()
            if await accept(connection, found.journal_id, found.begins_after, concerned, until):
                done[name] = (known.get(found.journal_id, (0, None))[0], found.begins_after)
    return done
