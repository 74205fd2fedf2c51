"""One daemon and five venues that play what the real ones sent: every row that the tapes hold is in the database."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from books import rows
from daemons import DaemonProcess, configuration
from manners import Manners
from manners_binance import Binance
from manners_bybit import Bybit
from manners_coinbase import Coinbase
from manners_kraken import Kraken
from manners_okx import Okx
from recorded import CAPTURES, Record, RecordedVenue, Recording, playing, recording
from scripts import script

from conftest import Database
from traderd.config import load_config
from traderd.doctor import examine

pytestmark = pytest.mark.process
needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES.name}")
STORED_S_MAX = 40.0
Trades = dict[tuple[str, str], dict[str, tuple[str, str, str, int]]]
"""By venue and symbol, and by trade id: price, quantity, taker's side, and microseconds since the epoch."""
CAPTURED = {
    ("binance/spot_ethusdt.frames.gz", "ETHUSDT"): ("binance", "ETH/USDT"),
    ("binance/usdm_ethusdt.frames.gz", "ETHUSDT"): ("binance", "ETH/USDT:USDT"),
    ("kraken/ethusd_depth25.frames.gz", "ETH/USD"): ("kraken", "ETH/USD"),
    ("okx/three_instruments_2022.frames.gz", "BTC-USDT"): ("okx", "BTC/USDT"),
    ("okx/three_instruments_2022.frames.gz", "UNI-USD-SWAP"): ("okx", "UNI/USD:UNI"),
    ("okx/three_instruments_2022.frames.gz", "BTC-USD-220527"): ("okx", "BTC/USD:BTC-220527"),
}
"""What was computed independently: file and the venue's symbol, and where it must be found."""
CONTRACTS = ["candle", "funding", "mark", "open_interest", "liquidation"]


@contextmanager
def listening(folder: Path, dsn: str, venues: list[dict[str, Any]], **sections: Any) -> Iterator[DaemonProcess]:
    """A daemon that records these venues and trades nothing."""
    path = configuration(folder, "", database=dsn, venues=venues, strategies=[], **sections)
    with DaemonProcess(path) as daemon:
        daemon.start()
        yield daemon


def configured(venue: RecordedVenue, *channels: str, **settings: Any) -> dict[str, Any]:
    """All that it lists, through an address of ours."""
    symbols = list(venue.manners.symbols)
    name = venue.manners.exchange
    return {"name": name, "endpoint": venue.url, "symbols": symbols, "channels": list(channels), **settings}


async def census(daemon: DaemonProcess) -> dict[str, dict[str, int]]:
    """How many streams each seat wants, was granted, has seen and has parked."""
    _, text = await daemon.get("/metrics")
    found: dict[str, dict[str, int]] = {}
    for labels, value in re.findall(r"^traderd_streams\{(.*)\} ([0-9.]+)$", text, re.MULTILINE):
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found.setdefault(told["venue"], {})[told["state"]] = int(float(value))
    return found


async def all_granted(daemon: DaemonProcess, seats: set[str], within_s: float = 30.0) -> None:
    """Every stream of every seat is acknowledged, or parked where it is refused."""
    deadline, now = time.monotonic() + within_s, dict[str, dict[str, int]]()
    while now.keys() != seats or any(e["acknowledged"] + e["parked"] != e["wanted"] for e in now.values()):
        daemon.expect_alive()
        assert time.monotonic() < deadline, f"not all is granted: {now}"
        await asyncio.sleep(0.1)
        try:
            now = await census(daemon)
        except OSError:
            continue


async def expect_stored(daemon: DaemonProcess, dsn: str, told: Trades) -> None:
    """All of these trades within some seconds, each once, to the last digit and the microsecond; and no other."""
    deadline, rows_told = time.monotonic() + STORED_S_MAX, sum(map(len, told.values()))
    while sum(map(len, (stored := await all_trades(dsn)).values())) < rows_told and time.monotonic() < deadline:
        daemon.expect_alive()
        await asyncio.sleep(0.5)
    assert stored.keys() <= told.keys()
    for key, trades in told.items():
        stored.setdefault(key, {})
        missing, beyond = trades.keys() - stored[key].keys(), stored[key].keys() - trades.keys()
        counts = f"{key}: {len(missing)} of {len(trades)} missing, {len(beyond)} too many"
        assert not missing and not beyond, f"{counts}\n{await daemon.status()}\n{daemon.words()}"
        assert stored[key] == trades


