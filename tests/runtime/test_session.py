"""One venue's connection over real sockets: the simulated exchange, and venues that misbehave on purpose."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from driven import DrivenClock
from lines import ALL, PLENTY, SECOND, Line, Venue, closed_gaps, depth_answer, depth_frame, now_s, quote_frame, until
from traderd.adapters.capture import Capture
from traderd.core.backoff import Backoff
from traderd.core.market import Quote, Trade
from traderd.core.tally import Tally
from traderd.runtime.admission import Admission
from traderd.sim.faults import Faults
from traderd.sim.pit import DepthChanged
from traderd.sim.server import SimulatedExchange
from traderd.sim.wire import level_texts
from traderd.venues.binance import Binance
from traderd.venues.dialect import Endpoint, Heartbeating
from traderd.venues.kraken import Kraken
from traderd.venues.playback import events_of

pytestmark = pytest.mark.driven
CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"


class Impatient(Binance):
    """Binance with a limit of silence that a test can wait for."""

    heartbeat = Heartbeating(frame="", interval_s=20.0, silence_max_s=0.2)


def on_sim(folder: Path, exchange: SimulatedExchange, **options: Any) -> Line:
    return Line(folder, Binance, Endpoint(exchange.url, exchange.rest_url), exchange.symbols, **options)


async def test_books_of_a_simulated_day_equal_the_exchanges_own(tmp_path: Path, exchange: SimulatedExchange) -> None:
    """Level by level, as text, compared for each symbol at a moment when its last change has just been sent."""
    line = on_sim(tmp_path, exchange)
    async with line.running():
        await until(lambda: line.whole() and line.received("quote") > 200 and line.received("trade") > 20)
        assert exchange._pump is not None
        exchange._pump.cancel()
        for instrument in line.instruments:
            pit = exchange.market.pits[instrument.venue_symbol]
            while True:  # time passes by hand, a millisecond at a time, until this symbol's news ends with a diff
                events = exchange.market.advance(exchange.market.elapsed_us + 1_000)
                exchange.broadcast.publish(events)
                ours = [event for event in events if event.listing is pit.listing]
                if ours and isinstance(ours[-1], DepthChanged) and ours[-1].stream.endswith("@100ms"):
                    break
            book = line.session.books[instrument.index]
            bids = level_texts(pit.book.bids.levels(1_000), pit.listing)
            asks = level_texts(pit.book.asks.levels(1_000), pit.listing)
            await until(lambda book=book, wanted=(bids, asks): (book.bids(), book.asks()) == wanted)  # type: ignore[misc]  # mypy can't infer a lambda's defaults
            assert len(bids) > 10 and len(asks) > 10
    assert line.seen.bad == [] and line.seen.refusals == []
    assert line.recorded_gaps() == []


async def test_the_tape_replays_into_the_same_figures(tmp_path: Path, exchange: SimulatedExchange) -> None:
    """Address, frames and REST answers: what was recorded holds every tick that was handed on, and whole books."""
    line = on_sim(tmp_path, exchange, record=True)
    async with line.running():
        await until(lambda: line.whole() and line.received("quote") > 200)
    assert line.recorder is not None
    dialect, tally, kinds = Binance(), Tally(), set()
    dialect.bind(line.instruments)
    ticks = {Quote: 0, Trade: 0}
    with Capture(line.recorder.path) as capture:
        for record in capture:
            kinds.add(record.kind)
            for event in events_of(dialect, record):
                tally.add(event)
                if type(event) in ticks:
                    ticks[type(event)] += 1
    assert kinds == {"connect", "sent", "frame", "http"}
    assert (ticks[Quote], ticks[Trade]) == (line.received("quote"), line.received("trade"))
    books = tally.report()["books"]
    assert len(books) == 3 and all(book["snapshots"] and book["best_bid"] for book in books.values())


async def test_a_closed_connection_is_a_gap_from_the_last_frame_to_the_next(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """It comes back by itself, twice; every stream's gap says why; the books are made whole anew."""
    line = on_sim(tmp_path, exchange)
    async with line.running():
        for number in range(1, 3):
            await until(lambda: line.whole() and line.session.live and not line.gaps.open_gaps())
            closed_ns = line.clock.time_ns()
            for listener in list(exchange.broadcast._listeners):
                await listener.connection.close(1012, "restart")
            await until(lambda number=number: line.seen.connects == number + 1)  # type: ignore[misc]  # see above
            await until(lambda: line.whole() and not line.gaps.open_gaps())
            found = {gap.gap_id: gap for gap in line.recorded_gaps() if gap.to_ns}.values()
            ours = [gap for gap in found if gap.to_ns > closed_ns]
            streams = {(each.symbol, channel) for each in line.instruments for channel in ALL}
            assert {(gap.symbol, gap.channel) for gap in ours} == streams
            for gap in ours:
                assert gap.reason == "disconnect" and "1012 restart" in gap.detail
                assert closed_ns - 5 * SECOND < gap.from_ns < gap.to_ns < line.clock.time_ns()
    assert line.gaps.count == 2 * len(streams)
    assert [reason for reason, _ in line.seen.disconnects] == ["closed by the venue: 1012 restart"] * 2


