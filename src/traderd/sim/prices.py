"""What is listed on the simulated exchange, and how its fair prices walk.

A walk is a function of the seed, the symbol and simulated time alone: no clock, no shared randomness. Money is counted
in units of 1e-8, prices in ticks, quantities in lots, all integers; only the walk itself is a float. A price never
reaches zero.
"""

from math import exp, log10, sqrt
from random import Random

from msgspec import Struct

UNIT = 100_000_000
"""Binance writes eight decimals: 1.0 is 100,000,000 units."""
PRICE_TICKS_MIN = 200
"""No price falls below this, so that a whole book fits under every best bid."""


class Listing(Struct, frozen=True):
    """One symbol of the simulated exchange. `price`, `tick` and `lot` in units of 1e-8."""

    symbol: str
    venue_symbol: str
    base: str
    quote: str
    price: int
    """Where the walk starts and what it leans back to."""
    tick: int
    lot: int
    """`tick * lot` is a multiple of UNIT, so that every notional has an exact text of eight decimals."""

    @property
    def price_ticks(self) -> int:
        """The first price in ticks."""
        return self.price // self.tick

    @property
    def lots_typical(self) -> int:
        """A typical order, in lots: about 2,000 of the quote currency."""
        return max(1, 2_000 * UNIT * UNIT // (self.price * self.lot))

    @property
    def notional_step(self) -> int:
        """What one lot costs for each tick of its price, in units."""
        return self.tick * self.lot // UNIT


def listings(count: int) -> list[Listing]:
    """The first `count` symbols: well known ones, then SYM0012/USDT and so on. The same ones for every seed."""
    return [_known(*_KNOWN[n]) if n < len(_KNOWN) else _invented(n) for n in range(count)]


class Regime(Struct, frozen=True):
    """A spell of market weather."""

    name: str
    volatility: float
    """Standard deviation of the log price over one second."""
    spread: float
    """Factor on the symbol's ordinary spread."""
    flurry: float
    """How many steps follow each other in one burst, on average."""
    dwell_s: float
    """How long the spell lasts, on average."""
    next_is_first: float
    """Chance that the first of `followers` comes next, else the second."""
    followers: tuple[int, int]


REGIMES = (
    Regime("calm", 0.3e-4, 1.0, 1.2, 15.0, 0.9, (1, 2)),
    Regime("normal", 0.7e-4, 1.5, 2.0, 20.0, 0.7, (0, 2)),
    Regime("wild", 2.0e-4, 4.0, 5.0, 6.0, 0.8, (1, 0)),
)


class Walk:
    """The fair price of one symbol: short trends, heavy-tailed noise under a changing regime, and a slow pull home.

    Trends of 5 to 7 seconds and 5 to 6 basis points per second are livelier than a real market's: a strategy on
    one-second bars is to have something to do within half a minute.
    """

    def __init__(self, seed: int, listing: Listing) -> None:
        self._random = Random(f"{seed}/{listing.venue_symbol}/walk")
        self._home = float(listing.price_ticks)
        self._log = 0.0
        self._time_us = 0
        self._regime_until_us = 0
        self._leg_until_us = 0
        self.drift = _DRIFT_MIN if self._random.random() < 0.5 else -_DRIFT_MIN
        """Of the log price, per second."""
        self.regime = REGIMES[1]

    def price_ticks(self, time_us: int) -> int:
        """The fair price at a later (or the same) moment of simulated time."""
        if time_us >= self._regime_until_us:
            self._change_regime(time_us)
        if time_us >= self._leg_until_us:
            self._turn(time_us)
        elapsed_s = (time_us - self._time_us) * 1e-6
        self._time_us = time_us
        noise = self._random.gauss(0.0, 1.0)
        if self._random.random() < _JUMP_CHANCE:
            noise *= _JUMP_SCALE
        self._log += (self.drift - self._log / _HOME_S) * elapsed_s + self.regime.volatility * sqrt(elapsed_s) * noise
        return max(PRICE_TICKS_MIN, round(self._home * exp(self._log)))

    def _change_regime(self, time_us: int) -> None:
        first, second = self.regime.followers
        self.regime = REGIMES[first if self._random.random() < self.regime.next_is_first else second]
        self._regime_until_us = time_us + round(self._random.expovariate(1e-6 / self.regime.dwell_s)) + 1

    def _turn(self, time_us: int) -> None:
        size = self._random.uniform(_DRIFT_MIN, _DRIFT_MAX)
        self.drift = -size if self.drift > 0 else size
        self._leg_until_us = time_us + round(self._random.uniform(5e6, 7e6))


_DRIFT_MIN = 5e-4
_DRIFT_MAX = 6e-4
_JUMP_CHANCE = 0.02
_JUMP_SCALE = 4.0
_HOME_S = 3600.0
_KNOWN = (
    ("BTC", "67250.00", "0.01", "0.00001"),
    ("ETH", "2683.80", "0.01", "0.0001"),
    ("SOL", "172.40", "0.01", "0.001"),
    ("BNB", "580.30", "0.01", "0.001"),
    ("XRP", "0.5621", "0.0001", "0.1"),
    ("ADA", "0.4512", "0.0001", "0.1"),
    ("DOGE", "0.12345", "0.00001", "1"),
    ("TRX", "0.16120", "0.00001", "0.1"),
    ("AVAX", "27.350", "0.001", "0.01"),
    ("LINK", "11.420", "0.001", "0.01"),
    ("DOT", "6.135", "0.001", "0.01"),
    ("LTC", "71.25", "0.01", "0.001"),
)


def _known(base: str, price: str, tick: str, lot: str) -> Listing:
    return Listing(f"{base}/USDT", f"{base}USDT", base, "USDT", _units(price), _units(tick), _units(lot))


def _invented(number: int) -> Listing:
    """Prices from 0.05 to 500, spread evenly over the orders of magnitude, with ticks of at most a basis point."""
    price = 0.05 * 10_000 ** Random(number).random()
    magnitude = int(log10(price) + 2)  # 0 for cents, 4 for hundreds
    tick = 10 ** (magnitude + 2)
    lot = UNIT * UNIT // tick // 1_000_000
    base = f"SYM{number:04d}"
    return Listing(f"{base}/USDT", f"{base}USDT", base, "USDT", round(price * UNIT) // tick * tick, tick, max(lot, 1))


def _units(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole) * UNIT + int(fraction.ljust(8, "0"))
