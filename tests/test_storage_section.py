"""The section `storage` of config.yaml: every mistake is one line; what is left out has the default that is shown."""

from pathlib import Path

import pytest
from msgspec import structs

from traderd.config import load_config, packaged_config
from traderd.config.storage import Chunked, Listed, Tables, hours
from traderd.core.errors import ConfigError

VENUES = "venues: [{name: binance, endpoint: sim, symbols: [BTC/USDT]}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def tables(file: Path, text: str) -> Tables:
    file.write_text(f"{VENUES}storage: {{{text}}}\n")
    return load_config(file).storage.tables


def test_what_is_left_out_keeps_the_table_s_own_default(file: Path) -> None:
    """One key of one table changes that alone."""
    changed = tables(file, "tables: {tick_data: {keep: 14d}, signals: {keep: forever}}")
    assert changed.tick_data == Chunked("1d", "2d", "14d")
    assert changed.signals == Listed("forever")
    assert structs.replace(changed, tick_data=Tables().tick_data, signals=Tables().signals) == Tables()


def test_the_default_file_shows_every_table_with_its_default() -> None:
    """As the comment at its top promises."""
    text = packaged_config().read_text()
    for name, table in structs.asdict(load_config(packaged_config()).storage.tables).items():
        terms = ", ".join(f"{key}: {value}" for key, value in structs.asdict(table).items())
        assert f"\n    {name}: {{{terms}}}" in text
        assert table == getattr(Tables(), name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "tables: {tick_dta: {keep: 7d}}",
            "storage.tables.tick_dta: unknown key 'tick_dta': did you mean 'tick_data'?",
        ),
        ("tables: {audit_logs: {keep: 9y}}", "unknown key 'audit_logs'"),
        ("tables: {signals: {chunk: 7d}}", "storage.tables.signals.chunk: unknown key"),
        ("tables: {ohlcv: {chunk: 12h}}", "storage.tables.ohlcv.chunk: expected a number of days"),
        (
            "tables: {ohlcv: {keep: 7}}",
            "storage.tables.ohlcv.keep: expected a term, like 90d or 7y, or `forever`, got 7",
        ),
        ("tables: {ohlcv: {keep: never}}", "storage.tables.ohlcv.keep: expected a term"),
        ("tables: {trades: {keep: 9y}}", "storage.tables.trades.keep: 9y is below 10y, for which the law wants them"),
        ("tables: {trades: {keep: 3652d}}", "storage.tables.trades.keep: 3652d is below 10y"),
        (
            "tables: {tick_data: {compress_after: 24h}}",
            "storage.tables.tick_data.compress_after: 24h must be above storage.late_rows, which is 1d",
        ),
        (
            "late_rows: 3d, tables: {public_trades: {compress_after: never}, "
            "order_book_snapshots: {compress_after: never}}",
            "tick_data.compress_after: 2d must be above",
        ),
        ("tables: {alerts: {keep: 12h}}", "storage.tables.alerts.keep: 12h must be above storage.late_rows"),
        (
            "tables: {tick_data: {compress_after: 7d}}",
            "storage.tables.tick_data.compress_after: 7d must be below keep, which is 7d",
        ),
        ("late_rows: 1w", "storage.late_rows: expected a term: a number and h, d or y"),
    ],
)
def test_what_would_lose_rows_or_means_nothing_is_refused(file: Path, text: str, told: str) -> None:
    """One line for one mistake, and it says what is wrong."""
    with pytest.raises(ConfigError) as caught:
        tables(file, text)
    (line,) = caught.value.lines
    assert told in line


@pytest.mark.parametrize("text", ["tables: {trades: {keep: 10y}}", "tables: {trades: {keep: 3653d}}"])
def test_the_law_s_term_itself_is_allowed(file: Path, text: str) -> None:
    """In years, or in the most days that they can have."""
    assert tables(file, text).trades.keep in text


def test_terms_are_compared_by_their_length() -> None:
    """A year has the days that it has from 2000 on."""
    assert [hours(term) for term in ("12h", "7d", "1y", "10y")] == [12, 168, 366 * 24, 3653 * 24]
