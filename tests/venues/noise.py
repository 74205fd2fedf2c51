"""What may come instead of a venue's frame: frames spoilt in every way that a wire or a venue could spoil them."""

import json
import random
import re
from collections.abc import Iterator
from math import inf, nan
from typing import Any

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
    *(b"[]", b"{}", b"[[]]", b'[["1"]]', b'[["1","2","3"]]', b"[[1,2]]", b'[{"price":1}]', b"[" * 5000),
    *(b'{"a":' * 5000, b'"' + b"1" * 100_000 + b'"', b'"\xff"', b'"', b"\x00", b""),
]
"""Types exchanged, numbers beyond all bounds, empty arrays, deep nesting, stray quotes."""
TOKEN = re.compile(rb'"[^"]*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{}:,]')
_FIELD = re.compile(rb'("[^"]*"):("[^"]*"|-?[0-9][0-9.eE+-]*|true|false|null),?')
_JSON = b'{}[]":,@0123456789.eE-+ \\utrnfabdsp'


def spoil(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """One spoilt frame, in a way that the dice choose."""
    return dice.choice(_WAYS)(frame, others, dice)


def _noise(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return dice.randbytes(dice.randrange(200))


def _characters(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return bytes(dice.choices(_JSON, k=dice.randrange(60)))


def _flipped(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Bytes changed, lost and repeated."""
    spoilt = bytearray(frame)
    for _ in range(dice.choice((1, 1, 2, 8))):
        at = dice.randrange(len(spoilt))
        match dice.randrange(4):
            case 0:
                spoilt[at] = dice.randrange(256)
            case 1:
                spoilt[at] = dice.choice(b"0123456789.-eE_ ,\"'")
            case 2:
                del spoilt[at : at + dice.choice((1, 1, 20))]
            case _:
                spoilt[at:at] = spoilt[at : at + dice.choice((1, 5, 50))]
        if not spoilt:
            break
    return bytes(spoilt)


def _exchanged(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """A value of another type, or of another place, in a place."""
    found = [match.span() for match in TOKEN.finditer(frame)]
    begin, end = dice.choice(found)
    other = dice.choice(found)
    value = dice.choice((dice.choice(VALUES), frame[other[0] : other[1]]))
    return frame[:begin] + value + frame[end:]


def _missing(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """A field less."""
    fields = list(_FIELD.finditer(frame))
    if not fields:
        return frame
    field = dice.choice(fields)
    return frame[: field.start()] + frame[field.end() :]


def _doubled(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """A key twice, the second time with another value."""
    fields = list(_FIELD.finditer(frame))
    if not fields:
        return frame
    field = dice.choice(fields)
    value = dice.choice((field[2], dice.choice(VALUES), dice.choice(fields)[2]))
    return frame[: field.start()] + field[1] + b":" + value + b"," + frame[field.start() :]


def _short(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return frame[: dice.randrange(len(frame))]


def _crossed(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """The beginning of one frame with the end of another."""
    other = dice.choice(others)
    return frame[: dice.randrange(len(frame))] + other[dice.randrange(len(other)) :]


def _unknown(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """A channel, a symbol or any other word that nobody asked for."""
    words = [match.span() for match in TOKEN.finditer(frame) if frame[match.start()] == 34]
    if not words:
        return frame
    begin, end = dice.choice(words)
    return frame[:begin] + b'"x' + frame[begin + 1 : end] + frame[end:]


def _reshaped(frame: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """A part of the structure, whole lists and objects too, is gone, empty, another one, or one deeper."""
    try:
        told = json.loads(frame)
    except ValueError:
        return frame
    places = list(_places(told))
    if not places:
        return frame
    (holder, at), (other, there) = dice.choice(places), dice.choice(places)
    match dice.randrange(4):
        case 0:
            del holder[at]
        case 1:
            holder[at] = dice.choice(([], {}, None, ""))
        case 2:
            holder[at] = json.loads(json.dumps(other[there]))
        case _:
            holder[at] = [holder[at]]
    return json.dumps(told).encode()


def _places(told: Any) -> Iterator[tuple[Any, Any]]:
    """Of everything that stands in a list or an object, at any depth: where."""
    if isinstance(told, dict | list):
        for at in told if isinstance(told, dict) else range(len(told)):
            yield told, at
            yield from _places(told[at])


_WAYS = (
    _noise,
    _characters,
    _flipped,
    _flipped,
    _exchanged,
    _exchanged,
    _missing,
    _doubled,
    _reshaped,
    _short,
    _crossed,
    _unknown,
)


def _deep(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


STRANGE: list[Any] = [
    *(None, True, 0, -1, 1.5, inf, -inf, nan, 1e308, 5e-324, 10**400, 2**63, -(2**63)),
    *("", "NaN", "1e400", "-1", "1_0", " 1", "0x10", "\u0663", "\ud800", "9" * 5_000, "\x00", "x" * 100_000),
    *([], {}, [[]], [None], [[1]], [[1, 2, 3]], {"price": 1}, {"min": nan}, _deep(50_000), b"1", object()),
]
"""What may stand in a structure where something else should."""


def misshapen(structure: Any, dice: random.Random) -> Any:
    """A copy in which one or two places hold something else, or are gone; or something else altogether."""
    if dice.random() < 0.02:
        return dice.choice(STRANGE)
    for _ in range(dice.choice((1, 1, 2))):
        structure = _changed(structure, dice)
    return structure


def _changed(structure: Any, dice: random.Random) -> Any:
    if not isinstance(structure, dict | list) or not structure or dice.random() < 0.1:
        return dice.choice(STRANGE)
    copy = structure.copy()
    at = dice.choice(list(structure)) if isinstance(structure, dict) else dice.randrange(len(structure))
    match dice.randrange(4):
        case 0:
            del copy[at]
        case 1:
            copy[at] = dice.choice(list(structure.values()) if isinstance(structure, dict) else structure)
        case _:
            copy[at] = _changed(copy[at], dice)
    return copy
