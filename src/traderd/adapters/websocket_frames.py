"""A websocket's bytes → frames: where each begins and ends, and which are what nearly every one is.

RFC 6455, section 5.2: two bytes, or four, or ten, then as much as they say. A whole text that isn't masked, compressed
or longer than 64 KiB is cut out here; what anything else means is the protocol's to say.
"""

WHOLE_TEXT = 0x81
"""The final part, which is the only one, of a text."""


def whole_texts_slowly(data: bytes, at: int, most: int) -> tuple[list[bytes], int]:
    """Cut whole texts of at most so many bytes from a place on, until something else begins; that place too."""
    frames: list[bytes] = []
    end = len(data)
    while (begin := at + 2) <= end and data[at] == WHOLE_TEXT:
        size = data[at + 1]
        if size == 126:
            if (begin := at + 4) > end:
                break
            size = data[at + 2] << 8 | data[at + 3]
        elif size > 126:
            break
        if size > most or (after := begin + size) > end:
            break
        frames.append(data[begin:after])
        at = after
    return frames, at


def frame_bytes(data: bytes, at: int) -> int:
    """How many bytes the frame has that begins here; as far as can be told, which is at least one more than are there.

    -1 for a masked one, as no server may send.
    """
    there = len(data) - at
    if there < 2:
        return 2
    size = data[at + 1]
    if size < 126:
        return 2 + size
    if size > 127:
        return -1
    header = 4 if size == 126 else 10
    return header + int.from_bytes(data[at + 2 : at + header]) if there >= header else header


try:
    from traderd import native

    whole_texts = native.whole_texts
except ImportError:  # installed where no C compiler was at hand
    whole_texts = whole_texts_slowly
