"""`traderd replay` as a process: the report is exact, the stored rows agree with it, and nothing is stored twice."""

import asyncio
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from conftest import Database

CAPTURES = Path(__file__).parents[1].parent / "shared" / "captures"
NAMES = [
    "binance/spot_ethusdt.frames.gz",
    "binance/spot_four_symbols_2021.frames.gz",
    "kraken/btcusd_depth10_resync.frames.gz",
    "kraken/ethusd_depth25.frames.gz",
]
FIGURES = ("books", "trades", "bookTicker", "last_bookTicker")
T0 = 1_700_000_000_000_000_000
MS = 10**6

needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES.name}")


class Ended:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def report(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def played(folder: Path, *arguments: str | Path, dsn: str = "postgresql://nobody@127.0.0.1:1/nowhere") -> Ended:
    """`traderd replay` with a configuration of its own, whose database is not there unless one is given."""
    config = folder / "replay.yaml"
    venue = "{name: binance, endpoint: sim, symbols: [BTC/USDT, ETH/USDT]}"
    strategy = "{type: ema_cross, name: cross, exchange: binance, symbol: ETH/USDT, fast: 3, slow: 8}"
    config.write_text(f"database: {dsn}\nredis: 'off'\nvenues: [{venue}]\nstrategies: [{strategy}]\n")
    command = [sys.executable, "-m", "traderd", "replay", *map(str, arguments), "--config", str(config)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def capture(path: Path, frames: Sequence[Any], venue: str = "binance", market: str = "spot") -> Path:
    """A made-up file: a frame each 10 ms; a text is taken as it stands, anything else becomes JSON."""
    lines = [json.dumps({"capture": 1, "venue": venue, "market": market})]
    for number, frame in enumerate(frames):
        text = frame if isinstance(frame, str) else json.dumps(frame)
        lines.append(f"{T0 + number * 10 * MS} ws1 {text}")
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))
    return path


def quoted(number: int, symbol: str = "BTCUSDT") -> Any:
    figures = {"u": number, "s": symbol, "b": f"100.{number:04d}", "B": "1.50", "a": "200.50", "A": "2"}
    return {"stream": f"{symbol.lower()}@bookTicker", "data": figures}


