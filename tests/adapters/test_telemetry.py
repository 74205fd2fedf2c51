"""What the conductors tell becomes figures: this run's rows apart from earlier ones, ticks apart from facts."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from made_up import START
from traderd.adapters.logs import logger
from traderd.adapters.metrics import Metrics
from traderd.adapters.telemetry import Telemetry
from traderd.core.facts import Alert, Gap
from traderd.runtime.ports import JournalRecord

LABELS = ["tick_data:binance:quote", "public_trades:binance:trade", "quarantine:kraken:", "facts"]


def telemetry(start_position: int = 0) -> Telemetry:
    return Telemetry(Metrics(), logger("test"), start_position)


def record(position: int, label: str, rows: int) -> JournalRecord:
    return JournalRecord(position, label, rows, 0, 0, b"")


@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(LABELS), st.integers(0, 50)), min_size=1, max_size=5), max_size=8
    ),
    start=st.integers(0, 20),
)
def test_rows_are_counted_once_as_this_runs_or_as_recovered(
    batches: Sequence[Sequence[tuple[str, int]]], start: int
) -> None:
    """By table, venue and channel; what lies before the start is an earlier run's; facts are no ticks."""
    heard = telemetry(start)
    position, ours, earlier = 0, Counter[tuple[str, ...]](), 0
    for batch in batches:
        records = []
        for label, rows in batch:
            position += 1
            records.append(record(position, label, rows))
            if label != "facts" and position > start:
                ours[tuple(label.split(":"))] += rows
            elif label != "facts":
                earlier += rows
        heard.stored(records, 0.001, 0)
    assert heard.stored_rows == ours
    assert heard.recovered_rows == earlier


def test_refused_ticks_are_counted_and_refused_facts_are_not_ticks() -> None:
    """Both are told; only the former leave `stored` for `quarantined`. What an earlier run left is that run's."""
    heard = telemetry(start_position=10)
    with capture_logs() as lines:
        heard.stored([record(11, LABELS[0], 20)], 0.1, 3)
        heard.stored([record(11, "facts", 5)], 0.1, 2)
        heard.stored([record(9, LABELS[0], 7)], 0.1, 1)
    assert heard.refused_rows == 3
    assert [line["rows"] for line in lines if "refused" in line["event"]] == [3, 2, 1]


def test_every_batch_reaches_the_metrics_with_its_labels() -> None:
    """received = journalled + quarantined + lost, as a scrape sees it."""
    metrics = Metrics()
    heard = Telemetry(metrics, logger("test"), 0)
    heard.gathered("binance", "quote", 10, 10, 0)
    heard.gathered("binance", "quote", 2, 0, 2)
    heard.lost("binance", "quote", 5, "no space left on device")
    heard.stored([record(1, LABELS[0], 10)], 0.1, 0)
    text = metrics.text().decode()
    stream = '{channel="quote",venue="binance"}'
    figures = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#") and 'channel="quote"' in line and "_created" not in line
    }
    assert sorted(figures.values()) == [2.0, 5.0, 10.0, 10.0, 17.0], f"{stream}: {figures}"


def test_the_databases_absence_and_return_are_told_once_each() -> None:
    """A flood of the same trouble is one line with a count, and coming back is news only after an absence."""
    heard = telemetry()
    with capture_logs() as lines:
        heard.available()
        for _ in range(50):
            heard.unavailable("connection refused")
        heard.available()
        heard.available()
    events = [line["event"] for line in lines]
    assert events.count("database is back") == 1
    assert 1 <= events.count("database is away, journalling") <= 3


@pytest.mark.parametrize(("to_ns", "event"), [(0, "gap opened"), (START + 1, "gap closed")])
def test_a_gap_is_a_line_when_it_opens_and_when_it_closes(to_ns: int, event: str) -> None:
    """With its venue and its reason."""
    with capture_logs() as lines:
        status = "closed" if to_ns else "open"
        telemetry().fact(Gap("r-g1", "binance", "BTC/USDT", "book", "gap", START, to_ns, status=status))
    assert [(line["event"], line["venue"], line["reason"]) for line in lines] == [(event, "binance", "gap")]


def test_a_lost_link_of_a_thousand_streams_is_a_few_lines_and_hides_nothing_else() -> None:
    """One gap each, all in the ledger; what else is told of the venue is told all the same."""
    heard = telemetry()
    with capture_logs() as lines:
        for number in range(1_000):
            heard.fact(Gap(f"r-g{number}", "binance", f"SYM{number}/USDT", "quote", "disconnect", START, 0))
        heard.disconnected("binance", "connection lost", 0.5)
        heard.refused("binance", "quote", "OLD/USDT", "no such symbol")
    events = [line["event"] for line in lines]
    assert 1 <= events.count("gap opened") <= 3
    assert events.count("disconnected") == events.count("refused") == 1
    assert lines[0]["channel"] == "quote"


def test_an_alert_is_a_line_with_its_message() -> None:
    """Whoever reads the log alone misses none."""
    with capture_logs() as lines:
        telemetry().fact(Alert("r-a1", START, "breaker_tripped", "critical", "Tripped", "equity 1 against a peak of 2"))
    assert [(line["type"], line["message"]) for line in lines] == [("breaker_tripped", "equity 1 against a peak of 2")]


def test_links_that_come_and_go_are_counted() -> None:
    """Each disconnect once, however many lines it makes."""
    heard = telemetry()
    with capture_logs() as lines:
        for _ in range(20):
            heard.connected("binance")
            heard.disconnected("binance", "closed by the venue: 1001", 0.5)
            heard.bad_frame("binance", "malformed", b"\xff" * 10_000)
    assert heard.disconnects == 20
    shown = [line for line in lines if line["event"] == "bad frame"]
    assert 1 <= len(shown) <= 3 and all(len(line["frame"]) <= 200 for line in shown)


def test_a_venues_clock_is_told_with_its_uncertainty() -> None:
    """In seconds, by venue."""
    metrics = Metrics()
    Telemetry(metrics, logger("test"), 0).clock_offset("kraken", -0.25, 0.1)
    text = metrics.text().decode()
    assert 'traderd_venue_clock_offset_seconds{exchange="kraken"} -0.25' in text
    assert 'traderd_venue_clock_uncertainty_seconds{exchange="kraken"} 0.1' in text


def test_what_is_counted_elsewhere_grows_the_same_counter() -> None:
    """Asked for at every beat, and counted once."""
    metrics = Metrics()
    heard = Telemetry(metrics, logger("test"), 0)
    for count in (2, 2, 5):
        heard._grow(metrics.flagged_ticks, {("kraken", "quote", "jump"): count})
    assert 'traderd_flagged_ticks_total{channel="quote",reason="jump",venue="kraken"} 5.0' in metrics.text().decode()
