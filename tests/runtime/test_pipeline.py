"""The path of a tick and of a fact, with the real engine, rows and journals: nothing is lost without being counted."""

import collections
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from made_up import BTC, ETH, MS, SECOND, START, quote, trade
from traderd.adapters.journal import FileJournal
from traderd.adapters.paper_exchange import PaperExchange
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import split_rows
from traderd.core.engine import Engine
from traderd.core.engine_settings import EngineSettings
from traderd.core.errors import JournalError
from traderd.core.facts import (
    Alert,
    Candle,
    Equity,
    Execution,
    Fact,
    Gap,
    Order,
    Position,
    Signal,
    SignalType,
    decode_fact,
)
from traderd.core.gaps import GapLedger
from traderd.core.market import Quote, Trade, VenueCandle
from traderd.core.matching import PaperSettings
from traderd.core.orders import Approved
from traderd.core.risk import RiskSettings
from traderd.core.strategy import Opinion, StrategySlot
from traderd.runtime import pipeline as pipeline_module
from traderd.runtime.outbox import IntentJournal, Outbox
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.ports import JournalRecord, PortfolioState

MIB = 1024 * 1024
RISK = RiskSettings(Decimal(5_000), Decimal(20_000), Decimal(100), 2_000, Decimal(10))
UNSTORABLE = "1" * 40
"""More digits than the rows take."""


class HandClock:
    """Time is what the test says."""

    def __init__(self) -> None:
        self.now_ns = START - START % (60 * SECOND)

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


class Told:
    """Feed and observer that remember."""

    def __init__(self) -> None:
        self.ticked: list[Quote | Trade] = []
        self.fed: list[Fact] = []
        self.facts: list[Fact] = []
        self.lost_rows = 0
        self.gathered_rows: Counter[str] = Counter()

    def gathered(self, exchange: str, channel: str, received: int, journalled: int, quarantined: int) -> None:
        self.gathered_rows += Counter(received=received, journalled=journalled, quarantined=quarantined)

    def lost(self, exchange: str, channel: str, rows: int, reason: str) -> None:
        self.lost_rows += rows

    def latency(self, exchange: str, seconds: float) -> None: ...


class Feeding(Told):
    """As a feed."""

    def ticks(self, ticks: Sequence[Quote] | Sequence[Trade]) -> None:
        self.ticked += ticks

    def fact(self, fact: Fact) -> None:
        self.fed.append(fact)


class Observing(Told):
    """As an observer."""

    def fact(self, fact: Fact) -> None:
        self.facts.append(fact)


class WatchedJournal:
    """A journal on disk; tells its calls, and fails when the test wants it to."""

    def __init__(self, journal: FileJournal, calls: list[str], name: str) -> None:
        self.journal = journal
        self.fails: Callable[[], bool] = lambda: False
        self.sync_fails = False
        self.refused: list[JournalRecord] = []
        self._calls = calls
        self._name = name

    def __del__(self) -> None:
        """Hypothesis makes hundreds of them in one test."""
        with contextlib.suppress(JournalError, OSError):
            self.journal.close()

    @property
    def journal_id(self) -> str:
        return self.journal.journal_id

    @property
    def position(self) -> int:
        return self.journal.position

    def append(self, label: str, rows: int, payload: bytes, first_ns: int, last_ns: int) -> int:
        if self.fails():
            self.refused.append(JournalRecord(0, label, rows, first_ns, last_ns, payload))
            raise JournalError("no space left on device")
        self._calls.append(f"{self._name} append")
        return self.journal.append(label, rows, payload, first_ns, last_ns)

    def sync(self) -> None:
        self.journal.sync()
        if self.sync_fails:
            raise JournalError("input/output error")
        self._calls.append(f"{self._name} sync")

    def durable(self) -> Callable[[], None]:
        return self.sync

    def read(self, after: int, bytes_max: int) -> list[JournalRecord]:
        return self.journal.read(after, bytes_max)

    def release(self, upto: int) -> None:
        self.journal.release(upto)


