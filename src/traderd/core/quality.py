"""The data quality gate: is this quote or trade to be believed? One judgement a tick, in constant time and memory.

What is doubtful is stored all the same, with the reasons as bits on its row, and is kept from signals: a flagged quote
never becomes the engine's mid, and its symbol can't be ordered until a clean one comes; a trade whose price jumped
enters the candles only once the next prints confirm it, and never if they don't.

* jump: the price moved further than `jump_sigmas` recent standard deviations, and further than the floor. The variance
  is an exponentially weighted one of log returns between samples (RiskMetrics' form), sampled at most once in
  `sample_ms`, and of a price that comes seldom (no tick within an eighth of that once a sample is due) once in four
  seconds or with each tick; a return over many sample lengths counts for as many. The band is grown with the square
  root of silence, and the variance never fed with more than the band itself. A new level that stands for
  `confirmations` further prints is taken for the truth. Nothing is a jump before `warmup` samples.
* crossed: bid at or above ask for longer than `crossed_ms_max`. (One that is crossed for less can't be ordered either:
  the risk gate refuses it.)
* repeated: the same message again.
* stale: a quote that the venue dates further back than `quote_delay_ms_max`. Trades may be old: venues send the last
  ones at the beginning.
* clock: the venue's time can't be right: ahead of its clock by more than `clock_ahead_ms_max`, or over a day ago.

Refuses no number: zero, negative and non-finite ones get past no dialect.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import exp, inf, log, sqrt

from msgspec import Struct

from traderd.core.bounds import Bounds, Terms
from traderd.core.market import Quote, Trade

JUMP, CROSSED, REPEATED, STALE, CLOCK = 1, 2, 4, 8, 16
FLAGS = {"jump": JUMP, "crossed": CROSSED, "repeated": REPEATED, "stale": STALE, "clock": CLOCK}
CLOCK_BEHIND_NS_MAX = 86_400 * 10**9
"""A venue's time further back than this is none."""


class QualitySettings(Struct, frozen=True):
    """What is doubtful. Every length of time in milliseconds."""

    jump_sigmas: float = 12.0
    jump_floor_bps: float = 50.0
    """A smaller move is no jump, however calm it was before."""
    warmup: int = 30
    """Samples before anything is called a jump."""
    sample_ms: int = 100
    halflife: int = 600
    """Samples after which a return weighs half."""
    confirmations: int = 3
    crossed_ms_max: int = 1_000
    quote_delay_ms_max: int = 5_000
    clock_ahead_ms_max: int = 2_000


def names_of(flags: int) -> Iterator[str]:
    """The reasons, in words."""
    return (name for name, flag in FLAGS.items() if flags & flag)


@lru_cache
def _terms_of(settings: QualitySettings) -> Terms:
    """The settings as they are used, once for all gates: what every sample reads stays in the processor's cache."""
    floor = settings.jump_floor_bps / 1e4
    alpha = 1 - 0.5 ** (1 / settings.halflife)
    return Terms(alpha, floor, exp(floor), settings.jump_sigmas, settings.sample_ms * 1_000_000, settings.warmup)


class PriceWatch(Bounds):
    """The usual moves of one price.

    A price within the bounds is as it was. What has found a tick doubtful is `wary`, so that nothing lies within: the
    next one is judged again.
    """

    __slots__ = ("_bounds", "_settings", "_streak", "_suspect", "_terms")

    def __init__(self, settings: QualitySettings) -> None:
        super().__init__()
        self._settings = settings
        self._terms = _terms_of(settings)
        self.set_terms(*self._terms)
        self._suspect = 0.0
        self._streak = 0
        self._bounds: tuple[float, float] | None = None
        self.low, self.high = 0.0, inf

    def believes(self, price: float, now_ns: int) -> bool:
        """Whether the price is as it was, or has confirmed itself."""
        if not self.low <= price <= self.high and not self._excused(price, now_ns):
            return False
        self._streak = 0
        if now_ns >= self.due_ns:
            self.learn(price, now_ns)
        return True

    def be_wary(self) -> None:
        """Let nothing pass unjudged."""
        if self._bounds is None:
            self._bounds = self.low, self.high
            self.low, self.high = inf, -inf

    def calm_down(self) -> None:
        """The opposite."""
        if self._bounds is not None:
            self.low, self.high = self._bounds
            self._bounds = None

    def clock_set_back(self) -> None:
        """What was due at a time that won't be for long is due now."""
        self.due_ns = self.sampled_ns = 0

    @property
    def band(self) -> float:
        """How far a log return may go within one sample."""
        band = self._terms.sigmas * sqrt(self.variance)
        return band if band > self._terms.floor else self._terms.floor

    def _excused(self, price: float, now_ns: int) -> bool:
        """Time enough went by, or the price has stood there for some prints."""
        if abs(log(price / self.reference)) <= self.band * sqrt(self._lengths(now_ns)):
            return True
        near = self._streak and abs(log(price / self._suspect)) <= self.band
        self._streak = self._streak + 1 if near else 1
        self._suspect = price
        if self._streak <= self._settings.confirmations:
            return False
        self.due_ns, self.sampled_ns = now_ns, 0
        return True

    def _lengths(self, now_ns: int) -> float:
        """Samples' lengths since the newest sample, at least one."""
        return max(1.0, (now_ns - self.sampled_ns) / self._terms.sample_ns)