def dealt(number: int, symbol: str = "BTCUSDT") -> Any:
    times = {"E": (T0 + number * 10 * MS) // MS, "T": (T0 + number * 10 * MS) // MS}
    figures = {"s": symbol, "t": number, "p": f"100.{number:04d}", "q": "0.250", "m": number % 2 == 0}
    return {"stream": f"{symbol.lower()}@trade", "data": {"e": "trade", **figures, **times}}


def some(count: int = 30) -> list[Any]:
    return [make(number) for number in range(1, count + 1) for make in (quoted, dealt)]


async def rows(database: Database, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database.dsn)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def everything(database: Database) -> dict[str, list[str]]:
    """Every row of every table of ours, as text, but for the moment when it was last touched."""
    tables = await rows(
        database,
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
    )
    return {
        name: sorted(row[0] for row in await rows(database, f"SELECT (to_jsonb(t) - 'updated_at')::text FROM {name} t"))
        for (name,) in tables
    }


@needs_captures
def test_every_capture_of_a_spoken_venue_is_reported_to_the_last_digit(tmp_path: Path) -> None:
    """All four in one command, without any database; stdout is the report and nothing else."""
    files = [CAPTURES / name for name in NAMES]
    ended = played(tmp_path, *files, "--json", "--no-store")
    expected = json.loads((CAPTURES / "expected.json").read_text())
    for file, name in zip(files, NAMES, strict=True):
        report = ended.report[str(file)]
        assert {figure: report[figure] for figure in FIGURES} == {
            figure: expected[name].get(figure, {}) for figure in FIGURES
        }
        counted = {"records": expected[name].get("records"), "frames": expected[name].get("frames")}
        assert all(report[of] == count for of, count in counted.items() if count is not None)
        assert (report["not_read"], report["torn"]) == ({}, False)


@needs_captures
async def test_the_stored_rows_agree_with_the_report_and_a_second_replay_changes_none(
    tmp_path: Path, database: Database
) -> None:
    """Counts, exact sums, OHLC and the newest quote, per symbol; then every table is the same, row by row."""
    files = [CAPTURES / name for name in NAMES]
    first = await asyncio.to_thread(played, tmp_path, *files, "--json", dsn=database.dsn)
    assert first.err.count("the recording is older than its rows are kept") == len(files)
    assert "tick_data 7d, public_trades 30d, technical_indicators 90d" in first.err
    for report in first.report.values():
        for symbol, trades in report["trades"].items():
            await _agree_on_trades(database, symbol, trades)
        for symbol, count in report["bookTicker"].items():
            await _agree_on_quotes(database, symbol, count, report["last_bookTicker"][symbol])
    reported = [sum(report["bookTicker"].values()) for report in first.report.values()]
    dealt_rows = [sum(t["trades"] for t in report["trades"].values()) for report in first.report.values()]
    stored = await everything(database)
    assert len(stored["tick_data"]) == sum(reported) > 20_000
    assert len(stored["public_trades"]) == sum(dealt_rows) > 6_000
    assert stored["signals"] and stored["orders"] and stored["executions"] and stored["ohlcv"]
    assert stored["quarantine"] == [] and stored["data_gaps"] == []
    assert stored["journal_cursors"] == [], "the throw-away journals leave no trace"
    again = await asyncio.to_thread(played, tmp_path, *files, "--json", dsn=database.dsn)
    assert again.report == first.report
    assert await everything(database) == stored


async def _agree_on_trades(database: Database, venue_symbol: str, trades: dict[str, Any]) -> None:
    where = f"symbol = (SELECT symbol FROM instruments WHERE venue_symbol = '{venue_symbol}')"
    by_id = "ORDER BY trade_id::bigint"
    ((count, quantity, notional, bought, first, last, high, low),) = await rows(
        database,
        "SELECT count(*), sum(quantity), sum(price * quantity), sum(quantity) FILTER (WHERE side = 'buy'),"
        f" (array_agg(price::text {by_id}))[1], (array_agg(price::text {by_id} DESC))[1],"
        f" max(price)::text, min(price)::text FROM public_trades WHERE {where}",
    )
    assert (count, quantity, notional) == (trades["trades"], Decimal(trades["qty"]), Decimal(trades["notional"]))
    assert (bought or 0) == Decimal(trades["taker_buy_qty"])
    assert [first, last, high, low] == [trades[key] for key in ("first", "last", "high", "low")]


async def _agree_on_quotes(database: Database, venue_symbol: str, count: int, newest: list[str]) -> None:
    where = f"symbol = (SELECT symbol FROM instruments WHERE venue_symbol = '{venue_symbol}')"
    ((stored,),) = await rows(database, f"SELECT count(*) FROM tick_data WHERE {where}")
    assert stored == count
    (texts,) = await rows(
        database,
        "SELECT bid::text, bid_size::text, ask::text, ask_size::text FROM tick_data"
        f" WHERE {where} ORDER BY time DESC, sequence DESC LIMIT 1",
    )
    assert list(texts) == newest


async def test_without_json_a_person_reads_what_was_there_and_what_was_stored(
    tmp_path: Path, plain_database: Database
) -> None:
    """The second time everything is there already."""
    file = capture(tmp_path / "made.frames.gz", [*some(), "{", quoted(31)])
    first = await asyncio.to_thread(played, tmp_path, file, dsn=plain_database.dsn)
    assert first.code == 0, first.err
    assert "made.frames.gz: 62 frames; not read: 1 malformed" in first.out
    told = played(tmp_path, file, "--json", "--no-store").report[str(file)]
    assert (told["frames"], told["records"], told["not_read"]) == (62, 62, {"malformed": 1})
    assert "stored 61 rows, 0 were there already" in first.out
    second = await asyncio.to_thread(played, tmp_path, file, dsn=plain_database.dsn)
    assert "stored 0 rows, 61 were there already" in second.out


async def test_a_symbol_that_never_traded_takes_no_place(tmp_path: Path, plain_database: Database) -> None:
    """Named by an answer, or by a frame with something wrong in it: the rows of the others are their own."""
    book = (
        '{"channel":"ticker","type":"update","data":[{"symbol":"%s","bid":%s,"bid_qty":1.0,"ask":9.0,"ask_qty":1.0}]}'
    )
    answer = '{"method":"subscribe","success":true,"result":{"channel":"book","symbol":"%s","depth":10}}'
    dealing = (
        '{"channel":"trade","type":"update","data":[{"symbol":"%s","side":"%s","price":1.5,"qty":2.0,"trade_id":%d,'
        '"timestamp":"2023-11-14T22:13:20.000000Z"}]}'
    )
    frames = [
        answer % "AAA/USD",
        dealing % ("BBB/USD", "neither", 1),
        book % ("CCC/USD", "3.0"),
        book % ("DDD/USD", "4.0"),
        dealing % ("DDD/USD", "buy", 2),
    ]
    file = capture(tmp_path / "made.frames.gz", frames, venue="kraken")
    ended = await asyncio.to_thread(played, tmp_path, file, "--json", dsn=plain_database.dsn)
    assert ended.report[str(file)]["bookTicker"] == {"CCC/USD": 1, "DDD/USD": 1}
    stored = await rows(plain_database, "SELECT symbol, bid::text FROM tick_data ORDER BY symbol")
    assert [tuple(row) for row in stored] == [("CCC/USD", "3.0"), ("DDD/USD", "4.0")]
    stored = await rows(plain_database, "SELECT symbol, side FROM public_trades")
    assert [tuple(row) for row in stored] == [("DDD/USD", "buy")]
    symbols = await rows(plain_database, "SELECT symbol FROM instruments ORDER BY symbol")
    assert [row[0] for row in symbols] == ["CCC/USD", "DDD/USD"]


async def test_two_markets_that_spell_a_symbol_alike_are_kept_apart(tmp_path: Path, plain_database: Database) -> None:
    """By the connection's address: in the report, in the instruments and in every row."""

    def told(number: int, price: str) -> str:
        deal = {"T": T0 // MS + number, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": price, "i": str(number)}
        return json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": T0 // MS, "data": [deal]})

    def best(number: int, price: str) -> str:
        levels = {"s": "BTCUSDT", "b": [[price, "1"]], "a": [["200.5", "2"]], "u": number, "seq": 1}
        return json.dumps({"topic": "orderbook.1.BTCUSDT", "type": "snapshot", "ts": T0 // MS, "data": levels})

    address = "wss://stream.bybit.com/v5/public/"
    said = [("ws1:connect", address + "linear"), ("ws2:connect", address + "spot")]
    said += [("ws2", told(1, "100.1")), ("ws1", told(2, "100.2")), ("ws1", best(3, "99.3")), ("ws2", best(4, "99.4"))]
    said += [("ws1", told(5, "100.5"))]
    lines = [f"{T0 + at * 10 * MS} {connection} {text}" for at, (connection, text) in enumerate(said)]
    file = tmp_path / "two.frames.gz"
    file.write_bytes(gzip.compress("\n".join(['{"capture":1,"venue":"bybit"}', *lines]).encode() + b"\n"))
    ended = await asyncio.to_thread(played, tmp_path, file, "--json", dsn=plain_database.dsn)
    report = ended.report[str(file)]
    counts = {symbol: figures["trades"] for symbol, figures in report["trades"].items()}
    assert counts == {"spot:BTCUSDT": 1, "linear:BTCUSDT": 2}
    assert report["bookTicker"] == {"linear:BTCUSDT": 1, "spot:BTCUSDT": 1}
    stored = await rows(plain_database, "SELECT symbol, price::text FROM public_trades ORDER BY price")
    spot, linear = "BTC/USDT", "BTC/USDT:USDT"
    assert [tuple(row) for row in stored] == [(spot, "100.1"), (linear, "100.2"), (linear, "100.5")]
    stored = await rows(plain_database, "SELECT symbol, bid::text FROM tick_data ORDER BY bid")
    assert [tuple(row) for row in stored] == [(linear, "99.3"), (spot, "99.4")]
    options = tmp_path / "options.frames.gz"
    lines = [f"{T0} ws1:connect {address}option"]
    options.write_bytes(gzip.compress("\n".join(['{"capture":1,"venue":"bybit"}', *lines]).encode() + b"\n"))
    refused = await asyncio.to_thread(played, tmp_path, options, "--json", "--no-store")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.strip() == f"traderd: {options}: {address}option isn't spoken here"


def test_a_market_that_is_not_spoken_takes_nothing_from_the_others(tmp_path: Path) -> None:
    """Its frames are counted as what they are; a recording of it alone is refused."""
    address, deal = "wss://stream.bybit.com/v5/public/", {"T": 1, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "2"}
    told = json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": [{**deal, "i": "7"}]})
    said = [("ws1:connect", address + "option"), ("ws2:connect", address + "linear"), ("ws1", told), ("ws2", told)]
    lines = [f"{T0 + at * MS} {connection} {text}" for at, (connection, text) in enumerate(said)]
    file = tmp_path / "mixed.frames.gz"
    file.write_bytes(gzip.compress("\n".join(['{"capture":1,"venue":"bybit"}', *lines]).encode() + b"\n"))
    assert played(tmp_path, file, "--json", "--no-store").report[str(file)]["trades"]["BTCUSDT"]["trades"] == 1
    told_people = played(tmp_path, file, "--no-store").out.splitlines()
    assert told_people[:2] == ["mixed.frames.gz: 2 frames; not read: 1 unspoken", "BTCUSDT"]
    assert told_people[2].split() == ["trades", "1,", "quantity", "1,", "notional", "2"]


def test_a_book_without_a_snapshot_is_told_so_and_so_is_what_its_messages_lack(tmp_path: Path) -> None:
    """They can be applied to nothing; where their own numbers break, something is missing all the same."""

    def change(number: int) -> Any:
        told = {"e": "depthUpdate", "E": 1, "T": 1, "s": "BTCUSD_PERP", "ps": "BTCUSD"}
        numbers = {"U": number, "u": number, "pu": number - 1}
        return {"stream": "btcusd_perp@depth", "data": {**told, **numbers, "b": [["1.5", "2"]], "a": []}}

    file = capture(tmp_path / "later.frames.gz", [change(number) for number in (7, 8, 10)], market="coinm")
    (book,) = played(tmp_path, file, "--json", "--no-store").report[str(file)]["books"].values()
    nothing = dict.fromkeys(("book_msgs", "snapshots", "seq_gaps", "final_bid_levels", "final_ask_levels"), 0)
    empty = {"best_bid": None, "best_ask": None, "sum_bid_qty": "0", "sum_ask_qty": "0"}
    assert book == {**nothing, **empty, "seq_gaps": 1}
    told = played(tmp_path, file, "--no-store").out
    assert "no snapshot of it, so there is nothing to apply its changes to; 1 gaps in them" in told


async def test_a_torn_file_is_read_as_far_as_it_goes(tmp_path: Path, plain_database: Database) -> None:
    """As a killed recorder leaves it; that is said on stderr, and stdout stays pure JSON."""
    whole = capture(tmp_path / "whole.frames.gz", [quoted(number) for number in range(3_000)])
    torn = tmp_path / "torn.frames.gz"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    ended = await asyncio.to_thread(played, tmp_path, torn, "--json", dsn=plain_database.dsn)
    count = ended.report[str(torn)]["bookTicker"]["BTCUSDT"]
    assert 1_000 < count < 3_000
    assert "torn off" in ended.err and "torn.frames.gz" in ended.err
    ((stored,),) = await rows(plain_database, "SELECT count(*) FROM tick_data")
    assert stored == count


async def test_a_line_that_is_none_is_one_clear_error_and_nothing_is_stored(
    tmp_path: Path, plain_database: Database
) -> None:
    """Not even of the sound file beside it."""
    good = capture(tmp_path / "good.frames.gz", some())
    bad = capture(tmp_path / "bad.frames.gz", [quoted(1), "x\nnobody's line", quoted(2)])
    ended = await asyncio.to_thread(played, tmp_path, good, bad, "--json", dsn=plain_database.dsn)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.strip().splitlines() == [f"traderd: {bad}:4: not `<received_ns> <connection> <text>`"]
    stored = await everything(plain_database)
    assert [stored[name] for name in ("tick_data", "public_trades", "ohlcv")] == [[], [], []]


@pytest.mark.parametrize(("venue", "market"), [("nowhere", ""), ("binance", "options")])
def test_a_venue_that_is_not_spoken_here_is_one_clear_error(tmp_path: Path, venue: str, market: str) -> None:
    """Never the figures of the wrong dialect."""
    file = capture(tmp_path / "other.frames.gz", [quoted(1)], venue, market)
    ended = played(tmp_path, file, "--no-store")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.strip() == f"traderd: {file}:1: {f'{venue} {market}'.strip()} isn't spoken here"


def test_without_storing_no_database_is_asked_for_and_with_it_its_absence_is_told(tmp_path: Path) -> None:
    """Exit 3 in one line, and no report that would look like success."""
    file = capture(tmp_path / "made.frames.gz", some())
    report = played(tmp_path, file, "--json", "--no-store").report[str(file)]
    assert (report["bookTicker"], report["trades"]["BTCUSDT"]["trades"]) == ({"BTCUSDT": 30}, 30)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    ended = played(tmp_path, file, "--json")
    assert (ended.code, ended.out) == (3, "")
    assert len(ended.err.strip().splitlines()) == 1 and "Traceback" not in ended.err


async def test_a_replay_can_keep_the_recordings_own_pace(tmp_path: Path, plain_database: Database) -> None:
    """Half a second of traffic at half its speed takes a second."""
    file = capture(tmp_path / "made.frames.gz", some(26))
    begun = time.monotonic()
    ended = await asyncio.to_thread(played, tmp_path, file, "--json", "--speed", "0.5", dsn=plain_database.dsn)
    assert ended.report[str(file)]["bookTicker"] == {"BTCUSDT": 26}
    assert time.monotonic() - begun > 51 * 0.01 / 0.5
    ((stored,),) = await rows(plain_database, "SELECT count(*) FROM tick_data")
    assert stored == 26
