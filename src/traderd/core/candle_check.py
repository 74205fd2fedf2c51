"""Our bars held against the venue's own candles: how often they agree, and which don't.

A candle is compared once: when the venue has closed it (it says so, or, if it never does, tells of the next one) and
ours, the grace later, can be amended no more. Where the venue's are longer than ours, ours are put together. Exact
figures, compared exactly.

Refuses to compare what ours can't have seen whole: a bar that began before the trades were listened to, or in whose
time some may be missing. That is counted as incomparable, and isn't held against anybody.

Bybit's candles, and perhaps others', begin with the close of the one before, also where nobody traded at that price (as
its recorded klines show): such an open, and such a high or low, is no difference. What is missing shows in the volume.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal

from msgspec import Struct, structs

from traderd.core.alerts import AlertLog
from traderd.core.candles import NEVER_NS, timeframe_ns
from traderd.core.facts import Alert, Candle
from traderd.core.gaps import GapLedger
from traderd.core.market import Instrument, VenueCandle

_SETTLE_NS = 2_000_000_000
"""Beside the grace, for trades that are told later than the candle."""
_MARGIN_NS = 5_000_000_000
"""Holes are dated by our clock and trades by the venue's: so near to a hole nothing is compared."""
_DAY_NS = 86_400 * 10**9
_KEPT = 4
"""Candles of each instrument that wait for their counterpart."""
_AT_ONCE = 100
"""Comparisons of one beat: a thousand symbols end their minute together, and ticks must not wait for them all."""
_CALM_AFTER = 10
"""So many that agree in a row end a difference, of which the next one is news again."""
_EXACT = Context(prec=80)


class Comparisons(Struct):
    """One instrument's."""

    agreed: int = 0
    differing: int = 0
    incomparable: int = 0
    """Ours may have missed a part."""


