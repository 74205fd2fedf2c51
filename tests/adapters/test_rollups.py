"""The rollups: the same bars from the same minutes on every back end, at every moment."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import asyncpg
import pytest

from conftest import Database
from traderd.adapters.maintenance import maintain, refresh_rollups

TOP = Decimal(10**12)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BOUNDARIES = [datetime(2024, 2, 29, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 3, 30, 2, tzinfo=UTC)]
"""A leap day, a new year, and the hour that Europe leaves out in spring: ours are hours of UTC."""
WRITE = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (symbol, timeframe, time, exchange) DO UPDATE
    SET open = EXCLUDED.open, high = EXCLUDED.high, low = EXCLUDED.low, close = EXCLUDED.close,
        volume = EXCLUDED.volume, quote_volume = EXCLUDED.quote_volume, trades_count = EXCLUDED.trades_count"""
BARS = (
    "SELECT bucket, symbol, exchange, timeframe, open::text, high::text, low::text, close::text, volume::text,"
    " quote_volume::text, vwap::text, trades_count, candle_count, close_sum::text FROM {}"
    " ORDER BY symbol, exchange, bucket"
)
DAILY = (
    "SELECT day, symbol, exchange, open::text, high::text, low::text, close::text, volume::text, avg_price::text"
    " FROM market_data_daily ORDER BY symbol, exchange, day"
)


@dataclass(frozen=True)
class Minute:
    time: datetime
    symbol: str
    exchange: str
    timeframe: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades_count: int

    @property
    def key(self) -> tuple[str, str, datetime, str]:
        return self.symbol, self.timeframe, self.time, self.exchange


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def plain(plain_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_database.dsn)
    yield connection
    await connection.close()


