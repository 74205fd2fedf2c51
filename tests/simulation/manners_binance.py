"""How Binance behaves: spot and USD-M."""

import json
from typing import Any

from manners import Caller, Manners, Print, Told


class Binance(Manners):
    """Answers: github.com/binance/binance-spot-api-docs, "Live Subscribing". Unknown symbols are granted like others.

    A recorded single trade of the futures is played as the aggregated trade that it is when nobody shares it.
    """

    exchange = "binance"

    def place(self, path: str) -> str | None:
        return {"/stream": "spot", "/public/stream": "linear", "/market/stream": "linear"}.get(path)

    def read(self, market: str, text: str) -> Told | None:
        if not text.startswith('{"stream":"'):
            return None
        stream = text[11 : text.index('"', 11)]
        if market == "linear" and stream.endswith("@trade"):
            stream, told = stream.replace("@trade", "@aggTrade"), json.loads(text)["data"]
            ids = {"a": told["t"], "f": told["t"], "l": told["t"]}
            told = {"e": "aggTrade", **{key: told[key] for key in "EspqTm"}, **ids}
            return market, stream, json.dumps({"stream": stream, "data": told}, separators=(",", ":"))
        if stream.endswith("@depth@0ms"):
            stream = stream.replace("@0ms", "@100ms")
            text = text.replace("@depth@0ms", "@depth@100ms", 1)
        return market, stream, text

    def take(self, place: str, stream: str, text: str) -> None:
        kind = stream.partition("@")[2]
        if kind in ("trade", "aggTrade"):
            told = json.loads(text)["data"]
            taker, trade_id = "sell" if told["m"] else "buy", str(told.get("t", told.get("a")))
            self.prints.append(Print(place, told["s"], trade_id, told["p"], told["q"], taker, told["T"] * 1_000_000))
        elif kind.startswith("depth"):
            told = json.loads(text)["data"]
            if (place, stream) not in self.ladders:
                base = "fapi" if place == "linear" else "api/v3"
                body = self.recorded(base, "/depth", told["s"])
                begins = json.loads(body) if body else {"bids": [], "asks": [], "lastUpdateId": told["U"] - 1}
                self.book(place, stream, begins["bids"], begins["asks"], True, {"u": begins["lastUpdateId"]})
            if told["u"] > self.lasts[place, stream]["u"]:
                self.book(place, stream, told["b"], told["a"], False, told)

    def answer(self, caller: Caller, text: str) -> list[str]:
        asked = json.loads(text)
        match asked["method"]:
            case "SUBSCRIBE":
                caller.streams.update(dict.fromkeys(asked["params"]))
            case "UNSUBSCRIBE":
                for name in asked["params"]:
                    caller.streams.pop(name, None)
            case "GET_PROPERTY":
                return [f'{{"result":true,"id":{asked["id"]}}}']
        return [f'{{"result":null,"id":{asked["id"]}}}']

    def rest(self, path: str, query: dict[str, str]) -> str | None:
        market = {"api": "spot", "fapi": "linear"}.get(path.split("/")[1], "")
        symbol = query.get("symbol", "")
        match path.rpartition("/")[2]:
            case "time":
                return json.dumps({"serverTime": self.clock() // 10**6})
            case "exchangeInfo":
                return (market == "spot" and self.recorded("exchangeInfo")) or self._listing(market)
            case "depth":
                return self._depth(market, symbol)
            case "openInterest":
                return json.dumps({"openInterest": "10659.509", "symbol": symbol, "time": self.clock() // 10**6})
            case "historicalTrades" if market == "spot":
                return json.dumps([_single(each) for each in self._page(market, symbol, query)])
            case "aggTrades":
                return json.dumps([_aggregated(each) for each in self._page(market, symbol, query)])
        return None

    def _page(self, market: str, symbol: str, query: dict[str, str]) -> list[Print]:
        first, since_ns = int(query.get("fromId", 0)), int(query.get("startTime", 0)) * 10**6
        found = [e for e in self.printed(market, symbol) if int(e.trade_id) >= first and e.time_ns >= since_ns]
        return found[: int(query["limit"])]

    def _depth(self, market: str, symbol: str) -> str | None:
        key = (market, f"{symbol.lower()}@depth@100ms")
        if key not in self.ladders:
            return self.recorded("fapi" if market == "linear" else "api/v3", "/depth", symbol)
        ladder = self.ladders[key]
        return json.dumps({"lastUpdateId": self.lasts[key]["u"], "bids": ladder.bids, "asks": ladder.asks})

    def _listing(self, market: str) -> str:
        rows = [
            {"symbol": theirs, "status": "TRADING", "baseAsset": ours.split("/")[0], "filters": []}
            | {"quoteAsset": ours.split("/")[1].split(":")[0], "marginAsset": ours.partition(":")[2]}
            | {"contractType": "PERPETUAL", "deliveryDate": 4133404800000}
            for ours, theirs in self.symbols.items()
            if (":" in ours) == (market != "spot")
        ]
        return json.dumps({"symbols": rows})


def _single(each: Print) -> dict[str, Any]:
    told = {"id": int(each.trade_id), "price": each.price, "qty": each.quantity, "time": each.time_ns // 10**6}
    return {**told, "quoteQty": "0", "isBuyerMaker": each.taker == "sell", "isBestMatch": True}


def _aggregated(each: Print) -> dict[str, Any]:
    told = {"a": int(each.trade_id), "p": each.price, "q": each.quantity, "f": int(each.trade_id)}
    return {**told, "l": int(each.trade_id), "T": each.time_ns // 10**6, "m": each.taker == "sell"}
