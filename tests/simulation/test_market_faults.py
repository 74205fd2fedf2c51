"""The exchange fails in every way that real ones do; the daemon finds it in seconds, and no trade is missing after.

TRADERD_TEST_LONG=1 lasts as long as the promises say: a minute of refused connections instead of some seconds.
"""

import asyncio
import time
from pathlib import Path

import pytest
from books import rows
from daemons import LONG
from faulty import (
    SYMBOLS,
    connects,
    expect_every_trade,
    fresh_again,
    inflict,
    listening,
    remembering,
    seconds_until,
    warm,
)

from conftest import Database
from traderd.sim.faults import Faults

pytestmark = pytest.mark.process
FOUND_S_MAX = 5.0
FRESH_S_MAX = 8.0
REPAIRED_S_MAX = 6.0
BACK_S_MAX = 33.0
"""After refusals: the longest pause between two attempts, of which chance takes a part, and a moment to connect."""
CONNECTS_PER_MINUTE_MAX = 30
HEALED_S_MAX = 20.0
STORED_S_MAX = 5.0


@pytest.mark.parametrize("fault", [Faults(stall=True), Faults(half_open=True)], ids=["stalled", "half open"])
async def test_a_link_without_data_is_left_whatever_its_pings_say(
    fault: Faults, plain_database: Database, tmp_path: Path
) -> None:
    """Found in five seconds, fresh in eight, and every trade of the hole is fetched."""
    async with remembering() as exchange:
        with listening(tmp_path, exchange, plain_database.dsn) as daemon:
            await warm(daemon)
            since_s = inflict(exchange, fault)
            found_s = await seconds_until(lambda: connects(exchange, since_s), since_s, FOUND_S_MAX, "found")
            fresh_s = await fresh_again(daemon, since_s, FRESH_S_MAX)
            print(f"found after {found_s:.1f} s, fresh after {fresh_s:.1f} s")
            assert await expect_every_trade(exchange, plain_database.dsn, HEALED_S_MAX) > 500


async def test_one_silent_symbol_of_twenty_is_repaired_and_no_other_notices(
    plain_database: Database, tmp_path: Path
) -> None:
    """On the same connection, in six seconds; the others have no gap."""
    async with remembering() as exchange:
        with listening(tmp_path, exchange, plain_database.dsn) as daemon:
            await warm(daemon, 6.0)
            since_s = inflict(exchange, Faults(drop=("BTCUSDT",)))
            quotes = exchange.ledger["connections"][-1]["sent"]["btcusdt@bookTicker"]

            def served_again() -> bool:
                return bool(exchange.ledger["connections"][-1]["sent"]["btcusdt@bookTicker"] > quotes + 3)

            repaired_s = await seconds_until(served_again, since_s, REPAIRED_S_MAX, "repaired")
            print(f"repaired after {repaired_s:.1f} s")
            await expect_every_trade(exchange, plain_database.dsn, HEALED_S_MAX)
            assert not connects(exchange, since_s)
            begun = f"to_timestamp({since_s - 3})"
            gaps = await rows(plain_database.dsn, f"SELECT symbol, time_to FROM data_gaps WHERE time_from > {begun}")
            assert {symbol for symbol, _ in gaps} == {"BTC/USDT"}


async def test_while_nobody_is_let_in_nobody_storms_and_then_all_is_fetched(
    plain_database: Database, tmp_path: Path
) -> None:
    """At most thirty knocks in any minute, in a short outage as few in proportion beyond a first burst."""
    refused_s = 60.0 if LONG else 6.0
    async with remembering() as exchange:
        with listening(tmp_path, exchange, plain_database.dsn) as daemon:
            await warm(daemon, 1.0)
            since_s = inflict(exchange, Faults(cut=True, refuse_s=refused_s))
            await asyncio.sleep(refused_s)
            knocks = connects(exchange, since_s)
            assert 1 <= len(knocks) <= (CONNECTS_PER_MINUTE_MAX if LONG else 12)
            await fresh_again(daemon, time.time(), BACK_S_MAX)
            assert await expect_every_trade(exchange, plain_database.dsn, HEALED_S_MAX) > 500


