"""What becomes of the holes of a venue whose tapes are held against REST: on real databases and a real journal."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from house import BTC, ETH, T0, S, Venue, fetched, house, ids, ledger

from conftest import Database
from traderd.core.facts import Candle
from traderd.core.market import Trade
from traderd.core.tape import Tape
from traderd.runtime.tape_healing import TapeHealing

MINUTE = 60 * S


def taped(trades: list[Trade]) -> Tape:
    tape = Tape()
    for trade in trades:
        tape.add(trade)
    return tape


def bar(number: int, count: int, marked: bool, symbol: str = "BTC/USDT") -> Candle:
    """One minute's, of prices that no trade has."""
    one = "1"
    return Candle("binance", symbol, "1m", T0 + number * MINUTE, one, one, one, one, one, one, count, has_gap=marked)


def healing_of(home: Any, tapes: dict[str, Tape]) -> TapeHealing:
    common = (home.pipeline, home.records, home.clock, home.stored, home.observer)
    return TapeHealing("binance", lambda: tapes, home.bars(["1m"]), *common)


async def test_bars_over_what_a_tape_lacked_are_made_anew_once_it_is_stored(database: Database, tmp_path: Path) -> None:
    """Also those that weren't marked, because nobody knew yet; whole bars aren't touched."""
    trades = Venue().trades(BTC, 240)  # four minutes, one a second
    unseen, cut = trades[65:70], trades[130:140]
    async with house(database, tmp_path, Venue()) as home:
        heard = [trade for trade in trades if trade not in unseen and trade not in cut]
        home.hear(heard)
        tape = taped(heard)
        for number, count, marked in ((0, 59, False), (1, 55, False), (2, 50, True), (3, 60, False)):
            home.pipeline.record(bar(number, count, marked))
        home.pipeline.gap_opened("binance", "", "", "disconnect", cut[0].time_received_ns)
        home.pipeline.gap_closed("binance", "", "", "disconnect", cut[-1].time_received_ns)
        healing = healing_of(home, {"BTC/USDT": tape})
        await home.stored()
        await healing.look()
        await home.stored()
        assert [gap.status for gap in await ledger(database)] == ["closed"], "the tape hasn't been compared so far"
        found = tape.compare(trades, trades[-1].time_venue_ns)
        assert found.missing == [*unseen, *cut]
        home.pipeline.gap_opened("binance", "BTC/USDT", "trade", "unseen", unseen[0].time_venue_ns)
        home.pipeline.backfill(home.stream, found.missing)
        home.pipeline.gap_closed("binance", "BTC/USDT", "trade", "unseen", unseen[-1].time_venue_ns)
        await home.stored()
        await healing.look()
        await home.stored()
        assert {(gap.reason, gap.status, gap.rows_healed, gap.healed_by) for gap in await ledger(database)} == {
            ("disconnect", "healed", 10, "rest"),
            ("unseen", "healed", 5, "rest"),
        }
        assert await ids(database) == list(range(1, 241))
        bars = await fetched(database, "SELECT trades_count, has_gap, open FROM ohlcv ORDER BY time")
        assert [(row["trades_count"], row["has_gap"]) for row in bars[:4]] == [(59, False)] + [(60, False)] * 3
        assert bars[0]["open"] == bars[3]["open"] == 1
        assert [bars[at]["open"] for at in (1, 2)] == [Decimal(trades[at].price_text) for at in (59, 119)]
        facts = home.journals[1].position
        await healing.look()
        home.pipeline.flush()
        assert home.journals[1].position == facts, "what is over is judged again"


