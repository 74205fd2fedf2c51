"""The exchange fails in every way that real ones do; the daemon finds it in seconds, and no trade is missing after.

One daemon has all of it in a row. TRADERD_TEST_LONG=1 has a daemon for each, for as long as the promises say: a minute
of refused connections instead of some seconds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from accounts import settle_spoilt
from books import rows
from daemons import LONG, DaemonProcess
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
from traderd.sim.server import SimulatedExchange

pytestmark = pytest.mark.process
FOUND_S_MAX = 5.0
FRESH_S_MAX = 8.0
REPAIRED_S_MAX = 6.0
BACK_S_MAX = 33.0
"""After refusals: the longest pause between two attempts, of which chance takes a part, and a moment to connect."""
CONNECTS_PER_MINUTE_MAX = 30
HEALED_S_MAX = 20.0
STORED_S_MAX = 5.0


Trouble = Callable[[SimulatedExchange, DaemonProcess, str], Awaitable[None]]
"""What an exchange does to a daemon, until it is over; the text is the database's address."""


async def one_silent_symbol(exchange: SimulatedExchange, daemon: DaemonProcess, dsn: str) -> None:
    """One of twenty is served no more: repaired on the same connection in six seconds; the others have no gap."""
    before = await _gaps(dsn)
    since_s = inflict(exchange, Faults(drop=("BTCUSDT",)))
    quotes = exchange.ledger["connections"][-1]["sent"]["btcusdt@bookTicker"]

    def served_again() -> bool:
        return bool(exchange.ledger["connections"][-1]["sent"]["btcusdt@bookTicker"] > quotes + 3)

    repaired_s = await seconds_until(served_again, since_s, REPAIRED_S_MAX, "repaired")
    print(f"one symbol of twenty: repaired after {repaired_s:.1f} s")
    while not (await _gaps(dsn)).keys() - before.keys():
        await asyncio.sleep(0.2)
        assert time.time() - since_s < REPAIRED_S_MAX + STORED_S_MAX, "there is no gap"
    await asyncio.sleep(STORED_S_MAX if LONG else 1.5)  # a gap of another's would be stored by then
    gaps = await _gaps(dsn)
    assert {gaps[key] for key in gaps.keys() - before.keys()} == {"BTC/USDT"}
    assert not connects(exchange, since_s)


async def _gaps(dsn: str) -> dict[str, str]:
    """The symbols of all gaps that are stored, by their keys."""
    return dict(await rows(dsn, "SELECT gap_key, symbol FROM data_gaps"))


async def repeated_and_reordered(exchange: SimulatedExchange, daemon: DaemonProcess, dsn: str) -> None:
    """Frames come twice, and in another order: nothing is unreadable."""
    before = (await daemon.status())["ticks"]["quarantined"]
    exchange.inflict(Faults(repeat=0.02, reorder=0.02))
    await asyncio.sleep(60.0 if LONG else 2.0)
    exchange.inflict(Faults())
    await asyncio.sleep(0.5)
    assert (await daemon.status())["ticks"]["quarantined"] == before


async def corrupted(exchange: SimulatedExchange, daemon: DaemonProcess, dsn: str) -> None:
    """What can't be read is kept aside and counted."""
    before = (await daemon.status())["ticks"]["quarantined"]
    exchange.inflict(Faults(corrupt=0.02))
    await asyncio.sleep(60.0 if LONG else 2.0)
    exchange.inflict(Faults())
    await daemon.until(lambda status: status["ticks"]["quarantined"] > before + 3)
    await asyncio.sleep(1.5)  # until the last of what it opened is stored


async def stalled(exchange: SimulatedExchange, daemon: DaemonProcess, dsn: str) -> None:
    """No more data, though pings are answered."""
    await _found_and_fresh(exchange, daemon, Faults(stall=True), "stalled")


async def half_open(exchange: SimulatedExchange, daemon: DaemonProcess, dsn: str) -> None:
    """TCP stays, and nobody is at the other end."""
    await _found_and_fresh(exchange, daemon, Faults(half_open=True), "half open")


