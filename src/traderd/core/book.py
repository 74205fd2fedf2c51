"""One instrument's local order book, exact, and whole or not there at all.

Prices are ordered as exact whole numbers, in units of the finest decimal place, and kept as the text that the venue
sent. How a reader sees that nothing is missing is the venue's rule (`BookRule`); a book checks whatever a message
carries:

* ranges (Binance spot, Bybit): each message's first id is the last one's last + 1. With a snapshot by REST, messages
  that came before it are kept; those with last <= snapshot are stale, and the first that is applied must have
  first <= snapshot + 1 <= last (binance-spot-api-docs, "How to manage a local order book correctly");
* links (Binance's futures, OKX): each message names the last id of the one before. After a snapshot by REST those with
  last <= snapshot are stale, and the first that is applied must have first <= snapshot or follow the snapshot itself
  (developers.binance.com, "How to manage a local order book correctly" of USD-M futures, which would apply the message
  that the snapshot ends with once more); where a snapshot comes in the stream after all, it begins the book anew (OKX);
* checksums: the book is cut to its depth after every message and its best levels are summed with CRC-32: Kraken's ten
  asks and bids, price and quantity without dot and leading zeros (docs.kraken.com, "Spot WebSocket v2 book checksum");
  OKX's 25 bids and asks in turn, joined by colons, as a signed number (okx.com/docs-v5, "Checksum").

Numbers vouch for every level. A checksum vouches for what it sums: a lost change of another level shows when that level
comes up to be summed, and until then nowhere. So ten levels a side are vouched for in Kraken's books, however deep they
are, and twenty-five in OKX's from before it numbered them. What came and couldn't be read is known to be lost: that is
the reader's affair (`core.gaps`).

Refuses to show anything of a book that broke: it is empty until a snapshot makes it whole.
"""

import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from decimal import Context, Decimal
from enum import Enum
from itertools import chain, pairwise, zip_longest

from traderd.core.market import BookDelta, BookSnapshot, Level

EXACT = Context(prec=100_000)
"""Sums and products of venue numbers (at most 64 digits each) never round in it."""
_PENDING_MAX = 1000
"""Deltas kept for a snapshot that hasn't come: a minute and a half at ten a second. The oldest go first."""
_KNOWN_PER_LEVEL, _KNOWN_MORE = 4, 128
"""Prices whose keys are remembered, of each side: those near the book's. Years of prices would be a book's memory."""
_SUMMED_LEVELS = {"kraken": 10, "okx": 25}


class Verdict(Enum):
    """What became of a message."""

    APPLIED = "applied"
    BUFFERED = "buffered"
    """Kept until a snapshot comes."""
    STALE = "stale"
    """The book is already past it, or it belongs to a book that is gone."""
    OLD_SNAPSHOT = "old_snapshot"
    """The snapshot ends before the deltas begin: fetch another."""
    GAP = "gap"
    BAD_CHECKSUM = "bad_checksum"
    CROSSED = "crossed"

    @property
    def needs_snapshot(self) -> bool:
        """Whether the book just became unusable, so that a snapshot must be fetched."""
        return self in _BROKEN


_BROKEN = frozenset({Verdict.OLD_SNAPSHOT, Verdict.GAP, Verdict.BAD_CHECKSUM, Verdict.CROSSED})


