"""Which venues are heard through ccxt: those that aren't spoken natively and that ccxt knows.

Looks at which files ccxt has and imports it only where such a venue is configured: nobody else pays for it.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from traderd.venues.ccxt_sources import SOURCES, ways
from traderd.venues.dialect import AnyChannel

THROUGH_CCXT: Final[frozenset[AnyChannel]] = frozenset(SOURCES)
"""What can come by this path; whether it does depends on the venue."""
Reach = Literal["websocket", "polled", ""]


@cache
def reach(name: str) -> Reach:
    """How ccxt reaches a venue: by websocket, by REST alone, or not at all."""
    spec = find_spec("ccxt")
    if spec is None or spec.origin is None or not name.isidentifier() or name.startswith("_"):
        return ""
    package = Path(spec.origin).parent
    if (package / "pro" / f"{name}.py").is_file():
        return "websocket"
    return "polled" if (package / "async_support" / f"{name}.py").is_file() else ""


@cache
def ability(name: str) -> Callable[[str], bool]:
    """Whether ccxt says that a venue has a method (`watchTrades`): it takes a second to import. Nothing is asked."""
    module = "ccxt.pro" if reach(name) == "websocket" else "ccxt.async_support"
    has = dict(getattr(import_module(module), name)().has)
    return lambda method: has.get(method) is True


def ways_of(name: str, channels: Sequence[AnyChannel]) -> dict[AnyChannel, str]:
    """How each channel of a venue comes: `websocket`, `polled` or `unavailable`."""
    return ways(channels, ability(name))


def ccxt_names() -> list[str]:
    """Every venue that ccxt knows, for suggestions."""
    spec = find_spec("ccxt")
    if spec is None or spec.origin is None:
        return []
    return sorted(path.stem for path in (Path(spec.origin).parent / "async_support").glob("[a-z]*.py"))
