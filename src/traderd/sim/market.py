"""The simulated market: all pits under one simulated clock, at a given number of ticks per second.

The sequence of events is a function of the settings and of simulated time, not of how often or how far `advance` is
called. Ticks are quotes and trades; depth diffs and candles come on top. It has no clock and waits for nothing.
"""

from collections.abc import Collection
from random import Random

from traderd.config import Sim
from traderd.sim.pit import Event, Pit
from traderd.sim.prices import listings

DIFF_PERIOD_US = 100_000
DIFFS_PER_SLOW = 10
TRADES_MAX = 200_000
"""Kept of all symbols together, for whoever asks later; of each at least TRADES_MIN."""
TRADES_MIN = 1_000


class Market:
    """Every symbol of the simulated exchange."""

    def __init__(self, settings: Sim, epoch_us: int) -> None:
        """`epoch_us`: the wall time at which simulated time starts, microseconds since the epoch, UTC."""
        self.elapsed_us = 0
        self.ahead_ms = 0
        """How far its clock is ahead of ours."""
        self.haste = 1.0
        """So many times the usual rate, from the next event on."""
        self.delisted: Collection[str] = ()
        """What isn't traded any more, though its prices move on unseen."""
        trades_max = max(TRADES_MIN, TRADES_MAX // settings.symbols)
        self.pits = {
            listing.venue_symbol: Pit(settings.seed, listing, epoch_us // 1000, trades_max)
            for listing in listings(settings.symbols)
        }
        self._epoch_us = epoch_us
        self._order = list(self.pits.values())
        self._random = Random(f"{settings.seed}/market")
        self._tick_us = 1e6 / settings.ticks_per_second
        self._diffs = 0
        self._flurry: tuple[Pit, int] = (self._order[0], 1)
        self._owed = 1.0
        self._step_us = 0
        self._diff_us = DIFF_PERIOD_US

    @property
    def time_ms(self) -> int:
        """Simulated wall time."""
        return (self._epoch_us + self.elapsed_us) // 1000 + self.ahead_ms

    @property
    def due_us(self) -> int:
        """When the next event is due, in simulated time elapsed."""
        return min(self._step_us, self._diff_us)

    def skip(self, duration_us: int) -> None:
        """Let wall time pass without trading: nothing that would have happened is made up for."""
        self._epoch_us += duration_us

    def advance(self, elapsed_us: int) -> list[Event]:
        """What happens from now up to this moment of simulated time, in order."""
        events: list[Event] = []
        while (due := self.due_us) <= elapsed_us:
            self.elapsed_us = due
            events += self._diff() if due == self._diff_us else self._step()
        self.elapsed_us = max(self.elapsed_us, elapsed_us)
        return events

    def _step(self) -> list[Event]:
        """One step of the symbol whose flurry it is. What comes of it is paid for in time: so the rate holds."""
        pit, left = self._flurry
        events = pit.step(self._step_us, self.time_ms)
        self._owed += len(events)
        if left > 1:
            self._flurry = (pit, left - 1)
            self._wait(0.1)
        else:
            pit = self._random.choice(self._order)
            self._flurry = (pit, 1 + int(self._random.expovariate(1.0 / pit.walk.regime.flurry)))
            self._wait(1.0)
        return events

    def _wait(self, share: float) -> None:
        paid = self._owed * share
        self._owed -= paid
        self._step_us += round(self._random.expovariate(1.0) * paid * self._tick_us / self.haste)

    def _diff(self) -> list[Event]:
        """The diffs of one symbol; the symbols take turns, each once in 100 ms, its candle once a second."""
        turn, symbol = divmod(self._diffs, len(self._order))
        slow = turn % DIFFS_PER_SLOW == DIFFS_PER_SLOW - 1
        events = self._order[symbol].diffs(self.time_ms, slow)
        if slow:
            events += self._order[symbol].candles(self.time_ms)
        self._diffs += 1
        self._diff_us = DIFF_PERIOD_US + self._diffs * DIFF_PERIOD_US // len(self._order)
        return events
