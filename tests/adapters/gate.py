"""A server that speaks as much of Gate's version 4 as ccxt's own Gate needs: spot and linear contracts.

Sources: gate.com/docs/developers/apiv4 and .../apiv4/ws, .../futures/ws.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

from traderd.venues.dialect import Endpoint

PAIR = {
    **{"id": "BTC_USDT", "base": "BTC", "quote": "USDT", "fee": "0.2", "min_base_amount": "0.00001"},
    **{"min_quote_amount": "3", "amount_precision": 6, "precision": 1, "trade_status": "tradable"},
}
CONTRACT = {
    **{"name": "BTC_USDT", "type": "direct", "quanto_multiplier": "0.0001", "order_price_round": "0.1"},
    **{"mark_price": "64001.20", "index_price": "64000.9", "funding_rate": "-0.000018", "status": "trading"},
    **{"order_size_min": 1, "order_size_max": 1_000_000, "leverage_min": "1", "leverage_max": "100"},
    **{"in_delisting": False, "funding_interval": 28_800, "funding_next_apply": 1_786_320_000},
}


class Gate:
    """Says what a test lets it say; knows who asked for what."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.subscribed: list[str] = []
        self.connections: set[ServerConnection] = set()
        self.book = {"bids": [["64000.1", "0.50"], ["63999", "2"]], "asks": [["64000.2", "0.25"], ["64003.5", "1"]]}
        self.candles: list[list[str]] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Endpoint]:
        """Both protocols at one port."""
        async with serve(self._converse, "127.0.0.1", 0, process_request=self._request, close_timeout=0.2) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield Endpoint(f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}")

    def tell(self, channel: str, result: Any) -> None:
        """One message to everybody."""
        now = time.time()
        frame = {"time": int(now), "time_ms": int(now * 1000), "channel": channel, "event": "update", "result": result}
        broadcast(self.connections, json.dumps(frame))

    def tell_book(self, update: int, full: bool, bids: list[list[str]], asks: list[list[str]]) -> None:
        """A whole book, or changes of it."""
        result = {"t": int(time.time() * 1000), "s": "ob.BTC_USDT.50", "u": update, "b": bids, "a": asks}
        self.tell("spot.obu", result | ({"full": True} if full else {}))

    def tell_trade(self, number: int, price: str) -> None:
        """A trade of now."""
        now_ms = f"{time.time() * 1000:.1f}"
        told = {"id": number, "create_time": int(time.time()), "create_time_ms": now_ms, "side": "sell"}
        self.tell("spot.trades", told | {"currency_pair": "BTC_USDT", "amount": "0.0100", "price": price})

    def tell_quote(self, update: int, bid: str, ask: str) -> None:
        """The best of each side."""
        told = {"t": int(time.time() * 1000), "u": update, "s": "BTC_USDT", "b": bid, "B": "0.50", "a": ask, "A": "1.0"}
        self.tell("spot.book_ticker", told)

    def cut(self) -> None:
        """All connections, at once."""
        for connection in list(self.connections):
            connection.transport.abort()

    async def until_subscribed(self, *channels: str) -> None:
        async with asyncio.timeout(10.0):
            while not set(channels) <= set(self.subscribed):
                await asyncio.sleep(0.02)

    async def _converse(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        try:
            async for message in connection:
                asked = json.loads(message)
                if asked.get("event") == "subscribe":
                    self.subscribed.append(asked["channel"])
                    echo = {key: asked[key] for key in ("id", "time", "channel", "event")}
                    await connection.send(json.dumps(echo | {"result": {"status": "success"}}))
        finally:
            self.connections.discard(connection)

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        self.asked.append(request.path)
        parts = urlsplit(request.path)
        response = connection.respond(HTTPStatus.OK, json.dumps(self._answer(parts.path, parse_qs(parts.query))))
        response.headers["Content-Type"] = "application/json"
        return response

    def _answer(self, path: str, query: dict[str, list[str]]) -> Any:
        match path.removeprefix("/api/v4"):
            case "/spot/currency_pairs":
                return [PAIR]
            case "/futures/usdt/contracts":
                return [CONTRACT]
            case "/futures/usdt/contracts/BTC_USDT":
                return CONTRACT
            case "/spot/order_book":
                now_ms = int(time.time() * 1000)
                return {"id": 1, "current": now_ms, "update": now_ms, **self.book}
            case "/spot/candlesticks":
                from_s = int(query.get("from", ["0"])[0])
                return [candle for candle in self.candles if int(candle[0]) >= from_s]
            case _:
                return []
