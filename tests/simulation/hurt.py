"""The daemon with something done to it that no signal from outside can time: run by tests in the daemon's place.

    python hurt.py [kill=MODULE:NAME:before|after:N] [clock=FILE] run config.yaml

`kill`: SIGKILL to itself at the Nth call of a function, before it has done anything or when it has returned.
`clock`: the machine's clock reads as many seconds ahead (or behind) as FILE says at that moment; the monotonic clock
goes on as it did, as when an operator or NTP sets the time. This stands in for libfaketime, which not every machine
has. The program itself has neither an option nor an environment variable for such things.
"""

import asyncio
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import reduce, wraps
from pathlib import Path
from typing import Any


def main() -> int:
    """Do what the first words say, then what the daemon's own command line says."""
    arguments = sys.argv[1:]
    while arguments and "=" in arguments[0]:
        kind, _, what = arguments.pop(0).partition("=")
        {"kill": _kill_at, "clock": _set_clock_by}[kind](what)
    sys.argv[1:] = arguments
    from traderd.cli import main as traderd

    return traderd()


def _set_clock_by(path: str) -> None:
    """Before anything of the daemon's is imported, so that everybody reads this clock."""
    true_ns, file = time.time_ns, Path(path)
    read_ns, ahead_ns = 0, 0

    def time_ns() -> int:
        nonlocal read_ns, ahead_ns
        now_ns = true_ns()
        if now_ns - read_ns > 10_000_000:  # a look at the file each 10 ms
            read_ns, ahead_ns = now_ns, int(float(file.read_text()) * 1e9)
        return now_ns + ahead_ns

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def _kill_at(point: str) -> None:
    module_name, name, when, number = point.split(":")
    *path, last = name.split(".")
    owner = reduce(getattr, path, importlib.import_module(module_name))
    setattr(owner, last, _deadly(getattr(owner, last), when == "before", int(number)))


def _deadly(function: Callable[..., Any], before: bool, number: int) -> Callable[..., Any]:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls >= number:
            os.kill(os.getpid(), signal.SIGKILL)

    if asyncio.iscoroutinefunction(function):

        @wraps(function)
        async def later(*args: Any, **kwargs: Any) -> Any:
            if before:
                count()
            result = await function(*args, **kwargs)
            if not before:
                count()
            return result

        return later

    @wraps(function)
    def now(*args: Any, **kwargs: Any) -> Any:
        if before:
            count()
        result = function(*args, **kwargs)
        if not before:
            count()
        return result

    return now


if __name__ == "__main__":
    sys.exit(main())