class Scripted:
    """A strategy that says what it is told, one word a candle."""

    warm = True
    indicators: Mapping[str, float] = {}

    def __init__(self, words: Sequence[SignalType | None]) -> None:
        self._words = iter(words)

    def on_candle(self, candle: Candle) -> Opinion | None:
        word = next(self._words, None)
        return word and Opinion(word, 1.0, 1.0, "as told")


def at_once(journal: IntentJournal, done: Callable[[str], None]) -> None:
    """Nothing is beside a test."""
    try:
        journal.sync()
    except JournalError as error:
        done(str(error))
    else:
        done("")


class Rig:
    """A pipeline between real journals and a paper exchange; sending is by hand."""

    def __init__(
        self,
        folder: Path,
        *words: SignalType | None,
        flush_rows_max: int = 1_000,
        segment_bytes_max: int = MIB,
        disk_bytes_max: int = 64 * MIB,
    ) -> None:
        self.clock = HandClock()
        self.calls: list[str] = []
        self.feed, self.observer = Feeding(), Observing()
        self.faults: list[str] = []
        self.sent: list[Approved] = []
        self.ticks = WatchedJournal(
            FileJournal(folder / "ticks", segment_bytes_max, disk_bytes_max), self.calls, "ticks"
        )
        self.facts = WatchedJournal(FileJournal(folder / "facts", MIB, 64 * MIB), self.calls, "facts")
        slot = StrategySlot("told", "binance", "BTC/USDT", "1s", Decimal(1_000), False, Scripted(words))
        limits = EngineSettings("r", "paper", "USDT", Decimal(100_000), ("1s",), 500, 1.0, Decimal(10), RISK, (slot,))
        self.engine = Engine(limits, [BTC, ETH])
        self.exchange = PaperExchange(PaperSettings(Decimal(10), Decimal(0), 20, 2_000), self.engine.board, self.clock)
        self.gaps = GapLedger("r")
        self.pipeline = Pipeline(
            self.engine,
            TickRows([BTC, ETH]),
            self.ticks,
            self.facts,
            self.feed,
            self.exchange,
            self.observer,
            self.clock,
            self.gaps,
            flush_rows_max,
            lambda: None,
        )
        self.exchange.report = self.pipeline.on_report
        outbox = Outbox(self.facts, at_once, self._send, self.pipeline.stop_trading, lambda seconds: None, self.clock)
        self.pipeline.send = outbox.send
        self.pipeline.fault = self.faults.append
        self.stream: Stream = self.pipeline.stream("binance", ["BTC/USDT", "ETH/USDT"])

    def resume(self) -> "Rig":
        """Trading may begin."""
        now_ns = self.clock.now_ns
        self.pipeline.carry_out(self.engine.resume(now_ns, PortfolioState([], "", "", "", "", [])))
        return self

    def second(self, price: str = "100") -> None:
        """The next second: a quote, a trade, and a beat behind them."""
        self.clock.now_ns += SECOND
        bid, ask = str(Decimal(price) - Decimal("0.01")), str(Decimal(price) + Decimal("0.01"))
        self.stream.on_events([quote(bid, ask, self.clock.now_ns)])
        self.clock.now_ns += 5 * MS
        self.stream.on_events([trade(price, "1", self.clock.now_ns)])
        self.clock.now_ns += 95 * MS
        self.pipeline.on_beat()
        self.clock.now_ns -= 100 * MS

    def journalled_facts(self) -> list[Fact]:
        return [
            decode_fact(line) for record in self.facts.journal.read(0, 64 * MIB) for line in record.payload.split(b"\n")
        ]

    def journalled_gaps(self) -> list[Gap]:
        return [fact for fact in self.journalled_facts() if isinstance(fact, Gap)]

    def _send(self, approved: Approved) -> None:
        pending = self.journalled_facts()
        order = approved.intent.client_order_id
        assert any(isinstance(fact, Order) and fact.client_order_id == order for fact in pending)
        self.calls.append("send")
        self.sent.append(approved)


def number_of(field: bytes | None) -> Decimal | None:
    """A NUMERIC in binary, with its scale."""
    if field is None:
        return None
    words = [int.from_bytes(field[at : at + 2], "big", signed=True) for at in range(0, len(field), 2)]
    count, weight, _, scale, *digits = words
    assert count == len(digits)
    total = sum((Decimal(digit) * Decimal(10_000) ** (weight - at) for at, digit in enumerate(digits)), Decimal(0))
    return total.quantize(Decimal(1).scaleb(-scale))


