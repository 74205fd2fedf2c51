"""One symbol's trading: its walk, its book, its trades and its klines, and the events that they make.

Everything follows from the seed and simulated time. Levels, remembered trades and klines are bounded.
"""

from collections import deque
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from traderd.sim.book import Book, Ladder, Level
from traderd.sim.klines import Kline, Klines
from traderd.sim.prices import Listing, Walk

LEVELS_MIN = 30
LEVELS_MAX = 60
TRADE_SHARE = 0.27
"""Of the steps. A trade also moves the touch: about a fifth of all ticks are trades, as in recorded Binance traffic."""


class Quoted(Struct, frozen=True, gc=False):
    """The touch changed."""

    stream: str
    listing: Listing
    update_id: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class Traded(Struct, frozen=True, gc=False):
    """A taker met the touch."""

    stream: str
    listing: Listing
    trade_id: int
    price: int
    lots: int
    buyer_is_maker: bool
    time_ms: int


class DepthChanged(Struct, frozen=True):
    """The levels that changed since this stream's last diff, with their quantities now; 0 lots: the level is gone."""

    stream: str
    listing: Listing
    first: int
    last: int
    bids: list[Level]
    asks: list[Level]
    time_ms: int


class Candled(Struct, frozen=True, gc=False):
    """The bar of a minute changed, or is over."""

    stream: str
    listing: Listing
    bar: Kline
    """A copy, as it was then."""
    closed: bool
    time_ms: int


Event = Quoted | Traded | DepthChanged | Candled


