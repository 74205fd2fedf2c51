"""Bybit's names of spot pairs and contracts, and ccxt's.

Sources: bybit-exchange.github.io/docs/v5, "Enums Definitions" (symbol, contractType) and the venue's own lists.

    spot     BTCUSDT          BTC/USDT
    linear   BTCUSDT          BTC/USDT:USDT             BTCPERP      BTC/USDC:USDC
             BTCUSDT-25DEC26  BTC/USDT:USDT-261225      BTC-25DEC26  BTC/USDC:USDC-261225
    inverse  BTCUSD           BTC/USD:BTC               BTCUSDZ26    BTC/USD:BTC-261225
"""

import re
from calendar import FRIDAY, monthrange
from datetime import UTC, datetime, timedelta
from typing import Final

from traderd.core.market import Instrument, Market

_QUOTES: Final[dict[Market, tuple[str, ...]]] = {
    "spot": (
        *("RLUSD", "USDT", "USDC", "USDE", "USD1", "XUSD", "DAI", "USD"),
        *("BTC", "ETH", "SOL", "MNT", "EUR", "GBP", "BRL", "BRZ", "TRY", "PLN", "AED"),
    ),
    "linear": ("USDT", "USDC"),
    "inverse": ("USD",),
}
"""What is or was quoted in, the longer before what it ends with; for captures without a list of instruments."""
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH_LETTERS = "FGHJKMNQUVXZ"
"""Of an inverse contract, January to December; quarters only are in use: H, M, U, Z."""
_DELIVERY_HOUR = 8
"""Contracts are delivered at 08:00 UTC."""
_DATED = re.compile(rf"([A-Z0-9]+)-([0-9]{{1,2}})({'|'.join(_MONTHS)})([0-9]{{2}})").fullmatch
_QUARTERLY = re.compile(rf"([A-Z0-9]+USD)([{_MONTH_LETTERS}])([0-9]{{2}})").fullmatch
_YYMMDD = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})").fullmatch


def venue_symbol_of(symbol: str, market: Market) -> str:
    """`BTC/USDT:USDT-261225` → `BTCUSDT-25DEC26`."""
    pair, _, settled = symbol.upper().partition(":")
    base, _, quote = pair.partition("/")
    date = _YYMMDD(settled.partition("-")[2])
    year, month, day = (int(part) for part in date.groups()) if date else (0, 0, 0)
    if market == "spot" or not 1 <= month <= len(_MONTHS):
        perpetual = market == "linear" and quote == "USDC"
        return f"{base}PERP" if perpetual else f"{base}{quote}"
    if market == "inverse":
        return f"{base}{quote}{_MONTH_LETTERS[month - 1]}{year:02}"
    pair = base if quote == "USDC" else f"{base}{quote}"
    return f"{pair}-{day:02}{_MONTHS[month - 1]}{year:02}"


def unified(base: str, quote: str, settle: str, expiry_ns: int) -> str:
    """ccxt's name of it."""
    if not settle:
        return f"{base}/{quote}" if quote else base
    perpetual = f"{base}/{quote}:{settle}" if quote else base
    return f"{perpetual}-{datetime.fromtimestamp(expiry_ns // 10**9, UTC):%y%m%d}" if expiry_ns else perpetual


def instrument_of(market: Market, venue_symbol: str, index: int) -> Instrument:
    """An instrument that knows nothing but its name; where the name doesn't tell the quote currency, it has none."""
    pair, expiry_ns = _undated(venue_symbol) if market != "spot" else (venue_symbol, 0)
    base, quote = _split(pair, market)
    if market == "linear" and not quote and (expiry_ns or pair.endswith("PERP")):
        base, quote = pair.removesuffix("PERP"), "USDC"
    settle = {"spot": "", "linear": quote, "inverse": base}[market]
    return Instrument(
        index,
        "bybit",
        unified(base, quote, settle, expiry_ns),
        venue_symbol,
        base,
        quote,
        market=market,
        settle=settle,
        expiry_ns=expiry_ns,
    )


def _split(pair: str, market: Market) -> tuple[str, str]:
    for quote in _QUOTES[market]:
        if pair.endswith(quote) and pair != quote:
            return pair.removesuffix(quote), quote
    return pair, ""


def _undated(venue_symbol: str) -> tuple[str, int]:
    """`BTCUSDT-25DEC26` → BTCUSDT and its delivery; an inverse quarter ends on its last month's last Friday."""
    if dated := _DATED(venue_symbol):
        pair, day, month, year = dated.groups()
        return _ending(pair, venue_symbol, int(year), _MONTHS.index(month) + 1, int(day))
    if quarterly := _QUARTERLY(venue_symbol):
        pair, letter, year = quarterly.groups()
        month_number = _MONTH_LETTERS.index(letter) + 1
        last = datetime(2000 + int(year), month_number, monthrange(2000 + int(year), month_number)[1])
        friday = last - timedelta(days=(last.weekday() - FRIDAY) % 7)
        return _ending(pair, venue_symbol, int(year), month_number, friday.day)
    return venue_symbol, 0


def _ending(pair: str, venue_symbol: str, year: int, month: int, day: int) -> tuple[str, int]:
    """A date that isn't in the calendar is no date."""
    try:
        ending = datetime(2000 + year, month, day, _DELIVERY_HOUR, tzinfo=UTC)
    except ValueError:
        return venue_symbol, 0
    return pair, int(ending.timestamp()) * 10**9
