"""A venue through ccxt, whose own code speaks to the simulated exchange: every trade arrives, also those it drops."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

import pytest
from listener import Path, until

from traderd.adapters.ccxt_client import CcxtClient, ParkedError
from traderd.adapters.ccxt_feed import CcxtFeed
from traderd.adapters.clock import SystemClock
from traderd.config import Sim
from traderd.core.errors import BadFrameError, VenueRefusalError
from traderd.runtime.listing import watch_listing
from traderd.sim.faults import Faults
from traderd.sim.server import SimulatedExchange
from traderd.venues.ccxt_seats import ccxt_seats
from traderd.venues.dialect import AnyChannel, Endpoint

QUICK: tuple[AnyChannel, ...] = ("quote", "trade", "book")
SYMBOLS = ["BTC/USDT", "ETH/USDT"]


def feed_of(
    client: Any,
    path: Any,
    symbols: Sequence[str] = SYMBOLS,
    check_s: float = 1.0,
    channels: Sequence[AnyChannel] = QUICK,
    heard_until_ns: int = 0,
) -> CcxtFeed:
    (seat,) = ccxt_seats([("binance", symbols, channels, 20)], first=3)
    common = (path, path, SystemClock(), random.random, path, check_s, path.listings, heard_until_ns)
    return CcxtFeed(client, "binance", seat.channels, seat.instruments, seat.book_depth, *common)


@asynccontextmanager
async def heard(
    symbols: Sequence[str] = SYMBOLS, unlisted: tuple[str, ...] = ()
) -> AsyncIterator[tuple[SimulatedExchange, CcxtFeed, Path]]:
    """The simulated exchange, and ccxt's own Binance listening to it."""
    exchange = SimulatedExchange(Sim(symbols=2, ticks_per_second=200), remember=True)
    await exchange.start()
    exchange.inflict(Faults(delisted=unlisted))
    client = CcxtClient("binance", Endpoint(exchange.url, exchange.rest_url), spot_only=True)
    path = Path()
    feed = feed_of(client, path, symbols)
    running = asyncio.create_task(feed.run())
    try:
        traded = [symbol for symbol in SYMBOLS if symbol.replace("/", "") not in unlisted]
        await until(lambda: running.done() or all(path.ids(symbol) for symbol in traded))
        assert not running.done(), running.result()
        yield exchange, feed, path
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await exchange.stop()


def made(exchange: SimulatedExchange, symbol: str) -> list[int]:
    stream = symbol.replace("/", "").lower() + "@trade"
    return [int(trade_id) for trade_id in exchange.ledger["ids"][stream]]


async def test_every_trade_arrives_once_exactly_as_the_venue_wrote_it() -> None:
    """And quotes; a symbol that the venue doesn't trade is told and left out, books don't come by this path."""
    async with heard([*SYMBOLS, "NOPE/USDT"]) as (exchange, feed, path):
        await until(lambda: min(len(path.ids(symbol)) for symbol in SYMBOLS) > 20)
        await asyncio.sleep(0.3)
        for symbol in SYMBOLS:
            ids = path.ids(symbol)
            assert len(ids) == len(set(ids))
            there = [trade_id for trade_id in made(exchange, symbol) if min(ids) <= trade_id <= max(ids)]
            assert sorted(ids) == there
        texts = {text for trade in path.trades for text in (trade.price_text, trade.quantity_text)}
        assert all(len(text.partition(".")[2]) == 8 for text in texts)
        assert len(path.quotes) > 20 and all(len(quote.bid_text.partition(".")[2]) == 8 for quote in path.quotes)
        assert feed.live and path.backfilled == []
        assert ("refused", "NOPE/USDT", "the venue doesn't trade it") in path.told
        btc, eth = path.listings.traded
        assert (btc.index, eth.index, btc.venue_symbol, btc.feed, btc.market) == (3, 4, "BTCUSDT", "ccxt", "spot")
        assert (btc.price_tick, btc.quantity_step) == (Decimal("0.01"), Decimal("0.00001"))
        assert btc.notional_min == Decimal(5)