def fields_of(row: bytes) -> list[bytes | None]:
    """One COPY tuple's fields."""
    at, fields = 2, []
    for _ in range(int.from_bytes(row[:2], "big")):
        length = int.from_bytes(row[at : at + 4], "big", signed=True)
        at += 4
        fields.append(None if length < 0 else row[at : at + length])
        at += max(length, 0)
    return fields


def decoded(records: Sequence[JournalRecord]) -> Counter[tuple[str, ...]]:
    """What the records hold, as a bag: a batch's rows have no order."""
    found: Counter[tuple[str, ...]] = Counter()
    for record in records:
        rows = [fields_of(row) for row in split_rows(record.payload)]
        assert len(rows) == record.rows
        for row in rows:
            found[_shown(record.label.partition(":")[0], row)] += 1
    return found


def _shown(table: str, row: list[bytes | None]) -> tuple[str, ...]:
    texts = [field.decode(errors="replace") if field is not None else "" for field in row]
    if table == "tick_data":
        return ("quote", texts[1], *(str(number_of(field)) for field in row[3:9]))
    if table == "public_trades":
        return ("trade", texts[1], texts[3], texts[4], str(number_of(row[5])), str(number_of(row[6])))
    return ("quarantine", texts[2], texts[3])


def _expected(event: Quote, last: Trade | None) -> tuple[str, ...]:
    sent = (event.bid_text, event.ask_text, event.bid_size_text, event.ask_size_text)
    if UNSTORABLE in sent or (last is not None and UNSTORABLE in (last.price_text, last.quantity_text)):
        return ("quarantine", "quote", "number_does_not_fit")
    lasts = (last.price_text, last.quantity_text) if last is not None else (None, None)
    return (
        "quote",
        event.instrument.symbol,
        *map(str, (*map(Decimal, sent), *(text and Decimal(text) for text in lasts))),
    )


def _expected_trade(event: Trade) -> tuple[str, ...]:
    if UNSTORABLE in (event.price_text, event.quantity_text):
        return ("quarantine", "trade", "number_does_not_fit")
    figures = str(Decimal(event.price_text)), str(Decimal(event.quantity_text))
    return ("trade", event.instrument.symbol, event.trade_id, event.side, *figures)


PRICES = st.decimals("0.00000001", "99999999", places=8).map(lambda price: format(price, "f")) | st.sampled_from(
    ["1", "12.5", "0.1000", "70000.10", UNSTORABLE]
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["quote", "trade", "bad", "beat", "part of a beat"]), PRICES, st.sampled_from([BTC, ETH])
    ),
    max_size=40,
)


