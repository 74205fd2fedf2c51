"""What a quote costs must not grow with the number of symbols: counted in calls, which no busy machine changes."""

import sys
from pathlib import Path
from types import FrameType

from lines import Line
from made_up import START
from traderd.core.subscriptions import Subscriptions
from traderd.venues.binance import Binance
from traderd.venues.dialect import Endpoint

NOWHERE = Endpoint("ws://127.0.0.1:1", "http://127.0.0.1:1")
QUOTES = 24_000
GAP_NS = 1_000_000_000 // 1_600
"""Of all symbols together: of two hundred each quotes eight times a second."""
COUNTED = 4_000
CALLS_MORE_MAX = 1.2


def calls_a_quote(folder: Path, symbols: int) -> float:
    """From the frame's bytes to the board, once every price is known well."""
    names = [f"S{n:03}" for n in range(symbols)]
    line = Line(folder, Binance, NOWHERE, [f"{name}/USDT" for name in names], channels=("quote",))
    connection = line.session._connection()
    connection.subscriptions = Subscriptions([(f"{name}USDT", "quote") for name in names], START)
    connection.deliver = line.stream.on_events
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    for number in range(QUOTES):
        name, bid = names[number % symbols], 10_000 + number // symbols % 7
        frame = (
            f'{{"stream":"{name.lower()}usdt@bookTicker","data":{{"u":{number},"s":"{name}USDT",'
            f'"b":"{bid}.5","B":"{number % 97 + 1}","a":"{bid + 1}.5","A":"1"}}}}'
        ).encode()
        sys.setprofile(count if number >= QUOTES - COUNTED else None)
        connection._on_frames([frame], START + number * GAP_NS)
        sys.setprofile(None)
    assert line.received("quote") == QUOTES
    assert not line.pipeline.engine.counts.flagged
    return calls / COUNTED


def test_a_quote_takes_as_many_calls_among_hundreds_of_symbols_as_of_one(tmp_path: Path) -> None:
    """But for the samples of its price, of which a seldom one takes more: not one quote in eight is one."""
    one, many = calls_a_quote(tmp_path / "one", 1), calls_a_quote(tmp_path / "many", 200)
    assert many < one * CALLS_MORE_MAX, (one, many)
