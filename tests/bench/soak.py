"""Whether the daemon stays as small as it was: memory, descriptors, threads and tasks over minutes or hours.

    python tests/bench/soak.py [--minutes 120] [--rate 10000] [--symbols 10] [--slope-max 1] [--memory]

A simulated exchange in a process of its own sends; the daemon (embedded servers, engine, one strategy a symbol) runs;
its figures are read every ten seconds and printed every minute. The first half is its warm-up: pools, caches and what
is remembered of orders fill. Judged is the second half; exit code 1 and the reason where it grew:

* memory: the least RSS of each minute (what is lent for a moment isn't growth), and of the slopes between any two of
  them the middle one, which minutes with a stalled disk don't move (Sen, Journal of the American Statistical
  Association 63, 1968). It fails when even the lower end of its 95 % interval is above --slope-max.
* descriptors, threads and tasks: their fewest in the last third of it may be at most `ALLOWED` above the first third's:
  a connection and a task that are made when first needed. What leaks goes past that sooner or later.

With --memory all that the daemon and its database write is kept in /dev/shm (two hours at 10,000 ticks/s: 16 GiB): a
shared machine's disk that takes no more for minutes is none of the daemon's, and what waits for it isn't growth.

A short run can't tell 1 MiB/h: the allocator's pages are as large as all that grows in minutes. Its --slope-max is
16 MiB/h, a leak of one byte a tick at 5,000 ticks/s.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from ingest import STRATEGY, status

from traderd.sim.prices import listings

MEMORY = Path("/dev/shm")
ALLOWED = 2
EVERY_S = 10.0
CONFIG = """
state_dir: {state}
http: {{port: 0}}
log: {{level: warning, format: json}}
venues:
  - name: binance
    endpoint: {websocket}
    symbols: [{symbols}]
strategies:
{strategies}
"""
SIM = """
import asyncio, sys
from traderd.config import Sim
from traderd.sim.server import serve_forever
settings = Sim(symbols=int(sys.argv[1]), ticks_per_second=float(sys.argv[2]))
asyncio.run(serve_forever(settings, lambda url: print(url, flush=True)))
"""


class Sample(NamedTuple):
    """The daemon at one moment."""

    at_s: float
    rss_mib: float
    descriptors: int
    threads: int
    tasks: int
    received: int


def main() -> None:
    """Run, watch, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--symbols", type=int, default=10)
    parser.add_argument("--slope-max", type=float, default=1.0, help="MiB an hour")
    parser.add_argument("--memory", action="store_true", help="the state folder in /dev/shm")
    options = parser.parse_args()
    sim = subprocess.Popen(
        [sys.executable, "-c", SIM, str(options.symbols), str(options.rate)], stdout=subprocess.PIPE, text=True
    )
    assert sim.stdout is not None
    names = [listing.symbol for listing in listings(options.symbols)]
    with tempfile.TemporaryDirectory(prefix="traderd-soak-", dir=MEMORY if options.memory else None) as folder:
        config = Path(folder) / "config.yaml"
        strategies = "".join(STRATEGY.format(n=n, symbol=name) for n, name in enumerate(names))
        config.write_text(
            CONFIG.format(
                state=Path(folder) / "state",
                websocket=sim.stdout.readline().strip(),
                symbols=", ".join(names),
                strategies=strategies,
            )
        )
        daemon = subprocess.Popen([sys.executable, "-m", "traderd", "run", str(config)])
        try:
            samples = watch(daemon, Path(folder), options.minutes * 60)
        finally:
            daemon.terminate()
            daemon.wait(30)
            sim.kill()
    print(json.dumps(figures(samples)))
    if faults := growth(samples, options.slope_max):
        sys.exit("\n".join(faults))


def watch(daemon: subprocess.Popen[bytes], folder: Path, seconds: float) -> list[Sample]:
    """What it was every ten seconds."""
    samples: list[Sample] = []
    started = time.monotonic()
    while (now := time.monotonic() - started) < seconds:
        time.sleep(EVERY_S)
        assert daemon.poll() is None, "the daemon died"
        samples.append(sample(daemon.pid, folder, now + EVERY_S))
        if len(samples) % 6 == 1:
            print(", ".join(f"{name} {value:,.6g}" for name, value in samples[-1]._asdict().items()), flush=True)
    return samples


def sample(pid: int, folder: Path, now: float) -> Sample:
    """Itself and what the kernel says of it."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    address = json.loads((folder / "state" / "daemon.json").read_text())["http"]
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        tasks = next(line for line in answer.read().decode().splitlines() if line.startswith("traderd_tasks "))
    return Sample(
        at_s=now,
        rss_mib=int(told["VmRSS"].split()[0]) / 1024,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(told["Threads"]),
        tasks=int(float(tasks.split()[1])),
        received=status(folder)["ticks"]["received"],
    )


def figures(samples: Sequence[Sample]) -> dict[str, float]:
    """The highest of all, and the slope of the second half."""
    judged = second_half(samples)
    slope, least = slope_of(judged)
    return {
        "ticks_per_s": round((judged[-1].received - judged[0].received) / (judged[-1].at_s - judged[0].at_s)),
        "rss_max_mib": round(max(each.rss_mib for each in samples), 1),
        "rss_slope_mib_per_hour": round(slope, 2),
        "rss_slope_at_least": round(least, 2),
    } | {f"{name}_max": max(getattr(each, name) for each in samples) for name in ("descriptors", "threads", "tasks")}


def growth(samples: Sequence[Sample], slope_max: float) -> list[str]:
    """What grew, a sentence each; nothing where all stayed."""
    judged = second_half(samples)
    slope, least = slope_of(judged)
    faults = []
    if least > slope_max:
        faults.append(f"memory grows by {slope:.1f} MiB an hour, at least {least:.1f}; {slope_max:g} are allowed")
    third = len(judged) // 3
    for name in ("descriptors", "threads", "tasks"):
        first, last = (min(getattr(each, name) for each in part) for part in (judged[:third], judged[-third:]))
        if last > first + ALLOWED:
            faults.append(f"{name} grow: {first} at first, {last} at last")
    return faults


def second_half(samples: Sequence[Sample]) -> Sequence[Sample]:
    """What comes after the warm-up."""
    return samples[len(samples) // 2 :]


def slope_of(samples: Sequence[Sample]) -> tuple[float, float]:
    """MiB an hour, and how much at least, with 95 %: Sen's slope through the least of each minute."""
    minutes: dict[int, Sample] = {}
    for each in samples:
        minute = int(each.at_s // 60)
        minutes[minute] = min(minutes.get(minute, each), each, key=lambda one: one.rss_mib)
    pairs = combinations(minutes.values(), 2)
    slopes = sorted((late.rss_mib - soon.rss_mib) / (late.at_s - soon.at_s) * 3600 for soon, late in pairs)
    count = len(minutes)
    reach = 1.96 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)  # of Kendall's S, of which this is the inverse
    return statistics.median(slopes), slopes[max(0, int((len(slopes) - reach) / 2))]


if __name__ == "__main__":
    main()