class Book:
    """Call `snapshot` and `delta` with what the venue sends and heed the verdict."""

    def __init__(self) -> None:
        self.book_msgs = 0
        """Messages applied: deltas, and the snapshots of venues that send them in the stream."""
        self.snapshots = 0
        self.seq_gaps = 0
        self.checksums_ok = 0
        self.checksums_bad = 0
        self._bids = _Half()
        self._asks = _Half()
        self._pending: deque[BookDelta] = deque(maxlen=_PENDING_MAX)
        self._depth = 0
        self._usable = False
        self._chained = False
        self._last = 0

    @property
    def usable(self) -> bool:
        """Whether the book is whole; while it isn't it shows no level."""
        return self._usable

    @property
    def summed(self) -> bool:
        """Whether the venue sends checksums."""
        return self.checksums_ok + self.checksums_bad > 0

    def snapshot(self, snapshot: BookSnapshot) -> Verdict:
        """Begin anew from a whole book, then apply what was kept for it."""
        rule = snapshot.rule
        if self._usable and rule.from_rest and snapshot.sequence < self._last:
            return Verdict.STALE
        bids, asks = _Half(), _Half()
        bids.begin(snapshot.bids[::-1])
        asks.begin(snapshot.asks)
        if not rule.from_rest:
            self._pending.clear()  # what was kept came before it in the same stream
        self._bids, self._asks = bids, asks
        self._depth = snapshot.depth
        self._last = snapshot.sequence
        self._usable, self._chained = True, not rule.from_rest
        self.snapshots += 1
        verdict = self._verified(snapshot)
        if verdict is not Verdict.APPLIED:
            return self._break(verdict)
        self.book_msgs += not rule.from_rest
        return self._catch_up()

    def delta(self, delta: BookDelta) -> Verdict:
        """Apply one message of changes, wholly or not at all."""
        if not self._usable:
            if not delta.rule.from_rest:
                return Verdict.STALE
            self._pending.append(delta)
            return Verdict.BUFFERED
        verdict = self._follow(delta)
        if verdict.needs_snapshot and delta.rule.from_rest:
            self._pending.append(delta)
        return verdict

    def reset(self) -> None:
        """Forget everything but the counters: the connection is gone."""
        self._pending.clear()
        self._break(Verdict.STALE)

    def best_bid(self) -> Level | None:
        """The highest bid."""
        return self._bids.levels[-1] if self._bids.levels else None

    def best_ask(self) -> Level | None:
        """The lowest ask."""
        return self._asks.levels[0] if self._asks.levels else None

    def bids(self, depth: int | None = None) -> list[Level]:
        """Every bid, or so many, best first."""
        return self._bids.levels[: -depth - 1 if depth else None : -1]

    def asks(self, depth: int | None = None) -> list[Level]:
        """Every ask, or so many, best first."""
        return self._asks.levels[: depth or None]

    @property
    def sequence(self) -> int:
        """The venue's number of the last message applied; 0 where it numbers nothing."""
        return self._last

    @property
    def bid_levels(self) -> int:
        """How many bids."""
        return len(self._bids.keys)

    @property
    def ask_levels(self) -> int:
        """How many asks."""
        return len(self._asks.keys)

    def bid_quantity(self) -> Decimal:
        """Exact sum over every bid."""
        return exact_sum(self._bids.levels)

    def ask_quantity(self) -> Decimal:
        """Exact sum over every ask."""
        return exact_sum(self._asks.levels)

    def spread(self) -> Decimal | None:
        """Best ask minus best bid, exact; None while a side is empty."""
        bid, ask = self.best_bid(), self.best_ask()
        if bid is None or ask is None:
            return None
        return EXACT.subtract(Decimal(ask[0]), Decimal(bid[0]))

    def microprice(self) -> float | None:
        """The two best prices, each weighted with the quantity on the other side; None while a side is empty."""
        bid, ask = self.best_bid(), self.best_ask()
        if bid is None or ask is None:
            return None
        bid_size, ask_size = float(bid[1]), float(ask[1])
        return (float(bid[0]) * ask_size + float(ask[0]) * bid_size) / (bid_size + ask_size)

    def imbalance(self, levels: int) -> float | None:
        """(bids - asks) / (bids + asks) of the best levels' quantities, from -1 to 1; None when there are none."""
        bids = sum(float(quantity) for _, quantity in self._bids.levels[-levels:])
        asks = sum(float(quantity) for _, quantity in self._asks.levels[:levels])
        return (bids - asks) / (bids + asks) if bids + asks else None

    def _catch_up(self) -> Verdict:
        while self._pending:
            verdict = self._follow(self._pending[0])
            if verdict.needs_snapshot:
                return verdict
            self._pending.popleft()
        return Verdict.APPLIED

    def _follow(self, delta: BookDelta) -> Verdict:
        """Apply it if it comes next."""
        numbering = delta.rule.numbering
        if numbering == "ranges":
            verdict = self._placed(delta, self._last + 1, delta.first)
        elif numbering == "links" and delta.previous >= 0:
            verdict = self._placed(delta, self._last, delta.previous)
        else:
            return self._apply(delta)
        if verdict is not Verdict.APPLIED:
            return verdict if verdict is Verdict.STALE else self._break(verdict)
        self._last, self._chained = delta.last, True
        return self._apply(delta)

    def _placed(self, delta: BookDelta, expected: int, told: int) -> Verdict:
        """Whether the message is the next one; its own account of what went before must be what is expected."""
        if self._chained:
            verdict = Verdict.APPLIED if told == expected else Verdict.GAP
        elif told == expected:
            verdict = Verdict.APPLIED  # even if its last id is lower, as where OKX counts anew
        elif delta.last <= self._last:
            return Verdict.STALE
        else:
            verdict = Verdict.OLD_SNAPSHOT if delta.first > expected else Verdict.APPLIED
        if verdict is Verdict.APPLIED and delta.rule.from_rest and delta.last < delta.first:
            verdict = Verdict.GAP
        self.seq_gaps += verdict is Verdict.GAP
        return verdict

    def _apply(self, delta: BookDelta) -> Verdict:
        try:
            self._bids.change(delta.bids)
            self._asks.change(delta.asks)
        except ValueError:
            self._break(Verdict.GAP)
            raise
        verdict = self._verified(delta)
        if verdict is not Verdict.APPLIED:
            return self._break(verdict)
        self.book_msgs += 1
        return verdict

    def _verified(self, message: BookSnapshot | BookDelta) -> Verdict:
        bids, asks = self._bids, self._asks
        if self._depth:
            bids.cut(len(bids.keys) - self._depth, 0)
            asks.cut(len(asks.keys) - self._depth, self._depth)
        kind, checksum = message.rule.checksum, message.checksum
        if checksum is not None and kind != "none":
            levels = _SUMMED_LEVELS[kind]
            if checksum != _SUMS[kind](bids.levels[: -levels - 1 : -1], asks.levels[:levels]):
                self.checksums_bad += 1
                return Verdict.BAD_CHECKSUM
            self.checksums_ok += 1
        if bids.keys and asks.keys and bids.reaches(asks):
            return Verdict.CROSSED
        return Verdict.APPLIED

    def _break(self, verdict: Verdict) -> Verdict:
        self._usable = False
        self._clear()
        return verdict

    def _clear(self) -> None:
        self._bids = _Half()
        self._asks = _Half()


