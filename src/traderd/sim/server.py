"""The simulated exchange as a server on loopback: Binance spot's public protocol, websockets and REST on one port.

Simulated time follows the event loop's clock. What it can't keep up with is skipped, never made up for in a rush, as if
the exchange had been out of reach. Refuses to be slowed by any client.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from traderd.config import Sim
from traderd.sim import requests, rest
from traderd.sim.broadcast import STREAMS_MAX, Broadcast
from traderd.sim.door import Door
from traderd.sim.faults import Faults, faults_from
from traderd.sim.market import Market
from traderd.sim.prices import listings

SLICE_US = 20_000
"""Simulated time of one turn: what others on the loop wait for at most."""
LAG_US_MAX = 1_000_000
TURN_S_MIN = 0.002


class SimulatedExchange:
    """One exchange: `start` it, connect to `url`, `stop` it. Starting again is another day of another exchange."""

    def __init__(
        self,
        settings: Sim,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        ping_interval_s: float = 20.0,
        ping_timeout_s: float = 60.0,
        backlog_bytes_max: int = 4 * 1024 * 1024,
        remember: bool = False,
    ) -> None:
        """`clock_ns` is read once, at the start. Pings are Binance's: each 20 s, to be answered within a minute.

        `remember`: the ledger has the ids of all that was made and sent.
        """
        self._remember = remember
        self._settings = settings
        self._clock_ns = clock_ns
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._backlog_bytes_max = backlog_bytes_max
        self._address = ""
        self._server: Server | None = None
        self._pump: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and let trading begin. Raises OSError when the port can't be had."""
        self.market = Market(self._settings, self._clock_ns() // 1000)
        self.broadcast = Broadcast(self._backlog_bytes_max, self._settings.seed, self._remember)
        self._door = Door(asyncio.get_running_loop().time)
        self._server = await serve(
            self._converse,
            self._settings.host,
            self._settings.port,
            process_request=self._receive,
            compression=None,
            ping_interval=self._ping_interval_s,
            ping_timeout=self._ping_timeout_s,
            close_timeout=1.0,
            max_size=65_536,
            logger=_silent(),
        )
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._pump = asyncio.create_task(self._trade(), name="simulated exchange")

    async def stop(self) -> None:
        """End trading, say goodbye to the clients (1001), and close the port. Raises what broke it, if anything did."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._pump is not None and not self._pump.cancelled():
            self._pump.result()

    def inflict(self, faults: Faults) -> None:
        """Something goes wrong, or with `Faults()` nothing any more; also at /sim/faults?set=JSON."""
        self.market.ahead_ms, self.market.haste = faults.clock_ahead_ms, faults.burst
        self.market.delisted = faults.delisted
        self._door.mind(faults)
        self.broadcast.inflict(faults)

    async def wait(self) -> None:
        """Return when it was stopped; raise what broke it."""
        assert self._pump is not None
        await asyncio.wait([self._pump])
        if not self._pump.cancelled():
            self._pump.result()

    @property
    def url(self) -> str:
        """Base address of the websockets, without a trailing slash. Known once started."""
        return f"ws://{self._address}"

    @property
    def rest_url(self) -> str:
        """Base address of REST: the same port."""
        return f"http://{self._address}"

    @property
    def symbols(self) -> list[str]:
        """What is listed, normalised: `BTC/USDT`."""
        return [listing.symbol for listing in listings(self._settings.symbols)]

    @property
    def ledger(self) -> dict[str, Any]:
        """What was generated for each stream and sent on each connection; also at /sim/ledger."""
        return self.broadcast.ledger()

    async def _trade(self) -> None:
        market, clock = self.market, asyncio.get_running_loop().time
        origin = clock()
        while True:
            elapsed_us = int((clock() - origin) * 1e6)
            if self.broadcast.faults.hush:
                market.skip(elapsed_us - market.elapsed_us)
                origin += (elapsed_us - market.elapsed_us) * 1e-6
                await asyncio.sleep(SLICE_US * 1e-6)
                continue
            lag_us = elapsed_us - market.elapsed_us
            if lag_us > LAG_US_MAX:
                market.skip(lag_us)
                origin += lag_us * 1e-6
                continue
            if self.broadcast.faults.age_s:
                self.broadcast.cut_the_old()
            self.broadcast.publish(market.advance(min(elapsed_us, market.elapsed_us + SLICE_US)))
            behind = market.elapsed_us < elapsed_us
            await asyncio.sleep(0 if behind else max(TURN_S_MIN, (market.due_us - elapsed_us) * 1e-6))

    def _receive(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before the handshake: REST is answered here, None lets a websocket in."""
        path = urlsplit(request.path).path
        if path == "/sim/ledger":
            return http_response(200, msgspec.json.encode(self.ledger))
        if path == "/sim/faults":
            return self._hear_of_faults(request.path)
        if path not in {"/stream", "/ws"} and not path.startswith("/ws/"):
            return self._answer(request.path)
        self.broadcast.knock()
        if (status := self._door.refuses_websocket()) is not None:
            if status == 0:
                connection.transport.abort()
            return http_response(status or 503, b"{}", self._door.retry_after)
        if len(_streams(request.path)) > STREAMS_MAX:
            return http_response(400, b'{"code":-1101,"msg":"Too many streams on one connection."}')
        return None

    def _answer(self, target: str) -> Response:
        """REST, if REST is in the mood."""
        status = self._door.refuses_rest(rest.weight(target))
        if status is not None:
            refusal = b'{"code":-1003,"msg":"Too much request weight used; please use WebSocket Streams."}'
            return http_response(status, refusal, self._door.retry_after)
        return http_response(*rest.answer(self.market, target))

    def _hear_of_faults(self, target: str) -> Response:
        """`?set=JSON`. By GET, for the websocket library reads no other request."""
        try:
            self.inflict(faults_from(parse_qs(urlsplit(target).query).get("set", ["{}"])[-1]))
        except ValueError as error:
            return http_response(400, msgspec.json.encode({"msg": str(error)}))
        return http_response(200, msgspec.json.encode(self.broadcast.faults))

    async def _converse(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        listener = self.broadcast.join(connection, _streams(path), combined=path.startswith("/stream"))
        try:
            async for message in connection:
                await connection.send(requests.reply(self.broadcast, listener, message), text=True)
        except ConnectionClosed:
            pass
        finally:
            self.broadcast.leave(listener)


async def serve_forever(settings: Sim, ready: Callable[[str], None]) -> None:
    """Run alone until cancelled; `ready` is called with the websocket address once clients may come."""
    exchange = SimulatedExchange(settings)
    await exchange.start()
    try:
        ready(exchange.url)
        await exchange.wait()
    finally:
        await exchange.stop()


def _streams(target: str) -> list[str]:
    """The streams that an address names: `/stream?streams=a/b`, `/ws/a/b`."""
    parts = urlsplit(target)
    if parts.path == "/stream":
        names = "/".join(parse_qs(parts.query).get("streams", []))
    else:
        names = parts.path.removeprefix("/ws")
    return [name for name in names.split("/") if name]


def http_response(status: int, body: bytes, retry_after_s: int = 0) -> Response:
    """A JSON answer that closes the connection."""
    headers = Headers(
        {"Content-Type": "application/json;charset=UTF-8", "Content-Length": str(len(body)), "Connection": "close"}
    )
    if retry_after_s:
        headers["Retry-After"] = str(retry_after_s)
    return Response(status, HTTPStatus(status).phrase, headers, body)


def _silent() -> logging.Logger:
    """Every REST answer is a refused handshake to the library; nobody wants to read that."""
    logger = logging.getLogger("traderd.sim.websockets")
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    return logger
