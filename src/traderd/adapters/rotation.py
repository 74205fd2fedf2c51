"""Which of the dated backups in a folder may go. Pure: it deletes nothing, and has no clock.

Refuses to name what isn't a backup of ours, the newest backup, and whatever is dated after it (a clock was wrong then,
and which one isn't for us to say).
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"traderd-([0-9]{8}T[0-9]{6}Z)\.dump(?:\.age|\.gpg)?")


class Keep(Struct, frozen=True):
    """Of how many days, ISO weeks and months the newest backup stays. A period without a backup doesn't count."""

    daily: int
    weekly: int
    monthly: int


def stamp(at: datetime) -> str:
    """20250131T020000Z: names sort as their times do."""
    return at.astimezone(UTC).strftime(_STAMP)


def taken_at(name: str) -> datetime | None:
    """When the backup of this file name was taken; None when it isn't the name of one."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def expired(taken: Iterable[datetime], newest: datetime, keep: Keep) -> set[datetime]:
    """The backups that may go, given that the one of `newest` is complete. Times in UTC."""
    older = sorted({at for at in taken if at <= newest}, reverse=True)
    kept = {newest}
    for count, period in zip((keep.daily, keep.weekly, keep.monthly), (_day, _week, _month), strict=True):
        kept.update(_newest_of_each(older, period)[:count])
    return set(older) - kept


def _newest_of_each(newest_first: Iterable[datetime], period: Callable[[datetime], tuple[int, int]]) -> list[datetime]:
    newest: dict[tuple[int, int], datetime] = {}
    for at in newest_first:
        newest.setdefault(period(at), at)
    return list(newest.values())


def _day(at: datetime) -> tuple[int, int]:
    return at.year, at.timetuple().tm_yday


def _week(at: datetime) -> tuple[int, int]:
    year, week, _ = at.isocalendar()
    return year, week


def _month(at: datetime) -> tuple[int, int]:
    return at.year, at.month
