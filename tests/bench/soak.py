"""Whether the daemon stays as small as it was: memory, descriptors, threads and tasks over minutes or hours.

    python tests/bench/soak.py [--minutes 120] [--rate 10000] [--symbols 10] [--slope-max 1]

A simulated exchange in a process of its own sends; the daemon (embedded servers, engine, one strategy a symbol) runs;
its figures are read every ten seconds and printed every minute. The first half is its warm-up: pools, caches and what
is remembered of orders fill. Judged is the second half; exit code 1 and the reason where it grew:

* memory: the least RSS of each minute (what is lent for a moment isn't growth), a straight line through them, and its
  standard error. It fails when even the slope less two standard errors is above --slope-max.
* descriptors, threads and tasks: their fewest in the last third of it may be at most `ALLOWED` above the first third's:
  a connection and a task that are made when first needed. What leaks goes past that sooner or later.

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
from pathlib import Path
from typing import NamedTuple

from ingest import STRATEGY, status

from traderd.sim.prices import listings

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
    options = parser.parse_args()
    sim = subprocess.Popen(
        [sys.executable, "-c", SIM, str(options.symbols), str(options.rate)], stdout=subprocess.PIPE, text=True
    )
    assert sim.stdout is not None
    names = [listing.symbol for listing in listings(options.symbols)]
    with tempfile.TemporaryDirectory(prefix="traderd-soak-") as folder:
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
    slope, error = slope_of(judged)
    return {
        "ticks_per_s": round((judged[-1].received - judged[0].received) / (judged[-1].at_s - judged[0].at_s)),
        "rss_max_mib": round(max(each.rss_mib for each in samples), 1),
        "rss_slope_mib_per_hour": round(slope, 2),
        "rss_slope_standard_error": round(error, 2),
    } | {f"{name}_max": max(getattr(each, name) for each in samples) for name in ("descriptors", "threads", "tasks")}


def growth(samples: Sequence[Sample], slope_max: float) -> list[str]:
    """What grew, a sentence each; nothing where all stayed."""
    judged = second_half(samples)
    slope, error = slope_of(judged)
    faults = []
    if slope - 2 * error > slope_max:
        faults.append(f"memory grows by {slope:.1f} ± {2 * error:.1f} MiB an hour; {slope_max:g} are allowed")
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
    """MiB an hour and its standard error, by least squares through the least of each minute."""
    minutes: dict[int, Sample] = {}
    for each in samples:
        minute = int(each.at_s // 60)
        minutes[minute] = min(minutes.get(minute, each), each, key=lambda one: one.rss_mib)
    hours = [each.at_s / 3600 for each in minutes.values()]
    sizes = [each.rss_mib for each in minutes.values()]
    line = statistics.linear_regression(hours, sizes)
    left = sum((size - line.slope * hour - line.intercept) ** 2 for hour, size in zip(hours, sizes, strict=True))
    middle = statistics.fmean(hours)
    spread = sum((hour - middle) ** 2 for hour in hours)
    return line.slope, math.sqrt(left / max(1, len(hours) - 2) / spread)


if __name__ == "__main__":
    main()
