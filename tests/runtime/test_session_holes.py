"""Frames that a link lost on the way: what their neighbours' numbers tell, and what becomes of it."""

import json
from pathlib import Path

import pytest

from lines import Line, Venue, closed_gaps, until
from traderd.core.facts import Gap
from traderd.venues.binance import Binance
from traderd.venues.coinbase import Coinbase
from traderd.venues.dialect import AnyChannel

pytestmark = pytest.mark.driven
TIME = "2026-08-09T21:05:48.850000Z"
EVERYTHING: tuple[AnyChannel, ...] = ("quote", "trade", "book")


def _frame(channel: str, number: int, *events: object) -> str:
    return json.dumps({"channel": channel, "timestamp": TIME, "sequence_num": number, "events": events})


def _book(number: int, kind: str, product: str, bid: str, quantity: str = "1") -> str:
    changes = [{"side": "bid", "event_time": TIME, "price_level": bid, "new_quantity": quantity}]
    return _frame("l2_data", number, {"type": kind, "product_id": product, "updates": changes})


def _quote(number: int, product: str) -> str:
    best = {"best_bid": "99", "best_bid_quantity": "1", "best_ask": "101", "best_ask_quantity": "1"}
    return _frame("ticker", number, {"type": "update", "tickers": [{"product_id": product, **best}]})


def _trade(number: int, product: str, trade_id: int) -> str:
    told = {"trade_id": str(trade_id), "product_id": product, "price": "100", "size": "1", "side": "BUY", "time": TIME}
    return _frame("market_trades", number, {"type": "update", "trades": [told]})


def _heartbeat(number: int) -> str:
    return _frame("heartbeats", number, {"current_time": TIME, "heartbeat_counter": number})


def _levels(line: Line, symbol: int) -> list[tuple[str, str]]:
    book = line.session.books[symbol]
    return book.bids() if book.usable else []


async def test_a_frame_that_coinbase_numbered_and_nobody_got_is_a_hole_in_every_stream_of_the_connection(
    tmp_path: Path,
) -> None:
    """From the frame before it to the one after it; books until they were sent again, and they show nothing before."""
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, Coinbase, endpoint, ["BTC/USD", "ETH/USD"], channels=EVERYTHING, uniform=lambda: 0.0)
        async with line.running():
            await until(lambda: len(venue.heard) == 4)
            await venue.tell(
                _book(0, "snapshot", "BTC-USD", "99"),
                _book(1, "snapshot", "ETH-USD", "9"),
                _quote(2, "BTC-USD"),
                _trade(3, "BTC-USD", 7),
                _book(4, "update", "BTC-USD", "98"),
            )
            await until(lambda: len(_levels(line, 0)) == 2 and _levels(line, 1))
            before_ns = line.session._current.last_frame_ns  # type: ignore[union-attr]  # it is up
            venue.heard.clear()
            await venue.tell(_book(6, "update", "BTC-USD", "97"))
            await until(lambda: len(line.seen.resyncs) == 1)
            assert line.seen.resyncs == [("", "connection_sequence")]
            after_ns = line.session._current.last_frame_ns  # type: ignore[union-attr]  # as above
            assert not any(book.usable for book in line.session.books.values())
            await until(lambda: len(venue.heard) == 4)
            assert {(told["type"], *told["product_ids"]) for told in map(json.loads, venue.heard)} == {
                (kind, product) for kind in ("subscribe", "unsubscribe") for product in ("BTC-USD", "ETH-USD")
            }
            await venue.tell(_book(7, "update", "BTC-USD", "96"), _heartbeat(8))
            assert _gaps(closed_gaps(line)) == {
                ("BTC/USD", "quote", before_ns, after_ns),
                ("BTC/USD", "trade", before_ns, after_ns),
            }
            await venue.tell(_book(9, "snapshot", "ETH-USD", "8"), _book(10, "snapshot", "BTC-USD", "95"))
            await until(line.whole)
            assert (_levels(line, 0), _levels(line, 1)) == ([("95", "1")], [("8", "1")])
            await venue.tell(_book(11, "update", "BTC-USD", "94"), _trade(12, "BTC-USD", 9))
            await until(lambda: line.received("trade") == 2)
    books = [gap for gap in closed_gaps(line) if gap.channel == "book"]
    assert {(gap.symbol, gap.from_ns) for gap in books} == {("BTC/USD", before_ns), ("ETH/USD", before_ns)}
    assert all(gap.to_ns > after_ns and gap.reason == "sequence" for gap in books)
    assert line.gaps.open_gaps() == [] and line.gaps.count == 4
    assert line.seen.connects == 1 and line.seen.bad == []


def _gaps(gaps: list[Gap]) -> set[tuple[str, str, int, int]]:
    assert all(gap.reason == "sequence" for gap in gaps)
    return {(gap.symbol, gap.channel, gap.from_ns, gap.to_ns) for gap in gaps}


async def test_a_frame_that_came_before_is_not_heard_again(tmp_path: Path) -> None:
    """Its number says so; nothing of it is stored, and nothing breaks."""
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, Coinbase, endpoint, ["BTC/USD"], channels=("trade", "book"))
        async with line.running():
            await until(lambda: venue.heard)
            again = [_book(1, "update", "BTC-USD", "98"), _trade(2, "BTC-USD", 7)]
            await venue.tell(_book(0, "snapshot", "BTC-USD", "99"), *again, _book(3, "update", "BTC-USD", "98", "0"))
            await venue.tell(again[0], _trade(4, "BTC-USD", 8))
            await until(lambda: line.received("trade") == 2)
            assert _levels(line, 0) == [("99", "1")]
    assert line.recorded_gaps() == [] and line.seen.resyncs == []


def _binance_trade(symbol: str, trade_id: int) -> str:
    told = {"e": "trade", "E": 1_700_000_000_000, "s": symbol, "t": trade_id, "p": "100", "q": "1"}
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": told | {"T": 1_700_000_000_000, "m": True}})


async def test_a_trade_that_never_came_is_a_hole_between_its_neighbours(tmp_path: Path) -> None:
    """Found with the next one of the same symbol, over at once; what came twice or late is no hole."""
    venue = Venue()
    async with venue.open() as endpoint:
        line = Line(tmp_path, Binance, endpoint, ["BTC/USDT", "ETH/USDT"], channels=("trade",))
        async with line.running():
            await until(lambda: venue.connections)
            for name, trade_id in [("BTC", 10), ("ETH", 500), ("BTC", 11), ("BTC", 11), ("BTC", 10), ("ETH", 501)]:
                await venue.tell(_binance_trade(f"{name}USDT", trade_id))
            await until(lambda: line.received("trade") == 6)
            before_ns = line.stream.trades[4].time_received_ns
            assert line.recorded_gaps() == []
            await venue.tell(_binance_trade("BTCUSDT", 13), _binance_trade("ETHUSDT", 502))
            await until(lambda: line.received("trade") == 8)
            after_ns = line.stream.trades[0].time_received_ns
    assert _gaps(closed_gaps(line)) == {("BTC/USDT", "trade", before_ns, after_ns)}
    assert line.gaps.count == 1 and line.seen.disconnects == []