@given(steps=STEPS, fates=st.lists(st.booleans(), max_size=20), flush_rows_max=st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_whatever_arrives_and_whatever_fails_every_row_is_in_exactly_one_place(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, str, object]],
    fates: list[bool],
    flush_rows_max: int,
) -> None:
    """received = pending + journalled + quarantined + lost after every step, also where a beat was left in its middle;
    the journal holds what was handed in.
    """
    rig = Rig(tmp_path_factory.mktemp("rig"), flush_rows_max=flush_rows_max)
    left = iter(fates)
    rig.ticks.fails = lambda: next(left, False)
    handed: Counter[tuple[str, ...]] = Counter()
    arrived = Counter(quote=0, trade=0, bad=0)
    stream, lasts = rig.stream, rig.engine.board.trades
    for number, (kind, price, instrument) in enumerate(steps):
        at_ns = rig.clock.now_ns = rig.clock.now_ns + 10 * MS
        if kind == "quote":
            event = quote(price, price, at_ns, instrument)  # type: ignore[arg-type]  # an Instrument
            handed[_expected(event, lasts[event.instrument.index])] += 1
            stream.on_events([event])
        elif kind == "trade":
            dealt = trade(price, "0.50", at_ns, instrument)  # type: ignore[arg-type]  # an Instrument
            handed[_expected_trade(dealt)] += 1
            stream.on_events([dealt])
        elif kind == "bad":
            handed["quarantine", "", "malformed"] += 1
            stream.on_bad_frame("", "malformed", b"\x00{%d" % number, at_ns)
        else:
            steps_done = number % 12 if kind == "part of a beat" else None
            collections.deque(itertools.islice(rig.pipeline.beat(), steps_done), maxlen=0)
            assert stream.pending == 0 or kind == "part of a beat"
        arrived[kind] += 1
        for counts in stream.counts.values():
            assert counts.received == counts.journalled + counts.quarantined + counts.lost
        received = sum(counts.received for counts in stream.counts.values())
        assert received + stream.pending == arrived["quote"] + arrived["trade"] + arrived["bad"]
        assert stream.counts["quote"].received <= arrived["quote"] - len(stream.quotes)
        assert stream.counts["trade"].received <= arrived["trade"] - len(stream.trades)
        assert len(stream.quotes) + len(stream.trades) < flush_rows_max
    rig.pipeline.flush()
    kept = rig.ticks.journal.read(0, 64 * MIB)
    assert decoded(kept) + decoded(rig.ticks.refused) == handed
    every = stream.counts.values()
    assert sum(record.rows for record in rig.ticks.refused) == sum(counts.lost for counts in every)
    assert rig.observer.lost_rows == sum(counts.lost for counts in every)
    assert rig.observer.gathered_rows["journalled"] == sum(counts.journalled for counts in every)
    for kind, name in ((Quote, "quote"), (Trade, "trade")):
        assert sum(type(tick) is kind for tick in rig.feed.ticked) == arrived[name]
    gaps = rig.journalled_gaps()
    still_open = rig.pipeline.lost_in_gaps.total()
    assert sum(gap.rows_lost for gap in gaps) + still_open == sum(counts.lost for counts in every)
    assert bool(still_open) == bool(rig.gaps.open_gaps())


def test_a_full_disk_opens_one_gap_and_closes_it_when_there_is_room_again(tmp_path: Path) -> None:
    """Each gap tells its own lost rows and no earlier gap's, and trading goes on meanwhile."""
    rig = Rig(tmp_path, None, None, "LONG").resume()
    for outage in (3, 2):
        rig.ticks.fails = lambda: True
        before_ns = rig.clock.now_ns
        for _ in range(outage):
            rig.second()
        assert [gap.reason for gap in rig.gaps.open_gaps()] == ["lost", "lost"]
        assert rig.gaps.hindrance(BTC.exchange, BTC.symbol) == "", "it was received, and only couldn't be recorded"
        rig.ticks.fails = lambda: False
        rig.second()
        opened, closed = (
            [gap for gap in rig.journalled_gaps() if gap.channel == channel][-2:] for channel in ("quote", "trade")
        )
        for first, second in (opened, closed):
            assert first.gap_id == second.gap_id
            assert (first.reason, first.to_ns, first.rows_lost) == ("lost", 0, 0)
            assert second.rows_lost == outage
            assert before_ns < second.from_ns < second.to_ns <= rig.clock.now_ns + 100 * MS
            assert "no space left" in second.detail
    assert rig.gaps.count == 4
    assert rig.gaps.open_gaps() == []
    assert len(rig.sent) == 1
    assert rig.engine.refusal == ""
    assert rig.faults


def test_a_journal_at_its_own_bound_loses_and_counts_until_the_database_has_caught_up(tmp_path: Path) -> None:
    """The same with the journal's real limit, and room made by releasing what is stored."""
    rig = Rig(tmp_path, segment_bytes_max=1_000, disk_bytes_max=3_000)
    for _ in range(40):
        rig.second()
    counts = rig.stream.counts["quote"]
    assert 0 < counts.journalled < 40 and counts.lost == 40 - counts.journalled
    assert "journal.disk_bytes_max" in rig.faults[0]
    rig.ticks.release(rig.ticks.position)
    rig.second()
    assert counts.received == 41 and counts.lost == 40 - (counts.journalled - 1)
    assert rig.gaps.open_gaps() == []