async def test_what_is_dropped_without_a_word_is_found_by_rest_and_written_down() -> None:
    """The venue ceases to send one symbol's trades: each is there all the same, in a gap; the other has none."""
    async with heard() as (exchange, feed, path):
        exchange.inflict(Faults(drop=("btcusdt@trade",)))
        await until(lambda: len(path.backfilled) > 5)
        assert {gap for gap in path.gaps if gap[0] != "healed"} >= {
            ("opened", "BTC/USDT", "trade", "unseen"),
            ("closed", "BTC/USDT", "trade", "unseen"),
        }
        assert all(trade.instrument.symbol == "BTC/USDT" for trade in path.backfilled)
        # ccxt waits on a dead subscription: it is made anew, and trades come by websocket again
        since = len(path.trades)
        await until(lambda: any(trade.instrument.symbol == "BTC/USDT" for trade in path.trades[since + 50 :]))
        newest = max(path.ids("BTC/USDT"))
        await until(
            lambda: (
                feed.tapes.by_symbol["BTC/USDT"].checked_ns > max(t.time_venue_ns for t in path.trades[:since]) + 10**9
            )
        )
        ids = path.ids("BTC/USDT")
        there = [trade_id for trade_id in made(exchange, "BTC/USDT") if min(ids) <= trade_id <= newest]
        checked = [t for t in there if t <= max(int(trade.trade_id) for trade in path.backfilled)]
        assert set(checked) <= set(ids)
        assert len(ids) == len(set(ids))


async def test_a_cut_is_a_gap_and_what_was_missed_meanwhile_is_fetched() -> None:
    """The venue refuses for a second; the feed comes back by itself and the tape has no hole."""
    async with heard() as (exchange, feed, path):
        before = {symbol: max(path.ids(symbol)) for symbol in SYMBOLS}
        exchange.inflict(Faults(cut=True, refuse_s=1.0, refuse_status=503))
        await until(lambda: ("opened", "", "", "disconnect") in path.gaps)
        await until(lambda: path.gaps[-1] == ("healed", "binance") or feed.live)
        after = {symbol: made(exchange, symbol)[-1] for symbol in SYMBOLS}
        await until(lambda: all(max(path.ids(symbol)) > after[symbol] for symbol in SYMBOLS))
        for symbol in SYMBOLS:
            missed = {t for t in made(exchange, symbol) if before[symbol] <= t <= after[symbol]}
            await until(lambda symbol=symbol, missed=missed: missed <= set(path.ids(symbol)))  # type: ignore[misc]


async def test_what_the_venue_drops_is_left_and_what_it_lists_again_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told once, after two looks; nothing of it is asked for meanwhile, and the other symbol doesn't notice."""
    quickly = partial(watch_listing, refresh_s=0.2, look_again_s=0.2)
    monkeypatch.setattr("traderd.adapters.ccxt_feed.watch_listing", quickly)
    async with heard() as (exchange, feed, path):
        exchange.inflict(Faults(delisted=("ETHUSDT",)))
        await until(lambda: path.listings.gone)
        assert list(feed.tapes.by_symbol) == ["BTC/USDT"] and not feed.books.books[4].usable
        before, others = len(path.ids("ETH/USDT")), len(path.ids("BTC/USDT"))
        await until(lambda: len(path.ids("BTC/USDT")) > others + 20)
        assert len(path.ids("ETH/USDT")) == before and ("opened", "", "", "disconnect") not in path.gaps
        assert path.listings.gone == ["ETH/USDT"] and path.told.count(("delisted", "ETH/USDT")) == 1
        exchange.inflict(Faults())
        await until(lambda: len(path.ids("ETH/USDT")) > before + 5)
        assert [each.symbol for each in path.listings.traded] == [*SYMBOLS, "ETH/USDT"]
        there = [trade_id for trade_id in made(exchange, "ETH/USDT") if trade_id >= min(path.ids("ETH/USDT"))]
        await until(lambda: set(there) <= set(path.ids("ETH/USDT")))
        assert len(path.ids("ETH/USDT")) == len(set(path.ids("ETH/USDT")))


async def test_what_was_not_listed_at_the_start_is_heard_once_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the venue's figures."""
    quickly = partial(watch_listing, refresh_s=0.2, look_again_s=0.2)
    monkeypatch.setattr("traderd.adapters.ccxt_feed.watch_listing", quickly)
    async with heard(unlisted=("ETHUSDT",)) as (exchange, _, path):
        assert ("refused", "ETH/USDT", "the venue doesn't trade it") in path.told
        assert path.listings.missing == ["ETH/USDT"]
        assert [each.symbol for each in path.listings.traded] == ["BTC/USDT"] and ("delisted", "ETH/USDT") in path.told
        exchange.inflict(Faults())
        await until(lambda: len(path.ids("ETH/USDT")) > 5)
        eth = path.listings.traded[-1]
        assert (eth.symbol, eth.index, eth.notional_min) == ("ETH/USDT", 4, Decimal(5))
        assert path.told.count(("listed", "ETH/USDT")) == 1


