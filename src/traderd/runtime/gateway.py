"""Sends approved orders. Each is sent once; what the exchange then says comes back as reports.

Silence is not rejection: a send that fails or takes too long leaves the order's fate unknown, and says so.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from traderd.core.orders import Approved, Report
from traderd.runtime.ports import Clock, Exchange

_SENT_MAX = 4_096

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Gateway:
    """One exchange's way out. `spawn` starts a task whose death ends the process."""

    def __init__(
        self, exchange: Exchange, on_report: Callable[[Report], None], clock: Clock, timeout_s: float, spawn: Spawn
    ) -> None:
        self._exchange = exchange
        self._on_report = on_report
        self._clock = clock
        self._timeout_s = timeout_s
        self._spawn = spawn
        self._sent: dict[str, None] = {}  # the newest ids, oldest first

    def send(self, approved: Approved) -> None:
        """Send without waiting for the answer. The caller has the intent on disk already."""
        order = approved.intent.client_order_id
        if order in self._sent:
            raise AssertionError(f"order {order} would be sent twice")
        self._sent[order] = None
        if len(self._sent) > _SENT_MAX:
            del self._sent[next(iter(self._sent))]
        sending = self._exchange.send(approved)
        if sending is not None:
            self._spawn(self._wait(order, sending))

    async def _wait(self, order: str, sending: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await sending
        except (ConnectionError, TimeoutError) as error:
            reason = f"no answer to the order: {str(error) or type(error).__name__}"
            self._on_report(Report(order, "unknown", self._clock.time_ns(), reason=reason))
