"""The tests' proxy does what it says, or what is tested through it proves nothing."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from proxy import Proxy

SENT = bytes(range(256)) * 256


@pytest.fixture
async def echo() -> AsyncIterator[tuple[str, int]]:
    """A server that sends everything back."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2]
    server.close()


async def through(proxy: Proxy, data: bytes, timeout_s: float = 10.0) -> tuple[bytes, float]:
    """What comes back of these bytes, and after how many seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            writer.write(data)
            back = await reader.readexactly(len(data))
    finally:
        writer.close()
    return back, time.monotonic() - started


async def test_it_passes_everything_in_pieces_late_and_slowly(echo: tuple[str, int]) -> None:
    """Nothing is lost or changed; latency and bandwidth are at least what was asked for, each way."""
    with Proxy(echo) as proxy:
        assert (await through(proxy, SENT))[0] == SENT
        proxy.piece_bytes_max = 1_000
        assert (await through(proxy, SENT))[0] == SENT
        proxy.piece_bytes_max = 0
        proxy.latency_s, proxy.jitter_s = 0.1, 0.05
        back, took_s = await through(proxy, SENT)
        assert back == SENT
        assert took_s >= 0.2
        proxy.latency_s = proxy.jitter_s = 0.0
        proxy.bytes_per_s = 256_000
        back, took_s = await through(proxy, SENT)
        assert back == SENT
        assert took_s >= 0.2
        assert proxy.connections == 4


async def test_it_stops_and_goes_on(echo: tuple[str, int]) -> None:
    """Connections are taken and nothing comes; what was sent comes afterwards."""
    with Proxy(echo) as proxy:
        proxy.stopped = True
        waiting = asyncio.create_task(through(proxy, b"abc"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        proxy.stopped = False
        assert (await waiting)[0] == b"abc"


async def test_it_cuts_and_refuses(echo: tuple[str, int]) -> None:
    """Both ends see the end, at once; and new connections fail only while it refuses."""
    with Proxy(echo) as proxy:
        reader, _ = await asyncio.open_connection("127.0.0.1", proxy.port)
        while not proxy.open_connections:
            await asyncio.sleep(0.01)
        proxy.cut()
        with pytest.raises(OSError):
            await asyncio.wait_for(reader.read(1), 2)
        assert proxy.open_connections == 0
        proxy.refusing = True
        with pytest.raises((OSError, EOFError)):
            await through(proxy, b"abc", 2.0)
        proxy.refusing = False
        assert (await through(proxy, b"abc"))[0] == b"abc"


async def test_it_corrupts_the_same_bits_for_the_same_seed(echo: tuple[str, int]) -> None:
    """Few of them, and others for another seed."""
    seen = []
    for seed in (1, 1, 2):
        with Proxy(echo, seed=seed) as proxy:
            proxy.corruption, proxy.bytes_per_s = 0.001, 1_000_000
            back, _ = await through(proxy, b"x" * 5_000)
            seen.append(back)
    assert seen[0] == seen[1] != seen[2]
    assert 0 < sum(byte != ord("x") for byte in seen[0]) < 30
