"""Healing on real databases and a real journal; the venue's REST is a tape with pages, and fails on demand."""

import asyncio
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from house import BTC, ETH, NOW, T0, S, Venue, fetched, house, ids, ledger, now_ns

from conftest import Database
from traderd.core.errors import VenueRefusalError
from traderd.core.facts import Candle, Gap, Span
from traderd.runtime.wards import Patience


async def test_what_a_gap_swallowed_is_fetched_stored_once_and_marked(database: Database, tmp_path: Path) -> None:
    """Page by page, what overlaps dropped; the gap says what became of it, and every row is accounted for."""
    venue = Venue()
    trades = venue.trades(BTC, 60)
    async with house(database, tmp_path, venue) as home:
        home.hear(trades[:20])
        home.gap(trades[19].time_received_ns, trades[50].time_received_ns)
        home.hear([trades[30], *trades[50:]])  # one of the lost came by another way
        await home.stored()
        await home.healing.look()
        await home.stored()
        assert await ids(database) == list(range(1, 61))
        query = "SELECT trade_id FROM public_trades WHERE backfilled ORDER BY trade_id::bigint"
        assert [int(row[0]) for row in await fetched(database, query)] == [n for n in range(21, 51) if n != 31]
        (gap,) = await ledger(database)
        assert (gap.status, gap.rows_healed, gap.healed_by, gap.why_not) == ("healed", 29, "rest", "")
        assert (gap.after_id, gap.before_id) == ("20", "51")
        assert gap.healed_ns > NOW
        counts = home.stream.counts
        assert (counts["trade"].journalled, counts["backfill"].journalled, counts["backfill"].lost) == (31, 29, 0)
        assert home.ticks.duplicates == 0
        asked = len(venue.asked)
        await home.healing.look()
        assert len(venue.asked) == asked, "a healed gap is asked for again"


async def test_the_newest_gap_is_healed_first_and_a_gap_without_symbol_in_every_symbol(
    plain_database: Database, tmp_path: Path
) -> None:
    """One row for all of them, with the sum."""
    venue = Venue(page=1_000)
    btc, eth = venue.trades(BTC, 90), venue.trades(ETH, 90)
    async with house(plain_database, tmp_path, venue) as home:
        home.hear([*btc[:20], *eth[:20], *btc[30:60], *eth[30:60], *btc[80:], *eth[80:]])
        home.gap(btc[19].time_received_ns, btc[30].time_received_ns)
        home.gap(btc[59].time_received_ns, btc[80].time_received_ns, symbol="", channel="")
        home.gap(btc[59].time_received_ns, btc[80].time_received_ns, channel="book")
        await home.stored()
        await home.healing.look()
        await home.stored()
        assert [urlsplit(url).query.partition("&limit")[0] for url in venue.asked] == [
            "symbol=BTCUSDT&fromId=61",
            "symbol=ETHUSDT&fromId=61",
            "symbol=BTCUSDT&fromId=21",
        ]
        found = {(gap.channel, gap.symbol): (gap.status, gap.rows_healed) for gap in await ledger(plain_database)}
        assert found == {
            ("trade", "BTC/USDT"): ("healed", 10),
            ("", ""): ("healed", 40),
            ("book", "BTC/USDT"): ("closed", 0),
        }
        assert await ids(plain_database) == list(range(1, 91))


async def test_a_gap_that_a_restart_interrupts_is_healed_by_the_next_run(
    plain_database: Database, tmp_path: Path
) -> None:
    """What the first run had fetched isn't stored twice, and counts."""
    venue = Venue(page=5)
    trades = venue.trades(BTC, 40)
    async with house(plain_database, tmp_path, venue) as home:
        home.hear([*trades[:10], *trades[30:]])
        home.gap(trades[9].time_received_ns, trades[30].time_received_ns)
        await home.stored()
        wait = asyncio.create_task(home.healing.look())
        while len(venue.asked) < 3:
            await asyncio.sleep(0.001)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        await home.stored()
        assert 10 < len(await ids(plain_database)) - 10 < 30 or len(venue.asked) < 6
    async with house(plain_database, tmp_path, venue, run="s") as home:
        await home.healing.look()
        await home.stored()
        (gap,) = await ledger(plain_database)
        assert (gap.status, gap.rows_healed) == ("healed", 20)
        assert await ids(plain_database) == list(range(1, 41))


