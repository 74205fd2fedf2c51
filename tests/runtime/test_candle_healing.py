"""Bars over holes whose trades can't be had, on real databases: they become the venue's candles, once and in time."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from house import BTC, ETH, T0, BybitSpot, House, S, Venue, fetched, house, ledger
from msgspec.structs import replace

from conftest import Database
from traderd.core.errors import VenueRefusalError
from traderd.core.facts import Candle, Gap, Span
from traderd.runtime.healing import Healing
from traderd.runtime.wards import Patience

MINUTE = 60 * S
BTC_BYBIT = BybitSpot.instruments[0]
LEFT_OUT = "the venue leaves out some of the trades"


def ours(exchange: str, number: int, volume: int, timeframe: str = "1m", marked: bool = True) -> Candle:
    """A minute's bar as the engine made it of the trades that it heard."""
    one, much = "1", str(volume)
    return Candle(
        exchange, "BTC/USDT", timeframe, T0 + number * MINUTE, one, one, one, one, much, much, volume // 2,
        has_gap=marked,
    )  # fmt: skip


async def bars(database: Database, timeframe: str = "1m") -> list[dict[str, Any]]:
    query = "SELECT * FROM ohlcv WHERE timeframe = $1 ORDER BY time"
    return [dict(row) for row in await fetched(database, query, timeframe)]


async def only_gap(database: Database) -> Gap:
    (gap,) = await ledger(database)
    return gap


def forgotten(venue: Venue, first: int, last: int) -> None:
    """The venue serves these trades no more, though its candles are made of them."""
    tape = venue.tape["BTCUSDT"]
    venue.tape["BTCUSDT"] = [trade for trade in tape if not first <= int(trade.trade_id) <= last]


def candle_questions(venue: Venue) -> list[str]:
    return [url for url in venue.asked if "kline" in url]


async def hurt(home: House, venue: Venue, count: int = 240, first: int = 21, last: int = 200) -> None:
    """Of so many trades, one a second, these were missed, and can't be had."""
    trades = venue.trades(BTC, count)
    forgotten(venue, first, last)
    home.hear([*trades[: first - 1], *trades[last:]])
    home.gap(trades[first - 2].time_received_ns, trades[last].time_received_ns)
    await home.stored()


