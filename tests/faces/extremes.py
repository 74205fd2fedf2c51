"""What faces must stand: facts with numbers that no type of theirs holds, and positions that would break their keys."""

from decimal import Decimal
from itertools import count

from msgspec.structs import replace
from written import SYMBOL, candle, filled, ns

from conftest import Database
from traderd.adapters.fact_store import PostgresFactStore
from traderd.core.facts import Fact, Position

LARGE = Decimal(10**15)
SMALL = Decimal("1e-12")
_journals = count()


async def store(database: Database, *facts: Fact) -> None:
    """Written by the daemon's store."""
    facts_store = PostgresFactStore(database.dsn, 10)
    try:
        assert await facts_store.store(f"more{next(_journals)}", 1, facts) == 0
    finally:
        await facts_store.close()


def extremes() -> list[Fact]:
    """10^15 of a coin that costs 10^-12, sold for next to nothing by an account that has 10^30."""
    whole, fill = filled("o9", 3, "buy", 1, "0")
    return [
        replace(
            candle(3, 1), open=SMALL, high=SMALL, low=SMALL, close=SMALL, volume=LARGE, quote_volume=LARGE * SMALL,
            bid=SMALL, ask=SMALL, bid_size=LARGE, ask_size=LARGE,
        ),
        replace(whole, quantity=LARGE, price=SMALL, filled_quantity=LARGE, average_fill_price=SMALL, fee=LARGE),
        replace(fill, quantity=LARGE, price=SMALL, fee=LARGE, realized_pnl=Decimal(10**30)),
        held("paper", "binance", SYMBOL, LARGE, Decimal(10**20)),
    ]  # fmt: skip


def held(portfolio: str, exchange: str, symbol: str, quantity: Decimal | int, price: Decimal | int) -> Position:
    """A position that has risen by 1, and realised 2."""
    return Position(
        portfolio, exchange, symbol, Decimal(quantity), Decimal(price), Decimal(price) + 1, Decimal(quantity),
        Decimal(2), "cross", ns(9), ns(9),
    )  # fmt: skip


def collisions() -> list[Fact]:
    """One strategy on two exchanges and in two portfolios: in BTC it adds up, in SOL to nothing, in XRP it is out."""
    return [
        held("one", "binance", "BTC/USDT", 1, 100),
        held("one", "kraken", "BTC/USDT", 2, 130),
        held("two", "binance", "BTC/USDT", 1, 100),
        held("one", "binance", "ETH/USDT", -3, 10),
        held("one", "binance", "SOL/USDT", 4, 10),
        held("one", "kraken", "SOL/USDT", -4, 10),
        held("one", "binance", "XRP/USDT", 0, 0),
    ]


def condition(found: str) -> str:
    """The first condition of a plan that an index serves."""
    return found.partition("Index Cond: ")[2].partition("\n")[0]
