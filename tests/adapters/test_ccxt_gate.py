"""ccxt's own Gate against a local server of Gate's protocol: books, candles and what contracts tell."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from gate import Gate
from listener import Path, until

from traderd.adapters import ccxt_books
from traderd.adapters.ccxt_candles import EndedCandles
from traderd.adapters.ccxt_client import CcxtClient
from traderd.adapters.ccxt_feed import CcxtFeed
from traderd.adapters.clock import SystemClock
from traderd.core.book_top import levels_of
from traderd.core.market import Funding, Instrument, MarkPrice, VenueCandle
from traderd.venues.ccxt_seats import ccxt_seats
from traderd.venues.dialect import AnyChannel

BIDS, ASKS = [["64000.1", "0.50"], ["63999", "2"]], [["64000.2", "0.25"], ["64003.5", "1"]]


@asynccontextmanager
async def heard(
    gate: Gate, channels: Sequence[AnyChannel], symbols: Sequence[str] = ("BTC/USDT",), depth: int = 10
) -> AsyncIterator[tuple[CcxtFeed, Path]]:
    """A feed that listens, once the venue's markets are known."""
    async with gate.open() as endpoint:
        (seat,) = ccxt_seats([("gate", symbols, channels, depth)], first=0)
        client = CcxtClient("gate", endpoint, spot_only=not any(":" in symbol for symbol in symbols))
        path = Path()
        common = (path, path, SystemClock(), random.random, path, 5.0, path.listings, 0)
        feed = CcxtFeed(client, "gate", seat.channels, seat.instruments, seat.book_depth, *common)  # type: ignore[arg-type]  # it stands for all three
        running = asyncio.create_task(feed.run())
        try:
            await until(lambda: path.listings.traded or running.done())
            yield feed, path
            assert not running.done(), running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_user_of_gate_has_quotes_trades_books_and_candles() -> None:
    """Each as the venue told it, the book cut to the depth asked for, a candle only once it has ended."""
    gate, minute = Gate(), int(time.time()) // 60 * 60
    closed = [str(minute - 60), "96000", "64001", "64002.50", "63999", "64000.10", "1.5", "true"]
    open_one = [str(minute), "6400", "64001", "64001", "64001", "64001", "0.1", "false"]
    gate.candles = [[str(minute - 600), *closed[1:]], closed, open_one]
    async with heard(gate, ("quote", "trade", "book", "candle"), depth=2) as (feed, path):
        await gate.until_subscribed("spot.book_ticker", "spot.trades", "spot.obu")
        gate.tell_book(1, True, [*BIDS, ["63000", "9"]], ASKS)
        gate.tell_book(2, False, [["64000.1", "0"], ["63999.5", "0.75"]], [])
        gate.tell_trade(11, "64000.2")
        gate.tell_quote(5, "63999.5", "64000.2")
        await until(lambda: path.trades and path.quotes and path.others and feed.books.books[0].best_bid())
        await until(lambda: feed.books.books[0].best_bid() == ("63999.5", "0.75"))
        book = feed.books.books[0]
        assert book.bids() == [("63999.5", "0.75"), ("63999.0", "2.0")] and len(book.asks()) == 2
        (btc,) = path.listings.traded
        stored = levels_of(book, btc, 1)
        assert stored is not None and (stored.spread, stored.sequence) == (Decimal("0.7"), 0)
        assert not book.summed
        assert (path.trades[0].trade_id, path.trades[0].price_text) == ("11", "64000.2")
        assert path.quotes[0].bid_text == "63999.5" and btc.feed == "ccxt"
        assert path.gaps.count(("whole", "BTC/USDT", "trade")) == 1
        (candle,) = path.others
        assert isinstance(candle, VenueCandle) and candle.closed and candle.open_time_ns == (minute - 60) * 10**9
        assert (candle.open, candle.high, candle.low, candle.close) == ("64000.10", "64002.50", "63999", "64001")
        assert (candle.volume, candle.timeframe) == ("1.5", "1m")
        assert feed.ways == {"quote": "websocket", "trade": "websocket", "book": "websocket", "candle": "polled"}
        assert path.refusals() == set()


async def test_a_cut_takes_the_book_away_until_it_comes_again() -> None:
    """Nothing of it is shown meanwhile."""
    gate = Gate()
    async with heard(gate, ("book",)) as (feed, path):
        await gate.until_subscribed("spot.obu")
        gate.tell_book(1, True, BIDS, ASKS)
        await until(lambda: feed.books.books[0].usable)
        assert ("whole", "BTC/USDT", "book") in path.gaps and feed.live
        gate.subscribed.clear()
        gate.cut()
        await until(lambda: not feed.books.books[0].usable)
        assert feed.books.books[0].bids() == [] and not feed.live
        assert {("opened", "BTC/USDT", "book", "disconnect"), ("opened", "", "", "disconnect")} <= set(path.gaps)
        await gate.until_subscribed("spot.obu")
        gate.tell_book(9, True, BIDS[1:], ASKS)
        await until(lambda: feed.books.books[0].usable and feed.live)
        assert feed.books.books[0].best_bid() == ("63999.0", "2.0")
        assert path.gaps[-1] in (("whole", "BTC/USDT", "book"), ("healed", "gate"))


