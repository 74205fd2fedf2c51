"""Which backups may go: the newest of each day, week and month stays, and whatever isn't ours is left alone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.adapters.rotation import Keep, expired, stamp, taken_at

KEEP = Keep(daily=30, weekly=12, monthly=12)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2026, 1, 1)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC))
BACKUPS = st.lists(TIMES, min_size=1, max_size=200)
KEEPS = st.builds(Keep, st.integers(1, 40), st.integers(0, 20), st.integers(0, 20))


@given(BACKUPS, KEEPS)
def test_the_newest_backup_and_all_that_is_younger_stay(taken: list[datetime], keep: Keep) -> None:
    """Whichever of them is called the newest: a clock that was ahead once doesn't cost a backup."""
    newest = taken[0]
    gone = expired(taken, newest, keep)
    assert gone <= set(taken)
    assert all(at < newest for at in gone)


@given(BACKUPS, KEEPS)
def test_of_each_of_the_last_periods_the_newest_stays(taken: list[datetime], keep: Keep) -> None:
    """And nothing else: each survivor is the newest of one of the last days, weeks or months that have a backup."""
    newest = max(taken)
    kept = set(taken) - expired(taken, newest, keep)
    wanted: set[datetime] = {newest}
    for count, name in ((keep.daily, "%Y-%j"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m")):
        periods = sorted({at.strftime(name) for at in taken}, reverse=True)[:count]
        wanted |= {max(at for at in taken if at.strftime(name) == period) for period in periods}
    assert kept == wanted


@given(BACKUPS, KEEPS)
def test_a_second_rotation_deletes_nothing_more(taken: list[datetime], keep: Keep) -> None:
    """What it leaves is what it would leave again."""
    newest = max(taken)
    kept = set(taken) - expired(taken, newest, keep)
    assert expired(kept, newest, keep) == set()


def test_two_years_of_nights_leave_thirty_days_twelve_weeks_and_twelve_months() -> None:
    """Rotated every night, as the timer does: the oldest that is left is nearly a year old."""
    folder: set[datetime] = set()
    for night in range(730):
        at = datetime(2023, 1, 1, 2, tzinfo=UTC) + timedelta(days=night)
        folder.add(at)
        folder -= expired(folder, at, KEEP)
    ages = sorted((at - night).days for night in folder)
    assert ages[:30] == list(range(30))
    assert 42 <= len(folder) <= 54
    assert 300 < ages[-1] < 366


@given(TIMES, st.sampled_from(["", ".age", ".gpg"]))
def test_a_name_tells_when_it_was_taken(at: datetime, suffix: str) -> None:
    """To the second, in UTC."""
    assert taken_at(f"traderd-{stamp(at)}.dump{suffix}") == at


@pytest.mark.parametrize(
    "name",
    [
        "traderd-20250101T020000Z.json",
        ".traderd-20250101T020000Z.dump.part",
        "traderd-20250101T020000Z.dump.bak",
        "traderd-20251301T020000Z.dump",
        "my-traderd-20250101T020000Z.dump",
        "traderd-20250101T020000Z.dump\n",
        "notes.txt",
    ],
)
def test_what_is_no_backup_of_ours_has_no_time(name: str) -> None:
    """So that it is never deleted."""
    assert taken_at(name) is None
