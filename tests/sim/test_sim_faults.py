"""Each fault of the simulated exchange does what its name says to a client, and nothing else."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from traderd.config import Sim
from traderd.sim.faults import Faults, Spoiler, faults_from
from traderd.sim.server import SimulatedExchange
from traderd.sim.wire import frame

STREAMS = "/stream?streams=btcusdt@trade/ethusdt@trade"


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Three symbols, 600 ticks a second, and a memory."""
    running = SimulatedExchange(Sim(symbols=3, ticks_per_second=600.0), remember=True)
    await running.start()
    yield running
    await running.stop()


async def _streams_heard(
    websocket: ClientConnection, seconds: float = 0.3, wanted: frozenset[str] = frozenset()
) -> set[str]:
    """Which streams brought something in so long, or until those that are waited for did; an answer is one, too."""
    heard: set[str] = set()
    now = time.monotonic()
    until, at_the_latest = now + seconds, now + 5.0
    while (left := (until if wanted <= heard else at_the_latest) - time.monotonic()) > 0:
        try:
            message = json.loads(await asyncio.wait_for(websocket.recv(), left))
        except TimeoutError:
            break
        heard.add(message.get("stream", "answer"))
    return heard


async def _get(exchange: SimulatedExchange, path: str) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as session, session.get(exchange.rest_url + path) as response:
        return response.status, await response.json(), response.headers


async def test_a_stalled_connection_answers_pings_and_requests_and_brings_no_data(exchange: SimulatedExchange) -> None:
    """Subscribing again on it doesn't help; a new connection is well."""
    async with connect(exchange.url + STREAMS) as websocket:
        exchange.inflict(Faults(stall=True))
        await _streams_heard(websocket, 0.05)
        await asyncio.wait_for(await websocket.ping(), 1.0)
        await websocket.send('{"method":"SUBSCRIBE","params":["solusdt@trade"],"id":1}')
        assert await _streams_heard(websocket) == {"answer"}
        async with connect(exchange.url + STREAMS) as other:
            wanted = frozenset({"btcusdt@trade", "ethusdt@trade"})
            assert await _streams_heard(other, wanted=wanted) == wanted


async def test_a_half_open_connection_answers_nothing(exchange: SimulatedExchange) -> None:
    """TCP stays."""
    async with connect(exchange.url + STREAMS) as websocket:
        exchange.inflict(Faults(half_open=True))
        await _streams_heard(websocket, 0.05)
        pong = await websocket.ping()
        assert await _streams_heard(websocket) == set()
        assert not pong.done()
        assert exchange.ledger["connections"][-1]["end"] == ""


async def test_a_dropped_symbol_is_silent_until_it_is_subscribed_again(exchange: SimulatedExchange) -> None:
    """The exchange goes on to list it; the others never miss anything."""
    async with connect(exchange.url + STREAMS) as websocket:
        exchange.inflict(Faults(drop=("BTCUSDT",)))
        await _streams_heard(websocket, 0.05)
        wanted = frozenset({"ethusdt@trade"})
        assert await _streams_heard(websocket, wanted=wanted) == wanted
        await websocket.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')
        wanted = frozenset({"answer", "btcusdt@trade", "ethusdt@trade"})
        assert await _streams_heard(websocket, wanted=wanted) == wanted
        (account,) = exchange.ledger["connections"]
        made = exchange.ledger["ids"]
        assert made["ethusdt@trade"][-len(account["ids"]["ethusdt@trade"]) :] == account["ids"]["ethusdt@trade"]
        assert len(account["ids"]["btcusdt@trade"]) < len(made["btcusdt@trade"])


async def test_all_connections_are_cut_and_nobody_is_let_in_for_a_while(exchange: SimulatedExchange) -> None:
    """Every knock stands in the ledger; REST goes on; then all is well."""
    async with connect(exchange.url + STREAMS) as websocket:
        exchange.inflict(Faults(cut=True, refuse_s=0.5))
        with pytest.raises(ConnectionClosed):
            while True:
                await websocket.recv()
    with pytest.raises((InvalidHandshake, ConnectionError, EOFError)):
        await connect(exchange.url + STREAMS)
    assert (await _get(exchange, "/api/v3/ping"))[0] == 200
    await asyncio.sleep(0.5)
    async with connect(exchange.url + STREAMS) as websocket:
        assert await _streams_heard(websocket)
    assert len(exchange.ledger["connects"]) == 3
    assert [account["end"] for account in exchange.ledger["connections"]][:1] == ["cut"]


