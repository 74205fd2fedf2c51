"""The daemon, with strategies that order at every n-th trade:  python tests/bench/brisk.py EVERY FILE run config.yaml

Everything else is the daemon's own: sizing, risk gate, journal, gateway. Strategies that come with it act on closed
bars, a few times a minute, which is no measure of a latency. Each in turn enters and leaves with what it holds.
FILE (.json) gets, at the end, of every trade (instrument's place, id, when the engine was given it) and of every order
(its id, and place and id of the trade that it came of). With TRADERD_BENCH_TURNS set, also where turns of the event
loop longer than a millisecond were spent: a thread looks on, which costs; figures of such a run aren't for telling.
"""

import asyncio
import json
import os
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from traderd.app import daemon
from traderd.cli import main
from traderd.config import engine as config_engine
from traderd.core.engine import Effect, Engine
from traderd.core.facts import Candle, Order
from traderd.core.market import Trade
from traderd.core.strategy import Opinion

EVERY = int(sys.argv[1])
FILE = Path(sys.argv[2])
trades = array("q")
orders: list[tuple[str, int, str]] = []
turns: Counter[str] = Counter()
TURN_S_MAX = 0.001


class Patient:
    """A strategy that leaves bars alone: it is asked at trades."""

    warm = True
    indicators: Mapping[str, float] = MappingProxyType({})

    def on_candle(self, candle: Candle) -> None:
        """Nothing to say."""


class BriskEngine(Engine):
    """The engine, whose strategies also have an opinion at every n-th trade."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self._seen = 0
        self._slot_of = {index: slots[0] for (index, _), slots in self._slots.items()}

    def on_trade(self, trade: Trade) -> Sequence[Effect]:
        """As ever, and an opinion if it is time."""
        return self._with_opinion(trade, super().on_trade)

    def on_posted(self, trade: Trade) -> Sequence[Effect]:
        """The same of nearly all."""
        return self._with_opinion(trade, super().on_posted)

    def _with_opinion(self, trade: Trade, take: Callable[[Trade], Sequence[Effect]]) -> Sequence[Effect]:
        index = trade.instrument.index
        trades.extend((index, int(trade.trade_id), time.time_ns()))
        effects = take(trade)
        self._seen += 1
        if self._seen % EVERY or self.board.quotes[index] is None:
            return effects
        slot, instrument = self._slot_of[index], self._instruments[index]
        held = self.portfolio.quantity_of(slot.name, slot.exchange, slot.symbol)
        opinion = Opinion("EXIT_LONG" if held > 0 else "LONG", 1.0, 1.0, "it is time")
        price = trade.price_text
        candle = Candle(slot.exchange, slot.symbol, "1s", 0, price, price, price, price, price, price, 1)
        more = self._on_opinion(slot, opinion, instrument, candle, trade.time_received_ns)
        orders.extend((each.client_order_id, index, trade.trade_id) for each in more if isinstance(each, Order))
        return [*effects, *more]


def watch_turns() -> None:
    """Where the loop's thread is when a turn has taken too long."""
    loops: list[asyncio.AbstractEventLoop] = []
    begun = daemon.Daemon.run

    async def run(self: daemon.Daemon, run_for_s: float | None) -> None:
        loops.append(asyncio.get_running_loop())
        await begun(self, run_for_s)

    daemon.Daemon.run = run  # type: ignore[method-assign]  # a debugging aid of the bench
    sys.setswitchinterval(0.0002)
    threading.Thread(target=_look_on, args=(loops, threading.main_thread().ident), daemon=True).start()


def _look_on(loops: list[asyncio.AbstractEventLoop], thread: int) -> None:
    answered = threading.Event()
    while True:
        time.sleep(0.001)
        if not loops:
            continue
        answered.clear()
        try:
            loops[0].call_soon_threadsafe(answered.set)
        except RuntimeError:
            return
        begun = time.perf_counter()
        where = ""
        while not answered.wait(TURN_S_MAX / 2):
            if time.perf_counter() - begun > TURN_S_MAX and (frame := sys._current_frames().get(thread)):
                where = _stack(frame)
        if where:
            turns[f"{where} [{1 << int((time.perf_counter() - begun) * 1000).bit_length()} ms]"] += 1


def _stack(frame: FrameType | None) -> str:
    names = []
    while frame is not None and len(names) < 5:
        names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(names)


def report() -> None:
    """Write FILE."""
    FILE.write_text(json.dumps({"trades": trades.tolist(), "orders": orders, "turns": turns.most_common(40)}))


if __name__ == "__main__":
    daemon.Engine = BriskEngine  # type: ignore[misc]  # the one place where the daemon takes it from
    config_engine.strategy_of = lambda strategy: Patient()  # type: ignore[assignment,return-value]
    if os.environ.get("TRADERD_BENCH_TURNS"):
        watch_turns()
    sys.argv[1:] = sys.argv[3:]
    try:
        main()
    finally:
        report()