async def test_a_venue_that_is_not_there_is_asked_ever_more_rarely(tmp_path: Path) -> None:
    """Every delay is the jitter's share of a ceiling that doubles up to its cap; nothing is a gap before any data."""
    shares = [0.9, 0.1, 0.5, 0.99, 0.3, 0.7]
    drawn: Iterator[float] = iter([*shares, *[1.0] * 100])
    line = Line(
        tmp_path,
        Binance,
        Endpoint("ws://127.0.0.1:1", "http://127.0.0.1:1"),
        ["BTC/USDT"],
        backoff=Backoff(0.02, 0.1, 60.0),
        uniform=lambda: next(drawn),
    )
    begun = now_s()
    async with line.running():
        await until(lambda: len(line.seen.disconnects) > len(shares))
        waited_s = now_s() - begun
    delays = [delay for _, delay in line.seen.disconnects[: len(shares)]]
    ceilings = [0.02, 0.04, 0.08, 0.1, 0.1, 0.1]
    assert delays == pytest.approx([share * ceiling for share, ceiling in zip(shares, ceilings, strict=True)])
    assert waited_s >= sum(delays)
    assert line.recorded_gaps() == [] and line.seen.connects == 0


async def test_a_link_that_connects_and_says_nothing_is_left(tmp_path: Path) -> None:
    """Whatever TCP says; coming back is not forgiven, since nothing ever flowed."""
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(
            tmp_path, Impatient, endpoint, ["BTC/USDT"], channels=("quote",), backoff=Backoff(0.01, 10.0, 0.001)
        )
        async with line.running():
            await until(lambda: len(line.seen.disconnects) == 2)
        for reason, _ in line.seen.disconnects:
            assert reason.startswith("silent for")
            assert 0.2 < float(reason.split()[2]) < 5
        assert [delay for _, delay in line.seen.disconnects] == [0.005, 0.01]
        assert line.recorded_gaps() == [], "nothing was ever whole"


async def test_a_link_with_traffic_is_not_silent(tmp_path: Path) -> None:
    """A frame now and then is enough."""
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, Impatient, endpoint, ["BTC/USDT"], channels=("quote",))
        async with line.running():
            await until(lambda: venue.connections)
            for number in range(12):
                await venue.tell(quote_frame(number))
                await asyncio.sleep(0.1)
        assert line.seen.disconnects == []
        assert line.received("quote") == 12


async def test_a_skipped_diff_breaks_the_book_until_a_snapshot_mends_it(tmp_path: Path) -> None:
    """Nothing of a broken book is shown; the hole has a row, closed when the book is whole; other ticks flow on."""
    venue = Venue()
    snapshots = iter([100, 106])
    venue.answer = lambda path: depth_answer(next(snapshots))
    async with venue.open() as endpoint:
        line = Line(tmp_path, Binance, endpoint, ["BTC/USDT"])
        async with line.running():
            await until(line.whole)
            await venue.tell(depth_frame(101, 102, "100.0", "3"))
            book = line.session.books[0]
            await until(lambda: book.best_bid() == ("100.0", "3"))
            await venue.tell(quote_frame(1), depth_frame(105, 106), quote_frame(2))
            await until(lambda: line.seen.resyncs == [("BTC/USDT", "gap")])
            assert not book.usable and book.bids() == [] and book.asks() == []
            await until(lambda: book.usable)
            assert book.bids() == [("99.0", "5")]
            await venue.tell(depth_frame(107, 107, "100.5", "2"))
            await until(lambda: book.best_bid() == ("100.5", "2"))
        opened, healed = line.recorded_gaps()
        assert (opened.symbol, opened.channel, opened.reason, opened.to_ns) == ("BTC/USDT", "book", "sequence", 0)
        assert opened.gap_id == healed.gap_id and healed.to_ns > opened.from_ns
        assert line.received("quote") == 2
        assert [path.partition("?")[0] for path in venue.asked] == ["/api/v3/depth"] * 2
        assert line.seen.connects == 1


