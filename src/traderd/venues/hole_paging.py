"""Which page of a hole to ask a venue for next, and when there is nothing more to ask.

A hole's two sides are the newest trade before it and the oldest after it, by id where the venue numbers its trades and
by time elsewhere. Pages are asked for forward from the first side or backward from the second, as the venue serves
them; where pages overlap, what was had before is dropped. Whole means that the pages reach from one side to the other,
and leave out no number where the venue leaves out none.
Refuses to ask twice for the same: a page that brings nothing new is the last, so that the questions are bounded.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from msgspec.structs import replace

from traderd.core.market import Trade
from traderd.venues.dialect import Hole

Paged = Literal["forward", "backward", "none"]
_LEFT_OUT = "the venue leaves out some of the trades"
_MARGIN_NS = 1_000_000_000
"""Backward pages are asked for from so much earlier: venues that round times then still show the first side."""


class HolePaging:
    """One hole: ask for `next`, give the answer to `take`, until `next` is None."""

    def __init__(self, hole: Hole, paged: Paged, numbered: bool = False) -> None:
        """`numbered`: an instrument's ids are consecutive, as Dialect has it."""
        self._hole = hole
        self._numbered = numbered
        self._left_out: tuple[int, int] | None = None
        self._paged: Paged = paged
        self._last: frozenset[str] = frozenset()  # ids of the page before
        self._oldest_ns = 0
        self.why_not = ""
        """Why something stays missing; "" while asking, and when it is whole."""
        self.whole = self._count() == 0
        self.next: Hole | None = None if self.whole else self._asked()

    def take(self, page: Sequence[Trade]) -> list[Trade]:
        """The trades of the answer, given oldest first, that lie in the hole and weren't in an answer before."""
        if page:
            self._oldest_ns = page[0].time_venue_ns
        missing = self._count()
        reached_after = any(_is_behind(trade, self._hole) for trade in page)
        reached_before = any(_is_beyond(trade, self._hole) for trade in page)
        fresh = [trade for trade in page if _is_inside(trade, self._hole) and trade.trade_id not in self._last]
        self._last = frozenset(trade.trade_id for trade in page)
        self._count_jumps(fresh, reached_after, reached_before)
        if missing is not None and len(fresh) == missing:
            self._end()
        elif self._paged == "forward" and not self._seeks_backward(fresh):
            self._go_forward(fresh, reached_before)
        else:
            self._go_backward(fresh, reached_after)
        return fresh

    @property
    def left(self) -> Hole:
        """What hasn't been had of it, when it isn't whole."""
        spans = [self._left_out] if self._left_out else []
        if self.why_not != _LEFT_OUT:
            spans.append((self._hole.from_ns, self._hole.to_ns))
        return Hole(min(span[0] for span in spans), max(span[1] for span in spans))

    def refuse(self, why_not: str) -> None:
        """Nothing more will be had of the venue, and this is why."""
        self._end(why_not)

    def _go_forward(self, fresh: list[Trade], reached_before: bool) -> None:
        if reached_before:
            self._end()
        elif fresh:
            last = fresh[-1]
            self._hole = replace(self._hole, from_ns=last.time_venue_ns, after_id=last.trade_id)
            self.next = self._asked()
        elif self._hole.before_id and self._last:
            self._end("the venue serves more trades of one moment than fit on a page")
        elif self._hole.before_id:
            self._end("the venue serves none of the trades between those before the gap and those after it")
        else:
            self._end()  # as far as the venue has come

    def _go_backward(self, fresh: list[Trade], reached_after: bool) -> None:
        if reached_after or (fresh and not self._hole.after_id and fresh[0].time_venue_ns <= self._hole.from_ns):
            self._end()
        elif fresh and self._paged != "none":
            self._leave(fresh[0])
            self.next = self._asked()
        elif not self._hole.after_id and self._paged != "none":
            self._end()  # as far back as the venue goes, and nothing is known to be before
        elif self._last:
            if fresh:
                self._leave(fresh[0])
            served = f"the last {len(self._last)} trades" if self._paged == "none" else "trades up to a certain age"
            self._end(f"the venue serves only {served}")
        else:
            self._end("the venue serves no trade of this time")

    def _leave(self, first: Trade) -> None:
        """From this one on everything is had."""
        self._hole = replace(self._hole, to_ns=first.time_venue_ns, before_id=first.trade_id)

    def _count_jumps(self, fresh: list[Trade], reached_after: bool, reached_before: bool) -> None:
        """Where the venue steps over numbers there are trades that it doesn't serve."""
        hole, forward = self._hole, self._paged == "forward" and not self._seeks_backward(fresh)
        told = [(trade.trade_id, trade.time_venue_ns) for trade in fresh]
        before = [(hole.after_id, hole.from_ns)] if forward or reached_after else []
        after = [(hole.before_id, hole.to_ns)] if reached_before or not forward else []
        for (one, one_ns), (next_, next_ns) in pairwise([*before, *told, *after] if self._numbered else []):
            if one.isdecimal() and next_.isdecimal() and int(next_) > int(one) + 1:
                first_ns, last_ns = self._left_out or (one_ns, next_ns)
                self._left_out = min(first_ns, one_ns), max(last_ns, next_ns)

    def _seeks_backward(self, fresh: list[Trade]) -> bool:
        """Without a first side a venue that goes by ids serves the page before the second one."""
        hole = self._hole
        if hole.after_id or not hole.before_id.isdecimal() or not fresh or not fresh[-1].trade_id.isdecimal():
            return False
        return int(fresh[-1].trade_id) + 1 == int(hole.before_id)

    def _count(self) -> int | None:
        """How many trades are missing if the venue numbers them without holes: then so many are all."""
        if self._hole.after_id.isdecimal() and self._hole.before_id.isdecimal():
            return max(0, int(self._hole.before_id) - int(self._hole.after_id) - 1)
        return None

    def _asked(self) -> Hole:
        if self._paged == "forward":
            return self._hole
        return replace(self._hole, from_ns=max(0, self._hole.from_ns - _MARGIN_NS))

    def _end(self, why_not: str = "") -> None:
        why_not = why_not or (_LEFT_OUT if self._left_out else "")
        self.next, self.why_not, self.whole = None, why_not, not why_not


def _is_inside(trade: Trade, hole: Hole) -> bool:
    return not _is_behind(trade, hole) and not _is_beyond(trade, hole)


def _is_behind(trade: Trade, hole: Hole) -> bool:
    """Whether it is the side before the hole, or lies before it."""
    if hole.after_id.isdecimal() and trade.trade_id.isdecimal():
        return int(trade.trade_id) <= int(hole.after_id)
    return trade.trade_id == hole.after_id or trade.time_venue_ns < hole.from_ns


def _is_beyond(trade: Trade, hole: Hole) -> bool:
    """Whether it is the side after the hole, or lies after it."""
    if hole.before_id.isdecimal() and trade.trade_id.isdecimal():
        return int(trade.trade_id) >= int(hole.before_id)
    return trade.trade_id == hole.before_id or trade.time_venue_ns > hole.to_ns
