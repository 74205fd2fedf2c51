"""What the venues list, in the database: an instrument that isn't traded any more is told once, whenever it went."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg
import pytest

from conftest import Database
from made_up import BTC, ETH
from traderd.adapters.clock import SystemClock
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.logs import logger
from traderd.adapters.metrics import Metrics
from traderd.adapters.telemetry import Telemetry
from traderd.app.listings import Listings
from traderd.core.facts import Alert, Fact
from traderd.core.market import Instrument


class House:
    """Engine and pipeline at once, for one run; `work` is what is done beside them."""

    def __init__(self, store: PostgresFactStore, run: str) -> None:
        self.alerts: list[Alert] = []
        self.known: list[Instrument] = []
        self.work: list[Coroutine[Any, Any, Any]] = []
        migrated, telemetry = asyncio.Event(), Telemetry(Metrics(), logger("test"), 0)
        migrated.set()
        common: Any = (self, self, store, SystemClock(), telemetry, migrated, self.work.append)
        self.listings = Listings(run, [BTC, ETH], *common)

    def describe(self, instrument: Instrument) -> None:
        self.known.append(instrument)

    def record(self, fact: Fact) -> None:
        assert isinstance(fact, Alert)
        self.alerts.append(fact)

    async def settle(self) -> list[str]:
        """All that is to be done is done; of which symbols it was told by now that they are delisted."""
        while self.work:
            await self.work.pop(0)
        return [f"{alert.alert_type} {alert.symbol}" for alert in self.alerts]


async def statuses(database: Database) -> dict[str, str]:
    connection = await asyncpg.connect(database.dsn)
    try:
        return {
            row["symbol"]: row["status"] for row in await connection.fetch("SELECT symbol, status FROM instruments")
        }
    finally:
        await connection.close()


@pytest.fixture
async def store(plain_database: Database) -> Any:
    store = PostgresFactStore(plain_database.dsn, 10)
    yield store
    await store.close()


async def test_what_expired_while_nobody_looked_is_told_by_the_next_start_and_by_no_later_one(
    plain_database: Database, store: PostgresFactStore
) -> None:
    """A symbol that never was traded is not: it is a mistake in the configuration, which the log says."""
    first = House(store, "a")
    first.listings.unlisted([ETH])
    first.listings.described([BTC])
    assert await first.settle() == [] and await statuses(plain_database) == {BTC.symbol: "trading"}
    second, third = House(store, "b"), House(store, "c")
    second.listings.unlisted([BTC, ETH])
    assert await second.settle() == [f"delisted {BTC.symbol}"]
    third.listings.unlisted([BTC, ETH])
    assert await third.settle() == [] and await statuses(plain_database) == {BTC.symbol: "delisted"}


async def test_what_a_venue_ceases_to_trade_is_told_at_once(plain_database: Database, store: PostgresFactStore) -> None:
    """Listed again, it may be delisted again."""
    house = House(store, "a")
    house.listings.described([BTC, ETH])
    assert await house.settle() == [] and house.known == [BTC, ETH]
    for told in (1, 2):
        house.listings.delisted([BTC])
        assert len(house.alerts) == told
        await house.settle()
        assert await statuses(plain_database) == {BTC.symbol: "delisted", ETH.symbol: "trading"}
        house.listings.described([BTC])
        await house.settle()
        assert set((await statuses(plain_database)).values()) == {"trading"}
