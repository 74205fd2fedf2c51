"""A daemon's inside without its sessions, on a real database and journal, and venues of the test's to heal it."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from conftest import Database
from traderd.adapters.clock import SystemClock
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.gap_store import GapStore, listed
from traderd.adapters.journal import FileJournal
from traderd.adapters.paper_exchange import PaperExchange
from traderd.adapters.redis_feed import NoFeed
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore
from traderd.core.backoff import Backoff
from traderd.core.candles import timeframe_ns
from traderd.core.engine import Engine
from traderd.core.engine_settings import EngineSettings
from traderd.core.errors import VenueRefusalError
from traderd.core.facts import Fact, Gap
from traderd.core.gaps import GapLedger
from traderd.core.market import Instrument, Trade
from traderd.core.matching import PaperSettings
from traderd.core.risk import RiskSettings
from traderd.runtime.drain import Drain
from traderd.runtime.facts import FactRecords
from traderd.runtime.healing import Healing
from traderd.runtime.hurt_bars import HurtBars
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.ports import JournalRecord
from traderd.runtime.wards import Patience, Ward
from traderd.venues.binance import Binance
from traderd.venues.bybit import Bybit
from traderd.venues.dialect import Endpoint

BTC = Instrument(0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
ETH = Instrument(1, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")
INSTRUMENTS = [BTC, ETH]
S = 1_000_000_000
_BEGAN_NS = time.time_ns()
NOW = _BEGAN_NS // (86_400 * S) * 86_400 * S + 43_200 * S
"""When all begins: today at noon, whatever the time of day, so that no day ends meanwhile."""
T0 = NOW - 600 * S
"""Ten minutes earlier."""
QUICK = Patience(look_s=0.02, settle_s=0.0, quiet_s=30.0, asks_per_s=1_000.0, backoff_max_s=0.05)
RISK = RiskSettings(Decimal(5_000), Decimal(20_000), Decimal(100), 2_000, Decimal(10))
SETTINGS = EngineSettings("r", "paper", "USDT", Decimal(100_000), ("1m",), 500, 1.0, Decimal(10), RISK)


def now_ns() -> int:
    """The time since then goes on as it does."""
    return NOW + time.time_ns() - _BEGAN_NS


class Venue:
    """A Binance that remembers its trades; `page` is the most that one answer holds.

    Its candles are of all trades that there ever were, those included that were taken from the tape.
    """

    instruments: Sequence[Instrument] = INSTRUMENTS

    def __init__(self, page: int = 7) -> None:
        self.tape: dict[str, list[Trade]] = {"BTCUSDT": [], "ETHUSDT": []}
        self.made: dict[str, list[Trade]] = {"BTCUSDT": [], "ETHUSDT": []}
        self.page = page
        self.asked: list[str] = []
        self.faults: list[Exception] = []
        self.candle_answers: list[bytes | Exception] = []
        """What is answered to the next questions for candles."""
        self.ahead_ns = 0
        """Its clock, against ours."""

    @property
    def dialect(self) -> Any:
        """What it speaks."""
        return Binance()

    def trades(self, instrument: Instrument, count: int, every_ns: int = S) -> list[Trade]:
        """So many more, received 40 ms after they were made."""
        tape = self.tape[instrument.venue_symbol]
        made = len(self.made[instrument.venue_symbol])
        for number in range(made + 1, made + count + 1):
            at_ns, price = T0 + number * every_ns, f"{100 + number % 9}.5"
            tape.append(Trade(instrument, str(number), "buy", float(price), f"{price},2.0", at_ns, at_ns + 40_000_000))
        self.made[instrument.venue_symbol] += tape[-count:]
        return tape[-count:]

    async def get(self, url: str, timeout_s: float) -> bytes:
        """The Rest."""
        self.asked.append(url)
        if self.faults:
            raise self.faults.pop(0)
        parts = urlsplit(url)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.endswith(("/klines", "/kline")):
            if not self.candle_answers:
                return self.candles(asked)
            if isinstance(answer := self.candle_answers.pop(0), Exception):
                raise answer
            return answer
        return self.served(asked)

    def served(self, asked: dict[str, str]) -> bytes:
        """Trades."""
        tape = self.tape[asked["symbol"]]
        page = [trade for trade in tape if int(trade.trade_id) >= int(asked["fromId"])][: self.page]
        return json.dumps(
            [
                {
                    **{"id": int(each.trade_id), "price": each.price_text, "qty": each.quantity_text},
                    **{"time": each.time_venue_ns // 1_000_000, "isBuyerMaker": False},
                }
                for each in page
            ]
        ).encode()

    def candles(self, asked: dict[str, str]) -> bytes:
        """Klines: one without trades repeats the close before."""
        bars, length_ms = [], timeframe_ns(asked["interval"]) // 1_000_000
        first_ms, last_ms = int(asked["startTime"]), int(asked["endTime"])
        now_ms = (now_ns() + self.ahead_ns) // 1_000_000
        for open_ms in range(first_ms, min(last_ms, now_ms) + 1, length_ms):
            volume, count, prices, money = self.counted(asked["symbol"], open_ms, length_ms)
            bars.append([open_ms, *prices, volume, open_ms + length_ms - 1, money, count, "0", "0", "0"])
        return json.dumps(bars).encode()

    def counted(self, name: str, open_ms: int, length_ms: int) -> tuple[str, int, list[str], str]:
        """Volume, trades, prices and money of one candle."""
        span = range(open_ms * 1_000_000, (open_ms + length_ms) * 1_000_000)
        trades = [trade for trade in self.made[name] if trade.time_venue_ns in span]
        if not trades:
            return "0", 0, ["100"] * 4, "0"
        paid = [Decimal(trade.price_text) for trade in trades]
        volume = sum(Decimal(trade.quantity_text) for trade in trades)
        money = sum(Decimal(trade.quantity_text) * price for trade, price in zip(trades, paid, strict=True))
        return str(volume), len(trades), [str(each) for each in (paid[0], max(paid), min(paid), paid[-1])], str(money)


class BybitSpot(Venue):
    """Serves the newest sixty trades and no more; ids are no numbers. Its candles come newest first."""

    instruments = (Instrument(0, "bybit", "BTC/USDT", "BTCUSDT", "BTC", "USDT"),)

    @property
    def dialect(self) -> Any:
        """What it speaks."""
        dialect = Bybit("spot", 50)
        dialect.bind(self.instruments)
        return dialect

    def served(self, asked: dict[str, str]) -> bytes:
        rows = [
            {"execId": each.trade_id, "symbol": "BTCUSDT", "price": each.price_text, "size": each.quantity_text}
            | {"side": "Buy", "time": str(each.time_venue_ns // 1_000_000)}
            for each in reversed(self.tape["BTCUSDT"][-int(asked["limit"]) :])
        ]
        return json.dumps({"retCode": 0, "result": {"list": rows}}).encode()

    def candles(self, asked: dict[str, str]) -> bytes:
        length = {"D": "1d"}.get(asked["interval"]) or f"{asked['interval']}m"
        told = super().candles(asked | {"interval": length, "startTime": asked["start"], "endTime": asked["end"]})
        rows = [[str(bar[0]), *bar[1:6], bar[7]] for bar in reversed(json.loads(told))]
        return json.dumps({"retCode": 0, "result": {"symbol": "BTCUSDT", "list": rows}}).encode()


class Ahead(SystemClock):
    """A clock that can be put forward."""

    by_ns = 0

    def time_ns(self) -> int:
        return now_ns() + self.by_ns


class Open:
    """An admission that refuses nobody."""

    async def ask(self) -> None: ...

    def refused(self, error: BaseException) -> float:
        return error.retry_after_s if isinstance(error, VenueRefusalError) else 0.0


class Told:
    """Whatever is said."""

    def __init__(self) -> None:
        self.delays: list[str] = []

    def healing_delayed(self, exchange: str, reason: str, delay_s: float) -> None:
        self.delays.append(reason)

    def gathered(self, exchange: str, channel: str, received: int, journalled: int, quarantined: int) -> None: ...

    def lost(self, exchange: str, channel: str, rows: int, reason: str) -> None: ...

    def latency(self, exchange: str, seconds: float) -> None: ...

    def fact(self, fact: Fact) -> None: ...

    def stored(self, records: Sequence[JournalRecord], seconds: float, refused: int) -> None: ...

    def unavailable(self, reason: str) -> None: ...

    def estranged(self, reason: str) -> None: ...

    def available(self) -> None: ...


class House:
    """A daemon's inside without its sessions."""

    def __init__(
        self, database: Database, folder: Path, venue: Venue, run: str = "r", timeframes: Sequence[str] = ("1m",)
    ) -> None:
        self.clock, self.observer, self.venue = Ahead(), Told(), venue
        instruments = list(venue.instruments)
        self.exchange = instruments[0].exchange
        self.journals = [FileJournal(folder / name, 10**7, 10**8, lambda damage: None) for name in ("ticks", "facts")]
        engine = Engine(SETTINGS, instruments)
        matching = PaperExchange(PaperSettings(Decimal(10), Decimal(0), 20, "USDT"), engine.board, self.clock)
        self.pipeline = Pipeline(
            engine, TickRows(instruments), self.journals[0], self.journals[1], NoFeed(), matching, self.observer,
            self.clock, GapLedger(run), 10_000, self.wake,
        )  # fmt: skip
        self.stream: Stream = self.pipeline.stream(self.exchange, [each.symbol for each in instruments])
        self.ticks, self.facts = CopyTickStore(database.dsn, 10), PostgresFactStore(database.dsn, 10)
        stores = (self.ticks, FactRecords(self.facts))
        self.drains = [
            Drain(journal, store, 10**6, Backoff(0.1, 1.0, 1.0), random.random, self.clock, self.observer)
            for journal, store in zip(self.journals, stores, strict=True)
        ]
        self.records = GapStore(database.dsn, 10)
        self.healing = Healing(
            self.exchange, timeframes, self.bars(timeframes), self.pipeline, self.records, venue, Open(), self.clock,
            self.stored, self.observer, QUICK,
        )  # fmt: skip
        endpoint = Endpoint("", "http://venue")
        self.healing.admit(Ward(each, venue.dialect, endpoint, self.stream) for each in instruments)

    def bars(self, timeframes: Sequence[str], grace_ms: int = 500) -> HurtBars:
        return HurtBars(self.exchange, timeframes, grace_ms, self.records, self.clock)

    def wake(self) -> None:
        for drain in self.drains:
            drain.wake()

    async def stored(self) -> None:
        self.pipeline.flush()
        for drain in self.drains:
            await drain.wait_caught_up()

    def hear(self, trades: list[Trade]) -> None:
        """As the stream would bring them, but for the engine."""
        self.stream.trades += trades

    def gap(self, from_ns: int, to_ns: int, symbol: str = "BTC/USDT", channel: str = "trade") -> None:
        """One that opened and closed."""
        self.pipeline.gap_opened(self.exchange, symbol, channel, "disconnect", from_ns)
        self.pipeline.gap_closed(self.exchange, symbol, channel, "disconnect", to_ns)


@asynccontextmanager
async def house(
    database: Database, folder: Path, venue: Venue, run: str = "r", timeframes: Sequence[str] = ("1m",)
) -> AsyncIterator[House]:
    """With its drains at work."""
    made = House(database, folder, venue, run, timeframes)
    tasks = [asyncio.create_task(drain.run()) for drain in made.drains]
    try:
        yield made
        for task in tasks:
            assert not task.done() or task.result() is None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(made.ticks.close(), made.facts.close(), made.records.close())
        for journal in made.journals:
            journal.close()


async def fetched(database: Database, query: str, *arguments: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database.dsn)
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


async def ledger(database: Database) -> list[Gap]:
    connection = await asyncpg.connect(database.dsn)
    try:
        return await listed(connection, False, None, None)
    finally:
        await connection.close()


async def ids(database: Database, symbol: str = "BTC/USDT") -> list[int]:
    query = "SELECT trade_id FROM public_trades WHERE symbol = $1 ORDER BY trade_id::bigint"
    return [int(row[0]) for row in await fetched(database, query, symbol)]
