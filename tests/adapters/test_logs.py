"""Log lines: their shape, their silence about secrets, and their rate."""

import io
import logging
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from traderd.adapters.logs import RateLimited, Sink, configure_logs, logger, redact


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the process' logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_event_first() -> None:
    """In UTC and ISO 8601, then the fields in the order in which they were given."""
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    logger().info("connected", venue="binance", streams=30)
    (line,) = _lines(stream)
    assert list(line) == ["time", "level", "event", "venue", "streams"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    assert (line["level"], line["event"], line["streams"]) == ("info", "connected", 30)


def test_lines_below_the_level_are_not_written() -> None:
    """`level: warning` keeps information out."""
    stream = io.StringIO()
    configure_logs("warning", "json", stream)
    logger().info("quiet")
    logger().warning("loud")
    assert [line["event"] for line in _lines(stream)] == ["loud"]


def test_on_a_console_lines_are_for_people() -> None:
    """Not JSON, and without colours where no terminal is."""
    stream = io.StringIO()
    configure_logs("info", "console", stream)
    logger().info("connected", venue="binance")
    assert "connected" in stream.getvalue()
    assert "venue=binance" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_what_libraries_log_becomes_a_line_of_ours() -> None:
    """With the library's name, its exception, and its secrets hidden."""
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    try:
        int("postgresql://me:hunter2@db/x")
    except ValueError:
        logging.getLogger("some.library").exception("can't reach %s", "redis://:hunter2@cache")
    (line,) = _lines(stream)
    assert (line["source"], line["level"]) == ("some.library", "error")
    assert line["event"] == "can't reach redis://:***@cache"
    assert "ValueError" in line["exception"]
    assert "hunter2" not in stream.getvalue()


def test_a_librarys_broken_line_is_told_as_far_as_it_goes() -> None:
    """Arguments that don't fit their text are left out; they may be anything."""
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    logging.getLogger("some.library").warning("%d ticks", "hunter2")
    assert _lines(stream)[0]["event"] == "'%d ticks' (its arguments don't fit)"


def test_no_secret_gets_into_a_line() -> None:
    """By the field's name, in a URL, in a pair, and inside what is nested."""
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    logger().info(
        "connecting to postgresql://me:hunter2@db:5432/x",
        api_key="hunter2",
        Secret_Thing="hunter2",
        settings={"password": "hunter2", "urls": ["redis://u:hunter2@h/0", "host=db password=hunter2 user=me"]},
        fault=ConnectionError("rediss://default:hunter2/@:x@cache:6380 refused"),
    )
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("***") == 7


@given(
    st.text(
        alphabet=st.characters(blacklist_categories=["Z", "C"], blacklist_characters="'\""), min_size=8, max_size=20
    )
)
def test_whatever_a_password_looks_like_its_url_hides_it(password: str) -> None:
    """Also with `@`, `:` and `/` in it, as people write them without escaping."""
    shown = redact(None, "", {"event": f"dsn postgresql://me:{password}@db/x"})
    assert shown["event"] == "dsn postgresql://me:***@db/x"


def test_a_value_that_json_does_not_know_is_still_a_line() -> None:
    """An integer past 64 bits or half a character is no reason to lose the line."""
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    logger().info("odd", number=2**80, text="\ud800")
    assert _lines(stream)[0]["number"] == str(2**80)


def test_a_stream_that_is_gone_stops_nothing() -> None:
    """The line is dropped and counted."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    sink = configure_logs("info", "json", Full())
    logger().info("lost")
    assert sink.dropped == 1
    closed = io.StringIO()
    closed.close()
    gone = Sink(closed)
    gone.msg("lost")
    assert gone.dropped == 1


def test_a_flood_is_told_a_few_times_and_then_counted() -> None:
    """At most N lines of a rate in an interval; the next line says how many were held back."""
    stream, now = io.StringIO(), [0.0]
    configure_logs("info", "json", stream)
    limited = RateLimited(logger(), lines_max=2, interval_s=10.0, monotonic_s=lambda: now[0])
    for _ in range(1_000):
        limited.warning("bad frame", "binance", reason="malformed")
    limited.error("bad frame", "kraken")
    assert [line["level"] for line in _lines(stream)] == ["warning", "warning", "error"]
    now[0] = 10.0
    limited.warning("bad frame", "binance", reason="malformed")
    assert _lines(stream)[-1]["suppressed"] == 998
    assert _lines(stream)[-1]["reason"] == "malformed"


def test_what_was_held_back_is_told_even_if_nothing_follows() -> None:
    """By `flush`, once the interval is over, and only once."""
    stream, now = io.StringIO(), [0.0]
    configure_logs("info", "json", stream)
    limited = RateLimited(logger(), lines_max=1, interval_s=10.0, monotonic_s=lambda: now[0])
    for _ in range(5):
        limited.warning("bad frame", "binance")
    limited.flush()
    assert len(_lines(stream)) == 1
    now[0] = 11.0
    limited.flush()
    limited.flush()
    assert [line.get("suppressed") for line in _lines(stream)] == [None, 4]


def test_the_number_of_rates_is_bounded() -> None:
    """A rate name that should have been a small set can't fill the memory."""
    configure_logs("error", "json", io.StringIO())
    limited = RateLimited(logger(), lines_max=1, interval_s=10.0)
    for number in range(5_000):
        limited.warning("x", str(number))
    assert len(limited._windows) == 1_000