class Pit:
    """Where one symbol is traded."""

    def __init__(self, seed: int, listing: Listing, epoch_ms: int, trades_max: int = 1_000) -> None:
        """`epoch_ms` also numbers trades and updates, so that an exchange started later never uses a number again."""
        self.listing = listing
        self.walk = Walk(seed, listing)
        self.book = Book(epoch_ms * 1_000)
        self.trades: deque[Traded] = deque(maxlen=trades_max)
        self.klines = {interval: Klines(interval) for interval in ("1s", "1m")}
        self._random = Random(f"{seed}/{listing.venue_symbol}/pit")
        self._trade_id = epoch_ms * 100
        name = listing.venue_symbol.lower()
        self._quote_stream = f"{name}@bookTicker"
        self._trade_stream = f"{name}@trade"
        self._fast = _Diff(f"{name}@depth@100ms", self.book.update_id)
        self._slow = _Diff(f"{name}@depth", self.book.update_id)
        self._candle_stream = f"{name}@kline_1m"
        self._candled = (0, 0)  # open time and trades of the bar that was told last
        self._gap = max(1, listing.price_ticks // 50_000)
        self._spread = max(1, listing.price_ticks // 100_000)
        self._lots = listing.lots_typical
        self._requote(0)
        self._touch = self.book.touch

    def step(self, time_us: int, time_ms: int) -> list[Event]:
        """Something happens: a trade, a new touch, or new sizes at it."""
        events: list[Event] = []
        draw = self._random.random()
        if draw < TRADE_SHARE:
            events.append(self._trade(time_ms))
        elif draw < 0.7:
            self._requote(time_us)
        else:
            self._resize()
        self._churn()
        touch = self.book.touch
        if touch != self._touch:
            self._touch = touch
            events.append(Quoted(self._quote_stream, self.listing, self.book.update_id, *touch))
        return events

    def diffs(self, time_ms: int, slow: bool) -> list[Event]:
        """The depth diffs that are due: always the 100 ms one, and with `slow` the one of each second too."""
        book = self.book
        bids, asks = book.bids.take_changes(), book.asks.take_changes()
        streams = (self._fast, self._slow)
        for diff in streams:
            diff.bids.update(bids)
            diff.asks.update(asks)
        due = streams if slow else (self._fast,)
        return [diff.take(self.listing, book.update_id, time_ms) for diff in due if diff.last != book.update_id]

    def candles(self, time_ms: int) -> list[Event]:
        """The bars of a minute that changed since they were told, the last of a minute as closed, the oldest first."""
        minutes = self.klines["1m"]
        minutes.roll(time_ms)
        bars = minutes.bars
        changed: list[Event] = []
        for bar in reversed(bars):
            closed = bar is not bars[-1]
            if bar.open_ms < self._candled[0] or (not closed and (bar.open_ms, bar.trades) == self._candled):
                break
            changed.append(Candled(self._candle_stream, self.listing, replace(bar), closed, time_ms))
        if changed:
            self._candled = (bars[-1].open_ms, bars[-1].trades)
        return changed[::-1]

    def _trade(self, time_ms: int) -> Traded:
        buys = self._random.random() < (0.65 if self.walk.drift > 0 else 0.35)
        ladder = self.book.asks if buys else self.book.bids
        price = ladder.best
        lots = min(self._draw_lots(), ladder.lots[price])
        self.book.put(ladder, price, ladder.lots[price] - lots)
        self._fill(ladder)
        self._trade_id += 1
        trade = Traded(self._trade_stream, self.listing, self._trade_id, price, lots, not buys, time_ms)
        self.trades.append(trade)
        for klines in self.klines.values():
            klines.trade(time_ms, price, lots, price * lots * self.listing.notional_step, buys)
        return trade

    def _requote(self, time_us: int) -> None:
        fair = self.walk.price_ticks(time_us)
        spread = max(1, int(self._spread * self.walk.regime.spread * (0.5 + self._random.random())))
        bid = fair - (spread + 1) // 2
        self.book.quote(bid, self._draw_lots(), bid + spread, self._draw_lots())
        self._fill(self.book.bids)
        self._fill(self.book.asks)

    def _resize(self) -> None:
        ladder = self._draw_side()
        self.book.put(ladder, ladder.best, self._draw_lots())

    def _churn(self) -> None:
        """Someone behind the touch comes, goes, or thinks again."""
        ladder = self._draw_side()
        price = ladder.best - ladder.sign * (1 + int(self._random.random() * 12 * self._gap))
        if price < 1:
            return
        leaves = price in ladder.lots and len(ladder) > LEVELS_MIN and self._random.random() < 0.5
        self.book.put(ladder, price, 0 if leaves else self._draw_lots())
        if len(ladder) > LEVELS_MAX:
            self.book.put(ladder, ladder.worst, 0)

    def _fill(self, ladder: Ladder) -> None:
        """Between LEVELS_MIN and LEVELS_MAX levels, added and taken at the far end."""
        while len(ladder) > LEVELS_MAX:
            self.book.put(ladder, ladder.worst, 0)
        while len(ladder) < LEVELS_MIN:
            price = ladder.worst - ladder.sign * (1 + int(self._random.random() * 2 * self._gap))
            self.book.put(ladder, price if price > 0 else _free_price(ladder), self._draw_lots())

    def _draw_side(self) -> Ladder:
        return self.book.bids if self._random.random() < 0.5 else self.book.asks

    def _draw_lots(self) -> int:
        return 1 + int(self._random.expovariate(1.0) * self._lots)


class _Diff:
    """What one depth stream has yet to tell."""

    def __init__(self, stream: str, last: int) -> None:
        self.stream = stream
        self.last = last
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def take(self, listing: Listing, update_id: int, time_ms: int) -> DepthChanged:
        bids = sorted(self.bids.items(), reverse=True)
        asks = sorted(self.asks.items())
        diff = DepthChanged(self.stream, listing, self.last + 1, update_id, bids, asks, time_ms)
        self.last, self.bids, self.asks = update_id, {}, {}
        return diff


def _free_price(bids: Ladder) -> int:
    """The best price below the best bid that nobody holds: there is one, prices keep PRICE_TICKS_MIN above zero."""
    return next(price for price in range(bids.best - 1, 0, -1) if price not in bids.lots)
