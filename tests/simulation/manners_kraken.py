"""How Kraken behaves."""

import json
from collections.abc import Iterator
from typing import Any

from ladder import Level
from manners import Caller, Manners, Print, Told, ns_of


class Kraken(Manners):
    """Answers are the captures'; the refusal is docs.kraken.com's, "Spot WebSocket v2", trade."""

    exchange = "kraken"
    _STATUS = (
        '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
        '"connection_id":15413894943188002760}]}'
    )
    _TIMES = '"time_in":"2026-08-02T04:23:42.847625Z","time_out":"2026-08-02T04:23:42.847670Z"'

    def __init__(self, symbols: dict[str, str], *unheard: str, depth: int) -> None:
        super().__init__(symbols, *unheard)
        self._depth = depth

    def depth_of(self, stream: str) -> int:
        return self._depth

    def place(self, path: str) -> str | None:
        return "" if path in ("/", "/v2") else None

    def greeting(self) -> list[str]:
        return [self._STATUS]

    def heartbeat(self, caller: Caller) -> str:
        return '{"channel":"heartbeat"}' if caller.streams else ""

    def read(self, market: str, text: str) -> Told | None:
        told = json.loads(text)
        if "data" not in told or told["channel"] == "status":
            return None
        return "", f"{told['channel']} {told['data'][0]['symbol']}", text

    def take(self, place: str, stream: str, text: str) -> None:
        told = json.loads(text, parse_float=str, parse_int=str)
        for each in told["data"]:
            if told["channel"] == "trade":
                at_ns = ns_of(each["timestamp"])
                self.prints.append(
                    Print("", each["symbol"], each["trade_id"], each["price"], each["qty"], each["side"], at_ns)
                )
            elif told["channel"] == "book":
                sides = [[(level["price"], level["qty"]) for level in each[side]] for side in ("bids", "asks")]
                self.book("", stream, sides[0], sides[1], told["type"] == "snapshot", each)

    def answer(self, caller: Caller, text: str) -> list[str]:
        asked = json.loads(text)
        if asked["method"] == "ping":
            return [f'{{"method":"pong",{self._TIMES}}}']
        return [said for symbol in asked["params"]["symbol"] for said in self._subscribed(caller, asked, symbol)]

    def _subscribed(self, caller: Caller, asked: dict[str, Any], symbol: str) -> Iterator[str]:
        method, params = asked["method"], asked["params"]
        if symbol not in self.symbols.values() or symbol in self.unheard:
            error = f'"error":"Currency pair not supported {symbol}"'
            yield f'{{{error},"method":"{method}","success":false,"symbol":"{symbol}",{self._TIMES}}}'
            return
        stream = f"{params['channel']} {symbol}"
        granted = {"channel": params["channel"], "snapshot": params.get("snapshot", True), "symbol": symbol}
        granted |= {key: params[key] for key in ("depth", "interval", "event_trigger") if key in params}
        yield f'{{"method":"{method}","result":{json.dumps(granted)},"success":true,{self._TIMES}}}'
        if method == "unsubscribe":
            caller.streams.pop(stream, None)
            return
        caller.streams[stream] = None
        if ("", stream) in self.ladders:
            yield self._snapshot(stream, symbol)

    def _snapshot(self, stream: str, symbol: str) -> str:
        """With the checksum of the newest message, which is this book's."""
        ladder, last = self.ladders["", stream], self.lasts["", stream]
        sides = f'"bids":[{_levels(ladder.bids)}],"asks":[{_levels(ladder.asks)}]'
        book = f'"symbol":"{symbol}",{sides},"checksum":{last["checksum"]}'
        return f'{{"channel":"book","type":"snapshot","data":[{{{book}}}]}}'

    def rest(self, path: str, query: dict[str, str]) -> str | None:
        match path.rpartition("/")[2]:
            case "Time":
                return json.dumps({"error": [], "result": {"unixtime": self.clock() // 10**9}})
            case "AssetPairs":
                pairs = {_rest_pair(theirs): self._pair(theirs) for theirs in self.symbols.values()}
                return json.dumps({"error": [], "result": pairs})
            case "Trades":
                return self._trades(query)
        return None

    def _pair(self, symbol: str) -> dict[str, Any]:
        old = symbol.replace("BTC", "XBT")
        figures = {"pair_decimals": 2, "lot_decimals": 8, "tick_size": "0.01", "costmin": "0.5", "status": "online"}
        return {"altname": _rest_pair(symbol), "wsname": old, **figures}

    def _trades(self, query: dict[str, str]) -> str:
        symbol = next(theirs for theirs in self.symbols.values() if _rest_pair(theirs) == query["pair"])
        found = [each for each in self.printed("", symbol) if each.time_ns > int(query["since"])]
        rows = [
            f'["{each.price}","{each.quantity}",{each.time_ns // 10**9}.{each.time_ns % 10**9:09},'
            f'"{each.taker[0]}","m","",{each.trade_id}]'
            for each in found[: int(query["count"])]
        ]
        last = found[-1].time_ns if found else query["since"]
        return f'{{"error":[],"result":{{"{query["pair"]}":[{",".join(rows)}],"last":"{last}"}}}}'


def _levels(levels: list[Level]) -> str:
    return ",".join(f'{{"price":{price},"qty":{quantity}}}' for price, quantity in levels)


def _rest_pair(symbol: str) -> str:
    return symbol.replace("BTC", "XBT").replace("/", "")
