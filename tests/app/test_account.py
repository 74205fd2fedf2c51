"""Every tick accounted for: whatever happened to batches and to the database, the figures add up."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from traderd.adapters.logs import logger
from traderd.adapters.metrics import Metrics
from traderd.adapters.telemetry import Telemetry
from traderd.app.account import Account, account
from traderd.app.report import balance
from traderd.runtime.pipeline import Counts
from traderd.runtime.ports import JournalRecord


@dataclass
class Stream:
    """A venue's end as the account sees it."""

    exchange: str
    pending: int = 0
    counts: dict[str, Counts] = field(default_factory=lambda: {"quote": Counts(), "trade": Counts(), "": Counts()})


@dataclass
class Pipeline:
    streams: list[Stream]


TABLES = {"quote": "tick_data", "trade": "public_trades", "": "quarantine"}
FATES = st.sampled_from(["journalled", "quarantined", "lost"])
BATCHES = st.lists(
    st.tuples(st.sampled_from(["binance", "kraken"]), st.sampled_from(list(TABLES)), st.integers(1, 50), FATES),
    max_size=20,
)


@given(batches=BATCHES, stored_share=st.floats(0, 1), pending=st.integers(0, 9), refused=st.integers(0, 3))
def test_every_row_is_in_exactly_one_place(
    batches: list[tuple[str, str, int, str]], stored_share: float, pending: int, refused: int
) -> None:
    """At any moment: some batches stored, some journalled only, some lost, some rows refused by the database."""
    streams = {name: Stream(name) for name in ("binance", "kraken")}
    streams["kraken"].pending = pending
    heard = Telemetry(Metrics(), logger("test"), 0)
    records = []
    for exchange, channel, rows, wish in batches:
        fate = "quarantined" if wish == "journalled" and channel == "" else wish
        counts = streams[exchange].counts[channel]
        counts.received += rows
        setattr(counts, fate, getattr(counts, fate) + rows)
        if fate != "lost":
            table = "quarantine" if fate == "quarantined" else TABLES[channel]
            records.append(JournalRecord(len(records) + 1, f"{table}:{exchange}:{channel}", rows, 0, 0, b""))
    stored = records[: round(len(records) * stored_share)]
    ticks = sum(record.rows for record in stored if not record.label.startswith("quarantine"))
    for each in stored:
        heard.stored([each], 0.001, 0)
    refused = min(refused, ticks)
    if refused:
        heard.refused_rows = refused
    figures = account(Pipeline(list(streams.values())), heard)  # type: ignore[arg-type]  # what account reads of it
    assert figures.balanced
    assert figures.received == sum(rows for _, _, rows, _ in batches) + pending
    assert (figures.stored, figures.pending) == (ticks - refused, pending)
    assert figures.lost == sum(rows for _, _, rows, fate in batches if fate == "lost")
    assert min(figures.journalled, figures.quarantined, figures.stored) >= 0
    assert figures.by_stream.total() + pending == figures.received


def test_an_account_that_does_not_add_up_shows_it() -> None:
    """In the line that a person reads."""
    sound = Account(10, 1, 2, 4, 2, 1, 0, {})  # type: ignore[arg-type]  # no streams
    assert sound.balanced and balance(sound) == "10 = stored 4 + journalled 3 + quarantined 2 + lost 1"
    broken = Account(11, 1, 2, 4, 2, 1, 0, {})  # type: ignore[arg-type]  # no streams
    assert not broken.balanced and balance(broken).startswith("11 ≠ stored")
