"""The intake asks a gate only about what the gate's bounds leave open: nobody may notice."""

import random
from functools import reduce
from operator import or_

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from made_up import BTC, MS, START, QuoteJudge, quote, trade
from traderd.core.candle_builders import Told
from traderd.core.intake import Intake
from traderd.core.market import Quote, Trade
from traderd.core.quality import FLAGS, JUMP, REPEATED, QualitySettings, TradeGate
from traderd.core.ticker import TickerBoard

SETTINGS = QualitySettings(warmup=5, confirmations=2, crossed_ms_max=300)


def ticks(seed: int, count: int) -> list[Quote | Trade]:
    """A calm walk in which one tick in ten is odd: elsewhere, crossed, told before, old, or dated ahead."""
    chance, now, price, told = random.Random(seed), START, 10_000, list[Quote | Trade]()
    for number in range(count):
        now += chance.choice([1, 5, 40, 40, 120, 700]) * MS
        price += chance.choice([-1, 0, 1])
        odd = chance.choice(["", "jump", "crossed", "repeated", "old", "ahead"]) if chance.random() < 0.1 else ""
        at = price * 2 if odd == "jump" else price
        venue_ns = now + {"old": -10_000, "ahead": 10_000}.get(odd, 0) * MS
        if odd == "repeated" and told:
            told.append(replace(told[-1], time_received_ns=now, flags=0))
        elif chance.random() < 0.5:
            bid, ask = (at + 5, at) if odd == "crossed" else (at, at + 1)
            sizes = str(chance.randrange(1, 4)), str(chance.randrange(1, 4))
            drawn = quote(str(bid), str(ask), now, BTC, *sizes)
            told.append(replace(drawn, sequence=10_000 + number, time_venue_ns=venue_ns))
        else:
            told.append(replace(trade(str(at), "1", venue_ns, received_ns=now), trade_id=str(number)))
    return told


@given(st.integers(0, 10_000))
def test_what_passes_unjudged_would_have_been_judged_clean(seed: int) -> None:
    """Flags, the board and the gates' own state are as if every tick had been judged."""
    board, quotes, trades = TickerBoard(1), QuoteJudge(SETTINGS), TradeGate(SETTINGS)
    intake = Intake(board, [BTC], ["1s"], 0, [], SETTINGS)
    newest, doubts = None, 0
    for tick in ticks(seed, 300):
        if isinstance(tick, Quote):
            flags = quotes.judge(replace(tick))
            newest = newest if flags else tick
            doubts = doubts if flags & REPEATED else flags
            intake.on_quote(tick)
        else:
            flags = trades.judge(replace(tick))
            if not flags & (JUMP | REPEATED):
                trades.confirmed()
            intake.on_trade(tick)
        assert tick.flags == flags
        assert (board.quotes[0], board.doubts[0]) == (newest, doubts)
    gates = (intake._quote_gates[0], quotes.gate), (intake._trade_gates[0], trades)
    for theirs, ours in gates:
        assert (theirs.reference, theirs.variance, theirs.samples) == (ours.reference, ours.variance, ours.samples)


def test_the_made_up_ticks_have_every_oddity() -> None:
    """Else the test above would show nothing."""
    gate, flags = QuoteJudge(SETTINGS), 0
    for tick in ticks(1, 20_000):
        flags |= gate.judge(tick) if isinstance(tick, Quote) else 0
    assert flags == reduce(or_, FLAGS.values())


def without_quotes(told: Told) -> Told:
    """The newest quote when a bar is closed is that of the beat, where a bar waits for it."""
    return [(index, replace(each, bid=None, ask=None, bid_size=None, ask_size=None)) for index, each in told]


@given(st.integers(0, 10_000), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_trades_that_wait_become_the_same_candles_in_the_same_order(seed: int, beat_ms: int) -> None:
    """Nobody can tell from their trades whether a strategy listens, doubtful and late trades included."""
    at_once = Intake(TickerBoard(1), [BTC], ["1s", "5s"], 200 * MS, [], SETTINGS)
    waiting = Intake(TickerBoard(1), [BTC], ["1s", "5s"], 200 * MS, [], SETTINGS, heeded=())
    told: Told = []
    found: Told = []
    beat_ns = START
    for tick in ticks(seed, 300):
        while beat_ns <= tick.time_received_ns:
            found += [*waiting.closed(), *waiting.on_beat(beat_ns)]
            told += at_once.on_beat(beat_ns)
            beat_ns += beat_ms * MS
        if isinstance(tick, Quote):
            at_once.on_quote(replace(tick))
            waiting.on_quote(tick)
        else:
            told += at_once.on_trade(replace(tick))
            assert not waiting.on_trade(tick)
    found += waiting.closed()
    assert without_quotes(found) == without_quotes(told) and told
    assert waiting.late == at_once.late
