"""The gaps that the database knows, and what healing them asks of it: both sides of a hole, what is there already.

The trades themselves aren't written here: they go through the tick journal like all others. Raises
StoreUnavailableError while the database isn't there, and TraderdError for the rest.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from traderd.adapters.fact_tables import key_of, ns_of, time_of
from traderd.adapters.postgres import APP_ROLE, Reconnecting
from traderd.core.candles import timeframe_ns
from traderd.core.facts import Candle, Gap, Span
from traderd.runtime.ports import Side

_UNHEALED = """
    SELECT * FROM data_gaps
    WHERE exchange = $1 AND status = 'closed' AND (channel IS NULL OR channel = 'trade')
      AND instance = current_instance()
    ORDER BY time_to DESC, time_from DESC LIMIT $2"""
# A trade that the stream brought is on the side of the hole on which it was received, whatever its own time. What was
# backfilled is on neither: it may lie in the hole.
_BEFORE = """
    SELECT trade_id, time FROM public_trades
    WHERE symbol = $1 AND exchange = $2 AND time <= $3::timestamptz + interval '1 day'
      AND time_received <= $3 AND time_received < $4 AND NOT backfilled
    ORDER BY time DESC, length(trade_id) DESC, trade_id DESC LIMIT 1"""
_AFTER = """
    SELECT trade_id, time FROM public_trades
    WHERE symbol = $1 AND exchange = $2 AND time >= $4 AND (time, length(trade_id), trade_id) > ($4, $5::integer, $6)
      AND time_received >= $3 AND NOT backfilled
    ORDER BY time, length(trade_id), trade_id LIMIT 1"""
_STORED = """
    SELECT trade_id FROM public_trades
    WHERE symbol = $1 AND exchange = $2 AND time >= $3 AND time <= $4 AND trade_id = ANY($5::text[])"""
_BACKFILLED = """
    SELECT count(*) FROM public_trades
    WHERE symbol = $1 AND exchange = $2 AND time >= $3 AND time <= $4 AND backfilled"""
# Sums of what is stored, which now is more than the bar was made of. A bar goes on being marked while any other hole
# lies in its time, of which only a part may still be without its trades. The quote at its close stays as it was. Its
# first and its last trade are looked up: to sort a busy day's millions takes three times as long as to sum them up.
_DERIVE = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count,
                       has_gap)
    SELECT bar.*, EXISTS (
        SELECT FROM data_gaps g
        WHERE g.exchange = bar.exchange
          AND (g.symbol = bar.symbol OR g.symbol IS NULL AND g.instance = current_instance())
          AND (g.channel IS NULL OR g.channel = 'trade') AND g.status <> 'healed' AND g.id <> $7
          AND g.time_from < bar.time + $6 AND (g.time_to IS NULL OR g.time_to >= bar.time)
          AND (g.unfetched = '[]' OR EXISTS (
              SELECT FROM jsonb_to_recordset(g.unfetched) AS part(symbol text, from_ns bigint, to_ns bigint)
              WHERE part.symbol = bar.symbol AND part.from_ns < extract(epoch FROM bar.time + $6) * 1000000000
                AND part.to_ns >= extract(epoch FROM bar.time) * 1000000000)))
    FROM (
        SELECT of_bar.time, $1::text AS symbol, $2::text AS exchange, $5::text AS timeframe,
               oldest.price AS open, high, low, newest.price AS close, volume, quote_volume, trades_count
        FROM (
            SELECT date_bin($6, time, '1970-01-01 00:00:00+00') AS time, min(time) AS opened, max(time) AS closed,
                   max(price) AS high, min(price) AS low, sum(quantity) AS volume,
                   sum(price * quantity) AS quote_volume, count(*) AS trades_count
            FROM public_trades
            WHERE symbol = $1 AND exchange = $2 AND time >= $3 AND time < $4
            GROUP BY 1
        ) of_bar,
        LATERAL (
            SELECT price FROM public_trades WHERE symbol = $1 AND exchange = $2 AND time = of_bar.opened
            ORDER BY length(trade_id), trade_id LIMIT 1
        ) oldest,
        LATERAL (
            SELECT price FROM public_trades WHERE symbol = $1 AND exchange = $2 AND time = of_bar.closed
            ORDER BY length(trade_id) DESC, trade_id DESC LIMIT 1
        ) newest
    ) bar
    ON CONFLICT (symbol, timeframe, time, exchange) DO UPDATE SET
        open = EXCLUDED.open, high = EXCLUDED.high, low = EXCLUDED.low, close = EXCLUDED.close,
        volume = EXCLUDED.volume, quote_volume = EXCLUDED.quote_volume, trades_count = EXCLUDED.trades_count,
        has_gap = EXCLUDED.has_gap, differs = false
    WHERE EXCLUDED.trades_count >= ohlcv.trades_count AND NOT ohlcv.backfilled
      AND (EXCLUDED.trades_count, EXCLUDED.has_gap) IS DISTINCT FROM (ohlcv.trades_count, ohlcv.has_gap)"""
