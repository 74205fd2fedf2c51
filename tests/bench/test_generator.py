"""The benchmark's load generator sends what Binance would send, all of it, in order."""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from websockets.asyncio.client import connect

GENERATOR = Path(__file__).parent / "generator.py"


async def _start(*options: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, str(GENERATOR), *options, stdout=asyncio.subprocess.PIPE
    )
    return started, await _line(started)


async def _line(started: asyncio.subprocess.Process) -> dict[str, Any]:
    assert started.stdout is not None
    return json.loads(await asyncio.wait_for(started.stdout.readline(), 30))


async def test_every_frame_arrives_valid_and_in_order() -> None:
    """As many as reported; trade ids without holes, update ids rising, quotes uncrossed, a fifth of them trades."""
    before_ms = time.time() * 1000
    started, opening = await _start("--frames", "10000", "--symbols", "4")
    kinds: Counter[str] = Counter()
    last: dict[str, int] = {}
    async with connect(f"{opening['url']}/stream?streams=x", compression=None) as websocket:
        for _ in range(10_000):
            message = json.loads(await websocket.recv())
            stream, told = message["stream"], message["data"]
            kinds[stream.split("@")[1]] += 1
            assert told["s"].lower() == stream.split("@")[0]
            if "t" in told:
                assert told["t"] == last.get(stream, told["t"] - 1) + 1
                assert before_ms <= told["T"] <= time.time() * 1000
                assert float(told["p"]) > 0 < float(told["q"])
            else:
                assert told["u"] > last.get(stream, 0)
                assert 0 < float(told["b"]) < float(told["a"])
            last[stream] = told.get("t") or told["u"]
        await (await websocket.ping())
    report = await _line(started)
    assert report["frames_sent"] == 10_000
    assert report["cpu_us_per_frame"] > 0
    assert len(last) == 8
    assert 1_800 < kinds["trade"] < 2_200
    assert await asyncio.wait_for(started.wait(), 10) == 0


async def test_it_answers_what_the_daemon_asks_first_and_keeps_its_pace() -> None:
    """exchangeInfo, time and depth on the same port; 2,000 frames at 4,000 a second take half a second."""
    started, opening = await _start("--frames", "2000", "--symbols", "2", "--rate", "4000", "--linger", "0.1")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{opening['rest']}/api/v3/exchangeInfo") as response:
            assert [entry["symbol"] for entry in (await response.json())["symbols"]] == ["BTCUSDT", "ETHUSDT"]
        async with session.get(f"{opening['rest']}/api/v3/time") as response:
            assert abs((await response.json())["serverTime"] - time.time() * 1000) < 2_000
        async with session.get(f"{opening['rest']}/api/v3/depth?symbol=ETHUSDT") as response:
            assert len((await response.json())["bids"]) >= 20
    async with connect(f"{opening['url']}/stream?streams=x", compression=None) as websocket:
        for _ in range(2_000):
            await websocket.recv()
        report = await _line(started)
        assert 0.45 < report["seconds"] < 2.0
        assert await asyncio.wait_for(started.wait(), 10) == 0, "it ends by itself when the linger time is over"