class Scripted:
    """Stands where ccxt stands, and has what a test says: faults that no simulated exchange has."""

    def __init__(self, has: Sequence[str], answers: dict[str, Callable[[], Any]]) -> None:
        self.has, self.answers, self.asked = has, answers, [("", 0.0)]
        self.markets = {"BTC/USDT": {"id": "BTCUSDT", "base": "BTC", "quote": "USDT"}}
        self.precision_mode, self.pace_s = 4, 0.01

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def refresh(self) -> None: ...

    def can(self, method: str) -> bool:
        return method in self.has

    async def ask(self, method: str, *arguments: Any) -> Any:
        self.asked.append((method, asyncio.get_running_loop().time()))
        await asyncio.sleep(0.01)
        return self.answers[method]()


@asynccontextmanager
async def scripted(client: Scripted) -> AsyncIterator[tuple[CcxtFeed, Path]]:
    path = Path()
    feed = feed_of(client, path, ["BTC/USDT"], check_s=0.1)
    running = asyncio.create_task(feed.run())
    try:
        yield feed, path
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def raising(fault: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise fault

    return answer


def told(trade_id: int, at_ms: int) -> dict[str, Any]:
    return {"id": str(trade_id), "timestamp": at_ms, "side": "buy", "price": 5.1e-7, "amount": "2.50"}


async def test_what_is_refused_to_one_stream_waits_for_all() -> None:
    """By the venue's own Retry-After."""
    refusing = raising(VenueRefusalError("too many", 429, 60.0))
    client = Scripted(["fetchTrades", "fetchTicker"], {"fetch_trades": refusing, "fetch_ticker": refusing})
    async with scripted(client) as (_, path):
        await until(lambda: len(client.asked) > 2)
        await asyncio.sleep(1.5)
        assert len(client.asked) <= 3
        assert [line for line in path.told if line[0] == "disconnected"] == [("disconnected", "too many")]


async def test_what_can_never_work_is_asked_once_and_told_in_one_line() -> None:
    """The other streams go on."""
    quotes = {"bid": "1.10", "bidVolume": "1", "ask": "1.2", "askVolume": "2.0", "timestamp": None}
    parked = raising(ParkedError("watch_trades: BadSymbol: no"))
    answers = {"watch_trades": parked, "watch_ticker": lambda: dict(quotes)}
    async with scripted(Scripted(["watchTrades", "watchTicker"], answers)) as (feed, path):
        await until(lambda: path.quotes and ("opened", "BTC/USDT", "trade", "unchecked") in path.gaps)
        assert path.told.count(("refused", "", "not asked again: watch_trades: BadSymbol: no")) == 1
        assert len(path.quotes) == 1 and path.quotes[0].bid_text == "1.10"
        assert feed.live


async def test_one_bad_trade_does_not_take_its_neighbours_with_it() -> None:
    """Nor does an exception out of ccxt end the stream."""
    bad = [told(2, 2) | {"price": None}, told(3, 3) | {"side": None}, told(4, 4) | {"timestamp": -1}]
    answers = iter([[told(1, 1), *bad, told(5, 5)], BadFrameError("ccxt"), [told(6, 6)]])

    def answer() -> Any:
        following = next(answers, [])
        if isinstance(following, Exception):
            raise following
        return following

    async with scripted(Scripted(["watchTrades"], {"watch_trades": answer})) as (_, path):
        await until(lambda: len(path.trades) == 3)
        assert [trade.trade_id for trade in path.trades] == ["1", "5", "6"]
        assert path.trades[0].price_text == "0.00000051"
        assert [reason for _, reason in path.bad] == ["bad_number", "bad_side", "bad_time", "ccxt"]


async def test_what_the_journal_does_not_take_is_compared_again() -> None:
    """The gap stays open until it does."""
    now_ms = SystemClock().time_ns() // 1_000_000 - 10_000
    page = [told(number, now_ms + number) for number in range(5)]
    streamed = iter([[page[0]], [page[4]]])
    answers = {"watch_trades": lambda: next(streamed, []), "fetch_trades": lambda: page}
    async with scripted(Scripted(["watchTrades", "fetchTrades"], answers)) as (_, path):
        path.journal_is_full = True
        await until(lambda: ("refused", "BTC/USDT", "no space left on device") in path.told)
        assert ("closed", "BTC/USDT", "trade", "unseen") not in path.gaps
        path.journal_is_full = False
        await until(lambda: ("closed", "BTC/USDT", "trade", "unseen") in path.gaps)
        assert [trade.trade_id for trade in path.backfilled] == ["1", "2", "3"]


async def test_a_tape_goes_on_where_an_earlier_run_ended() -> None:
    """What was traded meanwhile is fetched though no trade comes; it has a row of its own."""
    now_ms = SystemClock().time_ns() // 1_000_000 - 10_000
    page = [told(number, now_ms + number * 1_000) for number in range(5)]
    client = Scripted(["watchTrades", "fetchTrades"], {"watch_trades": list, "fetch_trades": lambda: page})
    path = Path()
    running = asyncio.create_task(
        feed_of(client, path, ["BTC/USDT"], 0.1, heard_until_ns=(now_ms + 2_000) * 1_000_000).run()
    )
    try:
        await until(lambda: path.backfilled)
        assert [trade.trade_id for trade in path.backfilled] == ["2", "3", "4"]
        unseen = [gap for gap in path.gaps if gap[-1] == "unseen"]
        assert unseen == [(ends, "BTC/USDT", "trade", "unseen") for ends in ("opened", "closed")]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_rest_does_not_reach_is_a_hole_with_two_ends() -> None:
    """It ends once a comparison has no hole."""
    now_ms = SystemClock().time_ns() // 1_000_000 - 10_000
    ticks = [told(number, now_ms + number * 1_000) for number in range(6)]
    streamed, pages = iter([[ticks[0]]]), iter([ticks[3:5]])
    answers = {"watch_trades": lambda: next(streamed, []), "fetch_trades": lambda: next(pages, ticks[2:])}
    async with scripted(Scripted(["watchTrades", "fetchTrades"], answers)) as (feed, path):
        await until(lambda: ("opened", "BTC/USDT", "trade", "unchecked") in path.gaps)
        since_ns = feed.tapes.by_symbol["BTC/USDT"].since_ns
        assert since_ns == (now_ms + 3_000) * 1_000_000
        await until(lambda: ("closed", "BTC/USDT", "trade", "unchecked") in path.gaps)


async def test_a_listing_that_can_not_be_read_is_told_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal makes everybody wait."""
    quickly = partial(watch_listing, refresh_s=0.05, look_again_s=0.05)
    monkeypatch.setattr("traderd.adapters.ccxt_feed.watch_listing", quickly)
    client = Scripted(["watchTrades"], {"watch_trades": list})
    faults = iter([ParkedError("no"), BadFrameError("ccxt"), VenueRefusalError("too many", 429, 60.0)])

    async def refresh() -> None:
        raise next(faults)

    monkeypatch.setattr(client, "refresh", refresh)
    async with scripted(client) as (feed, path):
        told = [("refused", "", f"instruments: {why}") for why in ("no", "ccxt", "too many")]
        await until(lambda: told[-1] in path.told)
        assert [line for line in path.told if line in told] == told and path.listings.gone == []
        assert (feed._allowed_ns - SystemClock().monotonic_ns()) / 1e9 > 50


async def test_ccxt_s_faults_are_translated() -> None:
    """Those of the link, those of the venue's patience, those that stay, and any other."""
    client = CcxtClient("binance", None, spot_only=True)
    client._exchange = client._made()
    faults = client._faults

    class Foreign:
        last_response_headers: ClassVar = {"Retry-After": "7"}

        async def call(self, fault: BaseException) -> None:
            raise fault

    client._exchange = Foreign()
    expected: list[tuple[BaseException, type[Exception]]] = [
        (faults.RequestTimeout("x"), ConnectionError),
        (faults.OnMaintenance("x"), ConnectionError),
        (OSError("x"), ConnectionError),
        (asyncio.CancelledError(), ConnectionError),
        (faults.BadSymbol("x"), ParkedError),
        (faults.PermissionDenied("x"), ParkedError),
        (faults.ExchangeError("x"), BadFrameError),
        (KeyError("x"), BadFrameError),
    ]
    for fault, translated in expected:
        with pytest.raises(translated):
            await client.ask("call", fault)
    with pytest.raises(VenueRefusalError) as caught:
        await client.ask("call", faults.DDoSProtection("x"))
    assert caught.value.retry_after_s == 7.0


def test_a_daemon_without_such_a_venue_does_not_import_ccxt() -> None:
    """It would cost a hundred megabytes."""
    program = (
        "import sys, traderd.app.daemon, traderd.adapters.ccxt_feed\n"
        "from traderd.config.ccxt_venues import reach\n"
        "assert reach('bitfinex') == 'websocket' and reach('nowhere') == ''\n"
        "sys.exit('ccxt' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0