async def test_a_venue_that_is_away_or_forbids_is_asked_again(plain_database: Database, tmp_path: Path) -> None:
    """Until it answers; meanwhile the gap stays closed and unhealed."""
    venue = Venue()
    trades = venue.trades(BTC, 30)
    venue.faults = [ConnectionError("no route"), VenueRefusalError("HTTP 429", 429, 0.1), ConnectionError("no route")]
    async with house(plain_database, tmp_path, venue) as home:
        home.hear([*trades[:10], *trades[20:]])
        home.gap(trades[9].time_received_ns, trades[20].time_received_ns)
        await home.stored()
        task = asyncio.create_task(home.healing.run())
        async with asyncio.timeout(10):
            while not await _is(plain_database, "healed"):
                assert not task.done()
                home.pipeline.flush()
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(home.observer.delays) == 3 and "HTTP 429" in home.observer.delays[1]
        assert await ids(plain_database) == list(range(1, 31))


async def _is(database: Database, status: str) -> bool:
    return [gap.status for gap in await ledger(database)] == [status]


async def test_what_the_venue_does_not_serve_stays_missing_with_its_reason(
    plain_database: Database, tmp_path: Path
) -> None:
    """What it does serve is stored all the same, and no restart asks again."""
    venue = Venue(page=100)
    trades = venue.trades(BTC, 40)
    venue.tape["BTCUSDT"] = trades[:20]
    async with house(plain_database, tmp_path, venue) as home:
        home.hear([*trades[:10], *trades[30:]])
        home.gap(trades[9].time_received_ns, trades[30].time_received_ns)
        await home.stored()
        await home.healing.look()
        await home.stored()
        (gap,) = await ledger(plain_database)
        assert (gap.status, gap.rows_healed, gap.healed_ns) == ("unhealable", 10, 0)
        assert gap.why_not == "the venue serves none of the trades between those before the gap and those after it"
        assert await home.records.unhealed("binance") == []


async def test_a_symbol_that_nobody_hears_after_the_gap_is_waited_for(plain_database: Database, tmp_path: Path) -> None:
    """Without a trade behind the gap its end isn't known yet; the venue isn't asked meanwhile."""
    venue = Venue()
    trades = venue.trades(BTC, 20)
    now = now_ns()
    async with house(plain_database, tmp_path, venue) as home:
        home.hear(trades[:10])
        home.gap(trades[9].time_received_ns, now)
        await home.stored()
        await home.healing.look()
        assert venue.asked == [] and await _is(plain_database, "closed")
        home.healing._patience = Patience(settle_s=0.0, quiet_s=0.0)  # as after a minute
        home.healing._wounds.clear()
        await home.healing.look()
        await home.stored()
        assert await _is(plain_database, "healed")
        assert await ids(plain_database) == list(range(1, 21))


async def test_bars_made_over_a_gap_are_made_anew_from_all_trades(database: Database, tmp_path: Path) -> None:
    """And lose their mark, but where another hole lies in them; a whole bar isn't touched."""
    venue = Venue(page=1_000)
    trades = venue.trades(BTC, 240)  # four minutes, one a second
    minute = 60 * S
    async with house(database, tmp_path, venue) as home:
        home.hear([*trades[:70], *trades[90:]])
        home.gap(trades[69].time_received_ns, trades[90].time_received_ns)
        one = "1"
        for number, marked, count in ((0, False, 59), (1, True, 41), (2, False, 60)):
            home.pipeline.record(
                Candle(
                    "binance",
                    "BTC/USDT",
                    "1m",
                    T0 + number * minute,
                    one,
                    one,
                    one,
                    one,
                    one,
                    one,
                    count,
                    has_gap=marked,
                    differs=marked,
                )
            )
        home.pipeline.gap_opened("binance", "ETH/USDT", "trade", "disconnect", trades[69].time_received_ns)
        await home.stored()
        await home.healing.look()
        bars = await fetched(database, "SELECT * FROM ohlcv WHERE timeframe = '1m' ORDER BY time")
        inside = [trade for trade in trades if T0 + minute <= trade.time_venue_ns < T0 + 2 * minute]
        prices = [Decimal(trade.price_text) for trade in inside]
        assert [(bar["trades_count"], bar["has_gap"]) for bar in bars] == [(59, False), (60, False), (60, False)]
        assert (bars[1]["open"], bars[1]["high"], bars[1]["low"], bars[1]["close"]) == (
            prices[0], max(prices), min(prices), prices[-1],
        )  # fmt: skip
        assert bars[1]["volume"] == 120 and bars[1]["quote_volume"] == sum(2 * price for price in prices)
        assert bars[0]["close"] == bars[2]["close"] == 1
        assert not bars[1]["differs"], "it is another bar than the one that differed"
        gap = next(gap for gap in await ledger(database) if gap.symbol == "BTC/USDT")
        home.pipeline.gap_opened("binance", "BTC/USDT", "trade", "stale", trades[79].time_received_ns)
        await home.stored()
        await home.records.derive(gap, "BTC/USDT", "1m", T0, T0 + 2 * minute)
        assert [row["has_gap"] for row in await fetched(database, "SELECT has_gap FROM ohlcv ORDER BY time")][1]


