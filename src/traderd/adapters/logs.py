"""Log lines: one JSON object each, or readable on a terminal; what the libraries log goes the same way.

Every line has `time` (UTC, ISO 8601), `level` and `event`, then its fields. Passwords never get into one: fields that
are named like secrets are hidden, and so are passwords in any text. Refuses to stop the daemon: a line that can't be
written is dropped and counted.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from traderd.config.addresses import HIDDEN, redacted

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]
_is_secret = lru_cache(1_024)(re.compile(r"passw|secret|key|token", re.IGNORECASE).search)
"""Fields have few names."""
_FIRST = ("time", "level", "event")
_RATES_MAX = 1_000


def configure_logs(level: Level, format: Format, stream: TextIO | None = None) -> "Sink":
    """From now on every logger, ours and the standard library's, writes to `stream` (default: stdout)."""
    sink = Sink(stream or sys.stdout)
    console = format == "console" or (format == "auto" and sink.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        redact,
        structlog.dev.ConsoleRenderer(timestamp_key="time", colors=sink.isatty()) if console else _json,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    # What libraries tell below a warning is about themselves, not about the market.
    root.setLevel(max(threshold, logging.WARNING) if level != "debug" else logging.INFO)
    logging.captureWarnings(True)
    return sink


def logger(name: str = "traderd", **fields: Any) -> FilteringBoundLogger:
    """A logger whose every line carries these fields, and `source=name` where that isn't traderd's own."""
    if name != "traderd":
        fields["source"] = name
    bound: FilteringBoundLogger = structlog.get_logger(**fields)
    return bound


class RateLimited:
    """A logger for what may come a thousand times a second: at most `lines_max` lines in each interval for each `rate`.

    What was held back is told as `suppressed` on the next line of the same rate, or by `flush`. The number of rates is
    bounded; the one that was silent longest is forgotten first.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        lines_max: int,
        interval_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._lines_max = lines_max
        self._interval_s = interval_s
        self._monotonic_s = monotonic_s
        self._windows: dict[str, _Window] = {}

    def warning(self, event: str, rate: str, **fields: Any) -> None:
        """A warning, if its rate allows it. `rate` names what is limited together: `bad_frame:binance`."""
        self._emit("warning", event, rate, fields)

    def error(self, event: str, rate: str, **fields: Any) -> None:
        """An error, if its rate allows it."""
        self._emit("error", event, rate, fields)

    def flush(self) -> None:
        """Tell what was held back and is due, also where no further line came."""
        now = self._monotonic_s()
        for rate, window in self._windows.items():
            if window.suppressed and now - window.began >= self._interval_s:
                self._log.warning("lines suppressed", rate=rate, suppressed=window.suppressed)
                window.restart(now)

    def _emit(self, level: str, event: str, rate: str, fields: dict[str, Any]) -> None:
        now = self._monotonic_s()
        window = self._windows.pop(rate, None) or _Window(now)
        self._windows[rate] = window  # newest last
        if len(self._windows) > _RATES_MAX:
            del self._windows[next(iter(self._windows))]
        if now - window.began >= self._interval_s:
            if window.suppressed:
                fields["suppressed"] = window.suppressed
            window.restart(now)
        if window.lines >= self._lines_max:
            window.suppressed += 1
            return
        window.lines += 1
        getattr(self._log, level)(event, **fields)


class Sink:
    """Where lines end. structlog calls it by the level's name; all levels are one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.dropped = 0
        """Lines that couldn't be written: a full disk, a closed pipe."""

    def isatty(self) -> bool:
        """Whether a person is looking."""
        return self._stream.isatty()

    def msg(self, line: str) -> None:
        """Write one line."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.dropped += 1

    debug = info = warning = error = critical = msg


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: no line leaves with a secret in it."""
    return {name: _without_secrets(name, value) for name, value in event.items()}


class _Window:
    """One rate's interval."""

    __slots__ = ("began", "lines", "suppressed")

    def __init__(self, now: float) -> None:
        self.restart(now)

    def restart(self, now: float) -> None:
        self.began, self.lines, self.suppressed = now, 0, 0


class _Forward(logging.Handler):
    """The standard library's records, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:
            text = f"{record.msg!r} (its arguments don't fit)"
        logger(record.name).log(record.levelno, text, exc_info=record.exc_info or None)


def _without_secrets(name: str, value: Any) -> Any:
    if _is_secret(name) and value not in (None, ""):
        return HIDDEN
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {str(key): _without_secrets(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets("", inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redacted(str(value))


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    ordered = {name: event.pop(name) for name in _FIRST if name in event} | dict(event)
    try:
        return orjson.dumps(ordered).decode()
    except TypeError:  # an integer past 64 bits, a lone surrogate
        return orjson.dumps({name: ascii(value) for name, value in ordered.items()}).decode()
