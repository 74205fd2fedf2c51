"""The simulated exchange over real sockets: what Binance's clients expect, in order, and nobody slowed by anybody."""

import asyncio
import json
import socket
from collections import Counter
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from traderd.config import Sim
from traderd.sim.server import SimulatedExchange, serve_forever


async def _hear(url: str, count: int) -> list[Any]:
    async with connect(url, compression=None) as websocket:
        return [json.loads(await websocket.recv()) for _ in range(count)]


async def _get(exchange: SimulatedExchange, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(exchange.rest_url + path) as response:
        return response.status, await response.json()


async def test_combined_streams_arrive_in_order(exchange: SimulatedExchange) -> None:
    """Every message wears its stream's name; ids rise without holes; no quote is crossed."""
    names = "btcusdt@bookTicker/btcusdt@trade/ethusdt@trade/btcusdt@depth@100ms"
    messages = await _hear(f"{exchange.url}/stream?streams={names}", 400)
    assert {message["stream"] for message in messages} == set(names.split("/"))
    quotes = [m["data"] for m in messages if m["stream"] == "btcusdt@bookTicker"]
    assert all(float(quote["b"]) < float(quote["a"]) for quote in quotes)
    assert [quote["u"] for quote in quotes] == sorted({quote["u"] for quote in quotes})
    for stream in ("btcusdt@trade", "ethusdt@trade"):
        ids = [m["data"]["t"] for m in messages if m["stream"] == stream]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    diffs = [m["data"] for m in messages if m["stream"] == "btcusdt@depth@100ms"]
    assert all(after["U"] == before["u"] + 1 for before, after in pairwise(diffs))


async def test_raw_streams_carry_no_envelope(exchange: SimulatedExchange) -> None:
    """`/ws/<stream>` as well as `/ws` with a subscription."""
    (quote,) = await _hear(f"{exchange.url}/ws/ethusdt@bookTicker", 1)
    assert set(quote) == {"u", "s", "b", "B", "a", "A"}
    async with connect(f"{exchange.url}/ws", compression=None) as websocket:
        await websocket.send('{"method":"SUBSCRIBE","params":["solusdt@trade"],"id":1}')
        assert json.loads(await websocket.recv()) == {"result": None, "id": 1}
        trade = json.loads(await websocket.recv())
        assert list(trade) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
        assert trade["s"] == "SOLUSDT"


async def test_subscriptions_come_and_go_on_a_living_connection(exchange: SimulatedExchange) -> None:
    """LIST_SUBSCRIPTIONS tells the truth, and after UNSUBSCRIBE's answer the stream is silent."""
    async with connect(f"{exchange.url}/stream", compression=None) as websocket:

        async def ask(method: str, params: list[Any]) -> Any:
            await websocket.send(json.dumps({"method": method, "params": params, "id": method}))
            while True:
                answer = json.loads(await websocket.recv())
                if answer.get("id") == method:
                    return answer

        await ask("SUBSCRIBE", ["btcusdt@trade", "ethusdt@trade"])
        assert (await ask("LIST_SUBSCRIPTIONS", []))["result"] == ["btcusdt@trade", "ethusdt@trade"]
        await ask("UNSUBSCRIBE", ["btcusdt@trade", "never@trade"])
        assert {json.loads(await websocket.recv())["stream"] for _ in range(10)} == {"ethusdt@trade"}
        assert (await ask("GET_PROPERTY", ["combined"]))["result"] is True
        await ask("SET_PROPERTY", ["combined", False])
        assert json.loads(await websocket.recv())["s"] == "ETHUSDT"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 3),
        (b"\xff\xfe", 3),
        ("[]", 2),
        ('{"id":1}', 2),
        ('{"method":"DANCE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":"x","id":1}', 2),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1),
        (json.dumps({"method": "SUBSCRIBE", "params": [f"s{n}@trade" for n in range(1025)], "id": 1}), 2),
    ],
)
async def test_a_bad_request_is_refused_and_the_connection_lives_on(
    exchange: SimulatedExchange, message: str | bytes, code: int
) -> None:
    """With Binance's codes."""
    async with connect(f"{exchange.url}/ws", compression=None) as websocket:
        await websocket.send(message)
        assert json.loads(await websocket.recv())["error"]["code"] == code
        await websocket.send('{"method":"LIST_SUBSCRIPTIONS","id":2}')
        assert json.loads(await websocket.recv()) == {"result": [], "id": 2}


async def test_rest_lives_on_the_same_port(exchange: SimulatedExchange) -> None:
    """Answers, refusals, and no traceback for an unknown path or a websocket's door used by plain HTTP."""
    status, described = await _get(exchange, "/api/v3/exchangeInfo")
    assert (status, len(described["symbols"])) == (200, 3)
    assert exchange.symbols == ["BTC/USDT", "ETH/USDT", "SOL/USDT"]
    assert await _get(exchange, "/api/v3/depth?symbol=X") == (400, {"code": -1121, "msg": "Invalid symbol."})
    assert (await _get(exchange, "/favicon.ico"))[0] == 404
    async with aiohttp.ClientSession() as session, session.get(f"{exchange.rest_url}/ws") as response:
        assert response.status == 426
    with pytest.raises(InvalidStatus) as refused:
        await _hear(f"{exchange.url}/stream?streams=" + "/".join(f"s{n}" for n in range(1025)), 1)
    assert refused.value.response.status_code == 400
    with pytest.raises(InvalidStatus) as lost:
        await _hear(f"{exchange.url}/elsewhere", 1)
    assert lost.value.response.status_code == 404


