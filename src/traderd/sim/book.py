"""An order book in ticks and lots that can't be crossed, and that numbers its changes as Binance does.

Every change of a level takes the next update id. Refuses a quote whose bid isn't below its ask.
"""

from bisect import bisect_left, insort

Level = tuple[int, int]
"""(price in ticks, quantity in lots)."""


class Ladder:
    """One side of a book. `_ranks` ends with the best level: the price for bids, minus the price for asks."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        """1 for bids, -1 for asks."""
        self.lots: dict[int, int] = {}
        self.changed: dict[int, int] = {}
        """Price → quantity of what changed since the last diff; 0 for a level that is gone."""
        self._ranks: list[int] = []

    def __len__(self) -> int:
        return len(self._ranks)

    @property
    def best(self) -> int:
        """The best price."""
        return self._ranks[-1] * self.sign

    @property
    def worst(self) -> int:
        """The price furthest from the touch."""
        return self._ranks[0] * self.sign

    def levels(self, count: int) -> list[Level]:
        """The best `count` levels, best first."""
        return [(rank * self.sign, self.lots[rank * self.sign]) for rank in self._ranks[: -count - 1 : -1]]

    def put(self, price: int, lots: int) -> None:
        """Set a level's quantity; 0 takes the level away."""
        if lots == 0:
            del self.lots[price]
            ranks = self._ranks
            if ranks[-1] == price * self.sign:
                ranks.pop()
            else:
                del ranks[bisect_left(ranks, price * self.sign)]
        else:
            if price not in self.lots:
                insort(self._ranks, price * self.sign)
            self.lots[price] = lots
        self.changed[price] = lots

    def better_than(self, price: int) -> list[int]:
        """Prices better than this one, worst first."""
        return [rank * self.sign for rank in self._ranks[bisect_left(self._ranks, price * self.sign + 1) :]]

    def take_changes(self) -> dict[int, int]:
        """What changed since the last call."""
        changed, self.changed = self.changed, {}
        return changed


class Book:
    """Both sides of one symbol."""

    def __init__(self, update_id: int) -> None:
        self.update_id = update_id
        self.bids = Ladder(1)
        self.asks = Ladder(-1)

    def put(self, ladder: Ladder, price: int, lots: int) -> None:
        """Set one level of one side, 0 lots taking it away. The caller keeps it on its side of the touch."""
        ladder.put(price, lots)
        self.update_id += 1

    def quote(self, bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
        """Move the touch: whatever stands in the way is taken off first."""
        assert bid < ask
        for ladder, price in ((self.bids, bid), (self.asks, ask)):
            for better in ladder.better_than(price):
                self.put(ladder, better, 0)
        self.put(self.bids, bid, bid_lots)
        self.put(self.asks, ask, ask_lots)

    @property
    def touch(self) -> tuple[int, int, int, int]:
        """Best bid, its quantity, best ask, its quantity."""
        bid, ask = self.bids.best, self.asks.best
        return bid, self.bids.lots[bid], ask, self.asks.lots[ask]
