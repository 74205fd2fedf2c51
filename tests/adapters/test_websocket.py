"""Websockets over real sockets: whole messages, rising times, bounds, and every end with its reason."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import count, pairwise

import pytest
from websockets.asyncio.server import ServerConnection, serve

from traderd.adapters.websocket import WebsocketConnector

MIB = 1024 * 1024
LARGEST = 8 * MIB
Conversation = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def serving(converse: Conversation) -> AsyncIterator[str]:
    """A server that speaks as it is told; its address."""
    async with serve(converse, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=0.2) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/stream"


async def heard(converse: Conversation) -> tuple[list[tuple[bytes, int]], str]:
    """All frames of one conversation with their times, and why it ended."""
    frames: list[tuple[bytes, int]] = []
    async with serving(converse) as url:
        link = await WebsocketConnector().connect(
            url, lambda read, at_ns: frames.extend(zip(read, count(at_ns), strict=False)), 5.0, LARGEST
        )
        async with asyncio.timeout(20):
            return frames, await link.wait_closed()


async def test_frames_come_in_order_at_times_that_rise_strictly() -> None:
    """Many of them share one read, and so one look at the clock."""

    async def converse(connection: ServerConnection) -> None:
        for number in range(3_000):
            await connection.send(str(number))
        await connection.close(1000, "enough")

    frames, reason = await heard(converse)
    assert [frame for frame, _ in frames] == [b"%d" % number for number in range(3_000)]
    assert all(before < after for (_, before), (_, after) in pairwise(frames))
    assert reason == "closed by the venue: 1000 enough"


async def test_a_clock_that_was_set_back_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By two hours at once; by half a second it is waited for, as clocks that are slewed do such things."""
    readings = iter(at_ns * 1_000_000_000 // 2 for at_ns in (20_000, 20_001, 20_000, 5_600, 5_601))

    async def converse(connection: ServerConnection) -> None:
        for number in range(5):
            await connection.send(str(number))
            await asyncio.sleep(0.05)  # so that each is read by itself
        await connection.close(1000, "enough")

    monkeypatch.setattr("traderd.adapters.websocket._time_ns", lambda: next(readings, 2_800_000_000_000))
    times = [at_ns for _, at_ns in (await heard(converse))[0]]
    assert [at_ns / 1e9 for at_ns in times] == [10_000, 10_000.5, 10_000.500000001, 2_800, 2_800.5]


async def test_a_flood_leaves_the_rest_of_the_loop_its_turns() -> None:
    """One read of a link that fell behind brings thousands of frames: others run in between, and none is missing."""
    frames: list[bytes] = []
    turns: list[int] = []

    async def converse(connection: ServerConnection) -> None:
        connection.transport.write(b"".join(b"\x81\x07%07d" % number for number in range(60_000)))
        await connection.wait_closed()

    async def others() -> None:
        while len(frames) < 60_000:
            turns.append(len(frames))
            await asyncio.sleep(0)

    async with serving(converse) as url:
        link = await WebsocketConnector().connect(url, lambda read, at_ns: frames.extend(read), 5.0, LARGEST)
        async with asyncio.timeout(20):
            await others()
        link.close()
    assert frames == [b"%07d" % number for number in range(60_000)]
    assert max(after - before for before, after in pairwise([*turns, 60_000])) <= 2_000


async def test_a_message_in_parts_is_handed_on_whole() -> None:
    """Parts are put together, with a ping between them; text and binary alike; whole messages around it stay apart."""

    async def converse(connection: ServerConnection) -> None:
        async def parts() -> AsyncIterator[str]:
            yield '{"a":'
            await (await connection.ping())
            yield "1"
            yield "}"

        await connection.send("before")
        await connection.send(parts())
        await connection.send([b"\x00", b"\xff"])
        await connection.send(["", ""])
        await connection.send("after")
        await connection.close(1000, "")

    frames, _ = await heard(converse)
    assert [frame for frame, _ in frames] == [b"before", b'{"a":1}', b"\x00\xff", b"", b"after"]


async def test_a_six_megabyte_snapshot_passes() -> None:
    """The largest that any venue sends."""

    async def converse(connection: ServerConnection) -> None:
        await connection.send("x" * (6 * MIB))
        await connection.close(1000, "")

    frames, _ = await heard(converse)
    assert [len(frame) for frame, _ in frames] == [6 * MIB]


@pytest.mark.parametrize("parts", [1, 5])
async def test_a_message_beyond_any_venues_size_ends_the_link(parts: int) -> None:
    """Whole or in parts: memory is bounded."""

    async def converse(connection: ServerConnection) -> None:
        part = "x" * (20 * MIB // parts)
        await connection.send(part if parts == 1 else [part] * parts)
        await connection.wait_closed()

    frames, reason = await heard(converse)
    assert frames == []
    assert "8388608" in reason


async def test_a_line_that_is_cut_is_an_end_with_a_reason() -> None:
    """No goodbye: the venue's machine is gone."""

    async def converse(connection: ServerConnection) -> None:
        await connection.send("last words")
        await asyncio.sleep(0.05)
        connection.transport.abort()

    frames, reason = await heard(converse)
    assert [frame for frame, _ in frames] == [b"last words"]
    assert reason == "connection lost"


async def test_what_is_sent_arrives_and_our_own_close_ends_the_wait() -> None:
    """And sending or closing after the end does no harm."""
    got: list[str | bytes] = []

    async def converse(connection: ServerConnection) -> None:
        async for message in connection:
            got.append(message)
            await connection.send(message)

    replies: list[bytes] = []
    async with serving(converse) as url, asyncio.timeout(10):
        link = await WebsocketConnector().connect(url, lambda read, _: replies.extend(read), 5.0, LARGEST)
        link.send('{"method":"ping"}')
        while not replies:
            await asyncio.sleep(0.005)
        link.close()
        assert await link.wait_closed() != ""
        link.send("too late")
        link.close()
    assert got == ['{"method":"ping"}']


async def test_a_mistake_in_the_callback_surfaces_where_the_link_is_waited_for() -> None:
    """It ends the link; nothing after it is handed on as if all were well."""
    seen: list[list[bytes]] = []

    def stumble(read: list[bytes], at_ns: int) -> None:
        seen.append(read)
        raise ZeroDivisionError("ours")

    async def converse(connection: ServerConnection) -> None:
        for number in range(1_000):  # more than are handed over at once
            connection.transport.write(b"\x81\x04%04d" % number)
        await connection.wait_closed()

    async with serving(converse) as url, asyncio.timeout(10):
        link = await WebsocketConnector().connect(url, stumble, 5.0, LARGEST)
        with pytest.raises(ZeroDivisionError, match="ours"):
            await link.wait_closed()
    assert len(seen) == 1 and seen[0][0] == b"0000"


async def _mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize("kind", ["closed port", "no such host", "not found", "mute"])
async def test_a_connection_that_is_not_made_is_told_in_one_line(kind: str) -> None:
    """With the address, without its query."""

    async def refuse(connection: ServerConnection, request: object) -> object:
        return connection.respond(HTTPStatus.NOT_FOUND, "nothing\nhere\n")

    async def converse(connection: ServerConnection) -> None: ...

    mute = await asyncio.start_server(_mute, "127.0.0.1", 0)
    async with serve(converse, "127.0.0.1", 0, process_request=refuse) as server, mute:
        port = next(iter(server.sockets)).getsockname()[1]
        url = {
            "closed port": "ws://127.0.0.1:1",
            "no such host": "ws://nowhere.invalid",
            "not found": f"ws://127.0.0.1:{port}",
            "mute": f"ws://127.0.0.1:{mute.sockets[0].getsockname()[1]}",
        }[kind]
        with pytest.raises(ConnectionError) as refused:
            await WebsocketConnector().connect(f"{url}/stream?streams=a/b", lambda read, at_ns: None, 0.5, LARGEST)
    text = str(refused.value)
    assert text.startswith(f"{url}/stream: ") and len(text) > len(f"{url}/stream: ")
    assert "\n" not in text and "streams=" not in text


async def test_a_link_that_is_cut_before_its_handshake_is_no_link() -> None:
    """The library would call it open, and never closed."""

    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
        with pytest.raises(ConnectionError, match=r"before the handshake|reset|lost"):
            await WebsocketConnector().connect(url, lambda read, _: None, 5.0, LARGEST)