async def test_what_no_comparison_reaches_stays_missing_with_the_reason(
    plain_database: Database, tmp_path: Path
) -> None:
    """Before the first trade, out of REST's reach, where nothing can be compared, and what was lost behind the tape."""
    trades, others = Venue().trades(BTC, 240), Venue().trades(ETH, 240)
    btc, eth = taped(trades[20:]), taped(others[20:])
    assert btc.compare(trades[100:], trades[-1].time_venue_ns).verdict == "out_of_reach"
    eth.given_up = "the tape can't be checked: the venue has no REST trades"
    spans = {
        ("", "", "restart"): (trades[5], trades[21]),
        ("BTC/USDT", "trade", "unchecked"): (trades[20], trades[100]),
        ("BTC/USDT", "trade", "unseen"): (trades[110], trades[120]),
        ("", "trade", "lost"): (trades[130], trades[140]),
    }
    async with house(plain_database, tmp_path, Venue()) as home:
        home.hear([*trades[20:], *others[20:]])
        home.pipeline.record(bar(1, 60, marked=True))
        for (symbol, channel, reason), (first, last) in spans.items():
            home.pipeline.gap_opened("binance", symbol, channel, reason, first.time_venue_ns)
            home.pipeline.gap_closed("binance", symbol, channel, reason, last.time_venue_ns)
        await home.stored()
        await healing_of(home, {"BTC/USDT": btc, "ETH/USDT": eth}).look()
        await home.stored()
        out_of_reach, lost = "REST doesn't reach back so far", "what came and couldn't be kept isn't asked for again"
        told = {gap.reason: (gap.status, gap.why_not) for gap in await ledger(plain_database)}
        assert told == {
            "restart": ("unhealable", f"BTC/USDT: {out_of_reach}; ETH/USDT: {eth.given_up}"),
            "unchecked": ("unhealable", out_of_reach),
            "unseen": ("healed", ""),
            "lost": ("unhealable", f"BTC/USDT: {lost} through ccxt; ETH/USDT: {lost} through ccxt"),
        }
        marked = "SELECT has_gap FROM ohlcv WHERE symbol = 'BTC/USDT' ORDER BY time OFFSET 1 LIMIT 1"
        assert [row[0] for row in await fetched(plain_database, marked)] == [True]


async def test_of_a_gap_of_all_symbols_only_the_bars_of_those_that_fail_stay_marked(
    plain_database: Database, tmp_path: Path
) -> None:
    """The row says which and why."""
    trades, others = Venue().trades(BTC, 130), Venue().trades(ETH, 130)
    btc, eth = taped(trades), taped(others)
    btc.compare(trades, trades[-1].time_venue_ns)
    eth.given_up = "no"
    async with house(plain_database, tmp_path, Venue()) as home:
        home.hear([*trades, *others])
        for symbol in ("BTC/USDT", "ETH/USDT"):
            home.pipeline.record(bar(1, 60, True, symbol))
        home.pipeline.gap_opened("binance", "", "", "disconnect", trades[70].time_received_ns)
        home.pipeline.gap_closed("binance", "", "", "disconnect", trades[80].time_received_ns)
        await home.stored()
        await healing_of(home, {"BTC/USDT": btc, "ETH/USDT": eth}).look()
        await home.stored()
        (gap,) = await ledger(plain_database)
        assert (gap.status, gap.why_not) == ("unhealable", "ETH/USDT: no")
        marked = await fetched(plain_database, "SELECT symbol FROM ohlcv WHERE has_gap")
        assert [row["symbol"] for row in marked] == ["ETH/USDT"]


async def test_a_gap_of_what_nobody_listens_to_waits_for_the_listing(plain_database: Database, tmp_path: Path) -> None:
    """It may take its time after a start; after ten minutes nobody will."""
    trades = Venue().trades(BTC, 20)
    async with house(plain_database, tmp_path, Venue()) as home:
        home.gap(trades[5].time_received_ns, trades[9].time_received_ns)
        healing = healing_of(home, {})
        await home.stored()
        await healing.look()
        await home.stored()
        assert [gap.status for gap in await ledger(plain_database)] == ["closed"]
        healing._began_ns -= 601 * S
        await healing.look()
        await home.stored()
        (gap,) = await ledger(plain_database)
        assert (gap.status, gap.why_not) == ("unhealable", "none of its symbols is listened to any more")