async def test_a_trade_that_comes_by_the_stream_and_by_rest_is_stored_once(database: Database, tmp_path: Path) -> None:
    """In one batch or after each other, whichever is first; no batch fails for it."""
    venue = Venue()
    trades = venue.trades(BTC, 9)
    async with house(database, tmp_path, venue) as home:
        home.hear(trades[:3])
        home.pipeline.flush()
        home.pipeline.backfill(home.stream, trades[2:6])
        await home.stored()
        home.pipeline.backfill(home.stream, trades[:7])
        home.hear(trades[4:])
        await home.stored()
        assert await ids(database) == list(range(1, 10))
        assert home.ticks.duplicates == 1 + 6 + 3
        assert await fetched(database, "SELECT FROM quarantine") == []


async def test_bars_that_a_run_did_not_live_to_make_anew_are_made_anew_by_the_next(
    plain_database: Database, tmp_path: Path
) -> None:
    """Until then the ledger says whose they are, though the gap itself is healed."""
    venue = Venue(page=1_000)
    trades = venue.trades(BTC, 240)
    async with house(plain_database, tmp_path, venue) as home:
        home.clock.by_ns = T0 + 170 * S - now_ns()  # ten seconds before the bar ends
        home.hear([*trades[:130], *trades[150:]])
        home.gap(trades[129].time_received_ns, trades[150].time_received_ns)
        await home.stored()
        await home.healing.look()
        home.pipeline.record(Candle("binance", "BTC/USDT", "1m", T0 + 120 * S, *["1"] * 6, 40, has_gap=True))
        await home.stored()
        (gap,) = await ledger(plain_database)
        assert (gap.status, gap.rows_healed) == ("healed", 20)
        assert [span.symbol for span in gap.hurt_bars] == ["BTC/USDT"]
    async with house(plain_database, tmp_path, venue, run="s") as home:
        await home.healing.look()
        (bar,) = await fetched(plain_database, "SELECT * FROM ohlcv")
        assert (bar["trades_count"], bar["volume"], bar["has_gap"]) == (60, 120, False)
        (gap,) = await ledger(plain_database)
        assert gap.hurt_bars == (), "the run after the next makes them anew again"


async def test_of_trades_at_one_moment_the_lowest_id_opens_a_bar_and_the_highest_closes_it(
    database: Database, tmp_path: Path
) -> None:
    """By number, as venues count: 9 comes before 10."""
    venue = Venue()
    trades = [*venue.trades(BTC, 12, every_ns=0), *venue.trades(BTC, 1, every_ns=2 * S)]
    async with house(database, tmp_path, venue, timeframes=["1s"]) as home:
        home.hear(trades[8:])
        await home.stored()
        gap = Gap("r-g9", "binance", "BTC/USDT", "trade", "stale", T0, T0 + S, status="healed")
        await home.records.derive(gap, "BTC/USDT", "1s", T0, T0 + 60 * S)
        bars = await fetched(database, "SELECT open, close, trades_count FROM ohlcv ORDER BY time")
        lone = Decimal(trades[12].price_text)
        assert [tuple(bar) for bar in bars] == [
            (Decimal(trades[8].price_text), Decimal(trades[11].price_text), 4),
            (lone, lone, 1),
        ]


async def test_a_bar_is_made_anew_when_the_engine_has_said_its_last_word_on_it(
    plain_database: Database, tmp_path: Path
) -> None:
    """Which would otherwise come afterwards, with the mark and without what was fetched."""
    venue = Venue()
    async with house(plain_database, tmp_path, venue) as home:
        home.hear(venue.trades(BTC, 30))
        await home.stored()
        bars = home.bars(["1m"], grace_ms=20_000)
        bars.add(
            Gap("r-g9", "binance", "BTC/USDT", "trade", "stale", T0, T0 + S, hurt_bars=(Span("BTC/USDT", T0, T0 + S),))
        )
        for after_s, made in ((60 + 20, 0), (60 + 23, 1)):
            home.clock.by_ns = T0 + after_s * S - now_ns()
            await bars.derive(home.stored)
            assert len(await fetched(plain_database, "SELECT FROM ohlcv")) == made