async def test_a_hole_in_a_book_outlives_a_reconnect_and_is_closed_all_the_same(tmp_path: Path) -> None:
    """The venue breaks the book, refuses the snapshot and hangs up: one gap, closed once the book is whole again."""
    venue = Venue()
    venue.answer = lambda path: depth_answer(100)
    async with venue.open() as endpoint:
        line = Line(tmp_path, Binance, endpoint, ["BTC/USDT"])
        async with line.running():
            await until(line.whole)
            await venue.tell(depth_frame(101, 101))
            venue.answer = lambda path: (503, b"busy")
            await venue.tell(depth_frame(105, 106))
            await until(lambda: line.seen.refusals)
            assert "HTTP 503: busy" in line.seen.refusals[0][2]
            await venue.connections[-1].close(1001, "")
            venue.answer = lambda path: depth_answer(200)
            await until(lambda: line.seen.connects == 2 and line.whole())
            await venue.tell(depth_frame(201, 201), quote_frame(1))
            await until(lambda: line.received("quote") == 1)
        gaps = {gap.gap_id: gap for gap in line.recorded_gaps()}
        assert sorted((gap.reason, gap.to_ns > 0) for gap in gaps.values()) == [("sequence", True)]
        assert line.gaps.open_gaps() == []


async def test_frames_that_are_not_the_protocol_are_counted_quarantined_and_passed_over(tmp_path: Path) -> None:
    """The stream goes on, and what came is kept as it came."""
    bad = ["{", "[]", "\u0000", quote_frame(1, bid="NaN"), quote_frame(1, bid="0"), quote_frame(1, symbol="NOPE")]
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, Binance, endpoint, ["BTC/USDT"], channels=("quote", "trade"))
        async with line.running():
            await until(lambda: venue.connections)
            for number, frame in enumerate(bad):
                await venue.tell(frame, quote_frame(number + 1))
            await until(lambda: line.received("quote") == len(bad))
        assert line.seen.bad[3:] == ["bad_number", "bad_number", "unknown_symbol"]
        line.pipeline.flush()
        assert (line.stream.counts[""].received, line.stream.counts[""].quarantined) == (6, 6)
        assert line.stream.counts["quote"].journalled == 6
        (record,) = [each for each in line.ticks.read(0, 2**20) if each.label.startswith("quarantine")]
        assert record.rows == 6 and bad[5].encode() in record.payload
        assert line.seen.connects == 1


class Broken:
    """A REST with a mistake of ours in it."""

    async def get(self, url: str, timeout_s: float) -> bytes:
        raise RuntimeError("a mistake of ours")


async def test_a_mistake_beside_the_link_ends_the_session(tmp_path: Path) -> None:
    """Nothing goes on half alive with books that are never made whole."""
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, Binance, endpoint, ["BTC/USDT"], rest=Broken())
        with pytest.raises(RuntimeError, match="a mistake of ours"):
            await asyncio.wait_for(line.session.run(), 10)
        assert not line.session.live


