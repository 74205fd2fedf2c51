"""Capture files: what is written is read again, and a torn file is read up to the tear."""

import gzip
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traderd.adapters.capture import Capture, CaptureError, Header, Recorder
from traderd.venues.playback import Recorded

HEADER = Header(capture=1, venue="binance", market="spot", symbols=("ETHUSDT",))
SECOND = 1_000_000_000
URL = "https://api.binance.com/api/v3/depth?symbol=ETHUSDT&limit=1000"


def read(path: Path) -> list[Recorded]:
    with Capture(path) as capture:
        return list(capture)


def written(path: Path, *lines: bytes) -> Path:
    """A capture with these lines after its header."""
    path.write_bytes(gzip.compress(b"\n".join([b'{"capture":1,"venue":"binance"}', *lines])))
    return path


def test_what_was_recorded_is_read_again(tmp_path: Path) -> None:
    """Every kind of line, under the header that the format asks for."""
    recorder = Recorder(tmp_path / "new" / "folder", HEADER, started_ns=7)
    recorder.connected(1, "ws1", "wss://host:9443/stream?streams=a@trade/b@trade")
    recorder.sent(2, "ws1", '{"method":"ping"}')
    recorder.frame(3, "ws1", '{"text":"blank and é"}'.encode())
    recorder.answered(4, URL, b'{"lastUpdateId":1}')
    recorder.close()
    assert recorder.path == tmp_path / "new" / "folder" / "binance-7-000000.frames.gz"
    lines = gzip.decompress(recorder.path.read_bytes()).decode().splitlines()
    assert lines[0] == '{"capture":1,"venue":"binance","market":"spot","symbols":["ETHUSDT"]}'
    assert lines[1] == "1 ws1:connect wss://host:9443/stream?streams=a@trade/b@trade"
    with Capture(recorder.path) as capture:
        assert capture.header == HEADER
        assert list(capture) == [
            Recorded(1, "connect", "ws1", b"wss://host:9443/stream?streams=a@trade/b@trade"),
            Recorded(2, "sent", "ws1", b'{"method":"ping"}'),
            Recorded(3, "frame", "ws1", '{"text":"blank and é"}'.encode()),
            Recorded(4, "http", URL, b'{"lastUpdateId":1}'),
        ]
        assert not capture.torn


def test_a_body_of_several_lines_stays_one_record(tmp_path: Path) -> None:
    """A line break in JSON is as good as a blank."""
    recorder = Recorder(tmp_path, HEADER, started_ns=7)
    recorder.answered(1, URL, b'{\n "lastUpdateId": 1\n}\n')
    recorder.close()
    (record,) = read(recorder.path)
    assert record.text == b'{  "lastUpdateId": 1 } '


_FRAMES = st.lists(st.binary(max_size=300).map(lambda text: text.replace(b"\n", b"")), max_size=40)


@settings(max_examples=60, deadline=None)
@given(_FRAMES, st.data())
def test_a_torn_file_is_read_up_to_the_last_whole_line_and_at_least_to_the_last_flush(
    tmp_path_factory: pytest.TempPathFactory, frames: list[bytes], data: st.DataObject
) -> None:
    """Wherever the tear is: a beginning of what was written, never half a record, and everything that was flushed."""
    directory = tmp_path_factory.mktemp("torn")
    recorder = Recorder(directory, HEADER, started_ns=7, flush_interval_ns=10**18)
    recorder.flush()
    flushed = [(0, recorder.path.stat().st_size)]
    for number, frame in enumerate(frames, start=1):
        recorder.frame(number, "ws1", frame)
        if data.draw(st.booleans()):
            recorder.flush()
            flushed.append((number, recorder.path.stat().st_size))
    recorder.close()
    whole = recorder.path.read_bytes()
    cut = data.draw(st.integers(flushed[0][1], len(whole)))
    recorder.path.write_bytes(whole[:cut])
    with Capture(recorder.path) as capture:
        texts = [record.text for record in capture]
        assert capture.torn is (cut < len(whole))
    assert texts == frames[: len(texts)]
    assert len(texts) >= max(count for count, size in flushed if size <= cut)


