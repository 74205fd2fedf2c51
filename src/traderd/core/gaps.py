"""The gap ledger: every hole in the data has a row that says from when to when, why, and what became of it.

A gap is opened where data stopped being whole and closed where it is whole again; that the trades missing in it were
fetched afterwards is a third thing. All are facts under one key. What a run that ended leaves open is closed by a
later one. Refuses nothing: whether a symbol with a hole may be traded is for the risk gate to say.
"""

from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from traderd.core.facts import Gap, Span

_INTERRUPTIONS = ("disconnect", "restart")
_DELISTED = "the venue trades it no more"
_TRADES = ("", "trade")
_PRICES = ("", "quote", "book")
"""What is decided by: a symbol may be traded seldom, and its quotes tell what it costs all the same."""
_REMEMBERED = 32
"""Of each symbol, gaps that are closed but may still lie in the time of a bar that isn't."""
_TRANSIT_NS = 1_000_000_000
"""A trade that went missing is dated by the venue, the hole by us: it may have been on its way so long."""
_STILL_NS = 3_000_000_000
"""Between two beats: so long lasts no work of ours. What waited meanwhile is read in as long a time."""


class GapLedger:
    """The open gaps of one run."""

    def __init__(self, run: str) -> None:
        self._run = run
        self.count = 0
        """Gaps opened so far."""
        self._open: dict[tuple[str, str, str, str], Gap] = {}
        self._still = (0, -_STILL_NS)
        self._earlier: list[Gap] = []
        self._delisted: dict[tuple[str, str], int] = {}  # since when
        self._healed_ns: dict[str, int] = {}
        self._whole_ns: dict[tuple[str, str, str], int] = {}
        self._standing: dict[tuple[str, str], dict[str, Gap]] = {}  # what is open, by venue and symbol
        self._ended: dict[tuple[str, str], deque[Gap]] = {}

    def opened(
        self, exchange: str, symbol: str, channel: str, reason: str, from_ns: int, detail: str = ""
    ) -> Gap | None:
        """The gap that begins; None if this one is open already."""
        key = (exchange, symbol, channel, reason)
        if key in self._open:
            return None
        still_ns, awake_ns = self._still
        if still_ns <= from_ns < awake_ns + _STILL_NS:
            from_ns = still_ns
        self.count += 1
        gap = Gap(f"{self._run}-g{self.count}", exchange, symbol, channel, reason, from_ns, 0, 0, detail)
        self._open[key] = gap
        self._stand(gap)
        return gap

    def beat(self, before_ns: int, now_ns: int) -> None:
        """Between beats that lie far apart we stood still. What is read next was sent meanwhile, and is dated by its
        reading: holes that are found now begin there.
        """
        if before_ns and now_ns - before_ns > _STILL_NS:
            self._still = (before_ns, now_ns)

    def closed(
        self, exchange: str, symbol: str, channel: str, reason: str, to_ns: int, rows_lost: int = 0
    ) -> Gap | None:
        """The gap that ends; None if no such one is open."""
        gap = self._open.pop((exchange, symbol, channel, reason), None)
        return self._end(gap, to_ns, rows_lost) if gap else None

    def over(
        self, exchange: str, channel: str, reason: str, from_ns: int, to_ns: int, rows_lost: int, detail: str
    ) -> Gap:
        """A gap of all symbols that is over when it is found."""
        self.count += 1
        name = f"{self._run}-g{self.count}"
        return Gap(name, exchange, "", channel, reason, from_ns, max(to_ns, from_ns), rows_lost, detail, "closed")

    def whole(self, exchange: str, symbol: str, channel: str, to_ns: int) -> list[Gap]:
        """This stream flows, for the first time or again: that ends whatever interrupted it, in this run or earlier."""
        stream = (exchange, symbol, channel)
        self._whole_ns.setdefault(stream, to_ns)
        ended = [self.closed(*key, to_ns) for key in list(self._open) if key[:3] == stream and key[3] != "lost"]
        over = [gap for gap in self._earlier if (gap.exchange, gap.symbol, gap.channel) == stream]
        self._earlier = [gap for gap in self._earlier if gap not in over]
        return [gap for gap in ended if gap] + [self._end(gap, to_ns, gap.rows_lost) for gap in over]

    def healed(self, exchange: str, to_ns: int) -> list[Gap]:
        """Data of this venue flows: that ends interruptions of this run and all that earlier runs left open."""
        self._healed_ns.setdefault(exchange, to_ns)
        ended = [gap for reason in _INTERRUPTIONS if (gap := self.closed(exchange, "", "", reason, to_ns))]
        return ended + self._end_earlier()

    def inherit(self, gaps: Iterable[Gap]) -> list[Gap]:
        """Gaps that the database holds as open: those of earlier runs are over as soon as data flows, maybe already.

        Those of what is known by now to be traded no more are over for good.
        """
        own = f"{self._run}-g"
        earlier = [gap for gap in gaps if not gap.gap_id.startswith(own)]
        self._earlier += earlier
        for gap in earlier:
            self._stand(gap)
        gone = {(gap.exchange, gap.symbol) for gap in earlier} & self._delisted.keys()
        ended = [gap for at in sorted(gone) for gap in self.delisted(*at, self._delisted[at])]
        return ended + self._end_earlier()

    def delisted(self, exchange: str, symbol: str, now_ns: int) -> list[Gap]:
        """The venue trades it no more: nothing of it is missing from here on, and what was can't be had."""
        self._delisted.setdefault((exchange, symbol), now_ns)
        over = [gap for gap in self._earlier if (gap.exchange, gap.symbol) == (exchange, symbol)]
        self._earlier = [gap for gap in self._earlier if gap not in over]
        ended = [self.closed(*key, now_ns) for key in list(self._open) if key[:2] == (exchange, symbol)]
        ended += [self._end(gap, now_ns, gap.rows_lost) for gap in over]
        return [healed(gap, 0, now_ns, why_not=_DELISTED) for gap in ended if gap]

    def listed(self, exchange: str, symbol: str) -> None:
        """The venue trades it, perhaps again."""
        self._delisted.pop((exchange, symbol), None)

    def open_gaps(self) -> list[Gap]:
        """Those that are open now."""
        return [*self._earlier, *self._open.values()]

    def hindrance(self, exchange: str, symbol: str) -> str:
        """Why this symbol's prices can't be relied on now; "" when no hole is open in its quotes or its book."""
        if (exchange, symbol) in self._delisted:
            return f"{symbol} is delisted: {exchange} trades it no more"
        for at in ((exchange, symbol), (exchange, "")):
            for gap in self._standing.get(at, {}).values():
                if gap.channel in _PRICES:
                    return f"a gap in the {gap.channel or 'data'} of {gap.symbol or exchange} is open ({gap.reason})"
        return ""

    def concerns(
        self, exchange: str, symbol: str, from_ns: int, to_ns: int, channels: tuple[str, ...] = _TRADES
    ) -> bool:
        """Whether trades of this symbol from [from_ns, to_ns) may be missing, as far as this run knows."""
        if not self._standing and not self._ended:
            return False
        for at in ((exchange, symbol), (exchange, "")):
            if at not in self._standing and at not in self._ended:
                continue
            for gap in (*self._standing.get(at, {}).values(), *self._ended.get(at, ())):
                reaches = gap.from_ns - _TRANSIT_NS < to_ns and (not gap.to_ns or gap.to_ns >= from_ns)
                if reaches and gap.channel in channels:
                    return True
        return False

    def covers(self, exchange: str, symbol: str, from_ns: int, to_ns: int) -> bool:
        """Whether this symbol's trades flowed by `from_ns` and none of this time may be missing, nor its candles."""
        since_ns = self._whole_ns.get((exchange, symbol, "trade"))
        flowed, told = since_ns is not None and since_ns <= from_ns, (*_TRADES, "candle")
        return flowed and not self.concerns(exchange, symbol, from_ns, to_ns, told)

    def _end_earlier(self) -> list[Gap]:
        """A venue that isn't listened to any more keeps its gap open: that is the truth."""
        over = [gap for gap in self._earlier if gap.exchange in self._healed_ns]
        self._earlier = [gap for gap in self._earlier if gap.exchange not in self._healed_ns]
        return [self._end(gap, self._healed_ns[gap.exchange], gap.rows_lost) for gap in over]

    def _end(self, gap: Gap, to_ns: int, rows_lost: int) -> Gap:
        ended = replace(gap, to_ns=max(to_ns, gap.from_ns), rows_lost=rows_lost, status="closed")
        at = (gap.exchange, gap.symbol)
        if self._standing.get(at, {}).pop(gap.gap_id, None):
            self._ended.setdefault(at, deque(maxlen=_REMEMBERED)).append(ended)
        return ended

    def _stand(self, gap: Gap) -> None:
        """Of rows that only couldn't be recorded nothing was missing where it was decided by them."""
        if gap.reason == "lost":
            return
        self._standing.setdefault((gap.exchange, gap.symbol), {})[gap.gap_id] = gap


def healed(
    gap: Gap,
    rows: int,
    now_ns: int,
    after_id: str = "",
    before_id: str = "",
    why_not: str = "",
    unfetched: tuple[Span, ...] = (),
) -> Gap:
    """What became of it: healed, or unhealable if something can't be had; `rows` were fetched and stored."""
    return replace(
        gap,
        status="unhealable" if why_not else "healed",
        healed_ns=0 if why_not else now_ns,
        healed_by="rest" if rows or not why_not else "",
        rows_healed=rows,
        why_not=why_not,
        after_id=after_id,
        before_id=before_id,
        unfetched=unfetched,
    )