def test_a_segment_that_cannot_be_begun_costs_only_what_came_meanwhile(tmp_path: Path) -> None:
    """The journal's folder is away when the next file is due: afterwards the journal goes on where it was."""
    rig = Rig(tmp_path, segment_bytes_max=1_000)
    for _ in range(3):
        rig.second()
    (tmp_path / "ticks").rename(tmp_path / "away")
    for _ in range(10):
        rig.second()
    (tmp_path / "away").rename(tmp_path / "ticks")
    counts = rig.stream.counts["quote"]
    assert counts.lost > 0
    for _ in range(10):
        rig.second()
    assert (counts.received, counts.lost + counts.journalled) == (23, 23)
    assert counts.lost <= 10
    stored = [record for record in rig.ticks.read(0, 64 * MIB) if record.label.startswith("tick_data")]
    assert sum(record.rows for record in stored) == counts.journalled
    assert rig.gaps.open_gaps() == []


def test_an_order_is_on_the_disk_before_it_leaves(tmp_path: Path) -> None:
    """Appended, synced, sent: in this order; the send itself looks the pending order up in the journal."""
    rig = Rig(tmp_path, "LONG").resume()
    rig.pipeline.flush()
    rig.calls.clear()
    for _ in range(2):
        rig.second()
    assert len(rig.sent) == 1
    order = [call for call in rig.calls if not call.startswith("ticks")]
    at = order.index("send")
    assert order[at - 2 : at] == ["facts append", "facts sync"]


@pytest.mark.parametrize("step", ["append", "sync"])
def test_a_fact_journal_that_fails_stops_trading_and_says_so(tmp_path: Path, step: str) -> None:
    """Nothing is sent, neither this order nor a later one; the alert goes out, and is recorded once that works."""
    rig = Rig(tmp_path, "LONG", None, "LONG", "EXIT_LONG", "LONG").resume()
    rig.second()
    if step == "append":
        rig.facts.fails = lambda: True
    else:
        rig.facts.sync_fails = True
    for _ in range(6):
        rig.second()
    assert rig.sent == []
    assert rig.engine.refusal in {"no space left on device", "input/output error"}
    assert rig.faults
    assert [fact.alert_type for fact in rig.feed.fed if isinstance(fact, Alert)][:1] == ["trading_halted"]
    rig.facts.fails, rig.facts.sync_fails = (lambda: False), False
    rig.second()
    recorded = rig.journalled_facts()
    assert [fact.alert_type for fact in recorded if isinstance(fact, Alert)].count("trading_halted") == 1
    assert rig.sent == [], "only an operator lets it trade again"
    assert rig.stream.counts["quote"].journalled == 8, "ticks are not concerned"


def test_facts_wait_for_their_journal_in_order_and_none_is_written_twice(tmp_path: Path) -> None:
    """After an outage the journal holds exactly what was recorded, in the order in which it was."""
    rig = Rig(tmp_path).resume()
    for number in range(12):
        rig.facts.fails = lambda number=number: number % 3 != 2
        rig.second()
    rig.facts.fails = lambda: False
    rig.pipeline.flush()
    assert rig.journalled_facts() == rig.observer.facts == rig.feed.fed


