"""How Coinbase Advanced Trade behaves."""

import json
from datetime import UTC, datetime
from typing import Any

from ladder import Level
from manners import Caller, Manners, Print, Told, iso_of, ns_of


class Coinbase(Manners):
    """Answers are the capture's: every one names all that the connection has. Frames are numbered for each caller.

    The refusal is told as an error without the product's name (docs.cdp.coinbase.com, "Advanced Trade WebSocket").
    """

    exchange = "coinbase"

    def place(self, path: str) -> str | None:
        return "" if path == "/" else None

    def stamped(self, caller: Caller, text: str) -> str:
        if '"sequence_num":' not in text:
            return text
        before, _, after = text.partition('"sequence_num":')
        number, caller.sent = caller.sent, caller.sent + 1
        return f'{before}"sequence_num":{number}{after.lstrip("0123456789")}'

    def heartbeat(self, caller: Caller) -> str:
        counter = self.clock() // 10**9
        beat = {"current_time": str(datetime.now(UTC)), "heartbeat_counter": counter}
        return self._frame("heartbeats", beat) if "heartbeats" in caller.streams else ""

    def read(self, market: str, text: str) -> Told | None:
        told = json.loads(text)
        if told["channel"] in ("subscriptions", "heartbeats"):
            return None
        event = told["events"][0]
        rows = event.get("tickers") or event.get("trades") or event.get("candles") or [event]
        assert len(told["events"]) == 1 and len({row["product_id"] for row in rows}) == 1, "of one product each"
        channel = {"l2_data": "level2"}.get(told["channel"], told["channel"])
        return "", f"{channel} {rows[0]['product_id']}", text

    def take(self, place: str, stream: str, text: str) -> None:
        channel = stream.partition(" ")[0]
        if channel not in ("level2", "market_trades"):
            return
        for event in json.loads(text)["events"]:
            if channel == "market_trades" and event["type"] == "update":
                self.prints += [self._print(told) for told in sorted(event["trades"], key=lambda t: int(t["trade_id"]))]
            elif channel == "level2":
                sides: dict[str, list[Level]] = {"bid": [], "offer": []}
                for change in event["updates"]:
                    sides[change["side"]].append((change["price_level"], change["new_quantity"]))
                self.book("", stream, sides["bid"], sides["offer"], event["type"] == "snapshot", event)

    def answer(self, caller: Caller, text: str) -> list[str]:
        asked = json.loads(text)
        if asked["channel"] == "heartbeats":
            caller.streams["heartbeats"] = None
            return [self._granted(caller)]
        if not set(asked["product_ids"]) <= set(self.symbols.values()) - self.unheard:
            return ['{"type":"error","message":"subscription failure, product not found"}']
        said = []
        for product in asked["product_ids"]:
            stream = f"{asked['channel']} {product}"
            if asked["type"] == "unsubscribe":
                caller.streams.pop(stream, None)
            else:
                caller.streams[stream] = None
                said += self._anew(stream, product)
        return [*said, self._granted(caller)]

    def rest(self, path: str, query: dict[str, str]) -> str | None:
        now_ns = self.clock()
        if path.endswith("/brokerage/time"):
            times = {"epochSeconds": str(now_ns // 10**9), "epochMillis": str(now_ns // 10**6)}
            return json.dumps({"iso": iso_of(now_ns), **times})
        if path.endswith("/brokerage/market/products"):
            return self.recorded(path) or self._listing()
        if path.endswith("/ticker"):
            from_ns, to_ns = int(query["start"]) * 10**9, int(query["end"]) * 10**9
            prints = [e for e in self.printed("", path.split("/")[-2]) if from_ns <= e.time_ns <= to_ns]
            trades = [self._told(each) for each in reversed(prints[-int(query["limit"]) :])]
            return json.dumps({"trades": trades, "best_bid": "", "best_ask": ""})
        return None

    def _anew(self, stream: str, product: str) -> list[str]:
        """The last trades, and the book as it is."""
        if stream.startswith("market_trades") and (prints := self.printed("", product)):
            trades = [self._told(each) for each in reversed(prints[-100:])]
            return [self._frame("market_trades", {"type": "snapshot", "trades": trades})]
        if ("", stream) not in self.ladders:
            return []
        ladder, at = self.ladders["", stream], iso_of(self.clock())
        updates = [
            {"side": side, "event_time": at, "price_level": price, "new_quantity": quantity}
            for side, levels in (("bid", ladder.bids), ("offer", ladder.asks))
            for price, quantity in levels
        ]
        return [self._frame("l2_data", {"type": "snapshot", "product_id": product, "updates": updates})]

    def _granted(self, caller: Caller) -> str:
        channels: dict[str, list[str]] = {}
        for stream in caller.streams:
            channel, _, product = stream.partition(" ")
            channels.setdefault(channel, []).append(product or "heartbeats")
        return self._frame("subscriptions", {"subscriptions": channels})

    def _frame(self, channel: str, event: dict[str, Any]) -> str:
        told = {"channel": channel, "timestamp": iso_of(self.clock()), "sequence_num": 0, "events": [event]}
        return json.dumps(told, separators=(",", ":"))

    def _print(self, told: dict[str, str]) -> Print:
        """The side that is told is the maker's."""
        taker = {"BUY": "sell", "SELL": "buy"}[told["side"]]
        at_ns = ns_of(told["time"])
        return Print("", told["product_id"], told["trade_id"], told["price"], told["size"], taker, at_ns)

    def _told(self, each: Print) -> dict[str, str]:
        maker = {"sell": "BUY", "buy": "SELL"}[each.taker]
        told = {"trade_id": each.trade_id, "product_id": each.symbol, "price": each.price, "size": each.quantity}
        return {**told, "time": iso_of(each.time_ns), "side": maker}

    def _listing(self) -> str:
        figures = {"base_increment": "0.00000001", "quote_increment": "0.01", "price_increment": "0.01", "alias": ""}
        state = {"status": "online", "product_type": "SPOT", "quote_min_size": "1"}
        return json.dumps({"products": [{"product_id": each, **figures, **state} for each in self.symbols.values()]})