async def _found_and_fresh(exchange: SimulatedExchange, daemon: DaemonProcess, fault: Faults, name: str) -> None:
    """Found in five seconds, fresh in eight."""
    since_s = inflict(exchange, fault)
    found_s = await seconds_until(lambda: connects(exchange, since_s), since_s, FOUND_S_MAX, "found")
    fresh_s = await fresh_again(daemon, since_s, FRESH_S_MAX)
    print(f"{name}: found after {found_s:.1f} s, fresh after {fresh_s:.1f} s")


async def cut_and_refused(exchange: SimulatedExchange, daemon: DaemonProcess, dsn: str) -> None:
    """All are cut off, and for a while nobody is let in: the daemon comes back by itself."""
    refused_s = 60.0 if LONG else 4.0
    since_s = inflict(exchange, Faults(cut=True, refuse_s=refused_s))
    await asyncio.sleep(refused_s)
    knocks = len(connects(exchange, since_s))
    print(f"refused for {refused_s:.0f} s: {knocks} knocks")
    assert knocks >= 1
    await fresh_again(daemon, time.time(), BACK_S_MAX)


TROUBLES: list[Trouble] = [
    *(repeated_and_reordered, corrupted),  # while the daemon learns what silence is usual
    *(one_silent_symbol, stalled, half_open, cut_and_refused),
]


@pytest.mark.parametrize(
    "troubles",
    [[each] for each in TROUBLES] if LONG else [TROUBLES],
    ids=[each.__name__ for each in TROUBLES] if LONG else ["all"],
)
async def test_whatever_an_exchange_does_is_found_in_seconds_and_no_trade_is_missing_after(
    troubles: Sequence[Trouble], plain_database: Database, tmp_path: Path
) -> None:
    """Each trade is stored once, the three accounts agree; at most thirty connections are tried in any minute."""
    async with remembering() as exchange:
        with listening(tmp_path, exchange, plain_database.dsn) as daemon:
            await warm(daemon, 6.0 if LONG else 1.5)
            for trouble in troubles:
                await trouble(exchange, daemon, plain_database.dsn)
            assert await settle_spoilt(daemon, exchange, plain_database.dsn) > 500
            assert (await daemon.status())["ticks"]["lost"] == 0
            assert await expect_every_trade(exchange, plain_database.dsn, HEALED_S_MAX) > 500
            knocks = connects(exchange, 0.0)
            assert max(sum(at <= each < at + 60 for each in knocks) for at in knocks) <= CONNECTS_PER_MINUTE_MAX


async def test_a_younger_link_takes_over_before_the_old_one_is_cut(plain_database: Database, tmp_path: Path) -> None:
    """24 hours made short: nothing is missing and nothing is doubled, neither trade nor quote."""
    age_s = 8.0  # from a change of links to the next the daemon lets some seconds pass besides
    async with remembering() as exchange:
        exchange.inflict(Faults(age_s=age_s))
        settings = {"connection_age_max_s": age_s * 0.2}
        with listening(tmp_path, exchange, plain_database.dsn, **settings) as daemon:
            await warm(daemon, age_s * (6 if LONG else 1.1))
            made = exchange.ledger["ids"]
            ends = [account["end"] for account in exchange.ledger["connections"]]
            assert ends.count("left") >= (4 if LONG else 1), "no link was changed"
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


async def test_an_answer_to_a_subscription_proves_nothing(plain_database: Database, tmp_path: Path) -> None:
    """What is refused for no reason, or acknowledged and stays silent, is asked for again on the same connection."""
    async with remembering() as exchange:
        exchange.inflict(Faults(refused=("BTCUSDT",), lies_max=1))
        with listening(tmp_path, exchange, plain_database.dsn, symbols=SYMBOLS[:4]) as daemon:
            await seconds_until(lambda: exchange.broadcast.lies, time.time(), 30.0, "refused")
            exchange.inflict(Faults(unsent=("ETHUSDT",), lies_max=2))
            (at,) = exchange.ledger["connects"]

            def served() -> bool:
                account = exchange.ledger["connections"][-1]
                return all(account["sent"].get(f"{symbol}usdt@bookTicker", 0) for symbol in ("btc", "eth"))

            print(f"served after {await seconds_until(served, at, 20.0, 'served'):.1f} s")
            await daemon.until(lambda status: status["ticks"]["stored"] > 500)
            assert len(exchange.ledger["connects"]) == 1
            assert exchange.broadcast.lies >= 2