def test_facts_that_nobody_takes_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound measurements are dropped and that is said; what tells of money and of holes is kept."""
    monkeypatch.setattr(pipeline_module, "_FACTS_WAITING_MAX", 20)
    rig = Rig(tmp_path).resume()
    rig.facts.fails = lambda: True
    for _ in range(30):
        rig.second()
    rig.pipeline.gap_opened("binance", "", "", "disconnect", rig.clock.now_ns)
    rig.facts.fails = lambda: False
    rig.pipeline.flush()
    kept = rig.journalled_facts()
    assert len(kept) <= 22 and isinstance(kept[-1], Gap)
    assert len([fact for fact in rig.observer.facts if isinstance(fact, Candle | Equity)]) > 40
    assert any("dropped" in reason for reason in rig.faults)


async def test_a_filled_order_leaves_its_facts_in_the_order_of_the_events(tmp_path: Path) -> None:
    """Signal and pending order, acknowledgement, fill, filled order, position: each on the way it happened."""
    rig = Rig(tmp_path, "LONG").resume()
    rig.second()
    rig.second()
    (approved,) = rig.sent
    rig.exchange.send(approved)
    assert 0 in rig.exchange.working
    rig.second()
    assert 0 not in rig.exchange.working
    told = [
        f"order {fact.status}" if isinstance(fact, Order) else type(fact).__name__
        for fact in rig.journalled_facts()
        if isinstance(fact, Signal | Order | Execution | Position)
    ]
    assert told == ["Signal", "order pending", "order open", "Execution", "order filled", "Position"]
    assert rig.journalled_facts() == rig.observer.facts


def test_an_exchange_that_answers_at_once_is_heard_behind_what_it_answers(tmp_path: Path) -> None:
    """The order is on its way before anybody is told of it; all the same it is told as pending first, then as open."""
    rig = Rig(tmp_path, "LONG").resume()
    rig.pipeline.send = rig.exchange.send
    for _ in range(2):
        rig.second()
    told = [fact.status for fact in rig.observer.facts if isinstance(fact, Order)]
    assert told[:2] == ["pending", "open"]
    assert rig.journalled_facts() == rig.observer.facts == rig.feed.fed


async def test_what_an_exchange_says_is_in_the_journal_before_the_next_beat(tmp_path: Path) -> None:
    """And so it isn't the next order that writes it, while its price goes away."""
    rig = Rig(tmp_path, "LONG").resume()
    rig.second()
    rig.second()
    rig.exchange.send(*rig.sent)
    rig.clock.now_ns += SECOND
    rig.stream.on_events([quote("99.99", "100.01", rig.clock.now_ns)])
    assert [fact for fact in rig.journalled_facts() if isinstance(fact, Execution)]
    assert rig.journalled_facts() == rig.observer.facts


def test_orders_of_one_moment_leave_by_one_sync_though_the_exchange_answers_at_once(tmp_path: Path) -> None:
    """What it says of the first is written behind the last."""
    rig = Rig(tmp_path, "LONG").resume()
    rig.second()
    rig.second()
    (first,) = rig.sent
    pending = next(fact for fact in rig.journalled_facts() if isinstance(fact, Order))
    ids = [f"{first.intent.client_order_id}-{n}" for n in range(3)]
    for name in ids:
        rig.engine.blotter.record(replace(pending, client_order_id=name))
    outbox = Outbox(rig.facts, at_once, rig.exchange.send, rig.faults.append, lambda seconds: None, rig.clock)
    rig.pipeline.send = outbox.send
    rig.calls.clear()
    orders = [replace(pending, client_order_id=name, reason="now") for name in ids]
    approved = [replace(first, intent=replace(first.intent, client_order_id=name)) for name in ids]
    rig.pipeline.carry_out([*orders, *approved])
    assert [call for call in rig.calls if call != "ticks append"] == ["facts append", "facts sync", "facts append"]
    answered = {
        fact.client_order_id for fact in rig.journalled_facts() if isinstance(fact, Order) and fact.status == "open"
    }
    assert answered == set(ids)


def test_a_beat_journals_what_gathered_and_a_full_batch_does_not_wait_for_it(tmp_path: Path) -> None:
    """At most `flush_rows_max` rows are ever in memory, and none once a beat is through."""
    rig = Rig(tmp_path, flush_rows_max=3)
    for number in range(7):
        rig.stream.on_events([quote("1", "2", rig.clock.now_ns + number * MS)])
    assert [record.rows for record in rig.ticks.read(0, MIB)] == [3, 3]
    assert rig.stream.pending == 1
    rig.clock.now_ns += SECOND
    rig.pipeline.on_beat()
    assert [record.rows for record in rig.ticks.read(0, MIB)] == [3, 3, 1]
    assert rig.pipeline.beaten_ns == rig.clock.now_ns
    assert rig.stream.newest_ns == rig.clock.now_ns - SECOND + 6 * MS


