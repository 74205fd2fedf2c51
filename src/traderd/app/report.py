"""What a run is at, for /status, and what it came to, for the person who asked for it with `--for`."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct, to_builtins

from traderd.app.account import Account
from traderd.core.book_top import top_of
from traderd.core.candle_check import Comparisons
from traderd.core.engine import Engine
from traderd.core.facts import Gap
from traderd.core.market import Instrument


class Summary(Struct):
    """The figures of one run; rows of the tick journal alone, facts apart."""

    account: Account
    seconds: float
    recovered: int
    """Rows of earlier runs, brought to the database by this one."""
    candles: int
    signals: int
    orders: int
    refused: dict[str, int]
    """Intents by the rule that refused them."""
    fills: int
    gaps: int
    equity: Decimal | None
    """None: the portfolio was never recovered, or a position has no quote."""
    currency: str
    database: str
    redis: str


def summary_of(
    account: Account, engine: Engine, *, seconds: float, recovered: int, gaps: int, database: str, redis: str
) -> Summary:
    """The figures at the end of a run."""
    counts = engine.counts
    valuation = engine.portfolio.value(engine.board)
    return Summary(
        account=account,
        seconds=seconds,
        recovered=recovered,
        candles=counts.candles,
        signals=counts.signals,
        orders=counts.orders,
        refused=counts.refused,
        fills=counts.fills,
        gaps=gaps,
        equity=valuation.equity if valuation else None,
        currency=engine.portfolio.base_currency,
        database=database,
        redis=redis,
    )


def status_of(
    account: Account, engine: Engine, open_gaps: Sequence[Gap], instruments: Sequence[Instrument]
) -> dict[str, Any]:
    """The figures now, as JSON takes them; `symbols` has a section for each of the instruments."""
    valuation = engine.portfolio.value(engine.board)
    counts = engine.counts
    return {
        "ticks": {
            "received": account.received,
            "pending": account.pending,
            "journalled": account.journalled,
            "stored": account.stored,
            "quarantined": account.quarantined,
            "lost": account.lost,
            "duplicates": account.duplicates,
            "by_stream": {f"{venue}/{name or 'bad frames'}": rows for (venue, name), rows in account.by_stream.items()},
        },
        "engine": {
            "trading": not engine.refusal,
            "refusal": engine.refusal,
            "candles": counts.candles,
            "signals": counts.signals,
            "orders": counts.orders,
            "fills": counts.fills,
            "refused": counts.refused,
            "late_trades": engine.late.trades,
            "late_by_timeframe": engine.late.by_timeframe,
            "flagged": {" ".join(key): count for key, count in sorted(counts.flagged.items())},
        },
        "venue_candles": {
            verdict: sum(getattr(each, verdict) for each in engine.candle_check.counts.values())
            for verdict in Comparisons.__struct_fields__
        },
        "portfolio": {
            "name": engine.portfolio.name,
            "currency": engine.portfolio.base_currency,
            "equity": valuation and str(valuation.equity),
            "cash": str(engine.portfolio.cash),
            "realized_pnl": str(engine.portfolio.realized_pnl),
            "positions": {each.symbol: str(each.quantity) for each in engine.portfolio.held()},
        },
        "gaps_open": [to_builtins(gap) for gap in open_gaps],
        "symbols": {f"{each.exchange} {each.symbol}": _symbol(engine, each) for each in instruments},
    }


def _symbol(engine: Engine, instrument: Instrument) -> dict[str, Any]:
    """Its book's figures, null while there is no whole one, and how its candles compare with the venue's."""
    compared = engine.candle_check.counts.get((instrument.exchange, instrument.symbol))
    return {
        "book": to_builtins(top_of(engine.board.books[instrument.index])),
        "venue_candles": to_builtins(compared),
    }


def show(summary: Summary) -> None:
    """Print it to stdout, a line for each figure."""
    refused = sum(summary.refused.values())
    equity = "unknown" if summary.equity is None else f"{summary.equity:,.2f} {summary.currency}"
    lines = [("ticks received", balance(summary.account))]
    for (venue, channel), rows in sorted(summary.account.by_stream.items()):
        lines.append((f"  {venue} {channel or 'bad frames'}", f"{rows:,}"))
    if summary.recovered:
        lines.append(("recovered", f"{summary.recovered:,} rows of earlier runs"))
    lines += [
        ("candles", f"{summary.candles:,}"),
        ("signals", f"{summary.signals:,}"),
        ("paper orders", f"{summary.orders:,} sent, {refused:,} refused by risk"),
        ("fills", f"{summary.fills:,}"),
        ("gaps", f"{summary.gaps:,}"),
        ("final equity", equity),
        ("database", summary.database),
        ("redis", summary.redis),
    ]
    print(f"traderd ran for {summary.seconds:.1f} s")
    for name, value in lines:
        print(f"  {name:<16} {value}")


def balance(account: Account) -> str:
    """Where every tick went, in one line."""
    sign = "=" if account.balanced else "≠"
    return (
        f"{account.received:,} {sign} stored {account.stored:,} + journalled {account.journalled + account.pending:,}"
        f" + quarantined {account.quarantined:,} + lost {account.lost:,}"
    )
