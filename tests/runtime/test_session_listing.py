"""What a session does about an instrument that its venue trades no more, and about one that it trades again."""

import asyncio
from pathlib import Path

import pytest

from lines import Line, closed_gaps, until
from traderd.core.market import Instrument
from traderd.sim.faults import Faults
from traderd.sim.server import SimulatedExchange
from traderd.venues.binance import Binance
from traderd.venues.dialect import Endpoint

pytestmark = pytest.mark.driven


def on_sim(folder: Path, exchange: SimulatedExchange) -> Line:
    return Line(folder, Binance, Endpoint(exchange.url, exchange.rest_url), exchange.symbols)


def delist(line: Line, exchange: SimulatedExchange, gone: Instrument) -> None:
    """The venue sends nothing of it any more, and we are told."""
    exchange.inflict(Faults(drop=(gone.venue_symbol,)))
    line.session.retire(gone)
    line.pipeline.delisted(gone.exchange, gone.symbol)


def streams(exchange: SimulatedExchange, symbol: Instrument) -> list[str]:
    """What the newest connection is subscribed to of this symbol."""
    newest = exchange.ledger["connections"][-1]["streams"]
    return [stream for stream in newest if stream.startswith(symbol.venue_symbol.lower())]


async def test_what_is_delisted_is_left_and_is_no_gap_ever_after(tmp_path: Path, exchange: SimulatedExchange) -> None:
    """Neither its silence nor a new connection opens one; nobody asks for it, and no other stream notices."""
    line = on_sim(tmp_path, exchange)
    gone, *others = line.instruments
    async with line.running():
        await until(lambda: line.whole() and line.received("quote") > 100 and line.session.census.seen == 9)
        assert streams(exchange, gone)
        delist(line, exchange, gone)
        await until(lambda: not streams(exchange, gone))
        await asyncio.sleep(60.0)
        assert line.recorded_gaps() == [] and line.seen.remakes == [] and line.seen.disconnects == []
        assert (line.session.census.seen, line.session.census.parked) == (6, 3)
        assert not line.session.books[gone.index].usable
        exchange.inflict(Faults(cut=True))
        await until(lambda: len(closed_gaps(line)) == 6)
        await asyncio.sleep(60.0)
        assert not streams(exchange, gone) and streams(exchange, others[0])
        assert {gap.symbol for gap in line.recorded_gaps()} == {each.symbol for each in others}
        assert (line.session.census.seen, line.session.census.parked) == (6, 3)


async def test_gaps_that_a_delisted_symbol_had_open_end_for_good_with_the_reason(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """As unhealable; and no order passes, by a reason that says so."""
    line = on_sim(tmp_path, exchange)
    gone = line.instruments[0]
    async with line.running():
        await until(lambda: line.whole() and line.session.census.seen == 9)
        await asyncio.sleep(6.0)
        exchange.inflict(Faults(drop=(gone.venue_symbol,), unsent=(gone.venue_symbol,)))
        await until(lambda: len(line.gaps.open_gaps()) >= 2)
        delist(line, exchange, gone)
        assert line.gaps.open_gaps() == []
        ended = closed_gaps(line)
        assert {(gap.symbol, gap.status, gap.why_not) for gap in ended} == {
            (gone.symbol, "unhealable", "the venue trades it no more")
        }
        assert {gap.channel for gap in ended} >= {"quote", "book"}
        hindrance = "BTC/USDT is delisted: binance trades it no more"
        assert line.gaps.hindrance("binance", gone.symbol) == hindrance
        assert line.gaps.hindrance("binance", "ETH/USDT") == ""


async def test_what_is_traded_again_is_heard_again(tmp_path: Path, exchange: SimulatedExchange) -> None:
    """On the same connection, book included."""
    line = on_sim(tmp_path, exchange)
    gone = line.instruments[0]
    async with line.running():
        await until(lambda: line.whole() and line.session.census.seen == 9)
        delist(line, exchange, gone)
        await until(lambda: not streams(exchange, gone))
        line.session.revive(gone)
        line.pipeline.listed(gone.exchange, gone.symbol)
        await until(lambda: line.session.census.seen == 9 and line.whole(), 30.0)
        assert line.session.census.parked == 0
        assert line.gaps.hindrance("binance", gone.symbol) == ""
    assert line.seen.connects == 1 and line.recorded_gaps() == []


async def test_a_link_that_nothing_is_left_to_hear_on_is_given_up_until_there_is(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """Nobody knocks meanwhile, and nothing is unwell about it."""
    line = on_sim(tmp_path, exchange)
    async with line.running():
        await until(line.whole)
        for gone in line.instruments:
            delist(line, exchange, gone)
        await until(lambda: not exchange.broadcast._listeners)
        await asyncio.sleep(60.0)
        assert len(exchange.ledger["connects"]) == 1
        assert line.session.live and line.gaps.open_gaps() == []
        line.session.revive(line.instruments[1])
        await until(lambda: line.session.census.seen == 3)
        assert len(exchange.ledger["connects"]) == 2
        assert streams(exchange, line.instruments[1])
        assert not streams(exchange, line.instruments[0])
    assert line.recorded_gaps() == []
