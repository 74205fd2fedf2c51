"""What contracts tell, in its tables: exact, once, and instruments with what they are."""

from decimal import Decimal

import asyncpg

from conftest import Database
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.fact_tables import time_of
from traderd.core.facts import Fact, FundingRate, Liquidated, Mark, OpenContracts
from traderd.core.market import Instrument

AT = 1_700_000_000_123_000_000
WHERE = ("okx", "BTC/USD:BTC", AT, AT + 5_000_000)
TOLD: list[Fact] = [
    FundingRate(*WHERE, Decimal("-0.000012345678"), AT + 3600 * 10**9),
    Mark(*WHERE, Decimal("64000.10"), None),
    OpenContracts(*WHERE, Decimal("123456.0")),
    Liquidated(*WHERE, "sell", Decimal("63999.5"), Decimal("7")),
]


async def test_each_is_stored_exactly_and_written_again_changes_nothing(database: Database) -> None:
    """Also under another cursor, as after a restore; what is told later under the same time replaces."""
    store = PostgresFactStore(database.dsn, 10.0)
    connection = await asyncpg.connect(database.dsn)
    assert await store.store("one", 1, [*TOLD, *TOLD]) == 0
    assert await store.store("two", 1, TOLD) == 0
    newer = Mark("okx", "BTC/USD:BTC", AT, AT + 6_000_000, Decimal("64000.20"), Decimal("64001"))
    assert await store.store("two", 2, [newer, TOLD[1]]) == 0
    funding = await connection.fetchrow("SELECT * FROM funding_rates")
    assert (funding["rate"], funding["next_time"]) == (Decimal("-0.000012345678"), time_of(AT + 3600 * 10**9))
    assert funding["time"] == time_of(AT)
    marks = await connection.fetch("SELECT mark_price::text, index_price::text FROM mark_prices")
    assert [tuple(row) for row in marks] == [("64000.20", "64001")]
    assert await connection.fetchval("SELECT quantity::text FROM open_interest") == "123456.0"
    forced = await connection.fetch("SELECT side, price, quantity FROM liquidations")
    assert [tuple(row) for row in forced] == [("sell", Decimal("63999.5"), Decimal(7))]
    await connection.close()
    await store.close()


async def test_what_can_not_be_is_kept_aside_with_its_reason(plain_database: Database) -> None:
    """A liquidation at a price of zero; the rest of the batch is stored."""
    store = PostgresFactStore(plain_database.dsn, 10.0)
    assert await store.store("one", 1, [*TOLD, Liquidated(*WHERE, "buy", Decimal(0), Decimal(1))]) == 1
    connection = await asyncpg.connect(plain_database.dsn)
    assert await connection.fetchval("SELECT channel FROM quarantine") == "liquidation"
    assert await connection.fetchval("SELECT count(*) FROM liquidations") == 1
    await connection.close()
    await store.close()


async def test_an_instrument_tells_its_market_its_settlement_and_the_path_by_which_it_is_heard(
    plain_database: Database,
) -> None:
    """It is touched only when it says something new; delisted, it comes back when the venue trades it again."""
    contract = Instrument(
        *(0, "okx", "BTC/USD:BTC-250328", "BTC-USD-250328", "BTC", "USD"),
        market="inverse",
        settle="BTC",
        contract_size=Decimal(100),
        expiry_ns=AT,
        feed="ccxt",
    )
    store = PostgresFactStore(plain_database.dsn, 10.0)
    connection = await asyncpg.connect(plain_database.dsn)
    await store.save_instruments([contract])
    row = await connection.fetchrow("SELECT * FROM instruments")
    assert (row["market"], row["settle"], row["contract_size"]) == ("inverse", "BTC", Decimal(100))
    assert (row["expiry"], row["feed"], row["status"]) == (time_of(AT), "ccxt", "trading")
    await store.save_instruments([contract])
    assert await connection.fetchrow("SELECT * FROM instruments") == row
    await store.delist("okx", ["BTC/USD:BTC-250328"])
    assert await connection.fetchval("SELECT status FROM instruments") == "delisted"
    await store.save_instruments([contract])
    assert await connection.fetchval("SELECT status FROM instruments") == "trading"
    await connection.close()
    await store.close()