async def test_a_mistake_on_the_way_of_a_frame_ends_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no bad frame, and no reason to reconnect."""
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, Binance, endpoint, ["BTC/USDT"], channels=("quote",))
        monkeypatch.setattr(line.stream, "on_events", lambda events: events[7])
        running = asyncio.create_task(line.session.run())
        await until(lambda: venue.connections)
        await venue.tell(quote_frame(1))
        with pytest.raises(IndexError):
            await asyncio.wait_for(running, 10)
        assert line.seen.bad == []


KRAKEN = CAPTURES / "kraken" / "btcusd_depth10_resync.frames.gz"


def kraken_frames() -> list[bytes]:
    if not KRAKEN.exists():
        pytest.skip(f"no captures at {CAPTURES.name}")
    with Capture(KRAKEN) as capture:
        return [record.text for record in capture if record.kind == "frame"]


async def test_a_recorded_kraken_session_ends_in_the_recorded_book(tmp_path: Path) -> None:
    """Subscribed as Kraken asks for it; 301 checksums, five snapshots on the way, and the final best levels."""
    frames = kraken_frames()
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, lambda: Kraken(10), endpoint, ["BTC/USD"], channels=("book",))
        async with line.running():
            await until(lambda: venue.heard)
            await venue.tell(*frames)
            await until(lambda: line.session.books[0].checksums_ok == 301)
            book = line.session.books[0]
            assert (book.checksums_bad, book.snapshots) == (0, 5)
            assert (book.best_bid(), book.best_ask()) == (("63004.9", "0.01661321"), ("63005.0", "0.74804549"))
    (subscription,) = map(json.loads, venue.heard)
    assert subscription == {
        "method": "subscribe",
        "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 10},
    }
    assert line.seen.bad == [] and line.recorded_gaps() == []


async def test_a_checksum_that_does_not_fit_makes_kraken_send_the_book_again(tmp_path: Path) -> None:
    """Unsubscribe, subscribe; the book shows nothing until the new snapshot, which closes the gap."""
    frames = kraken_frames()
    updates = [at for at, frame in enumerate(frames) if b'"channel":"book","type":"update"' in frame]
    broken = updates[5]
    spoilt = json.loads(frames[broken])
    spoilt["data"][0]["checksum"] ^= 1
    snapshot = next(frame for frame in frames[broken:] if b'"channel":"book","type":"snapshot"' in frame)
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, lambda: Kraken(10), endpoint, ["BTC/USD"], channels=("book",), uniform=lambda: 0.0)
        async with line.running():
            await until(lambda: venue.heard)
            await venue.tell(*frames[:broken])
            await until(lambda: line.whole() and line.session.books[0].checksums_ok == 6)
            await venue.tell(json.dumps(spoilt))
            await until(lambda: len(venue.heard) == 3)
            assert not line.session.books[0].usable
            await venue.tell(frames[updates[6]], snapshot)
            await until(line.whole)
    assert [json.loads(frame)["method"] for frame in venue.heard] == ["subscribe", "unsubscribe", "subscribe"]
    assert json.loads(venue.heard[2])["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}
    assert line.seen.resyncs == [("BTC/USD", "bad_checksum")]
    opened, healed = line.recorded_gaps()
    assert (opened.reason, opened.symbol, opened.gap_id) == ("checksum", "BTC/USD", healed.gap_id)
    assert opened.from_ns < healed.to_ns


async def test_an_answer_is_not_data_and_closes_no_gap(tmp_path: Path) -> None:
    """A venue that only acknowledges or refuses has not come back; its first quote has."""
    quote = (
        '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":1.0,"bid_qty":1.0,"ask":2.0,'
        '"ask_qty":1.0,"timestamp":"2026-08-01T00:00:00.000000Z"}]}'
    )
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, lambda: Kraken(10), endpoint, ["BTC/USD"], channels=("quote",))
        async with line.running():
            await until(lambda: venue.heard)
            await venue.tell(quote)
            await until(lambda: line.received("quote") == 1)
            await venue.connections[-1].close(1001, "")
            await until(lambda: len(venue.heard) == 2)
            await venue.tell(
                '{"channel":"heartbeat"}',
                '{"method":"subscribe","success":false,"error":"Subscription busy","symbol":"BTC/USD"}',
            )
            await until(lambda: line.seen.refusals == [("", "BTC/USD", "Subscription busy")])
            assert [gap.reason for gap in line.gaps.open_gaps()] == ["disconnect"]
            await venue.tell(quote)
            await until(lambda: not line.gaps.open_gaps())


async def test_kraken_is_pinged_at_intervals(tmp_path: Path) -> None:
    """By its own message, since its side of the link may be quiet for long."""

    class Eager(Kraken):
        heartbeat = Heartbeating(frame='{"method":"ping"}', interval_s=0.1, silence_max_s=60.0)

    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, lambda: Eager(10), endpoint, ["BTC/USD"], channels=("quote",))
        async with line.running():
            await until(lambda: venue.heard.count('{"method":"ping"}') >= 2)


async def test_receive_times_of_ticks_rise_strictly(tmp_path: Path, exchange: SimulatedExchange) -> None:
    """Whatever came in one read: no two ticks of a session share a moment."""
    line = on_sim(tmp_path, exchange, channels=("quote",))
    async with line.running():
        await until(lambda: len(line.stream.quotes) > 300)
        times = [each.time_received_ns for each in line.stream.quotes]
    assert all(before < after for before, after in pairwise(times))


async def streaming(line: Line, seconds: float = 5.5) -> None:
    """Long enough for every stream to have a habit."""
    await until(lambda: line.whole() and line.received("quote") > 100)
    await asyncio.sleep(seconds)


async def test_a_link_without_data_is_left_though_it_answers(tmp_path: Path, exchange: SimulatedExchange) -> None:
    """Found by the age of its data within five seconds, fresh within eight, and every stream has its gap."""
    line = on_sim(tmp_path, exchange)
    async with line.running():
        await streaming(line)
        exchange.inflict(Faults(stall=True))
        stalled_s, stalled_ns = now_s(), line.clock.time_ns()
        await until(lambda: line.seen.disconnects)
        assert now_s() - stalled_s < 5
        await until(lambda: line.whole() and len(closed_gaps(line)) >= 9)
        assert now_s() - stalled_s < 8
    ((reason, _),) = line.seen.disconnects
    assert reason.startswith("no data for")
    assert {(gap.symbol, gap.channel) for gap in closed_gaps(line)} == {
        (each.symbol, channel) for each in line.instruments for channel in ALL
    }
    for gap in closed_gaps(line):
        assert gap.from_ns < stalled_ns + SECOND // 5 and gap.to_ns > stalled_ns + 2 * SECOND


async def test_a_link_that_stalls_again_is_left_as_soon_as_the_first_time(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """What silence there was while it was down is not taken for a habit; nor is that of a stream that was repaired."""
    line = on_sim(tmp_path, exchange)

    def asked() -> int:
        return line.seen.remakes.count(("quote", "BTC/USDT"))

    async with line.running():
        await streaming(line)
        for number in range(1, 4):
            exchange.inflict(Faults(stall=True))
            stalled_s = now_s()
            await until(lambda number=number: len(line.seen.disconnects) == number)  # type: ignore[misc]  # see above
            assert now_s() - stalled_s < 5
            await streaming(line, 3.0)
        for number in range(1, 4):
            exchange.inflict(Faults(drop=("BTCUSDT",)))
            dropped_s = now_s()
            await until(lambda number=number: asked() >= number)  # type: ignore[misc]  # see above
            assert now_s() - dropped_s < 6
            await streaming(line, 3.0)
    assert len(line.seen.disconnects) == 3


async def test_a_link_that_only_ever_answers_is_left_before_any_habit_is_known(
    tmp_path: Path, exchange: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every subscription is granted, again and again, and nothing comes: the next link brings it."""
    monkeypatch.setattr("traderd.runtime.session._PATIENCES", 0.1)
    exchange.inflict(Faults(unsent=("BTCUSDT", "ETHUSDT", "SOLUSDT")))
    line = on_sim(tmp_path, exchange, channels=("quote",))
    async with line.running():
        await until(lambda: line.seen.connects)
        exchange.inflict(Faults(unsent=("BTCUSDT", "ETHUSDT", "SOLUSDT"), lies_max=3))
        await until(lambda: line.received("quote") > 10)
    assert line.seen.connects >= 2
    assert all(reason.startswith("no data for") for reason, _ in line.seen.disconnects)


