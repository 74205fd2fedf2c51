"""What a real exchange does to its clients, on demand: some of it once, some of it until told otherwise.

Refuses names that it doesn't know. A corrupted frame is one that any reader can tell: a digit that became another digit
can be told by nobody who has no checksum.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
_NOT_IN_JSON = b"\x01\x02\x05\x0b\x0e\x13\x1a\x1f"


class Faults(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The default is a healthy exchange. A symbol (`BTCUSDT`) stands for all its streams, a stream for itself."""

    # Once, to the connections that are there when it is said; a new connection is well.
    stall: bool = False
    """No more data; requests and pings are answered."""
    half_open: bool = False
    """TCP stays, nothing comes, nothing is read: pings stay unanswered."""
    cut: bool = False
    drop: tuple[str, ...] = ()
    """These streams stop without a word; who subscribes again is served again."""

    # Until said otherwise.
    refuse_s: float = 0.0
    """For so long from now no websocket is let in."""
    refuse_status: int = 0
    """With this HTTP status; 0: the connection is cut before the handshake."""
    rest_refuse_s: float = 0.0
    rest_status: int = 429
    retry_after_s: int = 0
    """Told with each refusal by status; 0: nothing is told."""
    weight_per_minute: int = 0
    """REST requests beyond this weight get 429; 0: no limit."""
    age_s: float = 0.0
    """Connections are cut at this age (24 h, made short); 0: never."""
    repeat: Share = 0.0
    """Of the frames: sent once more, at once or some frames later."""
    reorder: Share = 0.0
    """Of the frames: sent after the next one."""
    corrupt: Share = 0.0
    """Of the frames: bytes in them are replaced."""
    unsent: tuple[str, ...] = ()
    """Subscriptions to these are acknowledged, and nothing is sent."""
    refused: tuple[str, ...] = ()
    """Subscription frames that name one of these are refused, though it exists."""
    delisted: tuple[str, ...] = ()
    """Symbols that aren't traded any more: REST doesn't know them, and nothing is sent."""
    lies_max: int = 1_000_000
    """After so many such lies the truth is told."""
    clock_ahead_ms: int = 0
    """The exchange's clock, against ours."""
    burst: Annotated[float, Meta(gt=0.0, le=1_000.0)] = 1.0
    """So many times the usual rate of ticks."""
    hush: bool = False
    """Nobody trades."""


_decode = msgspec.json.Decoder(Faults).decode


def faults_from(text: str) -> Faults:
    """From JSON. Raises ValueError with the field's name."""
    return _decode(text)


def names(wanted: Iterable[str], stream: str) -> bool:
    """Whether this stream is meant by one of the symbols or streams."""
    symbol = stream.partition("@")[0].upper()
    return any(name in (stream, symbol) for name in wanted)


class Spoiler:
    """Repeats, reorders and corrupts the frames of a connection, by seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"{seed}/spoiler")

    def spoil(self, frames: Sequence[bytes], faults: Faults) -> list[bytes]:
        """What is sent instead of these whole unmasked frames."""
        draw, spoilt = self._random.random, list(frames)
        for place in range(len(spoilt) - 1):
            if draw() < faults.reorder:
                spoilt[place], spoilt[place + 1] = spoilt[place + 1], spoilt[place]
        for frame in frames:
            if draw() < faults.repeat:
                at = spoilt.index(frame) + 1
                spoilt.insert(self._random.randint(at, min(len(spoilt), at + 5)), frame)
        return [self._corrupted(frame) if draw() < faults.corrupt else frame for frame in spoilt]

    def _corrupted(self, frame: bytes) -> bytes:
        """One to three bytes of the payload become such as no JSON has; the frame's own header stays right."""
        header = {126: 4, 127: 10}.get(frame[1], 2)
        spoilt = bytearray(frame)
        for _ in range(self._random.randint(1, 3)):
            spoilt[self._random.randrange(header, len(frame))] = self._random.choice(_NOT_IN_JSON)
        return bytes(spoilt)
