"""A venue's feed against the simulated exchange: instruments that aren't traded any more, and what a restart opens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from driven import DrivenConnector
from lines import Line, closed_gaps, until
from made_up import MS, SECOND
from traderd.adapters.logs import logger
from traderd.adapters.metrics import Metrics
from traderd.adapters.telemetry import Telemetry
from traderd.app.feeds import Feeds, Recordings, away_since_ns
from traderd.config.schema import Venue
from traderd.core.market import Instrument
from traderd.runtime.listing import watch_listing
from traderd.sim.faults import Faults
from traderd.sim.server import SimulatedExchange
from traderd.venues.binance import Binance
from traderd.venues.dialect import AnyChannel, Endpoint
from traderd.venues.roster import seats

pytestmark = pytest.mark.driven
CHANNELS: tuple[AnyChannel, ...] = ("quote", "trade", "book")
NOW = 1_800_000_000 * SECOND


class Heard:
    """A feed of the simulated exchange, and what it told."""

    def __init__(self, folder: Path, exchange: SimulatedExchange) -> None:
        endpoint = Endpoint(exchange.url, exchange.rest_url)
        self.line = line = Line(folder, Binance, endpoint, exchange.symbols)
        settings = {"binance": Venue(name="binance", symbols=tuple(exchange.symbols))}
        self.feeds = feeds_of(settings, line)
        self.described: list[list[Instrument]] = []
        self.gone: list[list[str]] = []
        self.missing: list[str] = []
        self.forsaken: list[tuple[str, str]] = []
        self.patients: list[list[str]] = []
        self.feeds.described = self.described.append
        self.feeds.delisted = lambda instruments: self.gone.append([each.symbol for each in instruments])
        self.feeds.unlisted = lambda instruments: self.missing.extend(each.symbol for each in instruments)
        self.feeds.forsake = lambda venue, symbol: self.forsaken.append((venue, symbol))
        self.feeds.heal = lambda dialect, at, instruments, *rest: self.patients.append(
            [each.symbol for each in instruments]
        )


def feeds_of(settings: dict[str, Venue], line: Line) -> Feeds:
    telemetry = Telemetry(Metrics(), logger("test"), 0)
    return Feeds(settings, line.pipeline, line.rest, line.clock, telemetry, Recordings(None, 0))  # type: ignore[arg-type]  # driven time


@asynccontextmanager
async def listening(folder: Path, exchange: SimulatedExchange, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Heard]:
    """It looks at the listing every 20 s."""
    heard = Heard(folder, exchange)
    monkeypatch.setattr("traderd.app.feeds.WebsocketConnector", lambda: DrivenConnector(heard.line.clock))
    monkeypatch.setattr("traderd.app.feeds.watch_listing", partial(watch_listing, refresh_s=20.0, look_again_s=10.0))
    (seat,) = seats([("binance", exchange.symbols, CHANNELS, 10)])
    running = asyncio.create_task(heard.feeds.run(seat, Endpoint(exchange.url, exchange.rest_url), {}))
    try:
        await until(lambda: heard.feeds.venues)
        yield heard
        assert not running.done() or running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await heard.line.rest.close()


async def test_a_symbol_that_the_venue_drops_is_left_told_once_and_heard_again_when_it_is_back(
    tmp_path: Path, exchange: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its open gaps end with the reason, nothing of it is healed or ordered meanwhile, and the others don't notice."""
    async with listening(tmp_path, exchange, monkeypatch) as heard:
        line, feeds = heard.line, heard.feeds
        (session,) = feeds.venues["binance"].sessions
        await until(lambda: session.census.seen == 9)
        await asyncio.sleep(6.0)  # now it is known what silence is usual
        exchange.inflict(Faults(delisted=("ETHUSDT",)))
        await until(lambda: heard.gone, 60.0)
        await asyncio.sleep(60.0)
        assert heard.gone == [["ETH/USDT"]] and heard.forsaken == [("binance", "ETH/USDT")]
        assert [each.symbol for each in feeds.venues["binance"].wanted] == ["BTC/USDT", "SOL/USDT"]
        assert (session.census.seen, session.census.parked) == (6, 3)
        assert line.gaps.open_gaps() == []
        ended = closed_gaps(line)
        assert {(gap.symbol, gap.status) for gap in ended} == {("ETH/USDT", "unhealable")}
        assert "delisted" in line.gaps.hindrance("binance", "ETH/USDT")
        exchange.inflict(Faults())
        await until(lambda: session.census.seen == 9 and all(book.usable for book in session.books.values()), 90.0)
        assert line.gaps.hindrance("binance", "ETH/USDT") == ""
        assert heard.patients == [exchange.symbols, ["ETH/USDT"]] and len(exchange.ledger["connects"]) == 1
        assert len(heard.gone) == 1 and line.gaps.open_gaps() == []
        assert [each.symbol for each in feeds.venues["binance"].wanted] == exchange.symbols