async def test_bars_over_trades_that_cannot_be_had_become_the_venues_candles(
    database: Database, tmp_path: Path
) -> None:
    """Exactly those that the missing part touches, with all the venue's figures, once; the gap says both."""
    venue = BybitSpot()
    trades = venue.trades(BTC_BYBIT, 330)
    for trade in trades:
        trade.trade_id = f"x-{int(trade.trade_id):04}"
    async with house(database, tmp_path, venue, timeframes=["1s", "1m"]) as home:
        home.hear([*trades[:20], *trades[290:]])
        home.gap(trades[19].time_received_ns, trades[290].time_received_ns)
        for bar in (ours("bybit", 0, 38), ours("bybit", 4, 60), ours("bybit", 5, 62, marked=False)):
            home.pipeline.record(bar)
        await home.stored()
        await home.healing.look()
        await home.stored()
        gap = await only_gap(database)
        assert (gap.status, gap.rows_healed) == ("unhealable", 20)
        assert gap.why_not == "the venue serves only the last 60 trades"
        missing = Span("BTC/USDT", trades[19].time_venue_ns, trades[270].time_venue_ns)
        assert gap.unfetched == (missing,)
        assert (gap.candles, gap.candles_due_ns) == ("0 of 1s (the venue serves none of this length), 5 of 1m", 0)
        made = await bars(database)
        assert [bar["backfilled"] for bar in made] == [True] * 5 + [False]
        assert not any(bar["has_gap"] for bar in made)
        for number, bar in enumerate(made[:5]):
            volume, _, prices, money = venue.counted("BTCUSDT", (T0 + number * MINUTE) // 10**6, 60_000)
            told = [bar[name] for name in ("open", "high", "low", "close", "volume", "quote_volume")]
            assert told == [Decimal(each) for each in (*prices, volume, money)]
        assert [bar["trades_count"] for bar in made] == [20, 0, 0, 0, 30, 31], "it doesn't tell how many: those we know"
        seconds = await bars(database, "1s")
        assert len(seconds) == 2 + 21 and not any(bar["backfilled"] for bar in seconds)
        (asked,) = candle_questions(venue)
        assert f"&start={T0 // 10**6}&end={(T0 + 5 * MINUTE) // 10**6 - 1}&" in asked
        await home.healing.look()
        assert len(candle_questions(venue)) == 1, "what is done is asked for again"


async def test_a_bar_that_misses_nothing_stays_ours(database: Database, tmp_path: Path) -> None:
    """As much volume as the venue tells proves it whole; more was never the venue's; a taken one is final."""
    venue = Venue()
    async with house(database, tmp_path, venue) as home:
        for number, volume in enumerate((10, 12, 8)):
            home.pipeline.record(ours("binance", number, volume))
        await home.stored()
        theirs = [replace(ours("binance", number, 10), trades_count=7, high="2") for number in range(4)]
        assert await home.records.take_candles(theirs) == 2
        assert await home.records.take_candles(theirs) == 2
        known = [(bar["volume"], bar["high"], bar["has_gap"], bar["backfilled"]) for bar in await bars(database)]
        assert known == [(10, 1, False, False), (12, 1, True, False), (10, 2, False, True), (10, 2, False, True)]

        home.pipeline.record(ours("binance", 2, 99))
        home.hear(venue.trades(BTC, 240))
        await home.stored()
        gap = Gap("r-g9", "binance", "BTC/USDT", "trade", "stale", T0, T0 + S, status="healed")
        await home.records.derive(gap, "BTC/USDT", "1m", T0, T0 + 4 * MINUTE)
        assert [bar["backfilled"] for bar in await bars(database)] == [False, False, True, True]
        assert [bar["volume"] for bar in await bars(database)][2:] == [10, 10]


async def test_candles_are_taken_when_their_bars_have_ended(plain_database: Database, tmp_path: Path) -> None:
    """The day's is awaited, by whichever run there is then; the trades aren't asked for again."""
    venue = Venue(page=1_000)
    day = 86_400 * S
    async with house(plain_database, tmp_path, venue, timeframes=["1d", "1m"]) as home:
        await hurt(home, venue)
        await home.healing.look()
        await home.stored()
        gap = await only_gap(plain_database)
        ends = gap.unfetched[0].to_ns // day * day + day
        assert (gap.why_not, gap.candles, gap.candles_due_ns) == (LEFT_OUT, "4 of 1m", ends + 15 * S)
        assert await bars(plain_database, "1d") == []
    asked = len(venue.asked)
    async with house(plain_database, tmp_path, venue, "s", timeframes=["1d", "1m"]) as home:
        await home.healing.look()
        assert len(venue.asked) == asked
        home.clock.by_ns = ends + 14 * S - home.clock.time_ns()
        await home.healing.look()
        assert len(venue.asked) == asked
        home.clock.by_ns += 2 * S
        venue.ahead_ns = home.clock.by_ns
        await home.healing.look()
        await home.stored()
        gap = await only_gap(plain_database)
        days = 1 + (gap.unfetched[0].to_ns // day - gap.unfetched[0].from_ns // day)
        assert (gap.candles, gap.candles_due_ns) == (f"4 of 1m, {days} of 1d", 0)
        assert len(venue.asked) == asked + 1
        taken = await bars(plain_database, "1d")
        assert sum(bar["trades_count"] for bar in taken) == 240 and all(bar["backfilled"] for bar in taken)


async def test_a_restart_in_the_middle_goes_on_with_the_candles(plain_database: Database, tmp_path: Path) -> None:
    """Killed while the venue was being asked: the next run asks again, and a bar is taken once."""
    venue = Venue(page=1_000)
    async with house(plain_database, tmp_path, venue, timeframes=["1s", "1m"]) as home:
        await hurt(home, venue, 460, 21, 440)
        silent = SilentOnce(venue, after=2)
        home.healing._rest = silent
        look = asyncio.create_task(home.healing.look())
        async with asyncio.timeout(10):
            await silent.reached.wait()
        look.cancel()
        await asyncio.gather(look, return_exceptions=True)
        await home.stored()
        first = [url.partition("startTime=")[2].partition("&")[0] for url in candle_questions(venue)]
        assert first == sorted(first, reverse=True) and len(first) == 3, "the newest page comes first"
        assert sum(bar["backfilled"] for bar in await bars(plain_database, "1s")) == 399
    trades_asked = len(venue.asked) - 3
    async with house(plain_database, tmp_path, venue, "s", timeframes=["1s", "1m"]) as home:
        await home.healing.look()
        await home.stored()
        assert (await only_gap(plain_database)).candles == "420 of 1s, 8 of 1m"
        assert sum(bar["backfilled"] for bar in await bars(plain_database, "1s")) == 420
        assert [bar["trades_count"] for bar in await bars(plain_database)] == [59, *[60] * 6, 41]
        assert len(venue.asked) - len(candle_questions(venue)) == trades_asked


class SilentOnce:
    """A venue that doesn't answer one of the questions for candles."""

    def __init__(self, venue: Venue, after: int) -> None:
        self.venue, self.left, self.reached = venue, after, asyncio.Event()

    async def get(self, url: str, timeout_s: float) -> bytes:
        body = await self.venue.get(url, timeout_s)
        if "kline" in url:
            self.left -= 1
            if self.left < 0:
                self.reached.set()
                await asyncio.Event().wait()
        return body


async def test_a_venue_that_refuses_its_candles_is_asked_in_vain_for_so_long_only(
    plain_database: Database, tmp_path: Path
) -> None:
    """Bars stay as they were made, and marked; the gap says why; trades of other gaps are healed meanwhile."""
    venue = Venue(page=1_000)
    venue.candle_answers = [ConnectionError("http://venue: HTTP 400")] * 100
    async with house(plain_database, tmp_path, venue) as home:
        await hurt(home, venue)
        home.healing._candles._patience = replace(Patience(), backoff_max_s=0.001, candles_s=0.0)
        await home.healing.look()
        newer = venue.trades(BTC, 60)
        home.hear(newer[50:])
        home.gap(venue.made["BTCUSDT"][239].time_received_ns, newer[50].time_received_ns)
        await home.stored()
        async with asyncio.timeout(10):
            while (await ledger(plain_database))[-1].candles_due_ns:
                await home.healing.look()
                await asyncio.sleep(0.002)
        await home.stored()
        newest, oldest = await ledger(plain_database)
        assert (newest.status, newest.rows_healed) == ("healed", 50)
        assert oldest.candles == "0 of 1m (the venue gives none: http://venue: HTTP 400)"
        assert len(candle_questions(venue)) == 10
        known = [(bar["trades_count"], bar["has_gap"], bar["backfilled"]) for bar in await bars(plain_database)]
        assert known[:2] == [(20, True, False), (39, True, False)]


async def test_a_venue_that_forbids_or_is_away_gives_its_candles_later(
    plain_database: Database, tmp_path: Path
) -> None:
    """What forbids holds all questions back; everything else only this one."""
    venue = Venue(page=1_000)
    venue.candle_answers = [VenueRefusalError("HTTP 429", 429, 0.05), ConnectionError("no route"), b"<html>"]
    async with house(plain_database, tmp_path, venue) as home:
        await hurt(home, venue)
        with pytest.raises(VenueRefusalError):
            await home.healing.look()
        task = asyncio.create_task(home.healing.run())
        async with asyncio.timeout(10):
            while not (await only_gap(plain_database)).candles:
                assert not task.done()
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await only_gap(plain_database)).candles == "4 of 1m"
        assert home.observer.delays == ["candles of BTC/USDT: no route", "candles of BTC/USDT: malformed"]


def kline(number: int, prices: tuple[str, str, str, str] = ("1", "3", "1", "2"), volume: str = "9000") -> list[Any]:
    open_ms = (T0 + number * MINUTE) // 10**6
    return [open_ms, *prices, volume, open_ms + 59_999, "", 3, "0", "0", "0"]


async def test_candles_that_cannot_be_right_are_not_taken(plain_database: Database, tmp_path: Path) -> None:
    """Of another time, without a trade, told twice, open still; money that isn't told is the typical price's."""
    venue = Venue(page=1_000)
    odd = [kline(1), kline(1), kline(2, volume="0"), kline(-1), kline(99), [kline(3)[0] + 1, *kline(3)[1:]]]
    venue.candle_answers = [json.dumps([kline(0, ("1", "0.5", "1", "1"))]).encode(), json.dumps(odd).encode()]
    async with house(plain_database, tmp_path, venue) as home:
        await hurt(home, venue)
        await home.healing.look()
        assert home.observer.delays == ["candles of BTC/USDT: bad_number"]
        await asyncio.sleep(0.06)
        await home.healing.look()
        await home.stored()
        assert (await only_gap(plain_database)).candles == "1 of 1m"
        taken = [bar for bar in await bars(plain_database) if bar["backfilled"]]
        assert [(bar["volume"], bar["quote_volume"], bar["trades_count"]) for bar in taken] == [(9_000, 18_000, 3)]


@pytest.mark.parametrize("body", [b"[]", json.dumps([kline(77)]).encode()])
async def test_a_venue_without_candles_of_the_time_is_believed(
    body: bytes, plain_database: Database, tmp_path: Path
) -> None:
    """It isn't asked again."""
    venue = Venue(page=1_000)
    venue.candle_answers = [body]
    async with house(plain_database, tmp_path, venue) as home:
        await hurt(home, venue)
        await home.healing.look()
        await home.stored()
        gap = await only_gap(plain_database)
        assert (gap.candles, gap.candles_due_ns) == ("0 of 1m (the venue tells none of this time)", 0)


async def test_symbols_that_nobody_listens_to_any_more_get_no_candles(plain_database: Database, tmp_path: Path) -> None:
    """After a restart they are waited for, and then given up."""
    venue = Venue(page=1_000)
    venue.candle_answers = [VenueRefusalError("HTTP 403", 403, 0.0)]
    async with house(plain_database, tmp_path, venue) as home:
        await hurt(home, venue)
        with pytest.raises(VenueRefusalError):
            await home.healing.look()
    async with house(plain_database, tmp_path, venue, "s") as home:
        healing: Healing = home.healing
        healing.dismiss("BTC/USDT")
        await healing.look()
        assert (await only_gap(plain_database)).candles_due_ns
        home.clock.by_ns = 601 * S
        await healing.look()
        await home.stored()
        gap = await only_gap(plain_database)
        assert (gap.candles, gap.candles_due_ns) == ("0 of 1m (it isn't listened to any more)", 0)


async def test_only_symbols_whose_trades_cannot_be_had_get_candles(plain_database: Database, tmp_path: Path) -> None:
    """Though one gap was all symbols': the others' bars are made of their trades."""
    venue = Venue(page=1_000)
    async with house(plain_database, tmp_path, venue) as home:
        btc, eth = venue.trades(BTC, 240), venue.trades(ETH, 240)
        forgotten(venue, 100, 150)
        home.hear([*btc[:50], *btc[200:], *eth[:50], *eth[200:]])
        home.gap(btc[49].time_received_ns, btc[200].time_received_ns, symbol="", channel="")
        await home.stored()
        await home.healing.look()
        await home.stored()
        gap = await only_gap(plain_database)
        assert (gap.status, gap.rows_healed) == ("unhealable", 99 + 150)
        assert gap.unfetched == (Span("BTC/USDT", btc[98].time_venue_ns, btc[150].time_venue_ns),)
        assert (gap.why_not, gap.candles) == (f"BTC/USDT: {LEFT_OUT}", "2 of 1m")
        (asked,) = candle_questions(venue)
        assert "symbol=BTCUSDT" in asked
        made = sorted(await bars(plain_database), key=lambda bar: (bar["symbol"], bar["time"]))
        assert [bar["trades_count"] for bar in made] == [59, 60, 60, 60, 59, 60, 60, 60]
        assert [bar["backfilled"] for bar in made] == [False, True, True, *[False] * 5]
        assert not any(bar["has_gap"] for bar in made)