_HURT = "SELECT * FROM data_gaps WHERE exchange = $1 AND hurt_bars <> '[]' AND instance = current_instance()"
_MENDED = "UPDATE data_gaps SET hurt_bars = '[]' WHERE id = $1"
_WITHOUT_CANDLES = """
    SELECT * FROM data_gaps
    WHERE exchange = $1 AND candles_due <= $2 AND instance = current_instance()
    ORDER BY time_to DESC, time_from DESC LIMIT $3"""
_TOLD = """
    unnest($3::text[], $4::timestamptz[], $5::numeric[], $6::numeric[], $7::numeric[], $8::numeric[], $9::numeric[],
           $10::numeric[], $11::bigint[])
        AS told(timeframe, time, open, high, low, close, volume, quote_volume, trades_count)"""
# A bar in which as much was traded as in the venue's candle misses nothing: it stays ours. One in which more was traded
# is fuller than the candle, which then can't be of the same trades.
_TAKE = f"""
    INSERT INTO ohlcv (symbol, exchange, timeframe, time, open, high, low, close, volume, quote_volume, trades_count,
                       backfilled)
    SELECT $1, $2, told.*, true FROM {_TOLD}
    ON CONFLICT (symbol, timeframe, time, exchange) DO UPDATE SET
        open = EXCLUDED.open, high = EXCLUDED.high, low = EXCLUDED.low, close = EXCLUDED.close,
        volume = EXCLUDED.volume, quote_volume = EXCLUDED.quote_volume,
        trades_count = greatest(EXCLUDED.trades_count, ohlcv.trades_count),
        has_gap = false, differs = false, backfilled = true
    WHERE NOT ohlcv.backfilled AND EXCLUDED.volume > ohlcv.volume"""
_WHOLE = f"""
    UPDATE ohlcv SET has_gap = false FROM {_TOLD}
    WHERE ohlcv.symbol = $1 AND ohlcv.exchange = $2 AND ohlcv.timeframe = told.timeframe AND ohlcv.time = told.time
      AND ohlcv.time >= $12 AND ohlcv.time <= $13 AND ohlcv.has_gap AND ohlcv.volume = told.volume"""
_TAKEN = """
    SELECT count(*) FROM ohlcv
    WHERE symbol = $1 AND exchange = $2 AND timeframe = $3 AND time >= $4 AND time <= $5 AND backfilled"""
_LISTED = """
    SELECT * FROM data_gaps
    WHERE ($1::boolean IS FALSE OR status = 'open')
      AND ($2::timestamptz IS NULL OR time_to IS NULL OR time_to >= $2)
      AND ($3::text IS NULL OR symbol IS NULL OR symbol = $3)
    ORDER BY time_from DESC, gap_key DESC"""
_FIGURES = ("open", "high", "low", "close", "volume", "quote_volume", "trades_count")
_UNHEALED_MAX = 1_000
_WITHOUT_SIDE = timedelta(minutes=1)
"""Where no trade before the hole is known, those after it may be dated so much earlier than the hole."""


