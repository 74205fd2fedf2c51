"""Whether the daemon's memory stays where it is.

    python tests/bench/soak.py [--minutes 10] [--rate 5000] [--symbols 10]

A simulated exchange in a process of its own sends; the daemon (embedded servers, engine, one strategy a symbol) runs;
every ten seconds its memory, descriptors and figures are printed. At the end: the highest RSS, and the slope over the
second half by least squares, in MiB an hour.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ingest import STRATEGY, status

from traderd.sim.prices import listings

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


def main() -> None:
    """Run, watch, judge nothing: print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=5_000)
    parser.add_argument("--symbols", type=int, default=10)
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
    print(json.dumps(verdict(samples)))


def watch(daemon: subprocess.Popen[bytes], folder: Path, seconds: float) -> list[tuple[float, float, int]]:
    """(seconds, RSS in MiB, descriptors), every ten seconds."""
    samples: list[tuple[float, float, int]] = []
    started = time.monotonic()
    while (now := time.monotonic() - started) < seconds:
        time.sleep(10)
        assert daemon.poll() is None, "the daemon died"
        rss = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
        descriptors = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
        ticks = status(folder)["ticks"]
        samples.append((now, rss, descriptors))
        print(f"{now:7.0f} s  {rss:6.1f} MiB  {descriptors} descriptors  {ticks['received']:,} received", flush=True)
    return samples


def verdict(samples: list[tuple[float, float, int]]) -> dict[str, float]:
    """The highest figures, and the slope of the second half."""
    half = samples[len(samples) // 2 :]
    slope = statistics.linear_regression([t for t, _, _ in half], [rss for _, rss, _ in half]).slope
    return {
        "rss_max_mib": round(max(rss for _, rss, _ in samples), 1),
        "rss_slope_mib_per_hour": round(slope * 3600, 2),
        "descriptors_max": max(count for _, _, count in samples),
    }


if __name__ == "__main__":
    main()
