"""The daemon, and where its CPU time goes:  python tests/bench/sampled.py FILE run config.yaml

A signal after each millisecond of the process' CPU time tells in which step the event loop's thread is: the innermost
of our own frames says it, so that what a library does for a step is that step's. Without a frame of ours below the
daemon's own the loop is at its sockets: reading, writing, asyncpg's protocol, waking up. Modules that are being loaded
count as the start. FILE (.json) gets samples by step at the end. Such a run is a few percent slower; shares are what it
is for. Needs nothing but the interpreter.
"""

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import traderd
from traderd.cli import main

EVERY_S = 0.001
STEPS = {
    "adapters/websocket": "websocket",
    "runtime/connection": "decode",
    "venues/": "decode",
    "runtime/session": "fan-out",
    "runtime/pipeline": "fan-out",
    "runtime/streams": "fan-out",
    "core/": "engine",
    "strategies/": "engine",
    "adapters/copy_": "encode",
    "adapters/tick_rows": "encode",
    "adapters/journal": "journal",
    "app/journals": "journal",
    "runtime/drain": "COPY and await",
    "adapters/tick_store": "COPY and await",
    "adapters/postgres": "COPY and await",
    "adapters/redis": "Redis",
    "adapters/fact": "facts",
    "runtime/facts": "facts",
    "adapters/telemetry": "metrics",
    "adapters/metrics": "metrics",
}
"""By how a module's path begins; the longest that fits. All else of ours is `the rest`."""
SOCKETS = "event loop and sockets"
_HOME = str(Path(traderd.__file__).parent) + "/"
_OUTERMOST = ("app/daemon", "app/__init__", "cli/", "__main__")
_steps: dict[str, str] = {}
samples: Counter[str] = Counter()


def step_of(file: str) -> str:
    """The step that this file of ours is part of; "" for the frames that all stacks have, and for others' files."""
    if file not in _steps:
        name = file.removeprefix(_HOME) if file.startswith(_HOME) else ""
        fitting = [begin for begin in STEPS if name.startswith(begin)]
        outermost = not name or name.startswith(_OUTERMOST)
        _steps[file] = STEPS[max(fitting, key=len)] if fitting else "" if outermost else "the rest"
    return _steps[file]


def note(number: int, frame: FrameType | None) -> None:
    """One sample."""
    while frame is not None:
        if step := step_of(frame.f_code.co_filename):
            samples["start" if frame.f_code.co_name == "<module>" else step] += 1
            return
        frame = frame.f_back
    samples[SOCKETS] += 1


if __name__ == "__main__":
    target = Path(sys.argv[1])
    signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    sys.argv = ["traderd", *sys.argv[2:]]
    try:
        main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        target.write_text(json.dumps(samples.most_common()))
