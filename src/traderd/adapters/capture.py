"""Capture files (`*.frames.gz`): traffic as it came over the wire, written while running and read again for replay.

Gzip, UTF-8. Line 1 is a JSON header `{"capture":1,"venue":…,"market":…,"symbols":[…]}`; every other line is
`<received_ns> <connection> <text>`, where the connection is `ws1` for a frame, `ws1:connect` for the address connected
to, `ws1:sent` for a frame that we sent and `http:<url>` for the body of a REST answer.
Refuses a line that is neither one of these nor blank, with its file and number. The end of a file that was torn off, as
a killed writer leaves it, is no fault: what is whole is read.
"""

import re
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
from msgspec import Struct

from traderd.core.errors import TraderdError
from traderd.venues.playback import Recorded

_LINE = re.compile(rb"([0-9]{1,19}) (?:(http):(\S+)|([^\s:]+)(?::(connect|sent))?) (.*)", re.DOTALL).fullmatch
_GZIP = 31
"""zlib's name for the gzip container with the largest window."""
_CHUNK_BYTES = 64 * 1024
_INFLATED_BYTES_MAX = 1024 * 1024
_LINE_BYTES_MAX = 64 * 1024 * 1024


class CaptureError(TraderdError):
    """A capture can't be read or written; the text names the file, and the line where there is one."""


class Header(Struct, frozen=True, omit_defaults=True):
    """A capture's first line."""

    capture: Literal[1]
    venue: str
    market: str = ""
    symbols: tuple[str, ...] = ()


class Capture:
    """One capture file. Iterate over it once, in a `with`; `header` is there at once, memory stays small."""

    def __init__(self, path: Path) -> None:
        """Raises CaptureError when there is no such file or its first line is no header."""
        self.path = path
        self.torn = False
        """Known after the last record: whether the file ends in the middle."""
        self._line = 0
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror}") from error
        self._lines = self._split()
        try:
            self.header = _header(next(self._lines, b""))
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            self._file.close()
            raise CaptureError(f"{path}:1: not a capture's header: {error}") from error
        except CaptureError:
            self._file.close()
            raise

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Recorded]:
        """The records in the file's order. Raises CaptureError."""
        for line in self._lines:
            if line.strip():
                yield self._record(line)

    def _record(self, line: bytes) -> Recorded:
        match = _LINE(line)
        if match is None:
            raise self._fault("not `<received_ns> <connection> <text>`")
        received_ns, http, url, connection, suffix, text = match.groups()
        if http:
            return Recorded(int(received_ns), "http", url.decode(errors="replace"), text)
        kind: Literal["frame", "connect", "sent"] = "frame"
        if suffix:
            kind = "connect" if suffix == b"connect" else "sent"
        return Recorded(int(received_ns), kind, connection.decode(errors="replace"), text)

    def _split(self) -> Iterator[bytes]:
        rest: list[bytes] = []  # the pieces of a line whose end hasn't come
        rest_bytes = 0
        for chunk in self._inflate():
            first, *others = chunk.split(b"\n")
            rest.append(first)
            rest_bytes += len(first)
            if rest_bytes > _LINE_BYTES_MAX:
                self._line += 1
                raise self._fault(f"longer than {_LINE_BYTES_MAX} bytes")
            for other in others:
                self._line += 1
                yield b"".join(rest)
                rest, rest_bytes = [other], len(other)
        if any(rest) and not self.torn:
            self._line += 1
            yield b"".join(rest)

    def _inflate(self) -> Iterator[bytes]:
        """The file's text in pieces of bounded size, over all gzip members and the zeros that may pad them."""
        stream = zlib.decompressobj(_GZIP)
        begun = False
        while chunk := self._read(self._file):
            while chunk := chunk if begun else chunk.lstrip(b"\0"):
                begun = True
                try:
                    yield stream.decompress(chunk, _INFLATED_BYTES_MAX)
                except zlib.error as error:
                    self._line += 1
                    raise self._fault(f"damaged gzip: {error}") from error
                chunk = stream.unconsumed_tail
                if stream.eof:
                    chunk = stream.unused_data
                    stream, begun = zlib.decompressobj(_GZIP), False
        self.torn = begun
        yield stream.flush()

    def _read(self, file: BufferedReader) -> bytes:
        try:
            return file.read(_CHUNK_BYTES)
        except OSError as error:
            raise CaptureError(f"{self.path}: {error.strerror}") from error

    def _fault(self, what: str) -> CaptureError:
        return CaptureError(f"{self.path}:{self._line}: {what}")


