"""The soak's judgement: what leaks fails it, what only breathes doesn't."""

import random

import pytest
from soak import EVERY_S, Sample, figures, growth

MINUTES = 10


def run(rss_per_hour: float = 0.0, noise_mib: float = 0.3, minutes: int = MINUTES, **leaks: float) -> list[Sample]:
    """So many minutes of samples; a leak is so many an hour."""
    draw = random.Random(1)
    samples = []
    for n in range(int(minutes * 60 / EVERY_S)):
        hours = (n + 1) * EVERY_S / 3600
        warming = 20 * min(1.0, hours * 60 / 4)
        counts = {"descriptors": 27, "threads": 8, "tasks": 19}
        counts = {name: int(count + leaks.get(name, 0) * hours + draw.randrange(3)) for name, count in counts.items()}
        rss = 80 + warming + rss_per_hour * hours + draw.random() * noise_mib
        samples.append(Sample(at_s=hours * 3600, rss_mib=rss, received=int(hours * 18e6), **counts))
    return samples


def test_a_daemon_that_stays_as_it_is_passes() -> None:
    """Warm-up, noise and what comes and goes within a minute are no growth."""
    assert growth(run(), 1.0) == []
    assert growth(run(noise_mib=5.0), 16.0) == []
    assert figures(run())["ticks_per_s"] == 5_000


@pytest.mark.parametrize(
    ("leaks", "told"),
    [
        ({"rss_per_hour": 30}, "memory grows by "),
        ({"descriptors": 120}, "descriptors grow"),
        ({"threads": 120}, "threads grow"),
        ({"tasks": 120}, "tasks grow"),
    ],
)
def test_what_grows_fails_it_by_name(leaks: dict[str, float], told: str) -> None:
    """Two bytes a tick, or one descriptor, thread or task every half minute, within ten minutes."""
    (fault,) = growth(run(**leaks), 16.0)
    assert fault.startswith(told)


def test_minutes_with_a_stalled_disk_are_no_growth_and_a_slow_leak_is() -> None:
    """In two hours: ten minutes in which ten MiB waited for the disk, or as little as 2 MiB an hour all along."""
    stalled = [
        each._replace(rss_mib=each.rss_mib + 10) if 80 <= each.at_s / 60 < 90 else each for each in run(minutes=120)
    ]
    assert growth(stalled, 1.0) == []
    (fault,) = growth(run(rss_per_hour=2, minutes=120), 1.0)
    assert fault.startswith("memory grows by 2.0 MiB")