async def test_frames_that_cannot_be_read_are_one_hole_in_the_trades_until_a_second_passes_without(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """In those of every symbol, for nobody can tell whose they were; quotes have none, and the link stays."""
    line = on_sim(tmp_path, exchange, channels=("quote", "trade"))
    async with line.running():
        await until(lambda: line.session.census.seen == 6)
        exchange.inflict(Faults(corrupt=0.2))
        await until(lambda: len(line.seen.bad) > 20)
        assert {(gap.channel, gap.reason) for gap in line.gaps.open_gaps()} == {("trade", "sequence")}
        exchange.inflict(Faults())
        ended_ns = line.clock.time_ns()
        await until(lambda: not line.gaps.open_gaps())
    assert sorted(gap.symbol for gap in closed_gaps(line)) == sorted(exchange.symbols)
    assert all(gap.from_ns < ended_ns < gap.to_ns for gap in closed_gaps(line))
    assert line.seen.disconnects == []


async def test_one_silent_symbol_is_repaired_and_no_other_has_a_gap(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """On the same link, within six seconds, all its channels together."""
    line = on_sim(tmp_path, exchange)
    silent = line.instruments[0]
    async with line.running():
        await streaming(line)
        exchange.inflict(Faults(drop=(silent.venue_symbol,)))
        dropped_s = now_s()
        await until(line.gaps.open_gaps)
        await until(lambda: not [gap for gap in line.gaps.open_gaps() if gap.channel in ("quote", "book")])
        assert now_s() - dropped_s < 6
        assert line.whole()
    assert line.seen.connects == 1 and line.seen.disconnects == []
    assert {gap.symbol for gap in line.recorded_gaps()} == {silent.symbol}
    assert {gap.reason for gap in line.recorded_gaps()} == {"stale"}
    assert {("quote", silent.symbol), ("book", silent.symbol)} <= set(line.seen.remakes)
    assert {symbol for _, symbol in line.seen.remakes} == {silent.symbol}


async def test_links_are_changed_with_nothing_missing_and_nothing_doubled(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """The young link is up and brings everything before the old one is closed; quotes and trades as they were made."""
    line = on_sim(tmp_path, exchange, age_max_s=3.0)
    quotes: list[Quote] = []
    trades: list[Trade] = []
    handed_on = line.stream.on_events

    def keep(events: Sequence[Any]) -> None:
        quotes.extend(event for event in events if isinstance(event, Quote))
        trades.extend(event for event in events if isinstance(event, Trade))
        handed_on(events)

    line.stream.on_events = keep  # type: ignore[method-assign]
    async with line.running():
        await until(lambda: line.session.renewals == 2, 30.0)
        await asyncio.sleep(0.5)
        assert line.whole()
    assert line.recorded_gaps() == [] and line.seen.disconnects == []
    assert len({(each.instrument.index, each.sequence) for each in quotes}) == len(quotes) > 500
    for instrument in line.instruments:
        ids = [int(each.trade_id) for each in trades if each.instrument is instrument]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert len(ids) > 3


async def test_an_acknowledgement_that_nothing_follows_is_found_and_mended(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """The stream is asked for again on the same link, and not by a storm."""
    exchange.inflict(Faults(unsent=("BTCUSDT",), lies_max=1))
    line = on_sim(tmp_path, exchange, channels=("quote",))
    async with line.running():
        await until(lambda: line.session.census.acknowledged == 3)
        assert line.session.census.seen < 3
        await until(lambda: line.session.census.seen == 3, 20.0)
    assert set(line.seen.remakes) == {("quote", "BTC/USDT")} and len(line.seen.remakes) <= 3
    assert line.seen.connects == 1


async def test_a_ban_is_heeded_by_everybody_who_would_connect(tmp_path: Path, exchange: SimulatedExchange) -> None:
    """A 429 with Retry-After: nobody knocks before, whatever the own backoff says."""
    exchange.inflict(Faults(refuse_s=0.5, refuse_status=429, retry_after_s=2))
    admission = Admission(PLENTY, DrivenClock())
    first = on_sim(tmp_path / "a", exchange, channels=("quote",), admission=admission)
    second = on_sim(tmp_path / "b", exchange, channels=("quote",), admission=admission)
    begun = now_s()
    async with first.running():
        await until(lambda: first.seen.disconnects)
        async with second.running():
            await until(lambda: second.received("quote") and first.received("quote"))
            assert now_s() - begun >= 2
    assert "429" in first.seen.disconnects[0][0]
    assert len(first.seen.disconnects) == 1 and second.seen.disconnects == []
