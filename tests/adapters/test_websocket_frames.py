"""A websocket's bytes are cut into the frames that the library would find, wherever a read ends."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from traderd.adapters.websocket_frames import frame_bytes, whole_texts_slowly

try:
    from traderd.native import whole_texts as whole_texts_natively
except ImportError:
    whole_texts_natively = whole_texts_slowly

MOST = 100_000
SIZES = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 65_535, 65_536, 70_000]))
TEXTS = SIZES.map(lambda size: Frame(Opcode.TEXT, b"x" * size).serialize(mask=False))
OTHERS = st.one_of(
    st.binary(max_size=125).map(lambda body: Frame(Opcode.PING, body).serialize(mask=False)),
    st.binary(max_size=300).map(lambda body: Frame(Opcode.BINARY, body).serialize(mask=False)),
    st.binary(max_size=300).map(lambda body: Frame(Opcode.TEXT, body, fin=False).serialize(mask=False)),
    st.binary(max_size=300).map(lambda body: b"\xc1" + Frame(Opcode.TEXT, body).serialize(mask=False)[1:]),
    st.binary(max_size=300).map(lambda body: Frame(Opcode.TEXT, body).serialize(mask=True)),
    st.binary(max_size=20),
)


@given(
    st.lists(st.one_of(TEXTS, TEXTS, OTHERS), max_size=8).map(b"".join), st.integers(0, 70_000), st.integers(0, MOST)
)
def test_both_ways_cut_the_same(data: bytes, cut_at: int, most: int) -> None:
    """Of whole reads, and of reads that end anywhere."""
    for read in (data, data[:cut_at]):
        assert whole_texts_natively(read, 0, most) == whole_texts_slowly(read, 0, most)


@given(st.lists(TEXTS, max_size=6), st.data())
def test_what_is_cut_out_is_what_was_sent_and_what_is_left_says_how_much_it_lacks(
    sent: list[bytes], drawn: st.DataObject
) -> None:
    """A read is continued by the next one, byte by byte if it must be."""
    data = b"".join(sent)
    cuts = sorted({0, len(data), *drawn.draw(st.lists(st.integers(0, len(data)), max_size=6))})
    found: list[bytes] = []
    rest = b""
    for begin, end in pairwise(cuts):
        rest += data[begin:end]
        while rest:
            frames, at = whole_texts_natively(rest, 0, MOST)
            found += frames
            rest = rest[at:]
            if not rest or (size := frame_bytes(rest, 0)) > len(rest):
                break
            found.append(rest[10:size])  # longer than what is cut out at once
            rest = rest[size:]
    assert not rest
    assert [len(frame) for frame in found] == [len(frame) - header_of(frame) for frame in sent]


def header_of(frame: bytes) -> int:
    return 2 if frame[1] < 126 else 4 if frame[1] == 126 else 10


@pytest.mark.parametrize(
    ("data", "size"),
    [(b"", 2), (b"\x81", 2), (b"\x81\x05", 7), (b"\x81\x7e", 4), (b"\x81\x7e\x01", 4), (b"\x81\x7e\x01\x00", 260)],
)
def test_a_frame_says_how_long_it_is_as_soon_as_it_can(data: bytes, size: int) -> None:
    """Until then it asks for its header."""
    assert frame_bytes(data, 0) == size


def test_a_masked_frame_has_no_length() -> None:
    """No server may send one."""
    assert frame_bytes(b"\x81\x85....hello", 0) == -1
    assert frame_bytes(b"\x81\x7f" + (2**40).to_bytes(8, "big"), 0) == 2**40 + 10


@pytest.mark.parametrize("arguments", [(b"", -1, 5), ("", 0, 5), (b"",), (bytearray(b"\x81\x01a"), 0, 5)])
@pytest.mark.skipif(whole_texts_natively is whole_texts_slowly, reason="not compiled here")
def test_what_is_no_read_is_a_mistake_of_ours_and_no_crash(arguments: tuple[Any, ...]) -> None:
    """C believes nobody."""
    with pytest.raises((TypeError, ValueError)):
        whole_texts_natively(*arguments)
    assert whole_texts_natively(b"\x81\x01a", 2**62, 5) == ([], 2**62)
