"""How OKX behaves."""

import json
from collections.abc import Iterator
from typing import Any

from ladder import Level
from manners import Caller, Manners, Print, Told


class Okx(Manners):
    """Answers are the capture's; the refusal is okx.com/docs-v5's error 60018.

    A recorded trade of the channel `trades` is played as the fill of `trades-all` that it was, a ticker as `bbo-tbt`.
    """

    exchange = "okx"
    _BUSINESS = ("trades-all", "candle1m")
    _ELSE = "Please use the correct URL, channel and parameters referring to API document."

    def place(self, path: str) -> str | None:
        return {"/ws/v5/public": "public", "/ws/v5/business": "business"}.get(path)

    def read(self, market: str, text: str) -> Told | None:
        told = json.loads(text)
        if "data" not in told:
            return None
        channel, symbol = told["arg"]["channel"], told["arg"].get("instId") or told["arg"]["instType"]
        if channel == "trades":
            channel, text = "trades-all", text.replace('"channel":"trades"', '"channel":"trades-all"', 1)
        elif channel == "tickers":
            channel, text = "bbo-tbt", self._best(symbol, told["data"][0])
        return "business" if channel in self._BUSINESS else "public", f"{channel} {symbol}", text

    def take(self, place: str, stream: str, text: str) -> None:
        channel, _, symbol = stream.partition(" ")
        if channel == "trades-all":
            for each in json.loads(text)["data"]:
                at_ns = int(each["ts"]) * 10**6
                self.prints.append(Print("", symbol, each["tradeId"], each["px"], each["sz"], each["side"], at_ns))
        elif channel == "books":
            told = json.loads(text)
            for each in told["data"]:
                sides = [[(level[0], level[1]) for level in each[side]] for side in ("bids", "asks")]
                self.book("public", stream, sides[0], sides[1], told["action"] == "snapshot", each)

    def answer(self, caller: Caller, text: str) -> list[str]:
        if text == "ping":
            return ["pong"]
        asked = json.loads(text)
        return [said for arg in asked["args"] for said in self._subscribed(caller, asked, arg)]

    def rest(self, path: str, query: dict[str, str]) -> str | None:
        symbol = query.get("instId", "")
        match path.partition("/api/v5/")[2]:
            case "public/time":
                return self._wrapped({"ts": str(self.clock() // 10**6)})
            case "public/instruments":
                recorded = self.recorded("public/instruments", f"instType={query['instType']}")
                return recorded or self._wrapped(*self._listing(query["instType"]))
            case "market/books":
                return self._wrapped(self._book(symbol)) if ("public", f"books {symbol}") in self.ladders else None
            case "market/history-trades":
                return self._wrapped(*self._trades(symbol, query))
        return None

    def _subscribed(self, caller: Caller, asked: dict[str, Any], arg: dict[str, str]) -> Iterator[str]:
        channel, symbol = arg["channel"], arg.get("instId") or arg["instType"]
        known = {*self.symbols.values(), *(theirs.replace("-SWAP", "") for theirs in self.symbols.values()), "SWAP"}
        misplaced = (channel in self._BUSINESS) != (caller.place == "business")
        if misplaced or symbol in self.unheard or symbol not in known:
            why = f"Wrong URL or channel:{channel},instId:{symbol} doesn't exist. {self._ELSE}"
            yield json.dumps({"id": asked["id"], "event": "error", "code": "60018", "msg": why, "connId": "a4d3ae55"})
            return
        yield json.dumps({"id": asked["id"], "event": asked["op"], "arg": arg, "connId": "a4d3ae55"})
        stream = f"{channel} {symbol}"
        if asked["op"] == "unsubscribe":
            caller.streams.pop(stream, None)
            return
        caller.streams[stream] = None
        if ("public", stream) in self.ladders:
            yield json.dumps({"arg": arg, "action": "snapshot", "data": [self._book(symbol) | {"prevSeqId": -1}]})

    def _book(self, symbol: str) -> dict[str, Any]:
        """With the numbers of the newest message, which are this book's."""
        key = ("public", f"books {symbol}")
        ladder = self.ladders[key]
        return {**self.lasts[key], "bids": _levels(ladder.bids), "asks": _levels(ladder.asks)}

    def _best(self, symbol: str, ticker: dict[str, str]) -> str:
        bids, asks = _levels([(ticker["bidPx"], ticker["bidSz"])]), _levels([(ticker["askPx"], ticker["askSz"])])
        told = {"asks": asks, "bids": bids, "ts": ticker["ts"]}
        best = {"arg": {"channel": "bbo-tbt", "instId": symbol}, "data": [told]}
        return json.dumps(best, separators=(",", ":"))

    def _trades(self, symbol: str, query: dict[str, str]) -> list[dict[str, str]]:
        after, by_id = int(query["after"]), query["type"] == "1"
        prints = [e for e in self.printed("", symbol) if (int(e.trade_id) if by_id else e.time_ns // 10**6) < after]
        return [
            {"instId": symbol, "tradeId": each.trade_id, "px": each.price, "sz": each.quantity, "side": each.taker}
            | {"ts": str(each.time_ns // 10**6)}
            for each in reversed(prints[-int(query["limit"]) :])
        ]

    def _listing(self, inst_type: str) -> list[dict[str, str]]:
        rows = []
        for ours, theirs in self.symbols.items():
            base, quote = ours.partition(":")[0].split("/")
            swap = theirs.endswith("-SWAP")
            contract = {"uly": f"{base}-{quote}", "settleCcy": quote, "ctType": "linear", "ctVal": "0.01"}
            figures = {"tickSz": "0.1", "lotSz": "0.01", "state": "live", "instId": theirs, "instType": inst_type}
            if swap == (inst_type == "SWAP"):
                rows.append(figures | (contract if swap else {"baseCcy": base, "quoteCcy": quote}))
        return rows

    def _wrapped(self, *rows: Any) -> str:
        return json.dumps({"code": "0", "msg": "", "data": rows})


def _levels(levels: list[Level]) -> list[list[str]]:
    return [[*level, "0", "1"] for level in levels]
