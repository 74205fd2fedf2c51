"""How Bybit behaves: spot and linear."""

import json
from typing import Any

from manners import Caller, Manners, Print, Told, market_of


class Bybit(Manners):
    """Answers are the capture's; the refusals' texts those that users of the venue report.

    "Args limits": ten topics a frame of spot.
    """

    exchange = "bybit"
    _CONN = '"conn_id":"d8bu1olkndm7crnfs1e0-j6akw"'

    def __init__(self, symbols: dict[str, str], *unheard: str, bodies: dict[str, str] | None = None) -> None:
        super().__init__(symbols, *unheard, bodies=bodies)
        self.tickers: dict[tuple[str, str], dict[str, Any]] = {}

    def place(self, path: str) -> str | None:
        market = path.removeprefix("/v5/public/")
        return market if market in ("spot", "linear", "inverse") else None

    def read(self, market: str, text: str) -> Told | None:
        topic = json.loads(text).get("topic")
        return (market, topic, text) if topic else None

    def take(self, place: str, stream: str, text: str) -> None:
        told, kind = json.loads(text), stream.partition(".")[0]
        if kind == "publicTrade":
            for each in told["data"]:
                at_ns = each["T"] * 10**6
                taker = each["S"].lower()
                self.prints.append(Print(place, each["s"], each["i"], each["p"], each["v"], taker, at_ns))
        elif kind == "orderbook":
            book = told["data"]
            self.book(place, stream, book["b"], book["a"], told["type"] == "snapshot", told)
        elif kind == "tickers":
            known = self.tickers.get((place, stream), {})
            self.tickers[place, stream] = {**told, "type": "snapshot", "data": known.get("data", {}) | told["data"]}

    def answer(self, caller: Caller, text: str) -> list[str]:
        asked = json.loads(text)
        about = f'{self._CONN},"req_id":"{asked.get("req_id", "")}","op":"{asked["op"]}"'
        if asked["op"] == "ping":
            return [f'{{"success":true,"ret_msg":"pong",{about}}}']
        if caller.place == "spot" and len(asked["args"]) > 10:
            return [f'{{"success":false,"ret_msg":"args size >10",{about}}}']
        heard = {theirs for ours, theirs in self.symbols.items() if market_of(ours) == caller.place} - self.unheard
        unknown = [topic for topic in asked["args"] if topic.rpartition(".")[2] not in heard]
        if unknown:
            spot = f"Invalid symbol :[{unknown[0].rpartition('.')[2]}]"
            why = spot if caller.place == "spot" else f"error:handler not found,topic:{unknown[0]}"
            return [f'{{"success":false,"ret_msg":"{why}",{about}}}']
        said = [f'{{"success":true,"ret_msg":"",{about}}}']
        for topic in asked["args"]:
            if asked["op"] == "unsubscribe":
                caller.streams.pop(topic, None)
            else:
                caller.streams[topic] = None
                said += self._anew(caller.place, topic)
        return said

    def rest(self, path: str, query: dict[str, str]) -> str | None:
        category, now_ns = query.get("category", ""), self.clock()
        match path.rpartition("/")[2]:
            case "time":
                return self._wrapped({"timeSecond": str(now_ns // 10**9), "timeNano": str(now_ns)})
            case "instruments-info":
                recorded = self.recorded("instruments-info", f"category={category}&")
                return recorded or self._wrapped({"category": category, "list": self._listing(category)})
            case "recent-trade":
                prints = self.printed(category, query["symbol"])[-int(query["limit"]) :]
                rows = [
                    {"execId": each.trade_id, "symbol": each.symbol, "price": each.price, "size": each.quantity}
                    | {"side": each.taker.title(), "time": str(each.time_ns // 10**6), "isBlockTrade": False}
                    for each in reversed(prints)
                ]
                return self._wrapped({"category": category, "list": rows})
        return None

    def _anew(self, place: str, topic: str) -> list[str]:
        key = (place, topic)
        if key in self.tickers:
            return [json.dumps(self.tickers[key], separators=(",", ":"))]
        if key not in self.ladders:
            return []
        ladder, last = self.ladders[key], self.lasts[key]
        book = {**last["data"], "b": ladder.bids, "a": ladder.asks}
        return [json.dumps({**last, "type": "snapshot", "data": book}, separators=(",", ":"))]

    def _listing(self, category: str) -> list[dict[str, Any]]:
        return [
            {"symbol": theirs, "status": "Trading", "baseCoin": ours.split("/")[0]}
            | {"quoteCoin": ours.split("/")[1].split(":")[0], "settleCoin": ours.partition(":")[2]}
            | {"contractType": "LinearPerpetual", "deliveryTime": "0", "priceFilter": {"tickSize": "0.01"}}
            | {"lotSizeFilter": {"qtyStep": "0.001", "minNotionalValue": "5"}}
            for ours, theirs in self.symbols.items()
            if market_of(ours) == category
        ]

    def _wrapped(self, result: dict[str, Any]) -> str:
        return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": self.clock() // 10**6})