async def test_a_younger_link_takes_over_before_the_old_one_is_cut(plain_database: Database, tmp_path: Path) -> None:
    """24 hours made short: nothing is missing and nothing is doubled, neither trade nor quote."""
    age_s = 10.0  # from a change of links to the next the daemon lets some seconds pass besides
    async with remembering() as exchange:
        exchange.inflict(Faults(age_s=age_s))
        settings = {"connection_age_max_s": age_s * 0.4}
        with listening(tmp_path, exchange, plain_database.dsn, **settings) as daemon:
            await warm(daemon, age_s * (6 if LONG else 1.4))
            made = exchange.ledger["ids"]
            ends = [account["end"] for account in exchange.ledger["connections"]]
            assert ends.count("left") >= 2, "no link was changed"
            assert "aged" not in ends, "the exchange had to cut"
            await expect_every_trade(exchange, plain_database.dsn, 2.0)
            for symbol in SYMBOLS:
                await _expect_quotes_as_made(
                    made[f"{symbol.replace('/', '').lower()}@bookTicker"], plain_database, symbol
                )
            assert not await rows(plain_database.dsn, "SELECT 1 FROM data_gaps")


async def _expect_quotes_as_made(made: list[int], database: Database, symbol: str) -> None:
    """From the first one stored all of them, in order and once each, by the update id.

    Quotes reach the database in other batches than trades do: the newest ones are given a moment.
    """
    query = f"SELECT sequence FROM tick_data WHERE symbol = '{symbol}' AND sequence <= {made[-1]} ORDER BY sequence"
    deadline, stored = time.monotonic() + STORED_S_MAX, list[int]()
    while made[-1] not in stored and time.monotonic() < deadline:
        stored = [int(sequence) for (sequence,) in await rows(database.dsn, query)]
    assert stored == made[made.index(stored[0]) :]


@pytest.mark.parametrize(
    "faults",
    [Faults(repeat=0.02, reorder=0.02), Faults(corrupt=0.02)],
    ids=["repeated and reordered", "corrupted"],
)
async def test_spoilt_frames_cost_no_trade_in_the_end(faults: Faults, plain_database: Database, tmp_path: Path) -> None:
    """Each is stored once; what can't be read is kept aside and counted, and what it held is fetched."""
    async with remembering() as exchange:
        with listening(tmp_path, exchange, plain_database.dsn) as daemon:
            await warm(daemon, 1.0)
            exchange.inflict(faults)
            await asyncio.sleep(60.0 if LONG else 4.0)
            exchange.inflict(Faults())
            await asyncio.sleep(1.0)
            status = await daemon.status()
            assert (status["ticks"]["quarantined"] > 3) == bool(faults.corrupt)
            assert status["ticks"]["lost"] == 0
            assert await expect_every_trade(exchange, plain_database.dsn, HEALED_S_MAX) > 500


@pytest.mark.parametrize(
    "lie",
    [Faults(unsent=("ETHUSDT",), lies_max=2), Faults(refused=("ETHUSDT",), lies_max=1)],
    ids=["silent", "refused"],
)
async def test_an_answer_to_a_subscription_proves_nothing(
    lie: Faults, plain_database: Database, tmp_path: Path
) -> None:
    """What was acknowledged and stays silent, or refused for no reason, is asked for again on the same connection."""
    async with remembering() as exchange:
        exchange.inflict(lie)
        with listening(tmp_path, exchange, plain_database.dsn, symbols=SYMBOLS[:4]) as daemon:
            await daemon.ready()
            (at,) = exchange.ledger["connects"]

            def served() -> bool:
                account = exchange.ledger["connections"][-1]
                return all(account["sent"].get(f"{symbol}usdt@bookTicker", 0) for symbol in ("btc", "eth"))

            print(f"served after {await seconds_until(served, at, 15.0, 'served'):.1f} s")
            await daemon.until(lambda status: status["ticks"]["stored"] > 500)
            assert len(exchange.ledger["connects"]) == 1