def _header(line: bytes) -> Header:
    """What is null isn't known. Raises msgspec.DecodeError and ValueError."""
    told = msgspec.json.decode(line, type=dict[str, Any])
    return msgspec.convert({name: value for name, value in told.items() if value is not None}, Header)


class Recorder:
    """Writes one venue's traffic to `DIR/<venue>-<started_ns>-<part>.frames.gz`.

    A part is closed when it has grown to `part_bytes_max`, and the oldest part of this recorder is deleted when there
    are more than `parts_max`. What is older than `flush_interval_ns`, by the records' own times, is flushed to the
    system with the next record, so that a killed process leaves everything up to there readable. Raises CaptureError
    when the disk refuses; the recorder is then of no further use.
    """

    def __init__(
        self,
        directory: Path,
        header: Header,
        started_ns: int,
        *,
        part_bytes_max: int = 256 * 1024 * 1024,
        parts_max: int = 16,
        flush_interval_ns: int = 1_000_000_000,
    ) -> None:
        self._directory = directory
        self._header = header
        self._started_ns = started_ns
        self._part_bytes_max = part_bytes_max
        self._parts_max = parts_max
        self._flush_interval_ns = flush_interval_ns
        self._flushed_ns = 0
        self._part = 0
        self._bytes = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CaptureError(f"{directory}: {error.strerror}") from error
        self._open()

    @property
    def path(self) -> Path:
        """The part that is being written."""
        return self._path(self._part)

    def frame(self, received_ns: int, connection: str, frame: bytes) -> None:
        """One websocket frame, as received."""
        self._write(received_ns, connection, frame)

    def connected(self, received_ns: int, connection: str, url: str) -> None:
        """The address that was connected to."""
        self._write(received_ns, f"{connection}:connect", url.encode())

    def sent(self, received_ns: int, connection: str, frame: str) -> None:
        """A frame that we sent."""
        self._write(received_ns, f"{connection}:sent", frame.encode())

    def answered(self, received_ns: int, url: str, body: bytes) -> None:
        """The body of a REST answer."""
        self._write(received_ns, f"http:{url}", body)

    def flush(self) -> None:
        """Hand everything to the operating system in a form that can be read up to here."""
        self._put(self._deflate.flush(zlib.Z_SYNC_FLUSH))

    def close(self) -> None:
        """End the part properly."""
        self._put(self._deflate.flush())
        self._file.close()

    def _write(self, received_ns: int, connection: str, text: bytes) -> None:
        """A line break in JSON only parts its tokens: a blank says the same and keeps the record on its line."""
        if b"\n" in text:
            text = text.replace(b"\n", b" ")
        self._put(self._deflate.compress(b"%d %b %b\n" % (received_ns, connection.encode(), text)))
        if received_ns - self._flushed_ns >= self._flush_interval_ns:
            self._flushed_ns = received_ns
            self.flush()
        if self._bytes >= self._part_bytes_max:
            self.close()
            self._part += 1
            self._open()

    def _open(self) -> None:
        self._bytes = 0
        self._deflate = zlib.compressobj(3, wbits=_GZIP)
        try:
            self._file: BinaryIO = self.path.open("xb", buffering=0)
            self._path(self._part - self._parts_max).unlink(missing_ok=True)
        except OSError as error:
            raise CaptureError(f"{self.path}: {error.strerror}") from error
        self._put(self._deflate.compress(msgspec.json.encode(self._header) + b"\n"))
        self.flush()

    def _put(self, piece: bytes) -> None:
        self._bytes += len(piece)
        try:
            while piece:
                piece = piece[self._file.write(piece) :]
        except OSError as error:
            raise CaptureError(f"{self.path}: {error.strerror}") from error

    def _path(self, part: int) -> Path:
        return self._directory / f"{self._header.venue}-{self._started_ns}-{part:06d}.frames.gz"
