"""The engine: events in, effects out. Candles, strategies, sizing, risk gate, breaker and books under one roof.

Effects come in the order in which they must be carried out: a Signal, its pending Order, then the Approved, which means
"send it, once all before it is durable". A replay of the same events gives the same effects, ids included.
Refuses to order before `resume` (starting is recovering), after `halt`, and while the breaker isn't closed; market data
work goes on all the same.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from msgspec import Struct, field, structs

from traderd.core.alerts import AlertLog
from traderd.core.blotter import Blotter
from traderd.core.book import Book
from traderd.core.book_top import Snapshots, show_top
from traderd.core.candle_builders import Told
from traderd.core.candle_check import CandleCheck
from traderd.core.candles import LateTrades, timeframe_ns
from traderd.core.engine_settings import EngineSettings
from traderd.core.facts import BreakerEvent, Candle, Fact, Order, Position, Severity, Signal
from traderd.core.gaps import GapLedger
from traderd.core.intake import Intake
from traderd.core.market import Beat, Instrument, Trade
from traderd.core.orders import (
    Approved,
    Intent,
    OrderContradictionError,
    Report,
    apply_report,
    is_fill,
    is_final,
    order_of,
)
from traderd.core.portfolio import Portfolio
from traderd.core.risk import RiskGate
from traderd.core.sizing import side_of, size
from traderd.core.strategy import Opinion, StrategySlot, listening, measured
from traderd.core.ticker import TickerBoard
from traderd.core.watch import EquityWatch

Effect = Fact | Approved

_NOTHING: tuple[Effect, ...] = ()
_FORGOTTEN = "the paper exchange forgot it at the restart"


class Restored(Protocol):
    """What an earlier run left; amounts are exact decimal texts, `cash` is "" when there was none."""

    @property
    def positions(self) -> Sequence[Position]: ...
    @property
    def cash(self) -> str: ...
    @property
    def realized_pnl(self) -> str: ...
    @property
    def fees(self) -> str: ...
    @property
    def peak_equity(self) -> str: ...
    @property
    def open_orders(self) -> Sequence[Order]: ...


class Counts(Struct):
    """Since the start, for the metrics. An amended candle counts again. Of late trades the candle builders know."""

    candles: int = 0
    signals: int = 0
    orders: int = 0
    """Approved and handed out to be sent."""
    fills: int = 0
    repeated_fills: int = 0
    """Reports of fills that were booked before."""
    refused: dict[str, int] = field(default_factory=dict)
    """Intents by the rule that refused them."""
    flagged: dict[tuple[str, ...], int] = field(default_factory=dict)
    """Doubtful ticks by venue, channel (`quote`, `trade`) and reason."""


class Engine:
    """One portfolio and its strategies. Not thread-safe; every method returns what is to be done, in order."""

    def __init__(self, settings: EngineSettings, instruments: Sequence[Instrument]) -> None:
        self.board = TickerBoard(len(instruments))
        self.portfolio = Portfolio(settings.portfolio, settings.base_currency, settings.initial_cash, instruments)
        self.blotter = Blotter()
        self.gaps = GapLedger(settings.run)
        """Who keeps the ledger of holes puts it here."""
        self._settings = settings
        self._instruments = list(instruments)
        self._gate = RiskGate(settings.risk, self._instruments)
        self._alerts = AlertLog(settings.run)
        self._watch = EquityWatch(
            settings.run,
            self.portfolio,
            self.board,
            self._alerts,
            settings.drawdown_pct_max,
            settings.risk.quote_age_ms_max * 1_000_000,
            int(settings.equity_interval_s * 1e9),
            settings.environment,
        )
        grace_ns = settings.candle_grace_ms * 1_000_000
        self._slots = listening(settings.strategies, settings.timeframes, settings.bars, instruments)
        self._heeded = {index for index, _ in self._slots}
        bars = settings.timeframes, grace_ns, settings.bars
        self._intake = Intake(self.board, instruments, *bars, settings.quality, heeded=self._heeded)
        self.counts = Counts(flagged=self._intake.flagged)
        self.on_quote = self._intake.on_quote
        """The board alone, if the quote is to be believed. Bound, not wrapped, as what every tick goes through is."""
        self.post_quote, self.post_trade = self._intake.post, self._intake.post_trade
        self.judge_quote = self._intake.judge
        self.set_clock_offset = self._intake.set_clock_offset
        self.candle_check = CandleCheck(instruments, settings.timeframes, grace_ns, self._alerts)
        self.on_venue_candle = self.candle_check.on_venue_candle
        self._snapshots = Snapshots(settings.book_snapshot_interval_s, self.board.books, self._instruments)
        self._lengths = {each: timeframe_ns(each) for each in settings.timeframes}
        self._told: dict[tuple[int, str], int] = {}
        self._now_ns = 0
        self._recovered = False
        self._halted = ""
        self._signals = 0
        self._orders = 0

    @property
    def refusal(self) -> str:
        """Why nothing may be ordered now; "" when it may."""
        return (
            self._halted
            or ("" if self._recovered else "the books are not recovered yet")
            or self._watch.breaker.refusal
        )

    @property
    def late(self) -> LateTrades:
        """Trades that came after their bar's grace."""
        return self._intake.late

    def describe(self, instrument: Instrument) -> None:
        """The venue told steps and limits of an instrument given at the start, known by its index."""
        known = self._instruments[instrument.index]
        if (known.exchange, known.symbol) != (instrument.exchange, instrument.symbol):
            raise ValueError(f"place {instrument.index} is {known.symbol}'s, not {instrument.symbol}'s")
        self._instruments[instrument.index] = instrument

    def on_trade(self, trade: Trade) -> Sequence[Effect]:
        """The board and the candles, if the trade is to be believed; a candle that it closes wakes the strategies.

        Of an instrument that no strategy listens to they wait for `on_beat` or `closed`.
        """
        return self._on_candles(self._intake.on_trade(trade), trade.time_received_ns)

    def on_posted(self, trade: Trade) -> Sequence[Effect]:
        """The candles alone, of one that `post_trade` has put onto the board and that doesn't wait."""
        return self._on_candles(self._intake.built([trade]), trade.time_received_ns)

    def closed(self) -> Sequence[Effect]:
        """The candles that waited."""
        return self._on_candles(self._intake.closed(), self._now_ns)

    def show_books(self, books: Mapping[int, Book]) -> None:
        """The order books in use, by instrument index; one that isn't whole any more shows nothing by itself."""
        for index, book in books.items():
            self.board.books[index] = book

    def on_beat(self, beat: Beat) -> Sequence[Effect]:
        """Bars end, equity and breaker are looked at, and an Equity is recorded when it is due."""
        now_ns = self._now_ns = beat.time_ns
        effects = [*self.closed(), *(self._watch.on_beat(now_ns) if self._recovered else ())]
        effects += self._on_candles(self._intake.on_beat(now_ns), now_ns)
        effects += self.candle_check.on_beat(now_ns, self.gaps)
        effects += self._snapshots.on_beat(now_ns)
        return effects or _NOTHING

    def on_report(self, report: Report) -> Sequence[Effect]:
        """What the exchange says happened to an order. A fill is booked whatever else is wrong: it is our money."""
        self._now_ns = report.time_ns
        order = self.blotter.find(report.client_order_id)
        if order is None:
            return self.halt(
                f"a report of kind {report.kind} names the order {report.client_order_id}, which isn't ours"
            )
        if report.kind == "trade" and self.portfolio.has_booked(report.execution_id):
            self.counts.repeated_fills += 1
            return _NOTHING
        try:
            updated, contradiction = apply_report(order, report), ""
        except OrderContradictionError as error:
            updated, contradiction = order, str(error)
        effects = self._on_fill(order, updated, report) if is_fill(report) else self._on_news(order, updated, report)
        if contradiction:
            effects += self.halt(contradiction)
        return effects

    def resume(
        self, now_ns: int, restored: Restored, breaker_tripped: str = "", trip: BreakerEvent | None = None
    ) -> Sequence[Effect]:
        """Take over what an earlier run left and let trading begin, unless it was halted meanwhile.

        `breaker_tripped` is the reason of a trip that no operator has reset, `trip` the event that it left. The paper
        exchange lives in memory, so that its orders ended with the earlier run; a real venue's go on and are the
        reconciliation's to end.
        """
        self._now_ns = now_ns
        if restored.cash:
            self.portfolio.restore(
                Decimal(restored.cash),
                Decimal(restored.realized_pnl),
                Decimal(restored.fees),
                Decimal(restored.peak_equity),
                restored.positions,
            )
        if breaker_tripped:
            self._watch.restore(breaker_tripped, trip)
        effects: list[Effect] = []
        for order in restored.open_orders:
            if self._settings.environment == "paper":
                ended = structs.replace(
                    order, status="expired", updated_ns=now_ns, cancelled_ns=now_ns, reason=_FORGOTTEN
                )
                effects.append(ended)
            else:
                self.blotter.record(order)
        for holding in self.portfolio.held():
            if holding.index is None:
                message = (
                    f"{holding.quantity} of {holding.exchange} {holding.symbol} can't be valued: nothing is ordered"
                )
                effects += self._alerts.note(now_ns, "position_unknown", "error", "A position has no feed", message)
        self._recovered = True
        return effects + self._watch.look(now_ns, record=True)

    def halt(self, reason: str) -> list[Effect]:
        """No order from here on until `lift_halt`; the first reason stands."""
        if self._halted:
            return []
        self._halted = reason
        return [*self._alerts.note(self._now_ns, "trading_halted", "critical", "Trading is halted", reason)]

    def lift_halt(self) -> Sequence[Effect]:
        """An operator lets trading go on. The breaker has a reset of its own."""
        if not self._halted:
            return _NOTHING
        reason, self._halted = self._halted, ""
        return self._alerts.note(self._now_ns, "halt_lifted", "warning", "Trading goes on", f"it was halted: {reason}")

    def reset_breaker(self) -> Sequence[Effect]:
        """An operator accepts the drawdown: the peak starts anew from the next fresh equity."""
        return self._watch.reset(self._now_ns)

    def _on_candles(self, told: Told, now_ns: int) -> Sequence[Effect]:
        if not told:
            return _NOTHING
        self._now_ns = now_ns
        effects: list[Effect] = []
        for index, closed in told:
            candle = structs.replace(closed, has_gap=True) if self._lacks(closed) else closed
            self.candle_check.on_candle(index, candle)
            effects.append(candle)
            if index in self._heeded:
                effects += self._on_heeded(index, candle, now_ns)
        self.counts.candles += len(told)
        return effects

    def _on_heeded(self, index: int, candle: Candle, now_ns: int) -> list[Effect]:
        """What strategies make of a candle. Of an amended one they don't hear: of a bar once."""
        key = index, candle.timeframe
        if candle.open_time_ns <= self._told.get(key, -1):
            return []
        self._told[key] = candle.open_time_ns
        slots = self._slots.get(key, ())
        show_top(self.board.books[index], [slot.strategy for slot in slots])
        opinions = [(slot, opinion) for slot in slots if (opinion := slot.strategy.on_candle(candle)) is not None]
        effects: list[Effect] = [*measured(candle, slots)]
        for slot, opinion in opinions:
            effects += self._on_opinion(slot, opinion, self._instruments[index], candle, now_ns)
        return effects

    def _lacks(self, candle: Candle) -> bool:
        """Whether trades of its time may be missing in it."""
        opened_ns = candle.open_time_ns
        ends_ns = opened_ns + self._lengths.get(candle.timeframe, self._now_ns - opened_ns)
        return self.gaps.concerns(candle.exchange, candle.symbol, opened_ns, ends_ns)

    def _on_opinion(
        self, slot: StrategySlot, opinion: Opinion, instrument: Instrument, candle: Candle, now_ns: int
    ) -> list[Effect]:
        """The signal, and the order that it leads to, if any."""
        self._signals += 1
        self.counts.signals += 1
        signal_id = f"{self._settings.run}-s{self._signals}"
        reference = self._reference(instrument, opinion, candle)
        intent = self._intent(slot, opinion, instrument, reference, signal_id, now_ns)
        signal = Signal(
            signal_id=signal_id,
            time_ns=now_ns,
            strategy=slot.name,
            exchange=slot.exchange,
            symbol=slot.symbol,
            signal_type=opinion.signal_type,
            strength=opinion.strength,
            confidence=opinion.confidence,
            price=float(reference),
            reason=f"{opinion.reason}; no order: {intent}" if isinstance(intent, str) else opinion.reason,
            expires_ns=now_ns + self._lengths[slot.timeframe] if slot.timeframe in self._lengths else 0,
        )
        return [signal] if isinstance(intent, str) else [signal, *self._on_intent(intent, now_ns)]

    def _reference(self, instrument: Instrument, opinion: Opinion, candle: Candle) -> Decimal:
        """The side of the quote that the order would take; without a quote the candle's close, for the record only."""
        quote = self.board.quotes[instrument.index]
        if quote is None:
            return Decimal(candle.close)
        return Decimal(quote.ask_text if side_of(opinion.signal_type) == "buy" else quote.bid_text)

    def _intent(
        self,
        slot: StrategySlot,
        opinion: Opinion,
        instrument: Instrument,
        reference: Decimal,
        signal_id: str,
        now_ns: int,
    ) -> Intent | str:
        """The sized intent, or why there is none."""
        if not self._recovered:
            return self.refusal
        for order in self.blotter.working_on(slot.exchange, slot.symbol):
            if order.strategy == slot.name:
                return f"order {order.client_order_id} is still {order.status}"
        if opinion.signal_type == "SHORT" and not slot.allow_short:
            return f"{slot.name} may not sell short"
        held = self.portfolio.quantity_of(slot.name, slot.exchange, slot.symbol)
        wish = size(opinion.signal_type, held, slot.order_notional, reference, instrument.quantity_step)
        if isinstance(wish, str):
            return wish
        self._orders += 1
        return Intent(
            client_order_id=f"{self._settings.run}-o{self._orders}",
            signal_id=signal_id,
            strategy=slot.name,
            instrument=instrument,
            side=wish.side,
            order_type="market",
            quantity=wish.quantity,
            price=None,
            time_ns=now_ns,
        )

    def _on_intent(self, intent: Intent, now_ns: int) -> list[Effect]:
        gap = self.gaps.hindrance(intent.instrument.exchange, intent.instrument.symbol)
        verdict = self._gate.check(intent, self.board, self.portfolio, self.blotter, now_ns, self.refusal, gap)
        order = order_of(verdict, self._settings.portfolio, self._settings.environment)
        if isinstance(verdict, Approved):
            self.counts.orders += 1
            self.blotter.record(order)
            return [order, verdict]
        self.counts.refused[verdict.rule] = self.counts.refused.get(verdict.rule, 0) + 1
        return [order, *self._warn(order, "order_refused", f"Order refused: {verdict.rule}")]

    def _on_fill(self, order: Order, updated: Order, report: Report) -> list[Effect]:
        execution = self.portfolio.apply(order, report)
        assert execution is not None, "a fill booked before doesn't come here"
        self.counts.fills += 1
        self.blotter.record(updated)
        effects: list[Effect] = [execution]
        if updated is not order:
            effects.append(updated)
        effects.append(self.portfolio.position(order.exchange, order.symbol, self.board))
        effects += self._watch.look(report.time_ns, record=True)
        if not self.portfolio.accounts_for(report):
            effects += self.halt(f"fill {report.execution_id} has a fee in {report.fee_currency}, which isn't booked")
        return effects

    def _on_news(self, order: Order, updated: Order, report: Report) -> list[Effect]:
        """Everything but fills."""
        if updated is order:
            return []
        self.blotter.record(updated)
        if updated.status == "unknown":
            return [updated, *self._warn(updated, "order_unknown", "An order's fate is unknown")]
        if is_final(updated.status) and updated.status != order.status:
            return [updated, *self._warn(updated, f"order_{updated.status}", f"Order {updated.status} by the exchange")]
        return [updated]

    def _warn(self, order: Order, alert_type: str, title: str) -> Sequence[Effect]:
        message = f"{order.side} {order.quantity} {order.symbol}: {order.reason}"
        severity: Severity = "error" if alert_type == "order_unknown" else "warning"
        return self._alerts.note(
            order.updated_ns, alert_type, severity, title, message, order.exchange, order.symbol, order.client_order_id
        )
