"""The section `quality`: what is a doubtful tick, and the bars that aren't of a length of time.

Defaults are the gate's own (core.quality).
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from traderd.core.bars import BarSettings

_Count = Annotated[int, Meta(ge=1, le=100_000)]
_Milliseconds = Annotated[int, Meta(ge=1, le=3_600_000)]


class Quality(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Flagged ticks are stored and kept from signals."""

    jump_sigmas: Annotated[float, Meta(gt=0, le=1_000)] = 12.0
    """A price that moves further than so many recent standard deviations is doubtful …"""
    jump_floor_bps: Annotated[float, Meta(gt=0, le=10_000)] = 50.0
    """… if it moves further than this, too."""
    warmup: _Count = 30
    """Samples before anything is called a jump."""
    sample_ms: _Milliseconds = 100
    """Returns are measured over this, or over a longer time where ticks are seldom."""
    halflife: _Count = 600
    """Samples after which a return weighs half."""
    confirmations: _Count = 3
    """Further prints at which a new price level is believed."""
    crossed_ms_max: _Milliseconds = 1_000
    """Quotes whose bid isn't below their ask for longer than this are doubtful."""
    quote_delay_ms_max: _Milliseconds = 5_000
    """So is a quote that the venue dates further back than this."""
    clock_ahead_ms_max: _Milliseconds = 2_000
    """A tick that the venue dates further ahead of its clock than this has our time."""


class Bars(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bars that end when enough was traded; their timeframes read `500-ticks`, `10-units` or `100000-dollars`."""

    kind: Literal["tick", "volume", "dollar"]
    size: Annotated[Decimal, Meta(extra={"ge": Decimal("1e-8"), "le": 10**12})]
    """Trades, units of the base currency, or units of the quote currency."""
    symbols: tuple[str, ...] = ()
    """Of every venue; none: all symbols."""


def bar_settings(bars: Iterable[Bars]) -> tuple[BarSettings, ...]:
    """As the engine takes them."""
    return tuple(BarSettings(each.kind, each.size, frozenset(each.symbols)) for each in bars)
