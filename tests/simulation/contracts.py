"""An exchange of one perpetual contract: Binance's USD-M protocol, as much of it as contracts alone tell."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

CONTRACT = "BTC/USDT:USDT"
TOLD = ["mark", "funding", "liquidation", "open_interest"]
"""The channels that it has something to say on."""


@asynccontextmanager
async def contract_exchange() -> AsyncIterator[str]:
    """Each subscription is answered, and each stream tells one thing; gives the websockets' address."""
    async with serve(_converse, "127.0.0.1", 0, process_request=_rest, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


async def _converse(connection: ServerConnection) -> None:
    async for message in connection:
        asked = json.loads(message)
        await connection.send(json.dumps({"result": None, "id": asked["id"]}))
        for stream in asked.get("params", []) if asked["method"] == "SUBSCRIBE" else []:
            await connection.send(json.dumps({"stream": stream, "data": _said(stream)}))


def _said(stream: str) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    if stream == "btcusdt@markPrice@1s":
        prices = {"p": "67250.10", "ap": "67250.00", "i": "67249.90", "P": "67250.00"}
        return {"e": "markPriceUpdate", "E": now_ms, "s": "BTCUSDT", **prices, "r": "0.0001", "T": now_ms + 3_600_000}
    assert stream == "btcusdt@forceOrder"
    order = {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.5", "p": "67000.0", "ap": "67010.0"}
    return {"e": "forceOrder", "E": now_ms, "o": {**order, "X": "FILLED", "l": "0.5", "z": "0.5", "T": now_ms}}


def _rest(_: ServerConnection, request: Request) -> Response | None:
    if "Upgrade" in request.headers:
        return None
    contract = {"symbol": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4_133_404_800_000}
    money = {"baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT", "status": "TRADING", "filters": []}
    answers: dict[str, Any] = {
        "/fapi/v1/exchangeInfo": {"symbols": [contract | money]},
        "/fapi/v1/openInterest": {"symbol": "BTCUSDT", "openInterest": "81234.5", "time": time.time_ns() // 1_000_000},
    }
    found = answers.get(request.path.partition("?")[0])
    status = HTTPStatus.NOT_FOUND if found is None else HTTPStatus.OK
    body = json.dumps(found).encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, status.phrase, headers, body)