class CandleCheck:
    """All instruments, by their index. An instrument of which no venue's candle ever came costs nothing."""

    def __init__(
        self, instruments: Sequence[Instrument], timeframes: Sequence[str], grace_ns: int, alerts: AlertLog
    ) -> None:
        """`timeframes` are those that our bars are made of."""
        self.counts: dict[tuple[str, str], Comparisons] = {}
        """By venue and symbol, of those whose candles came."""
        self.due_ns = NEVER_NS
        """Before it `on_beat` has nothing to do."""
        self.compared = 0
        """Candles so far, whatever came of it."""
        self._instruments = instruments
        self._lengths = {timeframe: timeframe_ns(timeframe) for timeframe in timeframes}
        self._wait_ns = grace_ns + _SETTLE_NS
        self._alerts = alerts
        self._watches: list[_Watch | None] = [None] * len(instruments)

    def on_venue_candle(self, candle: VenueCandle) -> None:
        """A candle as the venue has it now, closed or not. One that can't be of about now is passed over."""
        index = candle.instrument.index
        watch = self._watches[index] or self._begin(candle)
        if watch is not None and watch.believes(candle) and watch.hear(candle):
            self.due_ns = min(self.due_ns, watch.due_ns + self._wait_ns)

    def on_candle(self, index: int, candle: Candle) -> None:
        """One of our bars, or an amended one once more."""
        watch = self._watches[index]
        if watch is not None and candle.timeframe == watch.part:
            watch.make(candle)

    def on_beat(self, now_ns: int, gaps: GapLedger) -> list[Candle | Alert]:
        """Compare what is due: our bars that differ, marked, and an alert where that is news."""
        if now_ns < self.due_ns:
            return []
        told: list[Candle | Alert] = []
        enough = self.compared + _AT_ONCE
        for index, watch in enumerate(self._watches):
            if watch is not None and self.compared < enough:
                for theirs in watch.settled(now_ns - self._wait_ns):
                    told += self._compare(index, watch, theirs, now_ns, gaps)
        waiting = [watch.due_ns for watch in self._watches if watch is not None]
        self.due_ns = min(waiting, default=NEVER_NS) + self._wait_ns
        return told

    def by_verdict(self) -> dict[tuple[str, ...], int]:
        """The counts by venue, symbol and `agreed`, `differing` or `incomparable`."""
        return {
            (*key, name): count for key, each in self.counts.items() for name, count in structs.asdict(each).items()
        }

    def _begin(self, candle: VenueCandle) -> "_Watch | None":
        try:
            length_ns = timeframe_ns(candle.timeframe)
        except ValueError:  # a week or a month, which nobody asked for
            return None
        parts = [name for name, part_ns in self._lengths.items() if length_ns % part_ns == 0]
        at = self._instruments[candle.instrument.index]
        counts = self.counts[at.exchange, at.symbol] = Comparisons()
        part = max(parts, key=self._lengths.__getitem__, default="")
        watch = _Watch(candle.timeframe, length_ns, part, candle.time_received_ns, counts)
        self._watches[candle.instrument.index] = watch
        return watch

    def _compare(
        self, index: int, watch: "_Watch", theirs: VenueCandle, now_ns: int, gaps: GapLedger
    ) -> list[Candle | Alert]:
        self.compared += 1
        at = self._instruments[index]
        from_ns, to_ns = theirs.open_time_ns, theirs.open_time_ns + watch.length_ns
        parts, carried = watch.take(from_ns), watch.carries(theirs)
        if parts is None or not gaps.covers(at.exchange, at.symbol, from_ns - _MARGIN_NS, to_ns + _MARGIN_NS):
            watch.counts.incomparable += 1
            return []
        difference = _difference(parts, theirs, carried=False)
        if not difference or (carried and not _difference(parts, theirs, carried=True)):
            watch.agree()
            return []
        marked: list[Candle | Alert] = [structs.replace(part, differs=True) for part in parts if watch.same_length]
        if watch.differ():
            title = f"Candles of {at.symbol} at {at.exchange} differ from ours"
            opened = datetime.fromtimestamp(from_ns // 10**9, UTC).isoformat()
            message = f"{theirs.timeframe} of {opened}: {difference}"
            marked += self._alerts.note(now_ns, "candle_differs", "warning", title, message, at.exchange, at.symbol)
        return marked


class _Watch:
    """One instrument's candles that wait for each other, by their open times."""

    def __init__(self, timeframe: str, length_ns: int, part: str, since_ns: int, counts: Comparisons) -> None:
        self.timeframe = timeframe
        self.length_ns = length_ns
        self.part = part
        """The timeframe of ours that they are held against, one or several of them; "" if there is none."""
        self.counts = counts
        self.due_ns = NEVER_NS
        """When we heard of the earliest that is closed."""
        self._whole_from_ns = since_ns
        self._theirs: dict[int, VenueCandle] = {}
        self._closed: dict[int, int] = {}  # and when we heard that they are
        self._newest_ns = 0
        self._says_closed = False
        self._done_ns = -1
        self._before: VenueCandle | None = None
        self._ours: dict[int, dict[int, Candle]] = {}
        self._agreed_in_a_row = _CALM_AFTER

    @property
    def same_length(self) -> bool:
        """Whether one of ours is one of theirs."""
        return self.part == self.timeframe

    def believes(self, candle: VenueCandle) -> bool:
        """Whether it is one of these, and of about now."""
        age_ns = candle.time_received_ns - candle.open_time_ns
        of_now = -_DAY_NS < age_ns < self.length_ns + _DAY_NS
        return of_now and candle.timeframe == self.timeframe and candle.open_time_ns % self.length_ns == 0

    def hear(self, candle: VenueCandle) -> bool:
        """What the venue has of one; whether anything was closed by it."""
        open_ns, heard_ns = candle.open_time_ns, candle.time_received_ns
        if open_ns <= self._done_ns:
            return False
        before = len(self._closed)
        self._theirs[open_ns] = candle
        self._says_closed |= candle.closed
        self._newest_ns = max(self._newest_ns, open_ns)
        for older in [at for at in self._theirs if at < self._newest_ns and at not in self._closed]:
            if not self._says_closed:
                self._closed[older] = heard_ns
            elif older != open_ns:
                self._miss(older)
        if candle.closed:
            self._closed.setdefault(open_ns, heard_ns)
        if len(self._theirs) > _KEPT:
            self._miss(min(self._theirs))
        if len(self._closed) == before:
            return False
        self._look()
        return True

    def make(self, candle: Candle) -> None:
        """Keep one of ours."""
        open_ns = candle.open_time_ns - candle.open_time_ns % self.length_ns
        if open_ns > self._done_ns:
            self._ours.setdefault(open_ns, {})[candle.open_time_ns] = candle
            if len(self._ours) > _KEPT:
                oldest = min(self._ours)
                del self._ours[oldest]
                self._whole_from_ns = max(self._whole_from_ns, oldest + 1)

    def settled(self, upto_ns: int) -> list[VenueCandle]:
        """Those that we heard to be closed by then, the oldest first; they aren't kept any longer."""
        if self.due_ns > upto_ns:
            return []
        ready = sorted(at for at, heard_ns in self._closed.items() if heard_ns <= upto_ns)
        found = [self._theirs[at] for at in ready]
        for at in ready:
            self._drop(at)
        self._look()
        return found

    def take(self, open_ns: int) -> list[Candle] | None:
        """Ours of this time in order, none where nothing was traded; None if some may not have been kept."""
        parts = self._ours.pop(open_ns, {})
        for older in [at for at in self._ours if at < open_ns]:
            del self._ours[older]
        if not self.part or open_ns < self._whole_from_ns:
            return None
        return [parts[at] for at in sorted(parts)]

    def carries(self, candle: VenueCandle) -> bool:
        """Whether it may begin with the close of the one before: it does, or that one isn't known."""
        before, self._before = self._before, candle
        unknown = before is None or before.open_time_ns + self.length_ns != candle.open_time_ns
        return unknown or Decimal(before.close) == Decimal(candle.open)  # type: ignore[union-attr]  # it is known

    def agree(self) -> None:
        self.counts.agreed += 1
        self._agreed_in_a_row += 1

    def differ(self) -> bool:
        """Whether that is news."""
        self.counts.differing += 1
        news, self._agreed_in_a_row = self._agreed_in_a_row >= _CALM_AFTER, 0
        return news

    def _miss(self, open_ns: int) -> None:
        """Its last word never came."""
        self._drop(open_ns)
        self.counts.incomparable += 1

    def _drop(self, open_ns: int) -> None:
        del self._theirs[open_ns]
        self._closed.pop(open_ns, None)
        self._done_ns = max(self._done_ns, open_ns)

    def _look(self) -> None:
        self.due_ns = min(self._closed.values(), default=NEVER_NS)


def _difference(ours: Sequence[Candle], theirs: VenueCandle, carried: bool) -> str:
    """What differs, in words; "" where nothing does. A candle without trades has prices that nobody paid."""
    volume = Decimal(0)
    for part in ours:
        volume = _EXACT.add(volume, Decimal(part.volume))
    told = {name: Decimal(getattr(theirs, name)) for name in ("open", "high", "low", "close", "volume")}
    if not ours or not told["volume"]:
        return "" if volume == told["volume"] else _words("volume", volume, told["volume"])
    high, low = max(Decimal(part.high) for part in ours), min(Decimal(part.low) for part in ours)
    made = {"open": Decimal(ours[0].open), "high": high, "low": low, "close": Decimal(ours[-1].close), "volume": volume}
    if carried:
        begun = told["open"]
        made |= {"open": begun, "high": max(high, begun), "low": min(low, begun)}
    return ", ".join(_words(name, figure, told[name]) for name, figure in made.items() if figure != told[name])


def _words(name: str, ours: Decimal, theirs: Decimal) -> str:
    return f"{name} {ours:f}, the venue's {theirs:f}"