@pytest.mark.parametrize("way", [Pipeline.on_beat, Pipeline.flush])
def test_a_candle_that_no_strategy_waits_for_is_journalled_with_the_next_beat_or_at_the_end(
    tmp_path: Path, way: Callable[[Pipeline], None]
) -> None:
    """ETH's has no listener, BTC's has: that one is told before its trade is through."""
    rig = Rig(tmp_path)
    at_ns = rig.clock.now_ns
    for instrument in (BTC, ETH):
        rig.stream.on_events([trade("100", "1", at_ns, instrument), trade("101", "1", at_ns + SECOND, instrument)])
    assert [fact.symbol for fact in rig.observer.facts if isinstance(fact, Candle)] == ["BTC/USDT"]
    way(rig.pipeline)
    journalled = [fact for fact in rig.journalled_facts() if isinstance(fact, Candle)]
    assert [(fact.symbol, fact.close) for fact in journalled] == [("BTC/USDT", "100"), ("ETH/USDT", "100")]
    assert rig.observer.facts == rig.feed.fed and len(journalled) == rig.engine.counts.candles == 2


def test_a_venues_candle_that_differs_is_told_and_the_bar_is_journalled_once_more_with_its_mark(tmp_path: Path) -> None:
    """From the stream to the journal: the bar, the bar marked, one alert; the candle itself is no row."""
    rig = Rig(tmp_path)
    began = rig.clock.now_ns
    rig.pipeline.whole("binance", "BTC/USDT", "trade", began)
    opened = (began // SECOND + 10) * SECOND
    for at_ns, volume in ((opened - SECOND, "0"), (opened, "2")):
        rig.clock.now_ns = at_ns + SECOND
        figures = ("100", "100", "100", "100", volume)
        rig.stream.on_events([trade("100", "1", opened)] if volume == "2" else [])
        rig.stream.on_events([VenueCandle(BTC, "1s", at_ns, *figures, True, rig.clock.now_ns, rig.clock.now_ns)])
    for _ in range(4):
        rig.clock.now_ns += SECOND
        rig.pipeline.on_beat()
    facts = rig.journalled_facts()
    bars = [fact for fact in facts if isinstance(fact, Candle)]
    assert [(bar.open_time_ns, bar.differs) for bar in bars] == [(opened, False), (opened, True)]
    (alert,) = [fact for fact in facts if isinstance(fact, Alert)]
    assert alert.alert_type == "candle_differs" and "volume 1, the venue's 2" in alert.message
    assert rig.engine.candle_check.by_verdict()["binance", "BTC/USDT", "differing"] == 1
    assert rig.observer.gathered_rows["received"] == 1


def test_a_hole_is_on_record_before_what_came_after_it(tmp_path: Path) -> None:
    """Or a kill in between would leave ticks behind which nobody looks for a hole."""
    rig = Rig(tmp_path, flush_rows_max=2)
    rig.pipeline.gap_opened("binance", "BTC/USDT", "quote", "restart", rig.clock.now_ns)
    rig.calls.clear()
    for number in range(2):
        rig.stream.on_events([quote("1", "2", rig.clock.now_ns + number * MS)])
    assert rig.calls == ["facts append", "ticks append"]
    assert len(rig.journalled_gaps()) == 1


def test_of_a_flood_of_bad_frames_few_keep_their_bytes_and_all_are_counted(tmp_path: Path) -> None:
    """A venue gone mad must not fill the disk."""
    rig = Rig(tmp_path)
    for number in range(1_000):
        rig.stream.on_bad_frame("", "malformed", b"x" * 10_000, number + 1)
    rig.pipeline.flush()
    assert rig.stream.counts[""].quarantined == 1_000
    records = rig.ticks.journal.read(0, 64 * MIB)
    assert sum(record.rows for record in records) == 1_000
    assert 256 * 1024 < sum(len(record.payload) for record in records) < 256 * 1024 + 4_000 + 1_000 * 100


def test_a_gateway_that_is_not_connected_is_a_mistake_and_not_a_silence(tmp_path: Path) -> None:
    """An order with no way out must not vanish."""
    rig = Rig(tmp_path, "LONG").resume()
    rig.pipeline.send = pipeline_module._nowhere
    with pytest.raises(AssertionError, match="not connected"):
        for _ in range(3):
            rig.second()
