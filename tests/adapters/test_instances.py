"""Several daemons on one database: none of them takes, stops, ends or rewrites what is another's."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from conftest import Database
from traderd.adapters.books import Books
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.gap_store import GapStore
from traderd.adapters.postgres import connect
from traderd.config import Config, EmaCross, Venue
from traderd.config.register import sections, strategy_entries
from traderd.core.errors import ConfigError
from traderd.core.facts import Equity, Gap

NOW_NS = 1_780_000_000_000_000_000
NOW = datetime.fromtimestamp(NOW_NS / 1e9, UTC)


class Instance:
    """One daemon's stores, under its name."""

    def __init__(self, dsn: str, name: str) -> None:
        self.name = name
        self.books = Books(dsn, 10, "traderd", name)
        self.facts = PostgresFactStore(dsn, 10, "traderd", name)
        self.gaps = GapStore(dsn, 10, name)

    async def registers(self, portfolio: str, *strategies: str) -> None:
        config = self.config(*strategies)
        await self.books.register(portfolio, "paper", strategy_entries(config))
        await self.books.configure(sections(config), f"run of {self.name}")

    def config(self, *strategies: str) -> Config:
        venue = Venue(name="binance", endpoint="sim", symbols=("BTC/USDT",))
        crosses = tuple(EmaCross(name=name, exchange="binance", symbol="BTC/USDT") for name in strategies)
        return Config(instance=self.name, venues=(venue,), strategies=crosses)

    async def close(self) -> None:
        for each in (self.books, self.facts, self.gaps):
            await each.close()


@pytest.fixture
async def pair(database: Database) -> AsyncIterator[tuple[Instance, Instance]]:
    """Two of them, one without a name, as a daemon that was alone until now."""
    first, second = Instance(database.dsn, ""), Instance(database.dsn, "two")
    yield first, second
    await first.close()
    await second.close()


@pytest.fixture
async def sight(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(database.dsn, acts_as="traderd")
    yield connection
    await connection.close()


async def test_each_has_its_own_settings_and_stops_its_own_strategies_alone(
    pair: tuple[Instance, Instance], sight: asyncpg.Connection
) -> None:
    """In whatever order they start, and again; both rows of a setting are seen, under two names."""
    first, second = pair
    await first.registers("one", "a", "b")
    await second.registers("two", "c")
    await first.registers("one", "a")
    await second.registers("two", "c")
    rows = await sight.fetch("SELECT name, status, instance FROM strategies ORDER BY name")
    assert [tuple(row) for row in rows] == [("a", "active", ""), ("b", "stopped", ""), ("c", "active", "two")]
    kept = await sight.fetch("SELECT instance, value, updated_by FROM configurations WHERE key = 'instance' ORDER BY 1")
    assert [tuple(row) for row in kept] == [("", '""', "run of "), ("two", '"two"', "run of two")]
    names = await sight.fetch("SELECT key FROM quant.configurations WHERE key LIKE '%owner' ORDER BY key")
    assert [row["key"] for row in names] == ["owner", "two/owner"]


async def test_what_another_one_may_be_using_is_refused_and_what_it_gave_up_is_not(
    pair: tuple[Instance, Instance], sight: asyncpg.Connection
) -> None:
    """A portfolio's cash has one writer. A strategy moves with the configuration once its daemon has let it go."""
    first, second = pair
    await first.registers("one", "a")
    before = await sight.fetch("SELECT * FROM strategies")
    with pytest.raises(ConfigError, match="portfolio 'one' belongs to the daemon without an instance's name: name ano"):
        await second.registers("one")
    with pytest.raises(ConfigError, match=r"strategy 'a' belongs to the daemon without .*set status in its row"):
        await second.registers("two", "a")
    assert await sight.fetch("SELECT * FROM strategies") == before
    assert await sight.fetchval("SELECT count(*) FROM portfolios") == 1, "nothing, or all of it"
    await first.registers("one")
    await second.registers("two", "a")
    await sight.execute("UPDATE portfolios SET is_active = false WHERE name = 'two'")
    await first.registers("two")
    with pytest.raises(ConfigError, match="strategy 'a' belongs to the instance 'two'"):
        await first.registers("one", "a")
    rows = await sight.fetch("SELECT name, instance, is_active FROM portfolios ORDER BY name")
    assert [tuple(row) for row in rows] == [("one", "", True), ("two", "", True)]


async def test_a_hole_is_ended_and_healed_by_the_one_that_has_it(pair: tuple[Instance, Instance]) -> None:
    """Two listen to one venue: a link that only one of them lost is no business of the other's."""
    for number, each in enumerate(pair):
        opened = Gap(f"run{number}-g1", "binance", "", "", "disconnect", NOW_NS, 0, 0, "", "open")
        over = Gap(f"run{number}-g2", "binance", "", "trade", "disconnect", NOW_NS, NOW_NS + 10**9, 0, "", "closed")
        await each.facts.store(f"journal{number}", 1, [opened, over])
    for number, each in enumerate(pair):
        assert [gap.gap_id for gap in await each.facts.load_open_gaps()] == [f"run{number}-g1"]
        assert [gap.gap_id for gap in await each.gaps.unhealed("binance")] == [f"run{number}-g2"]


async def test_books_are_kept_once_for_each_portfolio(
    pair: tuple[Instance, Instance], sight: asyncpg.Connection
) -> None:
    """Not by every daemon for those of all."""
    for number, each in enumerate(pair):
        await each.facts.store(f"journal{number}", 1, [_equity(f"p{number}")])
    for number, each in enumerate(pair):
        assert await each.books.keep(NOW + timedelta(seconds=number)) == {}
    counts = await sight.fetch("SELECT count(*) FROM portfolio_balances GROUP BY portfolio_id")
    assert [tuple(row) for row in counts] == [(1,), (1,)]


def _equity(portfolio: str) -> Equity:
    thousand = Decimal(1000)
    return Equity(
        portfolio=portfolio,
        time_ns=NOW_NS - 10**9,
        equity=thousand,
        cash=thousand,
        positions_value=Decimal(0),
        unrealized_pnl=Decimal(0),
        realized_pnl=Decimal(0),
        fees=Decimal(0),
        drawdown=Decimal(0),
        peak_equity=thousand,
        initial_cash=thousand,
        base_currency="USDT",
        environment="paper",
    )
