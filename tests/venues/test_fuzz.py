"""Whatever bytes a venue sends: events that are sound, or BadFrameError, and nothing else."""

import random
import re
from math import isfinite

import pytest
from test_binance import AGG_TRADE, DEPTH, ETH, KLINE, TICKER, TRADE
from test_kraken import BOOK, SNAPSHOT, STATUS, SUBSCRIBED, TRADES
from test_kraken import ETH as ETH_USD
from test_kraken import TICKER as KRAKEN_TICKER

from traderd.core.errors import BadFrameError
from traderd.core.market import BookDelta, BookSnapshot, Quote, Trade, VenueEvent
from traderd.venues.binance import Binance
from traderd.venues.dialect import Dialect
from traderd.venues.kraken import Kraken

FRAMES = {
    "binance": [TICKER, TRADE, AGG_TRADE, DEPTH, KLINE, b'{"result":null,"id":1}', b'{"error":{"code":2,"msg":"x"}}'],
    "kraken": [KRAKEN_TICKER, TRADES, BOOK, SNAPSHOT, SUBSCRIBED, STATUS, b'{"channel":"heartbeat"}'],
}
REASONS = {"malformed", "unknown_symbol", "unknown_channel", "bad_number", "bad_side", "bad_time", "refused"}
VALUES = [
    *(
        b"null",
        b"true",
        b"0",
        b"-1",
        b"1.5",
        b"1e400",
        b"-1e-400",
        b"NaN",
        b"Infinity",
        b"9" * 400,
        b"9" * 5000,
        b"1E5",
    ),
    *(
        b'""',
        b'"NaN"',
        b'"inf"',
        b'"1e400"',
        b'"1_0"',
        b'" 1"',
        b'"-1"',
        b'"0x10"',
        b'"\\u0663"',
        b'"\\ud800"',
        b'"@b"',
    ),
    *(
        b"[]",
        b"{}",
        b"[[]]",
        b'[["1"]]',
        b'[["1","2","3"]]',
        b"[[1,2]]",
        b'[{"price":1}]',
        b"[" * 5000,
        b'{"a":' * 5000,
    ),
    *(b'"' + b"1" * 100_000 + b'"', b'"\xff"', b'"', b"\x00", b""),
]
TOKEN = re.compile(rb'"[^"]*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{}:,]')
PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?").fullmatch


@pytest.fixture(params=sorted(FRAMES))
def spoken(request: pytest.FixtureRequest) -> Dialect:
    dialect: Dialect = Binance() if request.param == "binance" else Kraken(10)
    dialect.bind([ETH if request.param == "binance" else ETH_USD])
    return dialect


def survive(spoken: Dialect, frame: bytes) -> bool:
    """Whether the frame was taken; every event of it is then sound. Anything but BadFrameError fails the test."""
    try:
        events = list(spoken.decode(frame, 1_785_644_622_178_672_613))
    except BadFrameError as refused:
        assert refused.reason in REASONS
        return False
    for event in events:
        assert_sound(event)
    return True


def assert_sound(event: VenueEvent) -> None:
    """Plain texts, finite floats that say the same, prices above zero, times and numbers that 64 bits hold."""
    prices: list[str] = []
    quantities: list[str] = []
    match event:
        case Quote():
            prices, quantities = [event.bid_text, event.ask_text], [event.bid_size_text, event.ask_size_text]
            assert [event.bid, event.ask, event.bid_size, event.ask_size] == [float(t) for t in prices + quantities]
            assert 0 <= event.sequence < 2**63
        case Trade():
            prices, quantities = [event.price_text], [event.quantity_text]
            assert event.side in ("buy", "sell")
            assert 0 <= event.time_venue_ns < 2**63
        case BookDelta() | BookSnapshot():
            prices = [price for price, _ in event.bids + event.asks]
            quantities = [quantity for _, quantity in event.bids + event.asks]
    assert all(PLAIN(text) and isfinite(float(text)) for text in prices + quantities)
    assert all(float(text) > 0 for text in prices)


def test_random_bytes_are_never_more_than_a_bad_frame(spoken: Dialect) -> None:
    """Of any length, and of the characters that JSON is made of."""
    dice = random.Random(1)
    for _ in range(1500):
        survive(spoken, dice.randbytes(dice.randrange(200)))
        survive(spoken, bytes(dice.choices(b'{}[]":,@0123456789.eE-+ \\utrnfabdsp', k=dice.randrange(60))))


def test_real_frames_with_flipped_lost_and_repeated_bytes_are_sound_or_refused(spoken: Dialect) -> None:
    """Some of them still mean something, so that the check of soundness has something to check."""
    dice = random.Random(2)
    taken = 0
    for _ in range(3000):
        frame = bytearray(dice.choice(FRAMES[spoken.exchange]))
        for _ in range(dice.choice((1, 1, 2, 8))):
            at = dice.randrange(len(frame))
            match dice.randrange(4):
                case 0:
                    frame[at] = dice.randrange(256)
                case 1:
                    frame[at] = dice.choice(b"0123456789.-eE_ ,\"'")
                case 2:
                    del frame[at : at + dice.choice((1, 1, 20))]
                case _:
                    frame[at:at] = frame[at : at + dice.choice((1, 5, 50))]
            if not frame:
                break
        taken += survive(spoken, bytes(frame))
    assert taken > 100


def test_every_value_in_every_place_is_sound_or_refused(spoken: Dialect) -> None:
    """Types exchanged, numbers beyond all bounds, empty arrays, deep nesting, stray quotes."""
    for frame in FRAMES[spoken.exchange]:
        assert survive(spoken, frame)
        for token in TOKEN.finditer(frame):
            for value in VALUES:
                survive(spoken, frame[: token.start()] + value + frame[token.end() :])


def test_every_frame_cut_short_is_refused(spoken: Dialect) -> None:
    """No beginning of a frame is a frame."""
    for frame in FRAMES[spoken.exchange]:
        for end in range(len(frame)):
            assert not survive(spoken, frame[:end])


def test_rest_answers_are_as_safe_as_frames(spoken: Dialect) -> None:
    """Snapshot, instruments and time, with garbage and with values out of place."""
    bodies = [
        b'{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}',
        b'{"serverTime":1633998511098}',
        b'{"error":[],"result":{"unixtime":1616336594}}',
        b'{"symbols":[{"symbol":"ETHUSDT","status":"TRADING","baseAsset":"ETH","quoteAsset":"USDT","filters":'
        b'[{"filterType":"PRICE_FILTER","tickSize":"0.01"},{"filterType":"NOTIONAL","minNotional":"5"}]}]}',
        b'{"error":[],"result":{"XETHZUSD":{"wsname":"ETH/USD","pair_decimals":2,"lot_decimals":8,"tick_size":"0.01"}}}',
    ]
    for body in bodies:
        for token in TOKEN.finditer(body):
            for value in VALUES:
                mutant = body[: token.start()] + value + body[token.end() :]
                for read in (
                    lambda text: spoken.decode_snapshot(text, ETH, 1),
                    lambda text: spoken.decode_instruments(text, ["ETH/USDT", "ETH/USD"]),
                    spoken.decode_time,
                ):
                    try:
                        read(mutant)
                    except BadFrameError as refused:
                        assert refused.reason in REASONS