class _Half:
    """One side of the book, prices rising; `keys`, whole numbers to search in, and `levels` run in parallel."""

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.levels: list[Level] = []
        self._known: dict[str, int] = {}  # keys by their texts: prices come and go and come again
        self._places = 0  # keys count units of 10 ** -places, the finest so far

    def begin(self, levels: Sequence[Level]) -> None:
        """All levels at once, lowest first; where the venue sends them otherwise, or one twice, one by one."""
        self._places = max((len(price.partition(".")[2]) for price, _ in levels), default=0)
        self.keys, self.levels = [self._key(price) for price, _ in levels], list(levels)
        if not all(quantity.strip("0.") for _, quantity in levels) or not all(a < b for a, b in pairwise(self.keys)):
            self.keys, self.levels = [], []
            self.change(levels)

    def change(self, changes: Sequence[Level]) -> None:
        """Raises ValueError, with some of it changed, at a text that is no number: dialects let none through."""
        keys, levels, known = self.keys, self.levels, self._known
        for level in changes:
            price, quantity = level
            key = known.get(price) or self._key(price)
            at = bisect_left(keys, key)
            gone = quantity[0] == "0" and not quantity.strip("0.")
            if at < len(keys) and keys[at] == key:
                if gone:
                    del keys[at], levels[at]
                else:
                    levels[at] = level
            elif not gone:
                keys.insert(at, key)
                levels.insert(at, level)

    def cut(self, excess: int, at: int) -> None:
        if excess > 0:
            del self.keys[at : at + excess], self.levels[at : at + excess]

    def reaches(self, asks: "_Half") -> bool:
        """Whether the highest of this side is at or above the lowest of that one; both have one."""
        if self._places == asks._places:
            return self.keys[-1] >= asks.keys[0]
        return Decimal(self.levels[-1][0]) >= Decimal(asks.levels[0][0])

    def _key(self, price: str) -> int:
        """The price in units of 10 ** -places; a finer one makes them finer."""
        whole, _, fraction = price.partition(".")
        missing = self._places - len(fraction)
        if missing < 0:
            finer = int(10**-missing)
            self.keys[:] = [key * finer for key in self.keys]
            self._places, missing = len(fraction), 0
            self._known.clear()
        elif len(self._known) > _KNOWN_PER_LEVEL * len(self.keys) + _KNOWN_MORE:
            self._known.clear()
        self._known[price] = key = int(whole + fraction + "0" * missing)
        return key


def follows(before: BookDelta, delta: BookDelta) -> bool:
    """Whether two messages are neighbours by their own numbers; where they have none, nobody can tell."""
    if delta.rule.from_rest and delta.last < delta.first:
        return False
    if delta.rule.numbering == "ranges":
        return delta.first == before.last + 1
    return delta.rule.numbering == "none" or delta.previous < 0 or delta.previous == before.last


def checksum_of(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Kraken's CRC-32 of the ten best asks and bids, each best first."""
    texts = [text.replace(".", "").lstrip("0") for level in (*asks, *bids) for text in level]
    return zlib.crc32("".join(texts).encode())


def okx_checksum_of(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """OKX's CRC-32 of the 25 best bids and asks in turn, each best first; where one side ends the other goes on."""
    pairs = zip_longest(bids, asks, fillvalue=())
    unsigned = zlib.crc32(":".join(chain.from_iterable(chain.from_iterable(pairs))).encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


_SUMS = {"kraken": checksum_of, "okx": okx_checksum_of}


def exact_sum(levels: Sequence[Level]) -> Decimal:
    """The sum of the quantities, with the exponent of the finest."""
    total = Decimal(0)
    for _, quantity in levels:
        total = EXACT.add(total, Decimal(quantity))
    return total