async def test_a_ban_has_a_status_and_says_for_how_long(exchange: SimulatedExchange) -> None:
    """For websockets and REST apart."""
    banned = Faults(refuse_s=9.0, refuse_status=418, rest_refuse_s=9.0, rest_status=418, retry_after_s=9)
    exchange.inflict(banned)
    with pytest.raises(InvalidHandshake) as refusal:
        await connect(exchange.url + STREAMS)
    assert getattr(refusal.value, "response").headers["Retry-After"] == "9"  # noqa: B009
    status, body, headers = await _get(exchange, "/api/v3/time")
    assert (status, body["code"], headers["Retry-After"]) == (418, -1003, "9")


async def test_too_much_weight_in_a_minute_is_refused(exchange: SimulatedExchange) -> None:
    """A request for old trades weighs 25."""
    exchange.inflict(Faults(weight_per_minute=60, retry_after_s=30))
    answers = [(await _get(exchange, "/api/v3/historicalTrades?symbol=BTCUSDT"))[0] for _ in range(3)]
    assert answers == [200, 200, 429]


async def test_a_connection_is_cut_at_its_age(exchange: SimulatedExchange) -> None:
    """And not before."""
    exchange.inflict(Faults(age_s=0.4))
    began = time.monotonic()
    async with connect(exchange.url + STREAMS) as websocket:
        with pytest.raises(ConnectionClosed):
            while True:
                await websocket.recv()
    assert 0.35 < time.monotonic() - began < 5.0


async def test_lies_are_told_so_many_times(exchange: SimulatedExchange) -> None:
    """An acknowledgement without data, a refusal without a reason, and then the truth."""
    ask = '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}'
    async with connect(f"{exchange.url}/stream") as websocket:
        exchange.inflict(Faults(unsent=("BTCUSDT",), lies_max=1))
        await websocket.send(ask)
        assert await _streams_heard(websocket) == {"answer"}
        await websocket.send(ask)
        wanted = frozenset({"answer", "btcusdt@trade"})
        assert await _streams_heard(websocket, wanted=wanted) == wanted
        exchange.inflict(Faults(refused=("btcusdt@trade",), lies_max=1))
        await websocket.send(ask.replace("UN", ""))
        while "error" not in (message := json.loads(await websocket.recv())):
            assert "result" not in message


async def test_faults_are_set_over_http_too(exchange: SimulatedExchange) -> None:
    """One that doesn't exist is refused by name, and nothing changes; an empty request heals."""
    status, told, _ = await _get(exchange, "/sim/faults?set=" + quote('{"corrupt":0.5,"clock_ahead_ms":60000}'))
    assert (status, told["corrupt"]) == (200, 0.5)
    ahead_ms = (await _get(exchange, "/api/v3/time"))[1]["serverTime"] - time.time() * 1000
    assert 58_000 < ahead_ms < 62_000
    assert (await _get(exchange, "/sim/faults?set=" + quote('{"gremlins":1}')))[0] == 400
    assert exchange.broadcast.faults.corrupt == 0.5
    await _get(exchange, "/sim/faults")
    assert exchange.broadcast.faults == Faults()


def test_spoilt_frames_are_whole_frames_still() -> None:
    """Repeated ones come twice, reordered ones all once, corrupted ones keep their length and are no JSON."""
    frames = [frame(b'{"n":%d,"pad":"%s"}' % (n, b"x" * (n % 300))) for n in range(1_000)]
    spoiler = Spoiler(1)
    repeated = spoiler.spoil(frames, faults_from('{"repeat":0.1}'))
    assert 50 < len(repeated) - len(frames) < 150
    assert set(repeated) == set(frames)
    reordered = spoiler.spoil(frames, Faults(reorder=0.1))
    assert reordered != frames
    assert sorted(reordered) == sorted(frames)
    corrupted = spoiler.spoil(frames, Faults(corrupt=0.1))
    different = [(was, now) for was, now in zip(frames, corrupted, strict=True) if was != now]
    assert 50 < len(different) < 150
    for was, now in different:
        assert (len(was), was[:2]) == (len(now), now[:2])
        with pytest.raises(json.JSONDecodeError):
            json.loads(now[2:] if now[1] < 126 else now[4:])
