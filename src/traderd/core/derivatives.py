"""What contracts tell besides quotes and trades, at a rate that the fact journal bears.

Of a contract's mark price, funding rate and open interest the newest is kept, one a second at most; the mark and the
index price that came apart are put together. A funding rate is kept when it has changed. Liquidations are all kept.
Refuses nothing: the dialects have checked the numbers.
"""

from decimal import Decimal
from typing import Final

from traderd.core.facts import Derivative, FundingRate, Liquidated, Mark, OpenContracts
from traderd.core.market import DerivativeEvent, Funding, Liquidation, MarkPrice, OpenInterest

INTERVAL_NS: Final = 10**9
_VENUE_TIME_ERROR_NS_MAX: Final = 86_400 * 10**9
"""A venue's time that is further off isn't believed: it would make partitions in years to come."""
_Key = tuple[type, int]


class DerivativeBoard:
    """What arrived and isn't recorded yet. `take` is to be called with every beat."""

    def __init__(self) -> None:
        self._waiting: dict[_Key, DerivativeEvent] = {}
        self._liquidations: list[Liquidation] = []
        self._taken_ns: dict[_Key, int] = {}
        self._marks: dict[int, tuple[str, str]] = {}
        self._rates: dict[int, tuple[str, int]] = {}

    def on_event(self, event: DerivativeEvent) -> None:
        """The newest of its kind and contract, but for liquidations, which are all different."""
        if isinstance(event, Liquidation):
            self._liquidations.append(event)
            return
        if isinstance(event, MarkPrice):
            mark, index = self._marks.get(event.instrument.index, ("", ""))
            self._marks[event.instrument.index] = (event.mark or mark, event.index or index)
        self._waiting[type(event), event.instrument.index] = event

    def take(self, now_ns: int) -> list[Derivative]:
        """What is to be recorded now."""
        if not self._waiting and not self._liquidations:
            return []
        due = [key for key in self._waiting if not 0 <= now_ns - self._taken_ns.get(key, -INTERVAL_NS) < INTERVAL_NS]
        facts: list[Derivative] = [_liquidated(event) for event in self._liquidations]
        self._liquidations = []
        for key in due:
            fact = self._fact(self._waiting.pop(key))
            if fact is not None:
                self._taken_ns[key] = now_ns
                facts.append(fact)
        return facts

    def _fact(self, event: DerivativeEvent) -> Derivative | None:
        instrument, time_ns, received_ns = event.instrument, _time(event), event.time_received_ns
        match event:
            case MarkPrice():
                mark, index = self._marks[instrument.index]
                return Mark(
                    instrument.exchange, instrument.symbol, time_ns, received_ns, _decimal(mark), _decimal(index)
                )
            case Funding():
                told = (event.rate, event.next_time_ns)
                if self._rates.get(instrument.index) == told:
                    return None
                self._rates[instrument.index] = told
                rate = Decimal(event.rate)
                return FundingRate(
                    instrument.exchange, instrument.symbol, time_ns, received_ns, rate, event.next_time_ns
                )
            case OpenInterest():
                quantity = Decimal(event.quantity)
                return OpenContracts(instrument.exchange, instrument.symbol, time_ns, received_ns, quantity)
            case Liquidation():
                return _liquidated(event)


def _liquidated(event: Liquidation) -> Liquidated:
    return Liquidated(
        exchange=event.instrument.exchange,
        symbol=event.instrument.symbol,
        time_ns=_time(event),
        received_ns=event.time_received_ns,
        side=event.side,
        price=Decimal(event.price),
        quantity=Decimal(event.quantity),
    )


def _time(event: DerivativeEvent) -> int:
    """The venue's time; the receive time where the venue's is absent or can't be right."""
    if abs(event.time_venue_ns - event.time_received_ns) > _VENUE_TIME_ERROR_NS_MAX:
        return event.time_received_ns
    return event.time_venue_ns


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None
