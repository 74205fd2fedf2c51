"""One venue through ccxt: loaded when it is first needed, asked by method name, its faults translated.

ccxt's own words for a fault don't leave this file. What comes out of `ask` besides an answer is one of:
VenueRefusalError (the venue won't have any of us for a while), ParkedError (this will never work: not asked again),
ConnectionError (try again), BadFrameError (ccxt could not make sense of what the venue sent).
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from traderd.adapters.loop_apart import in_a_loop_of_its_own
from traderd.config.ccxt_venues import reach
from traderd.core.errors import BadFrameError, VenueRefusalError, retry_after_s
from traderd.venues.ccxt_words import Written, rebased
from traderd.venues.dialect import Endpoint

_PARKED = (
    *("AuthenticationError", "BadSymbol", "NotSupported", "ArgumentsRequired", "ContractUnavailable"),
    *("RestrictedLocation", "MarketClosed"),
)
_REFUSING = ("DDoSProtection", "RateLimitExceeded")
_PASSING = ("OperationFailed", "ExchangeClosedByUser")
_TRADES_NUMBERED_AS_STREAMED = {"fetchTradesMethod": "publicGetTrades"}
"""Binance's REST trades are aggregated by default, and so have other ids than those of its stream."""


class ParkedError(Exception):
    """The venue or ccxt can't do this at all."""


class CcxtClient:
    """`open` before anything is asked; `close` in the end, or to make all connections anew."""

    def __init__(self, exchange: str, endpoint: Endpoint | None, spot_only: bool) -> None:
        """`endpoint` is another server that speaks the venue's protocol; None is the venue itself."""
        self._name = exchange
        self._endpoint = endpoint
        self._spot_only = spot_only
        self._exchange: Any = None
        self._faults: Any = None

    async def open(self) -> None:
        """Import ccxt, which takes about a second and a hundred megabytes, and learn the venue's markets."""
        if self._exchange is None:
            await asyncio.to_thread(importlib.import_module, "ccxt.pro")
            self._exchange = self._made()
        self._exchange.number = float  # ccxt reckons with the figures of markets, and wants its own kind there
        await self.ask("load_markets", True)
        self._exchange.number = Written

    async def refresh(self) -> None:
        """Learn the markets anew. To read them is a second's work, and who waits for markets waits for these: therefore
        it is done by another ccxt, in a loop of its own. Raises what `ask` does.
        """
        fresh = await self._asked("load_markets", lambda: in_a_loop_of_its_own(self._loaded))
        self._exchange.set_markets_from_exchange(fresh)

    def can(self, method: str) -> bool:
        """Whether ccxt says that the venue has it: `watchTrades`."""
        return self._exchange.has.get(method) is True

    @property
    def markets(self) -> Mapping[str, Any]:
        """By unified symbol."""
        markets: Mapping[str, Any] = self._exchange.markets
        return markets

    @property
    def precision_mode(self) -> int:
        """How the markets tell their precision."""
        return int(self._exchange.precisionMode)

    @property
    def pace_s(self) -> float:
        """Seconds between two requests, by the venue's own rule."""
        return float(self._exchange.rateLimit) / 1000

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call one of ccxt's methods: `watch_trades`. See the top for what it raises."""
        return await self._asked(method, lambda: getattr(self._exchange, method)(*arguments))

    async def _asked(self, method: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await ask()
        except asyncio.CancelledError:
            # ccxt cancels its own futures when it closes a connection: that isn't for us.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ConnectionError(f"{method}: the connection was closed") from None
        except Exception as fault:
            # Whatever a venue sends is read by code that isn't ours: any exception may come out of it.
            raise self._translated(method, fault) from fault

    async def close(self) -> None:
        """Close all connections. Asking again opens new ones."""
        if self._exchange is not None:
            await self.ask("close")

    async def _loaded(self) -> Any:
        exchange = self._made()
        try:
            await exchange.load_markets()
        finally:
            await exchange.close()
        return exchange

    def _made(self) -> Any:
        self._faults = importlib.import_module("ccxt.base.errors")
        module = "ccxt.pro" if reach(self._name) == "websocket" else "ccxt.async_support"
        exchange = getattr(importlib.import_module(module), self._name)({"enableRateLimit": True})
        if self._endpoint is not None:
            exchange.urls["api"] = rebased(exchange.urls["api"], self._endpoint)
        listed = exchange.options.get("fetchMarkets")
        if self._spot_only and isinstance(listed, dict) and "spot" in (listed.get("types") or ()):
            listed["types"] = ["spot"]
        if self._name.startswith("binance"):
            exchange.options.update(_TRADES_NUMBERED_AS_STREAMED)
        return exchange

    def _translated(self, method: str, fault: Exception) -> Exception:
        told = f"{method}: {_line(fault)}"
        if self._is(fault, _REFUSING):
            headers = getattr(self._exchange, "last_response_headers", None) or {}
            return VenueRefusalError(told, 429, retry_after_s(headers.get("Retry-After")))
        if self._is(fault, _PARKED):
            return ParkedError(told)
        if self._is(fault, _PASSING) or isinstance(fault, OSError | TimeoutError):
            return ConnectionError(told)
        return BadFrameError("ccxt")

    def _is(self, fault: Exception, names: tuple[str, ...]) -> bool:
        return isinstance(fault, tuple(getattr(self._faults, name) for name in names))


def _line(fault: Exception) -> str:
    return " ".join(f"{type(fault).__name__}: {fault}".split())[:300]
