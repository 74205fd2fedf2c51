"""An order book kept plainly, for venues of our own that must serve one. There is nothing of the project in it."""

import zlib
from collections.abc import Iterable
from decimal import Decimal

Level = tuple[str, str]


class Ladder:
    """Price and quantity as texts."""

    def __init__(self, depth: int = 0) -> None:
        """`depth`: only so many levels a side are kept; 0: all."""
        self._depth = depth
        self._sides: dict[str, dict[Decimal, Level]] = {"bids": {}, "asks": {}}

    def put(self, bids: Iterable[Level], asks: Iterable[Level], anew: bool = False) -> None:
        """The new quantity of each price; zero takes it away."""
        for name, levels in (("bids", bids), ("asks", asks)):
            side = self._sides[name] = {} if anew else self._sides[name]
            for price, quantity in levels:
                if Decimal(quantity):
                    side[Decimal(price)] = (price, quantity)
                else:
                    side.pop(Decimal(price), None)
            if self._depth and len(side) > self._depth:
                for price_beyond in sorted(side, reverse=name == "bids")[self._depth :]:
                    del side[price_beyond]

    @property
    def bids(self) -> list[Level]:
        """The best first."""
        return [level for _, level in sorted(self._sides["bids"].items(), reverse=True)]

    @property
    def asks(self) -> list[Level]:
        """The best first."""
        return [level for _, level in sorted(self._sides["asks"].items())]

    def kraken_checksum(self) -> int:
        """docs.kraken.com, "Book checksum": ten asks, then ten bids, digits without point and leading zeros."""
        digits = [text.replace(".", "").lstrip("0") for level in (*self.asks[:10], *self.bids[:10]) for text in level]
        return zlib.crc32("".join(digits).encode())
