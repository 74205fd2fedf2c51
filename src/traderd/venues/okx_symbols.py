"""OKX's names of instruments: `BTC-USDT`, `BTC-USDT-SWAP`, `BTC-USD-SWAP`, `BTC-USD_UM-SWAP`, `BTC-USD-220527`.

Source: okx.com/docs-v5, "Get instruments" (instId, uly, instFamily). The middle of a contract's name is its family's
second half: `USD` is settled in the base currency, `USD_UM` in dollars, and every other quote currency in itself.
Refuses with a BadFrameError the names of options and of what isn't an instrument at all.
"""

import re
from datetime import UTC, datetime
from typing import Literal

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument

InstType = Literal["SPOT", "SWAP", "FUTURES"]
"""What the venue calls spot, perpetual and dated contracts."""
_PERPETUAL = "SWAP"
_DELIVERY_HOUR = 8
"""Contracts are delivered at 08:00 UTC of the day in their name."""
_is_date = re.compile(r"[0-9]{6}").fullmatch


def venue_symbol_of(symbol: str) -> str:
    """`BTC/USDT` → `BTC-USDT`, `BTC/USDT:USDT` → `BTC-USDT-SWAP`, `BTC/USD:BTC-220527` → `BTC-USD-220527`."""
    pair, _, settled = symbol.partition(":")
    base, _, quote = pair.partition("/")
    if not settled:
        return f"{base}-{quote}"
    settle, _, expiry = settled.partition("-")
    family = "USD_UM" if quote == "USD" and settle != base else quote
    return f"{base}-{family}-{expiry or _PERPETUAL}"


def inst_type_of(symbol: str) -> InstType:
    """Of a normalised symbol."""
    _, _, settled = symbol.partition(":")
    if not settled:
        return "SPOT"
    return "FUTURES" if "-" in settled else "SWAP"


def index_of(instrument: Instrument) -> str:
    """The index by which a contract is valued: `BTC-USDT`."""
    return f"{instrument.base}-{instrument.quote}"


def unified(base: str, quote: str, settle: str, expiry_ms: int) -> str:
    """As ccxt spells it; `settle` is "" for spot, `expiry_ms` 0 for what never expires."""
    if not settle:
        return f"{base}/{quote}"
    perpetual = f"{base}/{quote}:{settle}"
    return f"{perpetual}-{datetime.fromtimestamp(expiry_ms // 1000, UTC):%y%m%d}" if expiry_ms else perpetual


def instrument_of(venue_symbol: str, index: int) -> Instrument:
    """An instrument that knows nothing but its name. Raises BadFrameError."""
    base, family, contract = [*venue_symbol.split("-", 2), "", ""][:3]
    quote, _, margin = family.partition("_")
    if not base or not quote or (margin and not contract):
        raise BadFrameError("unknown_symbol")
    if not contract:
        return Instrument(index, "okx", unified(base, quote, "", 0), venue_symbol, base, quote)
    inverse = family == "USD"
    settle = base if inverse else quote
    expiry_ms = 0 if contract == _PERPETUAL else _delivery_ms(contract)
    return Instrument(
        index,
        "okx",
        unified(base, quote, settle, expiry_ms),
        venue_symbol,
        base,
        quote,
        market="inverse" if inverse else "linear",
        settle=settle,
        expiry_ns=expiry_ms * 1_000_000,
    )


def _delivery_ms(date: str) -> int:
    """`220527` → when it is delivered."""
    try:
        day = datetime.strptime(f"20{date}", "%Y%m%d") if _is_date(date) else None
    except ValueError:
        day = None
    if day is None:
        raise BadFrameError("unknown_symbol")
    return int(day.replace(hour=_DELIVERY_HOUR, tzinfo=UTC).timestamp()) * 1000
