"""The section `storage`: how long each table's rows stay in the database, and in what shape.

Terms are a number and h, d or y. Refuses what would lose rows: a term below the law's, and compression that begins
while rows may still arrive late.
"""

from collections.abc import Iterator
from datetime import date
from typing import Annotated

from msgspec import Meta, Struct, structs

from traderd.config.document import KeyPath

Days = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}d\Z", description="a number of days, like 1d or 30d")]
Term = Annotated[
    str, Meta(pattern=r"^[1-9][0-9]{0,3}[hdy]\Z", description="a term: a number and h, d or y, like 12h, 90d or 7y")
]
TermOrNever = Annotated[
    str, Meta(pattern=r"^([1-9][0-9]{0,3}[hdy]|never)\Z", description="a term, like 12h, 90d or 7y, or `never`")
]
TermOrForever = Annotated[
    str, Meta(pattern=r"^([1-9][0-9]{0,3}[hdy]|forever)\Z", description="a term, like 90d or 7y, or `forever`")
]


class Chunked(Struct, frozen=True, forbid_unknown_fields=True):
    """A table that is partitioned by time."""

    chunk: Days
    """The span of one partition; from then on, those that exist stay as they are."""
    compress_after: TermOrNever
    """Only TimescaleDB's community edition compresses."""
    keep: TermOrForever
    """Whole partitions are dropped, once their newest row is older than this."""


class Listed(Struct, frozen=True, forbid_unknown_fields=True):
    """A table whose rows are deleted one by one."""

    keep: TermOrForever


class Tables(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every table that has a term of its own."""

    tick_data: Chunked = Chunked("1d", "2d", "7d")
    public_trades: Chunked = Chunked("1d", "2d", "30d")
    quarantine: Chunked = Chunked("7d", "never", "90d")
    order_book_snapshots: Chunked = Chunked("1d", "2d", "7d")
    ohlcv: Chunked = Chunked("7d", "7d", "7y")
    technical_indicators: Chunked = Chunked("7d", "7d", "90d")
    funding_rates: Chunked = Chunked("30d", "30d", "5y")
    mark_prices: Chunked = Chunked("7d", "7d", "90d")
    open_interest: Chunked = Chunked("30d", "30d", "2y")
    liquidations: Chunked = Chunked("30d", "30d", "2y")
    equity_history: Chunked = Chunked("30d", "30d", "10y")
    portfolio_balances: Chunked = Chunked("30d", "30d", "10y")
    risk_metrics: Chunked = Chunked("30d", "30d", "2y")
    options_chains: Chunked = Chunked("7d", "7d", "5y")
    heston_parameters: Chunked = Chunked("30d", "30d", "5y")
    sabr_parameters: Chunked = Chunked("30d", "30d", "5y")
    ou_parameters: Chunked = Chunked("30d", "30d", "5y")
    onchain_metrics: Chunked = Chunked("30d", "30d", "365d")
    whale_transactions: Chunked = Chunked("30d", "30d", "365d")
    stock_indices: Chunked = Chunked("30d", "30d", "365d")
    social_sentiment: Chunked = Chunked("7d", "7d", "90d")
    predictions: Chunked = Chunked("30d", "90d", "2y")
    model_performance: Chunked = Chunked("30d", "never", "5y")
    security_events: Chunked = Chunked("30d", "never", "2y")
    signals: Listed = Listed("5y")
    alerts: Listed = Listed("1y")
    data_gaps: Listed = Listed("7y")
    trades: Listed = Listed("forever")
    """And their orders and executions. For ever: the books are then complete to the first fill."""


class Storage(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `migrate` makes of the tables. Audit logs aren't here: they are chained, and stay for ever."""

    late_rows: Term = "1d"
    """How late a row may arrive, by a replay or a backfill: nothing younger is compressed or dropped."""
    tables: Tables = Tables()


KEEP_MIN = {"trades": "10y"}
"""The law's floors. The database knows them too, as keep_min."""


def hours(term: str) -> int:
    """A term in hours. Years count as from 2000 on, where they have the most days; so the database compares them."""
    number, unit = int(term[:-1]), term[-1]
    if unit == "y":
        return (date(min(2000 + number, date.max.year), 1, 1) - date(2000, 1, 1)).days * 24
    return number * 24 if unit == "d" else number


def storage_contradictions(storage: Storage) -> Iterator[tuple[tuple[KeyPath, ...], str]]:
    """What each value may be alone and yet can't be together."""
    late = storage.late_rows
    for name, table in structs.asdict(storage.tables).items():
        at: KeyPath = ("storage", "tables", name)
        keep, compress = table.keep, table.compress_after if isinstance(table, Chunked) else "never"
        if (floor := KEEP_MIN.get(name)) and _below(keep, floor):
            yield ((*at, "keep"),), f"{keep} is below {floor}, for which the law wants them kept"
        if not _below(late, keep):
            yield ((*at, "keep"), ("storage", "late_rows")), f"{keep} must be above storage.late_rows, which is {late}"
        if not _below(late, compress):
            keys = ((*at, "compress_after"), ("storage", "late_rows"))
            yield keys, f"{compress} must be above storage.late_rows, which is {late}"
        elif compress != "never" and not _below(compress, keep):
            yield ((*at, "compress_after"), (*at, "keep")), f"{compress} must be below keep, which is {keep}"


def _below(term: str, limit: str) -> bool:
    endless = ("never", "forever")
    return term not in endless and (limit in endless or hours(term) < hours(limit))