async def test_a_symbol_that_is_not_listed_at_the_start_is_heard_once_it_is(
    tmp_path: Path, exchange: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a connection of its own, with the venue's figures; those that were there don't notice."""
    exchange.inflict(Faults(delisted=("ETHUSDT",)))
    async with listening(tmp_path, exchange, monkeypatch) as heard:
        venue = heard.feeds.venues["binance"]
        await until(lambda: venue.sessions[0].census.seen == 6)
        assert "delisted" in heard.line.gaps.hindrance("binance", "ETH/USDT")
        assert [each.symbol for each in venue.known] == ["BTC/USDT", "SOL/USDT"] and heard.missing == ["ETH/USDT"]
        exchange.inflict(Faults())
        await until(lambda: len(venue.sessions) == 2 and venue.sessions[1].census.seen == 3, 60.0)
        await until(lambda: heard.feeds.live == {"binance": True} and all(book.usable for book in venue.books.values()))
        assert heard.line.gaps.hindrance("binance", "ETH/USDT") == "" and heard.line.gaps.open_gaps() == []
        (eth,) = heard.described[-1]
        assert (eth.symbol, eth.index) == ("ETH/USDT", 1) and eth.notional_min > 0
        assert venue.sessions[1]._streams.instruments == [eth]
        assert heard.patients == [["BTC/USDT", "SOL/USDT"], ["ETH/USDT"]]
        assert heard.gone == [] and len(exchange.ledger["connects"]) == 2
        assert set(venue.books) == {0, 1, 2}


async def test_a_venue_that_lists_nothing_of_ours_is_connected_to_once_it_does(
    tmp_path: Path, exchange: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it isn't called live: who waits for it goes on waiting."""
    exchange.inflict(Faults(delisted=("BTCUSDT", "ETHUSDT", "SOLUSDT")))
    async with listening(tmp_path, exchange, monkeypatch) as heard:
        await asyncio.sleep(60.0)
        assert heard.feeds.live == {} and exchange.ledger["connects"] == []
        exchange.inflict(Faults(delisted=("ETHUSDT",)))
        await until(lambda: heard.feeds.live == {"binance": True}, 60.0)
        assert [each.symbol for each in heard.feeds.venues["binance"].wanted] == ["BTC/USDT", "SOL/USDT"]


async def test_after_a_restart_only_what_the_venue_offers_is_taken_for_missing(
    tmp_path: Path, exchange: SimulatedExchange
) -> None:
    """A dated contract has no funding: a gap in it would never end."""
    line = Line(tmp_path, Binance, Endpoint(exchange.url, exchange.rest_url), exchange.symbols)
    symbols = ["BTC/USDT:USDT", "BTC/USDT:USDT-261225"]
    (seat,) = seats([("okx", symbols, ("funding", "mark"), 10)])
    settings = {"okx": Venue(name="okx", symbols=tuple(symbols))}
    feeds = feeds_of(settings, line)
    feeds.described = lambda instruments: None
    nowhere = Endpoint("ws://127.0.0.1:1", "http://127.0.0.1:1")
    running = asyncio.create_task(feeds.run(seat, nowhere, {"tick_data:okx:quote": NOW}))
    await until(line.gaps.open_gaps)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await line.rest.close()
    opened = {(gap.symbol, gap.channel, gap.reason) for gap in line.gaps.open_gaps()}
    assert opened == {(symbols[0], "funding", "restart"), *((each, "mark", "restart") for each in symbols)}


@pytest.mark.parametrize(
    ("channel", "since_ns"),
    [
        ("quote", NOW),
        ("trade", NOW - 40 * MS),  # killed between the two: the trades that gathered beside the quotes are lost
        ("book", NOW),  # isn't journalled as ticks are
    ],
)
def test_a_channels_hole_begins_at_its_own_newest_row(channel: str, since_ns: int) -> None:
    """What gathers together is journalled channel by channel."""
    newest = {"tick_data:binance:quote": NOW, "public_trades:binance:trade": NOW - 40 * MS}
    assert away_since_ns(newest, "binance", channel) == since_ns


def test_a_channel_that_was_silent_is_no_hole_of_minutes() -> None:
    """It would have been journalled within a second."""
    newest = {"tick_data:binance:quote": NOW, "public_trades:binance:trade": NOW - 600 * SECOND}
    assert away_since_ns(newest, "binance", "trade") == NOW - SECOND