async def all_trades(dsn: str) -> Trades:
    """Each once."""
    trades: Trades = {}
    query = "SELECT exchange, symbol, trade_id, price::text, quantity::text, side, time FROM public_trades"
    for exchange, symbol, trade_id, price, quantity, side, at in await rows(dsn, query):
        of = trades.setdefault((exchange, symbol), {})
        assert trade_id not in of, f"{exchange} {symbol} {trade_id} is there twice"
        of[trade_id] = (price, quantity, side, round(at.timestamp() * 1e6))
    return trades


def played(manners: Manners) -> Trades:
    """What the venue printed."""
    trades: Trades = {}
    for each in manners.prints:
        of = trades.setdefault((manners.exchange, manners.unified(each.place, each.symbol)), {})
        of[each.trade_id] = (each.price, each.quantity, each.taker, each.time_ns // 1000)
    return trades


def five_recorded() -> dict[str, tuple[RecordedVenue, list[Recording]]]:
    """Each venue with the tapes that it plays."""
    spot, linear = recording("binance/spot_ethusdt", "spot"), recording("binance/usdm_ethusdt", "linear")
    listings = recording("binance/spot_four_symbols_2021").bodies
    kraken, coinbase = recording("kraken/ethusd_depth25"), recording("coinbase/first_150")
    bybit, okx = recording("bybit/first_400", "linear"), recording("okx/three_instruments_2022")
    coins = ("BTC", "ETH", "SOL", "DOGE")
    contracts = {"UNI/USD:UNI": "UNI-USD-SWAP", "BTC/USD:BTC-220527": "BTC-USD-220527"}
    manners = {
        "binance": (
            Binance({"ETH/USDT": "ETHUSDT", "ETH/USDT:USDT": "ETHUSDT"}, bodies=listings | spot.bodies | linear.bodies),
            [spot, linear],
        ),
        "kraken": (Kraken({"ETH/USD": "ETH/USD"}, depth=25), [kraken]),
        "coinbase": (Coinbase({"BTC/USD": "BTC-USD", "ETH/USD": "ETH-USD"}, bodies=coinbase.bodies), [coinbase]),
        "bybit": (Bybit({f"{coin}/USDT:USDT": f"{coin}USDT" for coin in coins}, bodies=bybit.bodies), [bybit]),
        "okx": (Okx({"BTC/USDT": "BTC-USDT", **contracts}, bodies=okx.bodies), [okx]),
    }
    return {name: (RecordedVenue(m, tapes[0].lag_ns), tapes) for name, (m, tapes) in manners.items()}


@needs_captures
async def test_five_recorded_venues_are_stored_to_the_last_digit(plain_database: Database, tmp_path: Path) -> None:
    """As fast as it goes: trades, quotes and books agree with what was computed from the captures independently."""
    venues = five_recorded()
    channels = {
        "binance": ["quote", "trade", "book"],
        "kraken": ["book"],
        "coinbase": ["quote", "trade", "book", "candle"],
        "bybit": ["trade", "book", *CONTRACTS],
        "okx": ["quote", "trade", "book"],
    }
    depths = {"kraken": {"book_depth": 25}, "bybit": {"book_depth": 100}}
    seats = {"binance", "binance:linear", "kraken", "coinbase", "bybit:linear", "okx", "okx:inverse"}
    async with playing(*(venue for venue, _ in venues.values())):
        settings = [configured(venue, *channels[name], **depths.get(name, {})) for name, (venue, _) in venues.items()]
        often = {"book_snapshot_interval_s": 0.3}
        with listening(tmp_path, plain_database.dsn, settings, engine=often) as daemon:
            await all_granted(daemon, seats)
            await asyncio.gather(*(venue.play(*(tape.records for tape in tapes)) for venue, tapes in venues.values()))
            ended_s = time.time()
            told: Trades = {}
            for venue, _ in venues.values():
                told |= played(venue.manners)
            await expect_stored(daemon, plain_database.dsn, told)
            await expect_quotes_and_books(plain_database.dsn)
            await expect_figures_of_contracts(plain_database.dsn, venues["bybit"][0].manners)
            assert not await rows(
                plain_database.dsn, f"SELECT * FROM data_gaps WHERE time_from < to_timestamp({ended_s})"
            )
            status = await daemon.status()
            assert set(status["venues"]) == seats
            assert status["ticks"]["quarantined"] == status["ticks"]["lost"] == 0
    expect_as_computed(told)


def expect_as_computed(told: Trades) -> None:
    """What the venues played is what the captures hold: number and exact sums of every symbol's trades."""
    for (name, venue_symbol), key in CAPTURED.items():
        if not (expected := computed(name)["trades"].get(venue_symbol)):
            continue
        trades = [(Decimal(price), Decimal(quantity), side) for price, quantity, side, _ in told[key].values()]
        assert len(trades) == expected["trades"]
        assert sum(quantity for _, quantity, _ in trades) == Decimal(expected["qty"])
        assert sum(price * quantity for price, quantity, _ in trades) == Decimal(expected["notional"])
        assert sum(quantity for _, quantity, side in trades if side == "buy") == Decimal(expected["taker_buy_qty"])


async def expect_quotes_and_books(dsn: str) -> None:
    """As many quotes as were sent, the last one to the last digit; each book's best levels in its last snapshot."""
    for (name, venue_symbol), (exchange, symbol) in CAPTURED.items():
        where = f"exchange = '{exchange}' AND symbol = '{symbol}'"
        expected = computed(name)
        if quotes := expected.get("bookTicker", {}).get(venue_symbol):
            await until_stored(dsn, f"SELECT count(*) FROM tick_data WHERE {where}", (quotes,))
            query = f"SELECT bid::text, bid_size::text, ask::text, ask_size::text FROM tick_data WHERE {where}"
            last = await rows(dsn, f"{query} ORDER BY sequence DESC LIMIT 1")
            assert list(last[0]) == expected["last_bookTicker"][venue_symbol]
        book = expected["books"][venue_symbol]
        query = f"SELECT bids->0, asks->0 FROM order_book_snapshots WHERE {where} ORDER BY time DESC LIMIT 1"
        await until_stored(dsn, query, (book["best_bid"], book["best_ask"]))


async def expect_figures_of_contracts(dsn: str, bybit: Manners) -> None:
    """The newest of each is what the venue's tickers came to."""
    assert isinstance(bybit, Bybit)
    for symbol, venue_symbol in bybit.symbols.items():
        ticker = bybit.tickers["linear", f"tickers.{venue_symbol}"]["data"]
        newest = f"FROM {{}} WHERE exchange = 'bybit' AND symbol = '{symbol}' ORDER BY time DESC LIMIT 1"
        await until_stored(dsn, f"SELECT rate::text {newest.format('funding_rates')}", (ticker["fundingRate"],))
        interest = ticker["singleOpenInterest"]
        await until_stored(dsn, f"SELECT quantity::text {newest.format('open_interest')}", (interest,))
        prices = "SELECT mark_price::text, index_price::text"
        await until_stored(dsn, f"{prices} {newest.format('mark_prices')}", (ticker["markPrice"], ticker["indexPrice"]))


async def until_stored(dsn: str, query: str, expected: tuple[Any, ...], within_s: float = 20.0) -> None:
    """One row, and this one; JSON is read."""
    deadline = time.monotonic() + within_s
    while True:
        found = [tuple(_read(value) for value in row) for row in await rows(dsn, query)]
        if found == [expected]:
            return
        assert time.monotonic() < deadline, f"{query}: {found} instead of {expected}"
        await asyncio.sleep(0.2)


def _read(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def computed(name: str) -> dict[str, Any]:
    """What was computed independently from this capture."""
    return dict(json.loads((CAPTURES / "expected.json").read_text())[name])


SPOT = {"BTC/USDT": "BTCUSDT", "ETH/USDT": "ETHUSDT"}
LINEAR = {"BTC/USDT:USDT": "BTCUSDT", "ETH/USDT:USDT": "ETHUSDT"}
DASHED = {"BTC/USDT": "BTC-USDT", "ETH/USDT": "ETH-USDT"}
SWAPS = {"BTC/USDT:USDT": "BTC-USDT-SWAP", "ETH/USDT:USDT": "ETH-USDT-SWAP"}
SEATS = {"binance", "binance:linear", "kraken", "coinbase", "bybit", "bybit:linear", "okx", "okx:linear"}


def five_scripted() -> dict[str, RecordedVenue]:
    """Five venues that list the same coins on spot and, where they have them, as perpetual contracts."""
    manners = [
        Binance(SPOT | LINEAR),
        Kraken({"BTC/USD": "BTC/USD", "ETH/USD": "ETH/USD", "OLD/USD": "OLD/USD"}, "OLD/USD", depth=10),
        Coinbase({"BTC/USD": "BTC-USD", "ETH/USD": "ETH-USD"}),
        Bybit(SPOT | LINEAR | {"OLD/USDT:USDT": "OLDUSDT"}, "OLD/USDT:USDT"),
        Okx(DASHED | SWAPS | {"OLD/USDT": "OLD-USDT"}, "OLD/USDT"),
    ]
    return {each.exchange: RecordedVenue(each) for each in manners}


UNLISTED = {"kraken": "NEVER/USD", "coinbase": "NEVER/USD", "binance": "NEVER/USDT", "bybit": "NEVER/USDT"}
REFUSED = [("kraken", "OLD/USD"), ("bybit", "OLD/USDT:USDT"), *[("okx", "OLD/USDT")] * 2]
"""OKX's trades come over a connection of their own, which learns by itself."""
CUT = {"binance", "kraken", "bybit", "okx"}


async def test_five_venues_tell_all_that_they_have_and_each_heals_its_own_holes(
    plain_database: Database, tmp_path: Path
) -> None:
    """Made-up tapes of every channel and market; four of the venues cut all links in the middle, and lose nothing."""
    venues = five_scripted()
    async with playing(*venues.values()):
        settings = [configured(venue, *offered(name)) for name, venue in venues.items()]
        for each in settings:
            each["symbols"] += [UNLISTED[each["name"]]] if each["name"] in UNLISTED else []
        async with asyncio.TaskGroup() as group:
            plays = [group.create_task(venue.play(_tape(venue), paced=True)) for venue in venues.values()]
            with listening(tmp_path, plain_database.dsn, settings) as daemon:
                await all_seen(daemon)
                await asyncio.sleep(1.0)
                cut_s = time.time()
                for name in CUT:
                    venues[name].cut()
                await until_healed(plain_database.dsn, cut_s)
                await all_seen(daemon)
                for play in plays:
                    play.cancel()
                ended_s = time.time()
                await expect_all_since_the_first(daemon, plain_database.dsn, venues)
                await expect_gaps_of_the_cut_alone(plain_database.dsn, cut_s, ended_s)
                await expect_every_kind_of_row(plain_database.dsn)
                expect_one_warning_each(daemon)
                await expect_names(daemon)


def offered(name: str) -> list[str]:
    """Kraken and Coinbase are spoken on spot only."""
    return ["quote", "trade", "book", "candle"] + ([] if name in ("kraken", "coinbase") else CONTRACTS[1:])


async def all_seen(daemon: DaemonProcess, within_s: float = 40.0) -> None:
    """Every stream has said something, or is parked; open interest of Binance isn't streamed."""
    seen = {
        **{"binance": 8, "binance:linear": 14, "kraken": 8, "coinbase": 8},
        **{"bybit": 8, "bybit:linear": 16, "okx": 8, "okx:linear": 16},
    }
    parked = {"kraken": 4, "bybit:linear": 8, "okx": 4}
    wanted = {seat: (streams, parked.get(seat, 0)) for seat, streams in seen.items()}
    deadline, now = time.monotonic() + within_s, dict[str, tuple[int, int]]()
    while now != wanted:
        daemon.expect_alive()
        assert time.monotonic() < deadline, f"not everything is heard: {now}"
        await asyncio.sleep(0.1)
        with suppress(OSError):
            now = {seat: (told["seen"], told["parked"]) for seat, told in (await census(daemon)).items()}


async def until_healed(dsn: str, cut_s: float, within_s: float = 30.0) -> None:
    """Each trade stream of those that were cut has a gap, which ended and was healed."""
    streams = {(name, symbol) for name in ("binance", "bybit", "okx") for symbol in SPOT | LINEAR}
    streams |= {("kraken", "BTC/USD"), ("kraken", "ETH/USD")}
    deadline = time.monotonic() + within_s
    query = f"SELECT exchange, symbol, status, why_not FROM data_gaps WHERE channel = 'trade' AND {_since(cut_s)}"
    while True:
        found = await rows(dsn, query)
        if {row[:2] for row in found} == streams and {row[2] for row in found} == {"healed"}:
            return
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)


async def expect_all_since_the_first(daemon: DaemonProcess, dsn: str, venues: dict[str, RecordedVenue]) -> None:
    """The tapes ran before somebody listened: of each symbol all is there from the first trade that is."""
    told: Trades = {}
    for venue in venues.values():
        told |= played(venue.manners)
    began = {key: min(trade[3] for trade in trades.values()) for key, trades in (await all_trades(dsn)).items()}
    told = {
        key: {trade_id: trade for trade_id, trade in trades.items() if trade[3] >= began[key]}
        for key, trades in told.items()
    }
    await expect_stored(daemon, dsn, told)


async def expect_gaps_of_the_cut_alone(dsn: str, cut_s: float, ended_s: float) -> None:
    """No venue has a gap but those that were cut, each of them from the cut, and each ended."""
    query = "SELECT exchange, reason, extract(epoch FROM time_from)::float8, time_to FROM data_gaps"
    gaps = [gap for gap in await rows(dsn, query) if gap[2] < ended_s]
    assert {(exchange, reason) for exchange, reason, *_ in gaps} == {(name, "disconnect") for name in CUT}
    assert all(cut_s - 2.0 < began < cut_s + 2.0 and ended is not None for _, _, began, ended in gaps)


async def expect_every_kind_of_row(dsn: str) -> None:
    """By venue and symbol, contracts apart from the spot pairs of the same name."""
    spot = {(name, symbol) for name in ("binance", "bybit", "okx") for symbol in SPOT}
    spot |= {(name, symbol) for name in ("kraken", "coinbase") for symbol in ("BTC/USD", "ETH/USD")}
    perpetual = {(name, symbol) for name in ("binance", "bybit", "okx") for symbol in LINEAR}
    for table in ("tick_data", "public_trades"):
        assert set(await rows(dsn, f"SELECT DISTINCT exchange, symbol FROM {table}")) == spot | perpetual
    for table in ("funding_rates", "mark_prices", "liquidations"):
        assert set(await rows(dsn, f"SELECT DISTINCT exchange, symbol FROM {table}")) == perpetual, table
    asked_later = ("binance", "ETH/USDT:USDT")  # of two contracts the second is asked for half a minute after the first
    interests = set(await rows(dsn, "SELECT DISTINCT exchange, symbol FROM open_interest"))
    assert interests | {asked_later} == perpetual
    marks = await rows(dsn, "SELECT DISTINCT symbol, mark_price::text, index_price::text FROM mark_prices")
    assert set(marks) == {("BTC/USDT:USDT", "60000.11", "60000.22"), ("ETH/USDT:USDT", "2000.11", "2000.22")}
    listed = await rows(dsn, "SELECT exchange, symbol, venue_symbol FROM instruments")
    assert {("okx", "ETH/USDT:USDT", "ETH-USDT-SWAP"), ("bybit", "ETH/USDT:USDT", "ETHUSDT")} <= set(listed)


def expect_one_warning_each(daemon: DaemonProcess) -> None:
    """A symbol that isn't listed, and one that is refused, is told once; nothing else is refused."""
    told = [line for line in daemon.log() if line["event"] == "refused" and line["channel"] != "book"]
    assert sorted((line["venue"], line["symbol"]) for line in told) == sorted([*UNLISTED.items(), *REFUSED]), told


async def expect_names(daemon: DaemonProcess) -> None:
    """Each market has a name of its own, in `status` and in `doctor`; a venue's rows are counted together."""
    status = await daemon.status()
    assert set(status["venues"]) == SEATS and all(venue["live"] for venue in status["venues"].values())
    assert status["ticks"]["quarantined"] == status["ticks"]["lost"] == 0
    by_stream = status["ticks"]["by_stream"]
    assert sum(by_stream.values()) == status["ticks"]["received"]
    found = {finding.check: finding for finding in await examine(load_config(daemon.config), daemon.config)}
    assert {check.removeprefix("clock of ") for check in found if check.startswith("clock of ")} == SEATS
    assert all(found[f"clock of {seat}"].state == "ok" for seat in SEATS), found


def _tape(venue: RecordedVenue) -> Iterator[Record]:
    heard = {ours: theirs for ours, theirs in venue.manners.symbols.items() if theirs not in venue.manners.unheard}
    return script(venue.manners.exchange, heard, time.time_ns())


def _since(cut_s: float) -> str:
    return f"time_to > to_timestamp({cut_s})"
