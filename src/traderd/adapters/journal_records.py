"""A journal's record as bytes, and records found again in bytes that may be damaged.

A record is a fixed head (crc32c, payload length, position, rows, first and last time, label length), the label and the
payload, little endian. The CRC covers everything behind itself. Refuses to guess: bytes are a record only if they are
whole and their CRC is right.
"""

import struct
from typing import NamedTuple

import google_crc32c

from traderd.runtime.ports import JournalRecord

HEAD = struct.Struct("<IIQIqqH")
_CRC_SIZE = 4
_PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
_LABEL_BYTES_MAX = 100
_POSITION_HIGH = 10
"""The position field's upper six bytes begin here."""
_MENDED_BYTES_MAX = 1024 * 1024
"""In a longer stretch nobody looks for the bit: some hundred checksums of it would take too long."""
_POSITIONS_AHEAD = 0xFFFF
"""A damaged stretch hides at most so many records from the search for the next sound one."""


class Found(NamedTuple):
    """What stands at a place."""

    record: JournalRecord | None
    """None if it is no sound record."""
    size: int
    """Bytes of the record; without one, how many it would have by its head, 0 where that can't be."""


class Claim(NamedTuple):
    """What the head of a damaged record says of it; nothing where not even that can be believed."""

    label: str = ""
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0


def encode(position: int, label: str, rows: int, payload: bytes, first_ns: int, last_ns: int) -> list[bytes]:
    """One record, in two parts, so that the payload isn't copied."""
    name = label.encode()
    assert len(name) <= _LABEL_BYTES_MAX and len(payload) <= _PAYLOAD_BYTES_MAX, "no record is so long"
    head = HEAD.pack(0, len(payload), position, rows, first_ns, last_ns, len(name))[_CRC_SIZE:] + name
    crc: int = google_crc32c.extend(google_crc32c.value(head), payload)
    return [crc.to_bytes(_CRC_SIZE, "little") + head, payload]


def found_at(body: bytes, offset: int) -> Found:
    """What stands there. A record that is cut off by the end of `body` is none, but has its size."""
    if offset + HEAD.size > len(body):
        return Found(None, HEAD.size)
    crc, length, position, rows, first_ns, last_ns, name = HEAD.unpack_from(body, offset)
    size = HEAD.size + name + length
    if length > _PAYLOAD_BYTES_MAX or name > _LABEL_BYTES_MAX:
        return Found(None, 0)
    stop = offset + size
    if stop > len(body) or google_crc32c.value(body[offset + _CRC_SIZE : stop]) != crc:
        return Found(None, size)
    start = stop - length
    label = body[offset + HEAD.size : start].decode()
    return Found(JournalRecord(position, label, rows, first_ns, last_ns, body[start:stop]), size)


def next_sound(body: bytes, offset: int, expected: int) -> int | None:
    """Where the next sound record begins whose position is `expected` or one of the next 65,536.

    Positions are near each other, so the six upper bytes of the position field are looked for as they are.
    """
    found = []
    for high in {expected >> 16, (expected >> 16) + 1}:
        pattern = high.to_bytes(6, "little")
        at = body.find(pattern, offset + _POSITION_HIGH)
        while at != -1:
            start = at - _POSITION_HIGH
            if _plausible(body, start, expected) and found_at(body, start).record is not None:
                found.append(start)
                break
            at = body.find(pattern, at + 1)
    return min(found, default=None)


def claimed(body: bytes, expected: int) -> Claim:
    """What `body`, a stretch that is one damaged record, says of itself: only if it has its length and its position.

    Where a single bit turned in the head, the checksum tells which one. Otherwise the head is whole, as far as anybody
    knows.
    """
    head = _head(body, expected)
    if head is None:
        return Claim()
    _, _, _, rows, first_ns, last_ns, name = HEAD.unpack_from(head)
    return Claim(head[HEAD.size : HEAD.size + name].decode("ascii", "replace"), rows, first_ns, last_ns)


def _head(body: bytes, expected: int) -> bytes | None:
    """Head and label as they were written."""
    reach = min(len(body), HEAD.size + _LABEL_BYTES_MAX)
    if reach < HEAD.size:
        return None
    if len(body) <= _MENDED_BYTES_MAX:
        head = bytearray(body[:reach])
        for at in range(reach):
            for bit in range(8):
                head[at] ^= 1 << bit
                if _fits(head, body, expected) and _crc(head, body) == int.from_bytes(head[:_CRC_SIZE], "little"):
                    return bytes(head)
                head[at] ^= 1 << bit
    return body[:reach] if _fits(body, body, expected) and body[HEAD.size : _stop(body)].isascii() else None


def _fits(head: bytes | bytearray, body: bytes, expected: int) -> bool:
    """Whether this head could be that of a record which is `body`, at this position."""
    _, length, position, _, _, _, name = HEAD.unpack_from(head)
    return bool(position == expected and name <= _LABEL_BYTES_MAX and HEAD.size + name + length == len(body))


def _stop(head: bytes) -> int:
    return HEAD.size + int(HEAD.unpack_from(head)[-1])


def _crc(head: bytes | bytearray, body: bytes) -> int:
    """Of the record with this head in place of its own."""
    return int(google_crc32c.extend(google_crc32c.value(bytes(head[_CRC_SIZE:])), body[len(head) :]))


def _plausible(body: bytes, offset: int, expected: int) -> bool:
    """Whether a head could begin here: spares computing CRCs over rubbish."""
    if offset + HEAD.size > len(body):
        return False
    _, length, position, _, _, _, name = HEAD.unpack_from(body, offset)
    return bool(
        0 <= position - expected <= _POSITIONS_AHEAD
        and name <= _LABEL_BYTES_MAX
        and HEAD.size + name + length <= len(body) - offset
    )