class QuoteGate(PriceWatch):
    """One instrument's quotes. What the bounds admit needs no judgement."""

    __slots__ = ("_crossed_ns", "_doubted", "oldest_ns")

    def __init__(self, settings: QualitySettings) -> None:
        super().__init__(settings)
        self._crossed_ns = 0
        self._doubted: Quote | None = None  # the newest one, if it was doubtful
        self.be_wary()
        self.set_offset(0)

    def set_offset(self, offset_ns: int) -> None:
        """How far the venue's clock is ahead of ours: its times are believed within these bounds of our own."""
        self.ahead_ns = offset_ns + self._settings.clock_ahead_ms_max * 1_000_000
        self.behind_ns = offset_ns - self._settings.quote_delay_ms_max * 1_000_000
        self.oldest_ns = offset_ns - CLOCK_BEHIND_NS_MAX

    def judge(self, quote: Quote, believed: Quote | None) -> int:
        """The quote's flags; 0 for a clean one. `believed` is the newest that was clean."""
        flags = self._time_flags(quote)
        if quote.bid < quote.ask:
            self._crossed_ns = 0
        elif not self._crossed_ns:
            self._crossed_ns = quote.time_received_ns
        elif quote.time_received_ns - self._crossed_ns > self._settings.crossed_ms_max * 1_000_000:
            flags |= CROSSED
        before = self._doubted or believed
        if before is not None and _is_repeated(quote, before):
            return flags | REPEATED
        self.key = quote.text
        self.calm_down()
        if not self.believes((quote.bid + quote.ask) / 2, quote.time_received_ns):
            flags |= JUMP
        self._doubted = quote if flags else None
        if flags or self._crossed_ns:
            self.be_wary()
        return flags

    def _time_flags(self, quote: Quote) -> int:
        ahead_ns = quote.time_venue_ns - quote.time_received_ns
        if not quote.time_venue_ns or self.behind_ns <= ahead_ns <= self.ahead_ns:
            return 0
        return STALE if self.oldest_ns <= ahead_ns < self.behind_ns else CLOCK


class TradeGate(PriceWatch):
    """One instrument's trades, each known by its id."""

    __slots__ = ("held",)

    def __init__(self, settings: QualitySettings) -> None:
        super().__init__(settings)
        self.held: list[Trade] = []
        """Trades whose price jumped and that nothing confirmed yet: at most as many as `confirmations`."""
        self.set_offset(0)

    def set_offset(self, offset_ns: int) -> None:
        """As in QuoteGate."""
        self.behind_ns = offset_ns - CLOCK_BEHIND_NS_MAX
        self.ahead_ns = offset_ns + self._settings.clock_ahead_ms_max * 1_000_000

    def judge(self, trade: Trade) -> int:
        """The trade's flags; 0 for a clean one."""
        ahead_ns = trade.time_venue_ns - trade.time_received_ns
        flags = CLOCK if trade.time_venue_ns and not self.behind_ns <= ahead_ns <= self.ahead_ns else 0
        if trade.trade_id == self.key:
            return flags | REPEATED
        self.key = trade.trade_id
        self.calm_down()
        if self.believes(trade.price, trade.time_received_ns):
            return flags
        if self._streak == 1:
            self.held = []  # it jumped elsewhere: nothing will confirm those before
        self.held.append(trade)
        self.be_wary()
        return flags | JUMP

    def confirmed(self) -> list[Trade]:
        """What was held and is now believed, oldest first: the price stands where they saw it, or has come back."""
        held, self.held = self.held, []
        return [trade for trade in held if self.low <= trade.price <= self.high]


def _is_repeated(quote: Quote, before: Quote) -> bool:
    """Where the venue numbers nothing, the same time and the same figures are the same message."""
    numbered = quote.sequence != quote.time_received_ns % 1_000
    if quote.sequence != before.sequence if numbered else not quote.time_venue_ns:
        return False
    return quote.time_venue_ns == before.time_venue_ns and quote.text == before.text
