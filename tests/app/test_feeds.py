"""From when on something may be missing after an earlier run."""

import pytest

from made_up import MS, SECOND
from traderd.app.feeds import away_since_ns

NOW = 1_800_000_000 * SECOND


@pytest.mark.parametrize(
    ("channel", "since_ns"),
    [
        ("quote", NOW),
        ("trade", NOW - 40 * MS),  # killed between the two: the trades that gathered beside the quotes are lost
        ("book", NOW),  # isn't journalled as ticks are
    ],
)
def test_a_channels_hole_begins_at_its_own_newest_row(channel: str, since_ns: int) -> None:
    """What gathers together is journalled channel by channel."""
    newest = {"tick_data:binance:quote": NOW, "public_trades:binance:trade": NOW - 40 * MS}
    assert away_since_ns(newest, "binance", channel) == since_ns


def test_a_channel_that_was_silent_is_no_hole_of_minutes() -> None:
    """It would have been journalled within a second."""
    newest = {"tick_data:binance:quote": NOW, "public_trades:binance:trade": NOW - 600 * SECOND}
    assert away_since_ns(newest, "binance", "trade") == NOW - SECOND