def test_a_killed_recorder_leaves_what_it_had_flushed(tmp_path: Path) -> None:
    """By the records' own times: everything older than the flush interval is there after SIGKILL."""
    script = (
        "import sys; from pathlib import Path; from traderd.adapters.capture import Header, Recorder\n"
        "recorder = Recorder(Path(sys.argv[1]), Header(capture=1, venue='x'), 7)\n"
        "for n in range(1000): recorder.frame(n * 100_000_000, 'ws1', b'frame %d' % n)\n"
        "print('written', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        os.kill(process.pid, signal.SIGKILL)
    with Capture(tmp_path / "x-7-000000.frames.gz") as capture:
        records = list(capture)
        assert capture.torn
    assert [record.text for record in records] == [b"frame %d" % n for n in range(len(records))]
    assert len(records) >= 990


def test_a_recorder_begins_a_new_part_in_time_and_keeps_only_the_newest(tmp_path: Path) -> None:
    """Each part can be read by itself, and the disk they take is bounded."""
    recorder = Recorder(tmp_path, HEADER, started_ns=7, part_bytes_max=2000, parts_max=3, flush_interval_ns=0)
    for number in range(500):
        recorder.frame(number + 1, "ws1", os.urandom(30).hex().encode())
    recorder.close()
    parts = sorted(tmp_path.iterdir())
    assert len(parts) == 3
    assert parts[-1] == recorder.path
    received = [record.received_ns for part in parts for record in read(part)]
    assert received == list(range(501 - len(received), 501))
    assert all(part.stat().st_size < 2500 for part in parts)


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    """Two recorders of one venue and start would mix their lines."""
    Recorder(tmp_path, HEADER, started_ns=7).close()
    with pytest.raises(CaptureError, match="exists"):
        Recorder(tmp_path, HEADER, started_ns=7)


def test_what_a_header_says_null_of_is_not_known(tmp_path: Path) -> None:
    """As if it weren't there; what nobody knows the meaning of is passed over."""
    path = tmp_path / "made.frames.gz"
    path.write_bytes(gzip.compress(b'{"capture":1,"venue":"okx","market":null,"symbols":null,"host":"x"}\n'))
    with Capture(path) as capture:
        assert capture.header == Header(capture=1, venue="okx")


def test_blank_lines_say_nothing_and_other_line_ends_do_no_harm(tmp_path: Path) -> None:
    """As an editor or a shell leaves them; a blank behind a frame's JSON is none of its tokens."""
    path = tmp_path / "made.frames.gz"
    path.write_bytes(gzip.compress(b'{"capture":1,"venue":"kraken"}\r\n\r\n1 ws1 {}\r\n\n  \n2 ws1 {}\n\n'))
    assert [(record.received_ns, record.text.strip()) for record in read(path)] == [(1, b"{}"), (2, b"{}")]


@pytest.mark.parametrize(
    "line", [b"1 ws1", b"x ws1 {}", b"-1 ws1 {}", b"1  {}", b"1 ws1:lost {}", b"12345678901234567890 ws1 {}"]
)
def test_a_line_of_another_form_is_named_with_file_and_number(tmp_path: Path, line: bytes) -> None:
    """The records before it were read."""
    path = written(tmp_path / "bad.frames.gz", b"1 ws1 {}", line, b"2 ws1 {}")
    with Capture(path) as capture:
        records = iter(capture)
        assert next(records).received_ns == 1
        with pytest.raises(CaptureError, match=r"bad\.frames\.gz:3: "):
            next(records)


@pytest.mark.parametrize("header", [b"", b"{}", b'{"capture":2,"venue":"x"}', b"1 ws1 {}", b"\xff"])
def test_a_file_without_the_header_is_refused_at_once(tmp_path: Path, header: bytes) -> None:
    """It is some other gzip."""
    path = tmp_path / "other.gz"
    path.write_bytes(gzip.compress(header + b"\n1 ws1 {}\n"))
    with pytest.raises(CaptureError, match=r"other\.gz:1: "):
        Capture(path)


def test_what_is_no_gzip_or_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """In one line that names it."""
    plain = tmp_path / "plain.gz"
    plain.write_bytes(b'{"capture":1,"venue":"x"}\n')
    with pytest.raises(CaptureError, match=r"plain\.gz:1: damaged gzip"):
        Capture(plain)
    with pytest.raises(CaptureError, match="No such file"):
        Capture(tmp_path / "absent.gz")


def test_damage_in_the_middle_is_no_tear(tmp_path: Path) -> None:
    """A flipped byte is told with the line where it was noticed: what follows can't be trusted."""
    path = written(tmp_path / "flipped.gz", *(b"%d ws1 %s" % (n, os.urandom(50).hex().encode()) for n in range(2000)))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 20] = bytes(20)
    path.write_bytes(damaged)
    with Capture(path) as capture, pytest.raises(CaptureError, match=r"flipped\.gz:[0-9]+: "):
        list(capture)


def test_gzip_members_one_after_the_other_and_padding_are_one_capture(tmp_path: Path) -> None:
    """`cat a.gz b.gz`, and the zeros that some file systems leave."""
    path = written(tmp_path / "two.gz", b"1 ws1 a\n")
    path.write_bytes(path.read_bytes() + gzip.compress(b"2 ws1 b") + bytes(200_000))
    assert [record.text for record in read(path)] == [b"a", b"b"]


def test_a_long_capture_is_read_in_little_memory(tmp_path: Path) -> None:
    """A hundred megabytes that compress to almost nothing, and a line of five."""
    path = tmp_path / "long.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"capture":1,"venue":"x"}\n1 ws1 ' + b"y" * 5_000_000 + b"\n")
        line = b"1 ws1 " + b"x" * 10_000 + b"\n"
        for _ in range(100):
            file.write(line * 100)
    tracemalloc.start()
    try:
        with Capture(path) as capture:
            assert sum(len(record.text) for record in capture) == 105_000_000
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
