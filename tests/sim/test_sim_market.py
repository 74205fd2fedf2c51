"""The simulated market is believable, deterministic and consistent with its own messages."""

from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from traderd.config import Sim
from traderd.core.market import Instrument, Trade, VenueCandle
from traderd.sim import rest
from traderd.sim.market import Market
from traderd.sim.pit import LEVELS_MAX, LEVELS_MIN, DepthChanged, Event, Pit, Quoted, Traded
from traderd.sim.wire import combined, encode
from traderd.venues.binance import Binance

EPOCH_US = 1_700_000_000_000_000


class ReferenceBook:
    """Binance's own recipe for a local book, over JSON alone; knows nothing of the simulator."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.last = snapshot["lastUpdateId"]
        self.bids = dict(snapshot["bids"])
        self.asks = dict(snapshot["asks"])
        self.applied = 0

    def apply(self, diff: dict[str, Any]) -> None:
        if diff["u"] <= self.last:
            return
        assert diff["U"] <= self.last + 1, "a gap"
        assert not self.applied or diff["U"] == self.last + 1, "an overlap"
        for side, changes in ((self.bids, diff["b"]), (self.asks, diff["a"])):
            for price, quantity in changes:
                if float(quantity) == 0:
                    side.pop(price, None)
                else:
                    side[price] = quantity
        self.last = diff["u"]
        self.applied += 1


def _market(seed: int = 1, symbols: int = 3, rate: float = 500.0) -> Market:
    return Market(Sim(seed=seed, symbols=symbols, ticks_per_second=rate), EPOCH_US)


def _snapshot(market: Market, venue_symbol: str) -> dict[str, Any]:
    status, body = rest.answer(market, f"/api/v3/depth?symbol={venue_symbol}&limit=1000")
    assert status == 200
    return msgspec.json.decode(body)


def _one_by_one(market: Market, until_us: int) -> Any:
    """Events with the market standing still right after each of them."""
    while market.due_us <= until_us:
        yield from market.advance(market.due_us)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    pieces=st.lists(st.integers(0, 200_000), min_size=1, max_size=20),
    rate=st.floats(10, 5_000),
)
def test_the_events_are_a_function_of_simulated_time_however_it_is_cut(
    seed: int, pieces: list[int], rate: float
) -> None:
    """One long advance and many short ones tell the same story."""
    whole, cut = _market(seed, rate=rate), _market(seed, rate=rate)
    told: list[Event] = []
    for piece in pieces:
        told += cut.advance(cut.elapsed_us + piece)
    assert told == whole.advance(sum(pieces))
    assert cut.time_ms == whole.time_ms


def test_another_seed_is_another_day() -> None:
    """A seed that nothing reads would pass the test above."""
    assert _market(1).advance(1_000_000) != _market(2).advance(1_000_000)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), symbols=st.integers(1, 20), rate=st.floats(50, 5_000))
def test_no_book_crosses_or_thins_out_at_any_moment(seed: int, symbols: int, rate: float) -> None:
    """After every single step bids are below asks, with at least twenty levels a side and a bounded number of them."""
    market = _market(seed, symbols, rate)
    for _ in range(1_500):
        market.advance(market.due_us)
        for pit in market.pits.values():
            bids, asks = pit.book.bids.levels(1_000), pit.book.asks.levels(1_000)
            assert 0 < bids[-1][0] <= bids[0][0] < asks[0][0] <= asks[-1][0]
            assert 20 <= LEVELS_MIN <= min(len(bids), len(asks))
            assert max(len(bids), len(asks)) <= LEVELS_MAX
            assert all(lots > 0 for _, lots in (*bids, *asks))
            assert bids == sorted(bids, reverse=True)
            assert asks == sorted(asks)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), snapshot_us=st.integers(0, 1_500_000))
def test_a_client_that_follows_the_recipe_holds_the_simulators_book(seed: int, snapshot_us: int) -> None:
    """Snapshot at any moment, buffered diffs before it, then every diff: the same levels and the same text at each."""
    market = _market(seed)
    name = "ETHUSDT"
    buffered = [e for e in market.advance(snapshot_us) if e.stream == "ethusdt@depth@100ms"]
    book = ReferenceBook(_snapshot(market, name))
    for diff in buffered:
        book.apply(msgspec.json.decode(encode(diff)))
    for event in _one_by_one(market, snapshot_us + 3_000_000):
        if event.stream == "ethusdt@depth@100ms":
            book.apply(msgspec.json.decode(encode(event)))
            truth = _snapshot(market, name)
            assert book.last == truth["lastUpdateId"]
            assert book.bids == dict(truth["bids"])
            assert book.asks == dict(truth["asks"])
    assert book.applied > 20


def test_the_slow_diff_stream_leads_to_the_same_book() -> None:
    """`@depth`, once a second, is continuous in itself too."""
    market = _market()
    book = ReferenceBook(_snapshot(market, "BTCUSDT"))
    for event in _one_by_one(market, 5_500_000):
        if event.stream == "btcusdt@depth":
            book.apply(msgspec.json.decode(encode(event)))
            assert book.bids == dict(_snapshot(market, "BTCUSDT")["bids"])
    assert book.applied == 5


def test_quotes_and_trades_agree_with_the_book_at_their_moment() -> None:
    """A quote is the touch and differs from the one before; a trade was at the touch; trade ids have no holes."""
    market = _market(rate=2_000.0)
    quoted: dict[str, Quoted] = {}
    traded: dict[str, Traded] = {}
    for event in market.advance(4_000_000):
        name = event.listing.venue_symbol
        before = quoted.get(name)
        if isinstance(event, Quoted):
            assert event.bid < event.ask
            if before:
                assert event.update_id > before.update_id
                assert _touch(event) != _touch(before)
            quoted[name] = event
        elif isinstance(event, Traded):
            if before:
                price, most = (before.bid, before.bid_lots) if event.buyer_is_maker else (before.ask, before.ask_lots)
                assert event.price == price
                assert 0 < event.lots <= most
            if name in traded:
                assert event.trade_id == traded[name].trade_id + 1
                assert event.time_ms >= traded[name].time_ms
            traded[name] = event
    assert len(quoted) == len(traded) == 3
    for name, quote in quoted.items():
        assert _touch(quote) == market.pits[name].book.touch


def _touch(quote: Quoted) -> tuple[int, int, int, int]:
    return quote.bid, quote.bid_lots, quote.ask, quote.ask_lots


def test_the_rate_holds_for_quotes_and_trades_together() -> None:
    """200 ticks a second ±10 % over two minutes, a fifth of them trades, and diffs of ten symbols on top."""
    events = Market(Sim(), EPOCH_US).advance(120_000_000)
    kinds = Counter(type(event) for event in events)
    ticks = kinds[Quoted] + kinds[Traded]
    assert 0.9 < ticks / (200 * 120) < 1.1
    assert 0.15 < kinds[Traded] / ticks < 0.3
    assert 3_000 < kinds[DepthChanged] <= 120 * 10 * 11


def test_ticks_come_in_bursts() -> None:
    """The busiest tenth of the moments holds far more than a tenth of the ticks."""
    market = Market(Sim(), EPOCH_US)
    counts = sorted(
        (sum(not isinstance(e, DepthChanged) for e in market.advance(t)) for t in range(0, 30_000_000, 10_000)),
        reverse=True,
    )
    assert sum(counts[: len(counts) // 10]) > 0.3 * sum(counts)


def test_moving_averages_cross_within_half_a_minute() -> None:
    """9 over 21 on one-second closes, after 21 bars of warming up: the default exchange gives a strategy work to do."""
    market = Market(Sim(), EPOCH_US)
    market.advance(30_000_000)
    assert sum(_crosses([bar.close for bar in pit.klines["1s"].bars]) for pit in market.pits.values()) >= 3
    market.advance(90_000_000)
    assert all(_crosses([bar.close for bar in pit.klines["1s"].bars]) >= 3 for pit in market.pits.values())


def _crosses(closes: list[int]) -> int:
    fast = slow = float(closes[0])
    signs = []
    for close in closes:
        fast += (close - fast) * 2 / 10
        slow += (close - slow) * 2 / 22
        signs.append(fast > slow)
    return sum(a != b for a, b in pairwise(signs[21:]))


def test_an_exchange_started_later_uses_no_number_again() -> None:
    """Trade and update ids go on rising, so that stored trades are not mistaken for repeats after a restart."""
    first = _market(symbols=1, rate=20_000.0)
    last = [e for e in first.advance(1_000_000) if isinstance(e, Traded)][-1]
    later = Pit(1, last.listing, EPOCH_US // 1000 + 1_000)
    assert later.book.update_id > first.pits["BTCUSDT"].book.update_id
    assert next(e for _ in range(100) for e in later.step(0, 0) if isinstance(e, Traded)).trade_id > last.trade_id


def test_skipped_time_passes_without_trading() -> None:
    """The clock jumps, the story goes on where it was."""
    skipped, plain = _market(), _market()
    skipped.advance(500_000)
    skipped.skip(60_000_000)
    assert skipped.time_ms == EPOCH_US // 1000 + 60_500
    story = [e for e in plain.advance(1_000_000) if isinstance(e, Quoted)]
    again = [e for e in skipped.advance(1_000_000) if isinstance(e, Quoted)]
    assert again == story[-len(again) :]


def test_what_is_remembered_is_bounded() -> None:
    """After many more trades than the rings hold."""
    market = _market(symbols=1)
    assert market.pits["BTCUSDT"].trades.maxlen == 200_000
    pit = Pit(1, market.pits["BTCUSDT"].listing, EPOCH_US // 1000, trades_max=1_000)
    for step in range(8_000):
        pit.step(step * 1_000, EPOCH_US // 1000 + step)
    assert pit.trades.maxlen == len(pit.trades) == 1_000
    for klines in pit.klines.values():
        klines.roll(market.time_ms + 10**9)
        assert klines.bars.maxlen == len(klines.bars)


def test_candles_are_told_while_they_change_and_once_as_closed() -> None:
    """Read by the dialect, they are what REST tells of the same minute, and add up to the trades."""
    market, venue = _market(rate=60.0), Binance()
    venue.bind([venue_instrument := Instrument(0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT")])
    told: list[VenueCandle] = []
    trades: list[Trade] = []
    for event in market.advance(130_000_000):
        if event.stream not in ("btcusdt@kline_1m", "btcusdt@trade"):
            continue
        for each in venue.decode(combined(event.stream, encode(event)), event.time_ms * 10**6):  # type: ignore[union-attr]  # both have one
            (told if isinstance(each, VenueCandle) else trades).append(each)  # type: ignore[arg-type]  # one or the other
    assert {each.instrument for each in told} == {venue_instrument}
    closed = [each for each in told if each.closed]
    assert [each.open_time_ns for each in closed] == sorted({each.open_time_ns for each in told})[:-1]
    assert len(closed) == 2 and len(told) > 60
    served = msgspec.json.decode(rest.answer(market, "/api/v3/klines?symbol=BTCUSDT&interval=1m")[1])
    figures = [[each.open, each.high, each.low, each.close, each.volume] for each in closed]
    assert figures == [row[1:6] for row in served[:2]]
    within = [each for each in trades if each.time_venue_ns // (60 * 10**9) * 60 * 10**9 == closed[1].open_time_ns]
    assert sum(Decimal(each.quantity_text) for each in within) == Decimal(closed[1].volume)
    assert told[-1].open_time_ns == closed[-1].open_time_ns + 60 * 10**9
