"""Whatever bytes a venue sends: events that are sound, or BadFrameError, and nothing else; and never slowly.

`TRADERD_FUZZ_CASES=1000000 pytest tests/venues/test_fuzz.py` tries as many spoilt frames over all dialects.
"""

import os
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Any

import pytest
from noise import TOKEN, VALUES, misshapen, spoil
from spoken import ALL, Spoken

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    Ack,
    BookDelta,
    BookSnapshot,
    Funding,
    Instrument,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
    VenueCandle,
)
from traderd.venues.ccxt_words import Written, described, quote_from_book, quote_from_ticker, trade_from
from traderd.venues.dialect import Dialect
from traderd.venues.registry import MARKETS, dialect

CASES = -(-int(os.environ.get("TRADERD_FUZZ_CASES", "60000")) // len(ALL))
"""Spoilt frames for each dialect, and as many structures of ccxt's."""
REASONS = {"malformed", "unknown_symbol", "unknown_channel", "bad_number", "bad_side", "bad_time", "refused"}
PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?").fullmatch
SLOW_S = 0.001
NORMAL_BYTES = 2_000
NOW = 1_785_644_622_178_672_613
every_dialect = pytest.mark.parametrize("spoken", ALL, ids=[each.name for each in ALL])


def test_no_dialect_is_left_out() -> None:
    """Whatever the registry speaks is in the list."""
    listed = {(each.venue, MARKETS[each.market]) for each in ALL}
    for venue in ("binance", "kraken", "coinbase", "bybit", "okx"):
        for market in set(MARKETS.values()):
            try:
                dialect(venue, 10, market)
            except KeyError:
                continue
            assert (venue, market) in listed


def survive(made: Dialect, frame: bytes) -> bool:
    """Whether the frame was taken; every event of it is then sound. Anything but BadFrameError fails the test."""
    begun = time.perf_counter()
    taken = _taken(made, frame)
    if time.perf_counter() - begun > SLOW_S and len(frame) <= NORMAL_BYTES:
        assert min(_seconds(made, frame) for _ in range(20)) < SLOW_S, frame
    return taken


def _taken(made: Dialect, frame: bytes) -> bool:
    try:
        events = list(made.decode(frame, NOW))
    except BadFrameError as refused:
        assert refused.reason in REASONS
        return False
    for event in events:
        assert_sound(event)
    return True


def _seconds(made: Dialect, frame: bytes) -> float:
    begun = time.perf_counter()
    with suppress(BadFrameError):
        made.decode(frame, NOW)
    return time.perf_counter() - begun


def assert_sound(event: object) -> None:
    """Plain texts, finite floats that say the same, prices above zero, times and numbers that 64 bits hold."""
    prices: list[str] = []
    quantities: list[str] = []
    numbers: list[int] = []
    match event:
        case Quote():
            prices, quantities = [event.bid_text, event.ask_text], [event.bid_size_text, event.ask_size_text]
            assert [event.bid, event.ask, event.bid_size, event.ask_size] == [float(t) for t in prices + quantities]
            numbers = [event.sequence]
        case Trade():
            prices, quantities = [event.price_text], [event.quantity_text]
            assert (event.price, event.quantity) == (float(event.price_text), float(event.quantity_text))
            assert event.side in ("buy", "sell")
        case BookDelta() | BookSnapshot():
            prices = [price for price, _ in event.bids + event.asks]
            quantities = [quantity for _, quantity in event.bids + event.asks]
            numbers = [event.first, event.last] if isinstance(event, BookDelta) else [event.sequence, event.depth]
        case VenueCandle():
            prices, quantities = [event.open, event.high, event.low, event.close], [event.volume]
            numbers = [event.open_time_ns]
        case Funding():
            quantities, numbers = [event.rate.removeprefix("-")], [event.next_time_ns]
        case MarkPrice():
            prices = [price for price in (event.mark, event.index) if price]
            assert prices
        case OpenInterest():
            quantities = [event.quantity]
        case Liquidation():
            prices, quantities = [event.price], [event.quantity]
            assert event.side in ("buy", "sell")
        case Instrument():
            assert min(event.price_tick, event.quantity_step, event.contract_size) > 0 <= event.notional_min
            numbers = [event.expiry_ns]
        case Ack():
            numbers = [event.request]
    numbers.append(getattr(event, "time_venue_ns", 0))
    assert all(PLAIN(text) and isfinite(float(text)) for text in prices + quantities)
    assert all(float(text) > 0 for text in prices)
    assert all(0 <= number < 2**63 for number in numbers)


@every_dialect
def test_spoilt_frames_are_sound_or_refused(spoken: Spoken) -> None:
    """Some of them still mean something, so that the check of soundness has something to check."""
    dice, made = random.Random(spoken.name), spoken.make()
    taken = 0
    for _ in range(CASES):
        taken += survive(made, spoil(dice.choice(spoken.frames), spoken.frames, dice))
    assert CASES / 50 < taken < CASES


@every_dialect
def test_every_value_in_every_place_is_sound_or_refused(spoken: Spoken) -> None:
    """Types exchanged, numbers beyond all bounds, empty arrays, deep nesting, stray quotes."""
    made = spoken.make()
    for frame in spoken.frames:
        assert survive(made, frame)
        for token in TOKEN.finditer(frame):
            for value in VALUES:
                survive(made, frame[: token.start()] + value + frame[token.end() :])


@every_dialect
def test_every_frame_cut_short_is_refused(spoken: Spoken) -> None:
    """No beginning of a frame is a frame."""
    made = spoken.make()
    for frame in spoken.frames:
        for end in range(len(frame)):
            assert not survive(made, frame[:end])


@every_dialect
def test_nesting_a_million_deep_is_refused(spoken: Spoken) -> None:
    """Alone, and in the place of a frame's last value; so is a number of a million digits."""
    made, readers = spoken.make(), spoken.readers()
    for bottomless in (b"[" * 1_000_000, b'{"a":' * 1_000_000, b"9" * 1_000_000):
        assert not survive(made, bottomless)
        assert not any(_read(reader, bottomless) for reader in readers)
        for frame in spoken.frames:
            *_, value = re.finditer(rb'(?<=:)("[^"]*"|[0-9]+|true|false)', frame)
            survive(made, frame[: value.start()] + bottomless + frame[value.end() :])


@every_dialect
def test_rest_answers_are_as_safe_as_frames(spoken: Spoken) -> None:
    """Each is understood as it is by one reader; none fails on it, or on a value out of place, but by refusing."""
    dice = random.Random(2)
    readers = spoken.readers()
    for answer in spoken.answers:
        assert any(_read(reader, answer) for reader in readers)
        for token in TOKEN.finditer(answer):
            for value in VALUES:
                mutant = answer[: token.start()] + value + answer[token.end() :]
                for reader in readers:
                    _read(reader, mutant)
        for _ in range(200):
            spoilt = spoil(answer, spoken.answers, dice)
            for reader in readers:
                _read(reader, spoilt)


def _read(reader: Callable[[bytes], object], answer: bytes) -> bool:
    """Whether it says anything; all that it says is sound."""
    try:
        told = reader(answer)
    except BadFrameError as refused:
        assert refused.reason in REASONS
        return False
    for each in told if isinstance(told, list) else [told]:
        assert_sound(each)
    return bool(told)


BITFINEX = Instrument(0, "bitfinex", "BTC/USD", "BTC/USD", "BTC", "USD", feed="ccxt")
UNIFIED: list[tuple[Callable[[Any], object], Any]] = [
    (
        lambda told: trade_from(told, BITFINEX, 1),
        {"id": "7", "timestamp": 1_700_000_000_123, "side": "sell", "price": Written("64000.10"), "amount": 0.25},
    ),
    (
        lambda told: quote_from_ticker(told, BITFINEX, 1),
        {"bid": Written("1.10"), "bidVolume": 2.0, "ask": 1.2, "askVolume": Written("3e-7"), "timestamp": 1},
    ),
    (
        lambda told: quote_from_book(told, BITFINEX, 1) or (),
        {"bids": [[1.1, 2.0], [1.0, 1.0]], "asks": [[Written("1.20"), 3]], "timestamp": None},
    ),
    *(
        (
            lambda told, mode=mode: described(told, mode, BITFINEX),
            {
                **{"id": "tBTCUSD", "base": "BTC", "quote": "USD", "settle": "BTC", "contract": True, "inverse": True},
                **{"contractSize": 100.0, "expiry": 1_743_148_800_000, "precision": {"price": 5, "amount": 0.1}},
                "limits": {"cost": {"min": 5.0}},
            },
        )
        for mode in (2, 3, 4)
    ),
]
"""What reads a structure of ccxt's, and one that it understands."""


def test_spoilt_structures_of_ccxt_are_sound_or_refused() -> None:
    """Each value exchanged, lost or moved to another place, at any depth."""
    dice, taken = random.Random("ccxt"), 0
    for read, structure in UNIFIED:
        assert_sound(read(structure))
        for _ in range(-(-CASES // len(UNIFIED))):
            try:
                told = read(misshapen(structure, dice))
            except BadFrameError as refused:
                assert refused.reason in REASONS
                continue
            assert_sound(told)
            taken += 1
    assert CASES / 10 < taken < CASES
