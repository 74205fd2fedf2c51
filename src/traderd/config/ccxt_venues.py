"""Which venues are heard through ccxt: those that aren't spoken natively and that ccxt knows.

Looks at which files ccxt has and imports none of it: a daemon that hears no such venue doesn't pay for ccxt.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from traderd.venues.dialect import Channel

THROUGH_CCXT: Final[frozenset[Channel]] = frozenset({"quote", "trade"})
"""What comes by this path: a book that ccxt made can't be verified by us."""
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


def ccxt_names() -> list[str]:
    """Every venue that ccxt knows, for suggestions."""
    spec = find_spec("ccxt")
    if spec is None or spec.origin is None:
        return []
    return sorted(path.stem for path in (Path(spec.origin).parent / "async_support").glob("[a-z]*.py"))
