"""What five venues might say: made-up tapes in each venue's own format, small and without an end.

Every symbol has quotes and a book that move twenty times a second, five trades a second, and contracts what contracts
have besides. Trades are fewer because Bybit's spot market serves the last sixty only: more couldn't be healed there.
The forms are those of the captures and of the venues' documentation.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

from ladder import Ladder, Level
from recorded import Record

STEPS_PER_S = 20
_STEPS_PER_TRADE = 4
_LEVELS = 10
_MS = 10**6


def script(venue: str, symbols: dict[str, str], start_ns: int) -> Iterator[Record]:
    """A tape of this venue, in the order of time; `symbols` are the venue's names by ccxt's."""
    speakers = [_SPEAKERS[venue](ours, theirs) for ours, theirs in symbols.items()]
    for step in count():
        at_ns = start_ns + step * 10**9 // STEPS_PER_S
        for speaker in speakers:
            for frame in speaker.say(step, at_ns):
                yield Record(at_ns, "linear" if ":" in speaker.ours else "spot", _json(frame))


class _Speaker:
    """One symbol of one venue."""

    def __init__(self, ours: str, theirs: str) -> None:
        self.ours, self.theirs = ours, theirs
        self.contract = ":" in ours
        self.base = 60_000 if ours.startswith("BTC") else 2_000
        self.ladder = Ladder()

    def say(self, step: int, at_ns: int) -> Iterator[Any]:
        """The book first, then a quote, a trade, and now and then the rest."""
        bids, asks = self._changes(step)
        self.ladder.put(bids, asks)
        yield self.book(step, at_ns, bids, asks)
        yield self.quote(step, at_ns, self.ladder.bids[0], self.ladder.asks[0])
        if step % _STEPS_PER_TRADE == 0:
            number = step // _STEPS_PER_TRADE
            side = "buy" if number % 3 else "sell"
            yield self.trade(number, at_ns, f"{self.base + number % 7}.50", f"0.{number % 9 + 1}0", side)
        if step % STEPS_PER_S == 0:
            yield from self.rest(step, at_ns)

    def _changes(self, step: int) -> tuple[list[Level], list[Level]]:
        """All levels at first; then one of each side changes, and now and then one goes, to come back later."""
        if step == 0:
            bids = [(f"{self.base - each}.10", f"{each + 1}.00") for each in range(_LEVELS)]
            return bids, [(f"{self.base + 10 + each}.20", f"{each + 1}.50") for each in range(_LEVELS)]
        each = step % _LEVELS
        quantity = "0.00" if each == 3 and step % 4 else f"{step % 50 + 1}.25"
        return [(f"{self.base - each}.10", quantity)], [(f"{self.base + 10 + each}.20", quantity)]

    def book(self, step: int, at_ns: int, bids: list[Level], asks: list[Level]) -> Any:
        raise NotImplementedError

    def quote(self, step: int, at_ns: int, bid: Level, ask: Level) -> Any:
        raise NotImplementedError

    def trade(self, number: int, at_ns: int, price: str, quantity: str, side: str) -> Any:
        raise NotImplementedError

    def rest(self, step: int, at_ns: int) -> Iterator[Any]:
        """Candles, and what contracts tell."""
        raise NotImplementedError


class _Binance(_Speaker):
    def _frame(self, stream: str, told: dict[str, Any]) -> Any:
        return {"stream": f"{self.theirs.lower()}@{stream}", "data": told}

    def book(self, step: int, at_ns: int, bids: list[Level], asks: list[Level]) -> Any:
        ids = {"U": step * 2 + 1, "u": step * 2 + 2} | ({"pu": step * 2, "T": at_ns // _MS} if self.contract else {})
        told = {"e": "depthUpdate", "E": at_ns // _MS, "s": self.theirs, **ids, "b": bids, "a": asks}
        return self._frame("depth@100ms", told)

    def quote(self, step: int, at_ns: int, bid: Level, ask: Level) -> Any:
        times = {"e": "bookTicker", "T": at_ns // _MS, "E": at_ns // _MS} if self.contract else {}
        best = {"b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
        return self._frame("bookTicker", {**times, "u": step * 2 + 2, "s": self.theirs, **best})

    def trade(self, number: int, at_ns: int, price: str, quantity: str, side: str) -> Any:
        kind, name = ("aggTrade", "a") if self.contract else ("trade", "t")
        told = {"e": kind, "E": at_ns // _MS, "s": self.theirs, name: 1_000 + number, "p": price, "q": quantity}
        return self._frame(kind, {**told, "T": at_ns // _MS, "m": side == "sell"})

    def rest(self, step: int, at_ns: int) -> Iterator[Any]:
        if self.contract:
            prices = {"p": f"{self.base}.11", "i": f"{self.base}.22", "r": "0.00010000", "T": at_ns // _MS + 3_600_000}
            told = {"e": "markPriceUpdate", "E": at_ns // _MS, "s": self.theirs, **prices}
            yield self._frame("markPrice@1s", told)
            forced = {"s": self.theirs, "S": "SELL", "q": f"0.{step // STEPS_PER_S + 1}", "p": f"{self.base}.5"}
            yield self._frame("forceOrder", {"e": "forceOrder", "E": at_ns // _MS, "o": {**forced, "T": at_ns // _MS}})
        prices = dict.fromkeys("ohlc", f"{self.base}.50")
        bar = {"t": at_ns // _MS // 60_000 * 60_000, "i": "1m", **prices, "v": "1.5", "x": False}
        yield self._frame("kline_1m", {"e": "kline", "E": at_ns // _MS, "s": self.theirs, "k": bar})


class _Kraken(_Speaker):
    def _frame(self, channel: str, told: dict[str, Any], kind: str = "update") -> Any:
        return {"channel": channel, "type": kind, "data": [{"symbol": self.theirs, **told}]}

    def book(self, step: int, at_ns: int, bids: list[Level], asks: list[Level]) -> Any:
        sides = {"bids": _priced(bids), "asks": _priced(asks)}
        told = {**sides, "checksum": self.ladder.kraken_checksum(), "timestamp": _iso(at_ns)}
        return self._frame("book", told, "update" if step else "snapshot")

    def quote(self, step: int, at_ns: int, bid: Level, ask: Level) -> Any:
        best = {"bid": _Number(bid[0]), "bid_qty": _Number(bid[1]), "ask": _Number(ask[0]), "ask_qty": _Number(ask[1])}
        return self._frame("ticker", {**best, "timestamp": _iso(at_ns)})

    def trade(self, number: int, at_ns: int, price: str, quantity: str, side: str) -> Any:
        told = {"side": side, "price": _Number(price), "qty": _Number(quantity), "ord_type": "market"}
        return self._frame("trade", {**told, "trade_id": 1_000 + number, "timestamp": _iso(at_ns)})

    def rest(self, step: int, at_ns: int) -> Iterator[Any]:
        prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), _Number(f"{self.base}.50"))
        begin, end = _iso(at_ns // (60 * 10**9) * 60 * 10**9), _iso(at_ns)
        bar = {**prices, "trades": 1, "volume": _Number("1.5"), "interval_begin": begin, "interval": 1}
        yield self._frame("ohlc", {**bar, "timestamp": end})


class _Coinbase(_Speaker):
    def _frame(self, channel: str, event: dict[str, Any], at_ns: int) -> Any:
        return {"channel": channel, "client_id": "", "timestamp": _iso(at_ns), "sequence_num": 0, "events": [event]}

    def book(self, step: int, at_ns: int, bids: list[Level], asks: list[Level]) -> Any:
        updates = [
            {"side": side, "event_time": _iso(at_ns), "price_level": price, "new_quantity": quantity}
            for side, levels in (("bid", bids), ("offer", asks))
            for price, quantity in levels
        ]
        kind = "update" if step else "snapshot"
        return self._frame("l2_data", {"type": kind, "product_id": self.theirs, "updates": updates}, at_ns)

    def quote(self, step: int, at_ns: int, bid: Level, ask: Level) -> Any:
        best = {"best_bid": bid[0], "best_bid_quantity": bid[1], "best_ask": ask[0], "best_ask_quantity": ask[1]}
        told = {"type": "ticker", "product_id": self.theirs, "price": f"{self.base}.50", **best}
        return self._frame("ticker", {"type": "update", "tickers": [told]}, at_ns)

    def trade(self, number: int, at_ns: int, price: str, quantity: str, side: str) -> Any:
        told = {"product_id": self.theirs, "trade_id": str(1_000 + number), "price": price, "size": quantity}
        told |= {"time": _iso(at_ns), "side": "SELL" if side == "buy" else "BUY"}  # the maker's
        return self._frame("market_trades", {"type": "update", "trades": [told]}, at_ns)

    def rest(self, step: int, at_ns: int) -> Iterator[Any]:
        bar = {**dict.fromkeys(("open", "high", "low", "close"), f"{self.base}.5"), "volume": "1.5"}
        told = {"start": str(at_ns // 10**9 // 300 * 300), **bar, "product_id": self.theirs}
        yield self._frame("candles", {"type": "update", "candles": [told]}, at_ns)


class _Bybit(_Speaker):
    def _frame(self, topic: str, told: Any, at_ns: int, kind: str = "snapshot", **more: Any) -> Any:
        return {"topic": f"{topic}.{self.theirs}", "type": kind, "ts": at_ns // _MS, "data": told, **more}

    def book(self, step: int, at_ns: int, bids: list[Level], asks: list[Level]) -> Any:
        told = {"s": self.theirs, "b": bids, "a": asks, "u": step + 100, "seq": step}
        return self._frame("orderbook.50", told, at_ns, "delta" if step else "snapshot", cts=at_ns // _MS)

    def quote(self, step: int, at_ns: int, bid: Level, ask: Level) -> Any:
        told = {"s": self.theirs, "b": [bid], "a": [ask], "u": step + 100, "seq": step}
        return self._frame("orderbook.1", told, at_ns, cts=at_ns // _MS)

    def trade(self, number: int, at_ns: int, price: str, quantity: str, side: str) -> Any:
        """A contract's trades are named by UUIDs, spot's by digits."""
        name = f"a9188a0a-82bc-50de-be60-{number:012x}" if self.contract else str(2290000000090712222 + number)
        told = {
            "T": at_ns // _MS,
            "s": self.theirs,
            "S": side.title(),
            "v": quantity,
            "p": price,
            "i": name,
            "BT": False,
        }
        return self._frame("publicTrade", [told], at_ns)

    def rest(self, step: int, at_ns: int) -> Iterator[Any]:
        prices = dict.fromkeys(("open", "high", "low", "close"), f"{self.base}.5")
        begin = at_ns // _MS // 60_000 * 60_000
        bar = {"start": begin, "end": begin + 59_999, "interval": "1", **prices, "volume": "1.5", "turnover": "1"}
        yield self._frame("kline.1", [{**bar, "confirm": False, "timestamp": at_ns // _MS}], at_ns)
        if self.contract:
            told = {"symbol": self.theirs, "markPrice": f"{self.base}.11", "indexPrice": f"{self.base}.22"}
            told |= {"fundingRate": "0.0001", "nextFundingTime": str(at_ns // _MS + 3_600_000)}
            yield self._frame("tickers", {**told, "openInterest": "5000.5", "singleOpenInterest": "2500.5"}, at_ns)
            forced = {"T": at_ns // _MS, "s": self.theirs, "S": "Buy", "v": f"0.{step // STEPS_PER_S + 1}"}
            yield self._frame("allLiquidation", [{**forced, "p": f"{self.base}.5"}], at_ns)


class _Okx(_Speaker):
    def _frame(self, channel: str, told: Any, symbol: str = "", **more: Any) -> Any:
        return {"arg": {"channel": channel, "instId": symbol or self.theirs}, **more, "data": [told]}

    def book(self, step: int, at_ns: int, bids: list[Level], asks: list[Level]) -> Any:
        ids = {"checksum": 0, "prevSeqId": step * 3 - 3 if step else -1, "seqId": step * 3}
        told = {"asks": _counted(asks), "bids": _counted(bids), "ts": str(at_ns // _MS), **ids}
        return self._frame("books", told, action="update" if step else "snapshot")

    def quote(self, step: int, at_ns: int, bid: Level, ask: Level) -> Any:
        told = {"asks": _counted([ask]), "bids": _counted([bid]), "ts": str(at_ns // _MS), "seqId": step * 3}
        return self._frame("bbo-tbt", told)

    def trade(self, number: int, at_ns: int, price: str, quantity: str, side: str) -> Any:
        told = {"instId": self.theirs, "tradeId": str(1_000 + number), "px": price, "sz": quantity, "side": side}
        return self._frame("trades-all", {**told, "ts": str(at_ns // _MS)})

    def rest(self, step: int, at_ns: int) -> Iterator[Any]:
        at = str(at_ns // _MS)
        yield self._frame(
            "candle1m", [str(at_ns // _MS // 60_000 * 60_000), *[f"{self.base}.5"] * 4, "1.5", "1", "1", "0"]
        )
        if self.contract:
            told = {"instId": self.theirs, "ts": at}
            later = str(at_ns // _MS + 3_600_000)
            yield self._frame("funding-rate", {**told, "fundingRate": "0.0001", "fundingTime": later})
            yield self._frame("mark-price", {**told, "instType": "SWAP", "markPx": f"{self.base}.11"})
            index = self.theirs.removesuffix("-SWAP")
            yield self._frame("index-tickers", {"instId": index, "idxPx": f"{self.base}.22", "ts": at}, index)
            yield self._frame("open-interest", {**told, "oi": "2500.5", "oiCcy": "25.5"})
            forced = {"side": "sell", "bkPx": f"{self.base}.5", "sz": f"0.{step // STEPS_PER_S + 1}", "ts": at}
            arg = {"channel": "liquidation-orders", "instType": "SWAP"}
            yield {"arg": arg, "data": [{"instId": self.theirs, "instType": "SWAP", "details": [forced]}]}


_SPEAKERS = {"binance": _Binance, "kraken": _Kraken, "coinbase": _Coinbase, "bybit": _Bybit, "okx": _Okx}


class _Number(str):
    """A number that JSON shall show with these digits."""


def _json(frame: Any) -> str:
    if isinstance(frame, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_json(value)}" for key, value in frame.items()) + "}"
    if isinstance(frame, list | tuple):
        return "[" + ",".join(map(_json, frame)) + "]"
    return str(frame) if isinstance(frame, _Number) else json.dumps(frame)


def _priced(levels: list[Level]) -> list[dict[str, _Number]]:
    return [{"price": _Number(price), "qty": _Number(quantity)} for price, quantity in levels]


def _counted(levels: list[Level]) -> list[list[str]]:
    return [[*level, "0", "1"] for level in levels]


def _iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ns % 10**9 // 1000:06}Z"