class GapStore:
    """Over one connection; it reconnects by itself at the next call after a fault. Gaps are those of one `instance`."""

    def __init__(self, dsn: str, timeout_s: float, instance: str = "") -> None:
        self._database = Reconnecting(dsn, "traderd healing", timeout_s, APP_ROLE, instance=instance)

    async def unhealed(self, exchange: str) -> list[Gap]:
        """The closed gaps whose trades nobody has fetched yet, the newest first."""
        async with self._database.use() as connection:
            return [gap_of(row) for row in await connection.fetch(_UNHEALED, exchange, _UNHEALED_MAX)]

    async def sides(self, gap: Gap, symbol: str) -> tuple[Side | None, Side | None]:
        """The newest stored trade before the gap and the oldest after it; None where there is none."""
        begins, ends = time_of(gap.from_ns), time_of(gap.to_ns)
        assert begins and ends, "a gap to be healed has two ends"
        async with self._database.use() as connection:
            before = await connection.fetchrow(_BEFORE, symbol, gap.exchange, begins, ends)
            edge = (before["time"], len(before["trade_id"]), before["trade_id"]) if before else None
            edge = edge or (begins - _WITHOUT_SIDE, 0, "")
            after = await connection.fetchrow(_AFTER, symbol, gap.exchange, ends, *edge)
        return _side(before), _side(after)

    async def stored(self, exchange: str, symbol: str, trades: Sequence[tuple[str, int]]) -> set[str]:
        """Which of these trades, given as (id, time in ns), are stored already."""
        times = [at_ns for _, at_ns in trades]
        async with self._database.use() as connection:
            rows = await connection.fetch(
                _STORED, symbol, exchange, time_of(min(times)), time_of(max(times)), [name for name, _ in trades]
            )
        return {row["trade_id"] for row in rows}

    async def backfilled(self, exchange: str, symbol: str, from_ns: int, to_ns: int) -> int:
        """How many trades of this time were fetched afterwards."""
        async with self._database.use() as connection:
            rows = await connection.fetchval(_BACKFILLED, symbol, exchange, time_of(from_ns), time_of(to_ns))
        return int(rows)

    async def derive(self, gap: Gap, symbol: str, timeframe: str, from_ns: int, to_ns: int) -> None:
        """Make the bars that open in [from_ns, to_ns) anew from the stored trades; both are multiples of their length.

        They stay marked where a hole other than `gap` lies in them, and this one too if it isn't healed.
        """
        length = timedelta(microseconds=timeframe_ns(timeframe) // 1000)
        healed = key_of("gap", gap.gap_id if gap.status == "healed" else "")
        begins, ends = time_of(from_ns), time_of(to_ns)
        async with self._database.use() as connection, connection.transaction():
            await connection.execute("SELECT ensure_partitions('ohlcv', $1, $2)", begins, ends)
            await connection.execute(_DERIVE, symbol, gap.exchange, begins, ends, timeframe, length, healed)

    async def hurt(self, exchange: str) -> list[Gap]:
        """The gaps of which some bars aren't made anew yet."""
        async with self._database.use() as connection:
            return [gap_of(row) for row in await connection.fetch(_HURT, exchange)]

    async def mended(self, gap: Gap) -> None:
        """All of its bars are made anew."""
        async with self._database.use() as connection:
            await connection.execute(_MENDED, key_of("gap", gap.gap_id))

    async def without_candles(self, exchange: str, now_ns: int) -> list[Gap]:
        """The gaps for whose bars the venue's candles are due by now, the newest first."""
        async with self._database.use() as connection:
            rows = await connection.fetch(_WITHOUT_CANDLES, exchange, time_of(now_ns), _UNHEALED_MAX)
        return [gap_of(row) for row in rows]

    async def take_candles(self, candles: Sequence[Candle]) -> int:
        """The venue's candles, of one symbol and timeframe, for the bars that had less traded in them or aren't there.

        A bar in which just as much was traded misses nothing: it stays, and loses its mark. Returns how many bars
        of this time are the venue's now.
        """
        one, opens = candles[0], [each.open_time_ns for each in candles]
        at, span = (one.symbol, one.exchange), (time_of(min(opens)), time_of(max(opens)))
        figures = [[getattr(each, name) for each in candles] for name in _FIGURES]
        told = (*at, [one.timeframe] * len(candles), [time_of(each) for each in opens], *figures)
        async with self._database.use() as connection, connection.transaction():
            await connection.execute("SELECT ensure_partitions('ohlcv', $1, $2)", *span)
            await connection.execute(_TAKE, *told)
            await connection.execute(_WHOLE, *told, *span)
            return int(await connection.fetchval(_TAKEN, *at, one.timeframe, *span))

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._database.close()


async def listed(
    connection: asyncpg.Connection, open_only: bool, since: datetime | None, symbol: str | None
) -> list[Gap]:
    """The ledger, the newest first; `symbol` shows also what concerned all of its venue's."""
    return [gap_of(row) for row in await connection.fetch(_LISTED, open_only, since, symbol)]


def gap_of(row: asyncpg.Record) -> Gap:
    """A row of data_gaps."""
    return Gap(
        gap_id=row["gap_key"],
        exchange=row["exchange"],
        symbol=row["symbol"] or "",
        channel=row["channel"] or "",
        reason=row["reason"],
        from_ns=ns_of(row["time_from"]),
        to_ns=ns_of(row["time_to"]),
        rows_lost=row["rows_lost"],
        detail=row["detail"],
        status=row["status"],
        healed_ns=ns_of(row["healed_at"]),
        healed_by=row["healed_by"] or "",
        rows_healed=row["rows_healed"],
        why_not=row["why_not"],
        after_id=row["after_id"] or "",
        before_id=row["before_id"] or "",
        unfetched=_spans(row["unfetched"]),
        candles=row["candles"],
        candles_due_ns=ns_of(row["candles_due"]),
        hurt_bars=_spans(row["hurt_bars"]),
    )


def _spans(column: str) -> tuple[Span, ...]:
    return msgspec.json.decode(column, type=tuple[Span, ...])


def _side(row: Any) -> Side | None:
    return Side(row["trade_id"], ns_of(row["time"])) if row else None