async def test_a_crossed_book_is_not_shown() -> None:
    """It is a gap until ccxt has a sound one."""
    gate = Gate()
    async with heard(gate, ("book",)) as (feed, path):
        await gate.until_subscribed("spot.obu")
        gate.tell_book(1, True, BIDS, ASKS)
        await until(lambda: feed.books.books[0].usable)
        gate.tell_book(2, False, [["64005", "1"]], [])
        await until(lambda: not feed.books.books[0].usable)
        assert ("opened", "BTC/USDT", "book", "crossed") in path.gaps
        gate.tell_book(3, False, [["64005", "0"]], [])
        await until(lambda: feed.books.books[0].usable)
        assert path.gaps[-1] == ("whole", "BTC/USDT", "book")


async def test_a_book_that_falls_silent_is_asked_for_by_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """If that tells the same one nothing was missed; if it tells another one, the dead subscription is made anew."""
    monkeypatch.setattr(ccxt_books, "_QUIET_S", 0.3)
    gate = Gate()
    gate.book = {"bids": BIDS, "asks": ASKS}
    async with heard(gate, ("book",)) as (feed, path):
        await gate.until_subscribed("spot.obu")
        gate.tell_book(1, True, BIDS, ASKS)
        await until(lambda: sum("order_book" in path for path in gate.asked) > 1)
        assert feed.books.books[0].usable and feed.live and gate.subscribed == ["spot.obu"]
        gate.book = {"bids": BIDS[1:], "asks": ASKS}
        await until(lambda: len(gate.subscribed) > 1)
        gate.tell_book(7, True, BIDS[1:], ASKS)
        await until(lambda: feed.books.books[0].best_bid() == ("63999.0", "2.0"))
        assert ("opened", "", "", "disconnect") in path.gaps


async def test_what_the_venue_lacks_is_one_line_and_the_rest_is_heard() -> None:
    """Gate tells no open interest; spot has no funding at all, and a contract's mark price comes with its funding."""
    gate = Gate()
    channels: tuple[AnyChannel, ...] = ("funding", "mark", "open_interest", "liquidation")
    async with heard(gate, channels, ("BTC/USDT", "BTC/USDT:USDT")) as (feed, path):
        await until(lambda: len(path.others) >= 2 and feed.live)
        assert {event.instrument.symbol for event in path.others} == {"BTC/USDT:USDT"}  # type: ignore[union-attr]  # each has one
        (funding,) = (event for event in path.others if isinstance(event, Funding))
        assert (funding.rate, funding.next_time_ns) == ("-0.000018", 1_786_320_000 * 10**9)
        (mark,) = (event for event in path.others if isinstance(event, MarkPrice))
        assert (mark.mark, mark.index) == ("64001.20", "64000.9")
        unavailable = dict.fromkeys(("open_interest", "liquidation"), "unavailable")
        assert feed.ways == {"funding": "polled", "mark": "polled"} | unavailable
        assert path.refusals() == {("", f"ccxt has no {channel} of gate") for channel in unavailable}
        assert len([line for line in path.told if line[0] == "refused"]) == 2


async def test_candles_go_on_where_they_ended_and_the_venue_is_asked_in_turn() -> None:
    """Each once; one that has ended unmistakably though none follows; never more than ten minutes back."""
    btc = Instrument(0, "gate", "BTC/USDT", "BTC_USDT", "BTC", "USDT", feed="ccxt")
    row = [64000.1, 64002.5, 63999.0, 64001.0, 1.5]
    asked: list[int] = []
    told: list[list[float]] = []

    async def ask(method: str, symbol: str, timeframe: str, since_ms: int) -> list[list[float]]:
        asked.append(since_ms)
        return told

    minute = 60_000
    start_ms = 1_786_320_000_000
    clock = [start_ms + 5_000]
    candles = EndedCandles(btc, 0.5, ask, clock[0] * 10**6)
    for passed, opens, expected in (
        (0, [-2, -1, 0], [-1]),
        (1, [-1, 0], []),
        (1.5, [-1, 0], [0]),
        (3, [0, 1, 2, 3], [1, 2]),
        (30, [29, 30], [29]),
    ):
        clock[0] = start_ms + 5_000 + int(passed * minute)
        told[:] = [[start_ms + at * minute, *row] for at in opens]
        found = await candles.new(lambda: clock[0] * 10**6)
        assert [(each.open_time_ns // 10**6 - start_ms) // minute for each in found] == expected
    assert asked[-1] == clock[0] - 10 * minute
    assert candles.pause_s(start_ms * 10**6) == 20.0
    assert EndedCandles(btc, 0.0, ask, 0).pause_s((start_ms + 6_000) * 10**6) == 59.0