async def test_the_ledger_agrees_with_what_a_client_received(exchange: SimulatedExchange) -> None:
    """Message by message; and what was generated is at least what was sent."""
    received: Counter[str] = Counter()
    async with connect(
        f"{exchange.url}/stream?streams=btcusdt@trade/btcusdt@bookTicker", compression=None
    ) as websocket:
        for _ in range(100):
            received[json.loads(await websocket.recv())["stream"]] += 1
        await websocket.send('{"method":"UNSUBSCRIBE","params":["btcusdt@trade","btcusdt@bookTicker"],"id":1}')
        while "id" not in (message := json.loads(await websocket.recv())):
            received[message["stream"]] += 1
    status, ledger = await _get(exchange, "/sim/ledger")
    assert status == 200
    (account,) = ledger["connections"]
    assert account["sent"] == dict(received)
    assert account["end"] == "left"
    assert all(ledger["generated"][stream] >= count for stream, count in received.items())


async def test_a_client_that_does_not_read_is_cut_off_and_slows_nobody() -> None:
    """Its backlog has a limit; another client hears everything meanwhile."""
    exchange = SimulatedExchange(Sim(symbols=3, ticks_per_second=5_000.0), backlog_bytes_max=10_000)
    await exchange.start()
    names = "/".join(f"{name}usdt@{kind}" for name in ("btc", "eth", "sol") for kind in ("bookTicker", "depth@100ms"))
    host, port = exchange.url.removeprefix("ws://").split(":")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    deaf.connect((host, int(port)))
    handshake = (
        f"GET /stream?streams={names} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    deaf.sendall(handshake.encode())
    heard = 0
    try:
        async with asyncio.timeout(20), connect(f"{exchange.url}/ws/ethusdt@trade", compression=None) as websocket:
            ids = []
            while not any(account["end"] == "too slow" for account in exchange.ledger["connections"]):
                ids.append(json.loads(await websocket.recv())["t"])
            heard = len(ids)
            assert ids == list(range(ids[0], ids[0] + heard))
    finally:
        deaf.close()
        await exchange.stop()
    assert heard > 10


async def test_clients_are_pinged_and_told_when_the_exchange_closes() -> None:
    """A ping each interval, and 1001 at the end; the port is free afterwards."""
    exchange = SimulatedExchange(Sim(symbols=1), ping_interval_s=0.05)
    await exchange.start()
    async with connect(f"{exchange.url}/ws", compression=None, ping_interval=None) as websocket:
        connection = next(iter(exchange.broadcast._listeners)).connection
        await asyncio.sleep(0.3)
        assert connection.latency > 0, "the server saw a pong to its own ping"
        await exchange.stop()
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    with pytest.raises(OSError):
        await _hear(f"{exchange.url}/ws/btcusdt@trade", 1)


async def test_what_breaks_the_pump_reaches_whoever_waits_or_stops_it() -> None:
    """No half-dead exchange that accepts clients and stays silent."""
    exchange = SimulatedExchange(Sim(symbols=3, ticks_per_second=400.0))
    await exchange.start()
    exchange.market.pits.clear()
    exchange.market._flurry = (None, 1)  # type: ignore[assignment]  # a broken invariant, made on purpose
    with pytest.raises(AttributeError):
        await asyncio.wait_for(exchange.wait(), 5)
    with pytest.raises(AttributeError):
        await exchange.stop()


def test_it_runs_alone_on_uvloop_and_nothing_is_missing_at_a_hundred_thousand_ticks_a_second() -> None:
    """As `traderd sim` runs it: ready with its address, every trade heard without a hole, ended by cancelling."""
    heard = uvloop.run(_listen_alone(20_000))
    assert len(heard) == 10
    assert sum(map(len, heard.values())) == 20_000
    for ids in heard.values():
        assert ids == list(range(ids[0], ids[0] + len(ids)))


async def _listen_alone(count: int) -> dict[str, list[int]]:
    """The ids of that many trades, by symbol. The rate itself is the market's, in simulated time."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = Sim(ticks_per_second=100_000.0)
    alone = asyncio.create_task(serve_forever(settings, address.set_result))
    url = await asyncio.wait_for(address, 5)
    names = "/".join(f"{symbol.replace('/', '').lower()}@trade" for symbol in SimulatedExchange(settings).symbols)
    heard: dict[str, list[int]] = {}
    async with connect(f"{url}/stream?streams={names}", compression=None, max_queue=None) as websocket:
        for _ in range(count):
            trade = json.loads(await websocket.recv())["data"]
            heard.setdefault(trade["s"], []).append(trade["t"])
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    assert alone.cancelled()
    return heard