async def test_the_same_minutes_give_the_same_bars_on_every_back_end(
    database: Database, connection: asyncpg.Connection, plain: asyncpg.Connection
) -> None:
    """Late, amended, deleted, out of order, over months and years, and in an hour that is still open: digit by digit,
    and as plain arithmetic says. Where there are marks, the bars are right before a refresh just as after it.
    """
    random, minutes = Random(7), dict[tuple[str, str, datetime, str], Minute]()
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for day in [*BOUNDARIES, now]:
        for each in (connection, plain):
            await each.execute("SELECT ensure_partitions('ohlcv', $1, $2)", day - DAY, day + DAY)
    for turn in range(6):
        written = [made_up(random, now) for _ in range(120)]
        gone = random.sample(sorted(minutes), len(minutes) // 8)
        for minute in written:
            minutes[minute.key] = minute
        for key in gone:
            minutes.pop(key)
        for each in (connection, plain):
            async with each.transaction():
                await each.executemany(WRITE, [tuple(vars(minute).values()) for minute in written])
                await each.executemany(
                    "DELETE FROM ohlcv WHERE symbol = $1 AND timeframe = $2 AND time = $3 AND exchange = $4", gone
                )
        if database.backend == "timescaledb-community" or turn % 2:
            await refresh_rollups(connection)
        if turn == 4:
            await refresh_rollups(plain)
        for rollup, length in (("ohlcv_1h", HOUR), ("ohlcv_1d", DAY)):
            here, there = await connection.fetch(BARS.format(rollup)), await plain.fetch(BARS.format(rollup))
            assert here == there
            assert [summary(row) for row in here] == expected(minutes.values(), length)
        assert await connection.fetch(DAILY) == await plain.fetch(DAILY) != []


async def test_a_minute_shows_in_its_bar_in_the_same_transaction(
    database: Database, connection: asyncpg.Connection
) -> None:
    """Written, amended, moved to another hour, deleted; also years late, and in a truncated table."""
    if database.backend == "timescaledb-community":
        pytest.skip("a change before the newest refreshed bucket shows there after the next refresh")
    late = datetime(2024, 2, 29, 10, 30, tzinfo=UTC)
    await connection.execute("SELECT ensure_partitions('ohlcv', $1, $1)", late)
    first = made_up(Random(1), late, late)
    highs = "SELECT bucket, high FROM ohlcv_1h ORDER BY bucket"
    days = "SELECT bucket, candle_count FROM ohlcv_1d"
    await connection.execute(WRITE, *vars(first).values())
    await refresh_rollups(connection)
    async with connection.transaction():
        await connection.execute(WRITE, *vars(replace(first, high=TOP)).values())
        assert await connection.fetch(highs) == [(late.replace(minute=0), TOP)]
        await connection.execute(WRITE, *vars(replace(first, time=late + MINUTE)).values())
        assert await connection.fetch(days) == [(late.replace(hour=0, minute=0), 2)]
    await refresh_rollups(connection)
    await connection.execute("UPDATE ohlcv SET time = time + interval '1 hour' WHERE high = $1", TOP)
    hours = [row["bucket"].hour for row in await connection.fetch(highs)]
    assert hours == [10, 11]
    await refresh_rollups(connection)
    await connection.execute("DELETE FROM ohlcv WHERE high = $1", TOP)
    assert [row["bucket"].hour for row in await connection.fetch(highs)] == [10]
    await connection.execute("TRUNCATE ohlcv")
    assert await connection.fetch(highs) == await connection.fetch(days) == []


async def test_a_minute_that_commits_during_a_refresh_is_not_lost(
    database: Database, connection: asyncpg.Connection
) -> None:
    """A refresh neither waits for a writer nor takes the mark that it can't see."""
    if database.backend == "timescaledb-community":
        pytest.skip("there TimescaleDB itself does this")
    first = made_up(Random(1), datetime.now(UTC), datetime(2025, 1, 1, tzinfo=UTC))
    await connection.execute("SELECT ensure_partitions('ohlcv', $1, $1)", first.time)
    await connection.execute(WRITE, *vars(first).values())
    other = await asyncpg.connect(database.dsn)
    try:
        async with other.transaction():
            await other.execute(WRITE, *vars(replace(first, time=first.time + MINUTE)).values())
            async with asyncio.timeout(5):
                await refresh_rollups(connection)
        assert await connection.fetchval("SELECT candle_count FROM ohlcv_1h") == 2
        assert await connection.fetchval("SELECT candle_count FROM ohlcv_1d") == 2
        await refresh_rollups(connection)
        assert await connection.fetchval("SELECT candle_count FROM ohlcv_1d_kept") == 2
    finally:
        await other.close()


async def test_a_bar_is_found_without_reading_the_minutes_of_others(
    database: Database, connection: asyncpg.Connection
) -> None:
    """A look-up by symbol and time reads the kept bars by their key; of marks only those of its symbol."""
    if database.backend == "timescaledb-community":
        pytest.skip("there TimescaleDB's own aggregates are read")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    await connection.execute("SELECT ensure_partitions('ohlcv', $1, $2)", now - 9 * DAY, now)
    await connection.execute(
        "INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume,"
        " trades_count) SELECT time, 'S' || n, 'x', '1m', 1, 1, 1, 1, 1, 1, 1"
        " FROM generate_series(1, 30) n, generate_series($1::timestamptz, $2, '10 minutes') time",
        now - 8 * DAY,
        now,
    )
    await refresh_rollups(connection)
    await connection.execute("ANALYZE")
    await connection.execute("SET enable_seqscan = off")  # the tables are small here
    await connection.execute("UPDATE ohlcv SET high = 2 WHERE time = $1", now)
    for rollup in ("ohlcv_1h", "ohlcv_1d"):
        plan = await connection.fetch(
            f"EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM {rollup} WHERE symbol = 'S3' AND bucket >= $1", now - 2 * DAY
        )
        told = "\n".join(row[0] for row in plan)
        assert f"{rollup}_kept_pkey" in told
        assert "Seq Scan on ohlcv" not in told
        (live,) = [line for line in told.splitlines() if f"Function Scan on live_{rollup}" in line]
        assert "loops=1)" in live, told


async def test_whoever_may_only_read_reads_them(database: Database, connection: asyncpg.Connection) -> None:
    """The bars that are computed as they are read, too."""
    minute = made_up(Random(1), datetime.now(UTC), datetime.now(UTC).replace(second=0, microsecond=0))
    await connection.execute("SELECT ensure_partitions('ohlcv', $1, $1)", minute.time)
    await connection.execute(WRITE, *vars(minute).values())
    await connection.execute("SET ROLE traderd_readonly")
    for rollup in ("ohlcv_1h", "ohlcv_1d", "market_data_daily"):
        assert await connection.fetchval(f"SELECT count(*) FROM {rollup}") == 1


async def test_maintenance_keeps_all_bars_and_leaves_no_mark(
    database: Database, connection: asyncpg.Connection
) -> None:
    """Also those of a load that is larger than one piece of work."""
    if database.backend == "timescaledb-community":
        pytest.skip("there its own policies do this")
    start = datetime(2025, 1, 1, tzinfo=UTC)
    await connection.execute("SELECT ensure_partitions('ohlcv', $1, $1)", start)
    await connection.execute(
        "INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume,"
        " trades_count) SELECT time, 'S' || n, 'x', '1m', 1, 1, 1, 1, 1, 1, 1"
        " FROM generate_series(1, 50) n, generate_series($1::timestamptz, $2, '1 hour') time",
        start,
        start + DAY - HOUR,
    )
    for high in range(2, 10):
        await connection.execute("UPDATE ohlcv SET high = $1", high)
    marks = await connection.fetchval("SELECT count(*) FROM rollup_marks")
    assert marks > 20_000
    done = await maintain(connection)
    assert done["rollups refreshed"] == marks
    assert await connection.fetchval("SELECT count(*) FROM rollup_marks") == 0
    assert await connection.fetchrow("SELECT count(*), sum(candle_count), min(high) FROM ohlcv_1d_kept") == (
        50,
        1_200,
        9,
    )


def made_up(random: Random, now: datetime, time: datetime | None = None) -> Minute:
    """A candle near one of the boundaries, or in the hours before now; one in ten is of another timeframe."""
    if time is None:
        near = random.choice([*BOUNDARIES, now - 90 * MINUTE])
        time = near + random.randrange(-90, 91) * MINUTE
    low, high = sorted(Decimal(random.randrange(1, 10**9)).scaleb(-random.randrange(9)) for _ in range(2))
    inside = [low, high, (low + high) / 2]
    return Minute(
        time=time,
        symbol=random.choice(["BTC/USDT", "ETH/USDT"]),
        exchange=random.choice(["binance", "kraken"]),
        timeframe="1m" if random.random() < 0.9 or time == now else "1s",
        open=random.choice(inside),
        high=high,
        low=low,
        close=random.choice(inside),
        volume=(volume := Decimal(random.randrange(1000)).scaleb(-2)),
        quote_volume=volume * low,
        trades_count=random.randrange(100),
    )


def summary(row: asyncpg.Record) -> tuple[object, ...]:
    """What plain arithmetic can say of a bar."""
    numbers = (Decimal(row[name]) for name in ("open", "high", "low", "close", "volume", "quote_volume", "close_sum"))
    return (row["symbol"], row["exchange"], row["bucket"], *numbers, row["trades_count"], row["candle_count"])


def expected(minutes: object, length: timedelta) -> list[tuple[object, ...]]:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    parts = defaultdict[tuple[str, str, datetime], list[Minute]](list)
    for minute in minutes:  # type: ignore[attr-defined]
        if minute.timeframe == "1m":
            bucket = minute.time - (minute.time - epoch) % length
            parts[minute.symbol, minute.exchange, bucket].append(minute)
    return [
        (
            *key,
            min(part, key=lambda minute: minute.time).open,
            max(minute.high for minute in part),
            min(minute.low for minute in part),
            max(part, key=lambda minute: minute.time).close,
            sum(minute.volume for minute in part),
            sum(minute.quote_volume for minute in part),
            sum(minute.close for minute in part),
            sum(minute.trades_count for minute in part),
            len(part),
        )
        for key, part in sorted(parts.items())
    ]
