"""Bybit's dialect: what its frames become, what is sent to it, and what its answers mean."""

import json
from typing import Any

import pytest

from traderd.core.book import Book, Verdict
from traderd.core.errors import BadFrameError
from traderd.core.market import (
    Ack,
    BookDelta,
    BookRule,
    BookSnapshot,
    Funding,
    Heartbeat,
    Instrument,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
    VenueCandle,
)
from traderd.venues.bybit import Bybit
from traderd.venues.dialect import AnyChannel

SPOT = Instrument(0, "bybit", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
BTC = Instrument(0, "bybit", "BTC/USDT:USDT", "BTCUSDT", "BTC", "USDT", market="linear", settle="USDT")
ETH = Instrument(1, "bybit", "ETH/USDT:USDT", "ETHUSDT", "ETH", "USDT", market="linear", settle="USDT")
COIN = Instrument(0, "bybit", "BTC/USD:BTC", "BTCUSD", "BTC", "USD", market="inverse", settle="BTC")
NOW = 1_786_310_819_236_824_064
MS = 1_000_000
RULE = BookRule("ranges")

TOP = (
    b'{"topic":"orderbook.1.BTCUSDT","ts":1786310818131,"type":"snapshot","data":{"s":"BTCUSDT","b":[["65114.20",'
    b'"6.054"]],"a":[["65114.30","10.470"]],"u":15076952,"seq":753843913869},"cts":1786310818129}'
)
SNAPSHOT = (
    b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1786310818129,"data":{"s":"BTCUSDT","b":[["65114.20",'
    b'"6.054"],["65114.10","0.002"]],"a":[["65114.30","10.470"]],"u":15076952,"seq":753843913869},'
    b'"cts":1786310818127}'
)
DELTA = (
    b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1786310818130,"data":{"s":"BTCUSDT","b":[["65114.10","0"]],'
    b'"a":[["65114.40","0.002"]],"u":15076953,"seq":753843913870},"cts":1786310818129}'
)
TRADES = (
    b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1786310819681,"data":[{"T":1786310819680,"s":"BTCUSDT",'
    b'"S":"Sell","v":"0.004","p":"65114.20","L":"MinusTick","i":"a9188a0a-82bc-50de-be60-03eedbe3cdd7","BT":false,'
    b'"RPI":false,"seq":753843954913},{"T":1786310819681,"s":"BTCUSDT","S":"Buy","v":"1","p":"65114.30",'
    b'"i":"19d7df56-4f10-5290-a969-d9d9f2c74cc3","BT":true,"seq":753843954914}]}'
)
SPOT_TRADE = (
    b'{"topic":"publicTrade.BTCUSDT","ts":1703430744103,"type":"snapshot","data":[{"i":"2290000000090712222",'
    b'"T":1703430744102,"p":"43774","v":"0.0026","S":"Sell","s":"BTCUSDT","BT":false}]}'
)
TICKER = (
    b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","tickDirection":"ZeroPlusTick",'
    b'"lastPrice":"65114.30","markPrice":"65117.44","indexPrice":"65137.76","openInterest":"59891.732",'
    b'"openInterestValue":"3899996265.01","fundingIntervalHour":"8","singleOpenInterest":"29945.866",'
    b'"nextFundingTime":"1786320000000","fundingRate":"-0.0001","bid1Price":"65114.20","bid1Size":"5.954",'
    b'"ask1Price":"65114.30","ask1Size":"10.470","preOpenPrice":""},"cs":753843900397,"ts":1786310817583}'
)
SPOT_TICKER = (
    b'{"topic":"tickers.BTCUSDT","ts":1786310817583,"type":"snapshot","cs":2588407389,"data":{"symbol":"BTCUSDT",'
    b'"lastPrice":"21109.77","highPrice24h":"21426.99","volume24h":"6780.866843","usdIndexPrice":"21120.2400136"}}'
)
CANDLE = (
    b'{"topic":"kline.1.BTCUSDT","data":[{"start":1786310760000,"end":1786310819999,"interval":"1","open":"65119.9",'
    b'"close":"65114.3","high":"65120","low":"65114.2","volume":"1.576","turnover":"102627.995","confirm":false,'
    b'"timestamp":1786310818440}],"ts":1786310818441,"type":"snapshot"}'
)
LIQUIDATION = (
    b'{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,"s":"BTCUSDT",'
    b'"S":"Sell","v":"0.200","p":"96049.10"},{"T":1739502302930,"s":"BTCUSDT","S":"Buy","v":"1","p":"95000"}]}'
)
SUBSCRIBED = b'{"success":true,"ret_msg":"","conn_id":"d8bu1olkndm7crnfs1e0-j6akw","req_id":"","op":"subscribe"}'
PONG = b'{"success":true,"ret_msg":"pong","conn_id":"465772b1-7630-4fdc-a492-e003e6f0f260","req_id":"","op":"ping"}'
MARKET_FRAMES = [TOP, SNAPSHOT, DELTA, CANDLE, SUBSCRIBED, PONG]
SPOT_FRAMES = [*MARKET_FRAMES, SPOT_TRADE, SPOT_TICKER]
LINEAR_FRAMES = [*MARKET_FRAMES, TRADES, TICKER, LIQUIDATION]
INVERSE_FRAMES = [frame.replace(b"BTCUSDT", b"BTCUSD") for frame in LINEAR_FRAMES]


@pytest.fixture
def linear() -> Bybit:
    made = Bybit("linear", 10)
    made.bind([BTC, ETH])
    return made


def refused(made: Bybit, frame: bytes) -> str:
    with pytest.raises(BadFrameError) as caught:
        made.decode(frame, NOW)
    return caught.value.reason


def top(kind: str, update_id: int, bids: list[list[str]], asks: list[list[str]]) -> bytes:
    levels = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": 1}
    return json.dumps({"topic": "orderbook.1.BTCUSDT", "type": kind, "ts": 5, "data": levels, "cts": 4}).encode()


def ticker(kind: str, **told: str) -> bytes:
    return json.dumps(
        {"topic": "tickers.BTCUSDT", "type": kind, "data": {"symbol": "BTCUSDT", **told}, "ts": 5}
    ).encode()


def test_the_best_level_is_a_quote_at_the_matching_engines_time(linear: Bybit) -> None:
    """Number and texts as sent; without its time the time of sending."""
    quote = Quote(BTC, 65114.2, 65114.3, "65114.20,6.054,65114.30,10.470", 15076952, 1786310818129 * MS, NOW)
    assert list(linear.decode(TOP, NOW)) == [quote]
    (sent,) = linear.decode(TOP.replace(b',"cts":1786310818129', b""), NOW)
    assert isinstance(sent, Quote) and sent.time_venue_ns == 1786310818131 * MS


def test_a_change_of_the_best_level_leaves_the_other_side_as_it_was(linear: Bybit) -> None:
    """Taken away and replaced in one message, in any order; a side that is gone is no quote."""

    def best(frame: bytes) -> list[Any]:
        return [
            (quote.bid_text, quote.bid_size_text, quote.ask_text, quote.ask_size_text, quote.sequence)
            for quote in linear.decode(frame, NOW)
            if isinstance(quote, Quote)
        ]

    assert best(top("snapshot", 7, [["10", "1"]], [["11", "2"]])) == [("10", "1", "11", "2", 7)]
    assert best(top("delta", 8, [["10", "0"], ["9.5", "3"]], [])) == [("9.5", "3", "11", "2", 8)]
    assert best(top("delta", 9, [["10.5", "4"], ["9.5", "0"]], [])) == [("10.5", "4", "11", "2", 9)]
    assert best(top("delta", 10, [], [["11", "0"]])) == []
    assert best(top("delta", 11, [], [["12", "5"]])) == [("10.5", "4", "12", "5", 11)]
    assert best(top("snapshot", 11, [["10.5", "4"]], [["12", "5"]])) == [("10.5", "4", "12", "5", 11)]


def test_after_a_hole_in_the_best_levels_numbers_nothing_is_said_until_a_snapshot(linear: Bybit) -> None:
    """The other side may have changed in the message that is missing."""
    linear.decode(top("snapshot", 7, [["10", "1"]], [["11", "2"]]), NOW)
    assert linear.decode(top("delta", 9, [["9", "1"]], []), NOW) == ()
    assert linear.decode(top("delta", 10, [["9", "2"]], [["12", "1"]]), NOW) == ()
    assert len(linear.decode(top("snapshot", 11, [["10", "1"]], [["11", "2"]]), NOW)) == 1
    linear.bind([BTC])
    assert linear.decode(top("delta", 12, [["9", "1"]], []), NOW) == ()


def test_a_book_comes_whole_and_then_in_numbered_changes(linear: Bybit) -> None:
    """The depth is the topic's, not the one that would be subscribed."""
    bids, asks = [("65114.20", "6.054"), ("65114.10", "0.002")], [("65114.30", "10.470")]
    snapshot = BookSnapshot(BTC, bids, asks, 15076952, None, 1786310818127 * MS, NOW, 50, RULE)
    assert list(linear.decode(SNAPSHOT, NOW)) == [snapshot]
    bids, asks, u = [("65114.10", "0")], [("65114.40", "0.002")], 15076953
    delta = BookDelta(BTC, bids, asks, u, u, None, 1786310818129 * MS, NOW, rule=RULE)
    assert list(linear.decode(DELTA, NOW)) == [delta]
    book = Book()
    assert book.snapshot(snapshot) is Verdict.APPLIED
    assert book.delta(delta) is Verdict.APPLIED
    assert book.delta(delta) is Verdict.GAP


def test_a_message_numbered_one_begins_the_book_anew(linear: Bybit) -> None:
    """Whatever it calls itself: the venue's service was restarted."""
    (begun,) = linear.decode(DELTA.replace(b"15076953", b"1"), NOW)
    assert isinstance(begun, BookSnapshot)
    assert (begun.sequence, begun.depth) == (1, 50)


def test_of_a_symbols_several_books_the_deepest_is_the_book(linear: Bybit) -> None:
    """Each depth has numbers of its own: mixed they would be full of holes."""
    deep = SNAPSHOT.replace(b"orderbook.50", b"orderbook.200").replace(b"15076952", b"77")
    assert len(linear.decode(SNAPSHOT, NOW)) == 1
    assert len(linear.decode(deep, NOW)) == 1
    assert linear.decode(DELTA, NOW) == ()
    assert linear.decode(SNAPSHOT, NOW) == ()
    unbegun = DELTA.replace(b"orderbook.50", b"orderbook.1000")
    assert linear.decode(unbegun, NOW) == (), "a deeper one is the book once it has begun"
    with pytest.raises(BadFrameError, match="unknown_channel"):
        linear.decode(SNAPSHOT.replace(b"orderbook.50", b"orderbook.rpi").replace(b'"]]', b'","0"]]'), NOW)
    assert len(linear.decode(DELTA.replace(b"orderbook.50", b"orderbook.200"), NOW)) == 1
    linear.bind([BTC])
    assert len(linear.decode(DELTA, NOW)) == 1


def test_a_trades_side_is_the_takers(linear: Bybit) -> None:
    """Block trades are trades."""
    ids = ("a9188a0a-82bc-50de-be60-03eedbe3cdd7", "19d7df56-4f10-5290-a969-d9d9f2c74cc3")
    assert list(linear.decode(TRADES, NOW)) == [
        Trade(BTC, ids[0], "sell", 65114.2, "65114.20,0.004", 1786310819680 * MS, NOW),
        Trade(BTC, ids[1], "buy", 65114.3, "65114.30,1", 1786310819681 * MS, NOW),
    ]


def test_spots_frames_and_the_inverse_markets_are_of_their_own_instruments() -> None:
    """The same topic, another market; spot's tickers tell nothing that is asked for."""
    spot, inverse = Bybit("spot", 10), Bybit("inverse", 10)
    spot.bind([SPOT])
    inverse.bind([COIN])
    (trade,) = spot.decode(SPOT_TRADE, NOW)
    assert isinstance(trade, Trade) and (trade.instrument, trade.trade_id) == (SPOT, "2290000000090712222")
    assert list(spot.decode(SPOT_TICKER, NOW)) == []
    for frame in INVERSE_FRAMES:
        assert all(getattr(event, "instrument", COIN) is COIN for event in inverse.decode(frame, NOW))


def test_a_contracts_ticker_tells_mark_and_index_price_funding_and_open_interest(linear: Bybit) -> None:
    """Open interest in contracts, not in the positions of both sides; no quote."""
    time_ns = 1786310817583 * MS
    assert list(linear.decode(TICKER, NOW)) == [
        MarkPrice(BTC, "65117.44", "65137.76", time_ns, NOW),
        Funding(BTC, "-0.0001", 1786320000000 * MS, time_ns, NOW),
        OpenInterest(BTC, "29945.866", time_ns, NOW),
    ]


def test_what_a_tickers_change_leaves_out_is_what_was_told_before(linear: Bybit) -> None:
    """Of the funding its time or its rate; open interest never changes from one way of counting to the other."""

    def told(frame: bytes) -> list[Any]:
        return list(linear.decode(frame, NOW))

    told(TICKER)
    assert told(ticker("delta", bid1Price="65114.20", bid1Size="6.054")) == []
    assert told(ticker("delta", indexPrice="65138.36")) == [MarkPrice(BTC, "", "65138.36", 5 * MS, NOW)]
    rate = Funding(BTC, "0.0002", 1786320000000 * MS, 5 * MS, NOW)
    assert told(ticker("delta", fundingRate="0.0002")) == [rate]
    later = Funding(BTC, "0.0002", 1786348800000 * MS, 5 * MS, NOW)
    assert told(ticker("delta", nextFundingTime="1786348800000")) == [later]
    assert told(ticker("delta", openInterest="59891.733")) == []
    singly = OpenInterest(BTC, "29946", 5 * MS, NOW)
    assert told(ticker("delta", openInterest="59892", singleOpenInterest="29946")) == [singly]


def test_a_snapshot_or_bind_forgets_what_a_ticker_told(linear: Bybit) -> None:
    """A contract with a date has no funding; before a snapshot its time isn't known."""
    linear.decode(TICKER, NOW)
    dated = ticker("snapshot", markPrice="5", fundingRate="", nextFundingTime="", openInterest="7")
    told = [MarkPrice(BTC, "5", "", 5 * MS, NOW), OpenInterest(BTC, "7", 5 * MS, NOW)]
    assert list(linear.decode(dated, NOW)) == told
    assert linear.decode(ticker("delta", nextFundingTime="1786348800000"), NOW) == []
    linear.decode(TICKER, NOW)
    linear.bind([BTC])
    assert linear.decode(ticker("delta", fundingRate="0.0002"), NOW) == [Funding(BTC, "0.0002", 0, 5 * MS, NOW)]


def test_a_candle_is_closed_when_the_venue_confirms_it(linear: Bybit) -> None:
    """Its symbol stands in the topic only."""
    prices = ("65119.9", "65120", "65114.2", "65114.3")
    times = 1786310818441 * MS, NOW
    open_ns = 1786310760000 * MS
    assert list(linear.decode(CANDLE, NOW)) == [VenueCandle(BTC, "1m", open_ns, *prices, "1.576", False, *times)]
    (closed,) = linear.decode(CANDLE.replace(b'"confirm":false', b'"confirm":true'), NOW)
    assert isinstance(closed, VenueCandle) and closed.closed
    (day,) = linear.decode(CANDLE.replace(b'"interval":"1"', b'"interval":"D"'), NOW)
    assert isinstance(day, VenueCandle) and day.timeframe == "1d"


def test_a_liquidations_side_is_turned_from_the_positions_to_the_orders(linear: Bybit) -> None:
    """The venue's "Buy" is a long position that was closed: by selling."""
    assert list(linear.decode(LIQUIDATION, NOW)) == [
        Liquidation(BTC, "buy", "96049.10", "0.200", 1739502302929 * MS, NOW),
        Liquidation(BTC, "sell", "95000", "1", 1739502302930 * MS, NOW),
    ]


def test_a_frame_whose_topic_does_not_come_first_reads_the_same(linear: Bybit) -> None:
    """Of every kind: order and blanks don't matter."""
    other = Bybit("linear", 10)
    other.bind([BTC])
    for frame in LINEAR_FRAMES:
        turned = json.dumps(dict(reversed(list(json.loads(frame).items())))).encode()
        assert list(linear.decode(frame, NOW)) == list(other.decode(turned, NOW))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (TOP.replace(b"BTCUSDT", b"XYZUSDT"), "unknown_symbol"),
        (TRADES.replace(b'"s":"BTCUSDT"', b'"s":"XYZUSDT"'), "unknown_symbol"),
        (CANDLE.replace(b"kline.1.BTCUSDT", b"kline.1.XYZUSDT"), "unknown_symbol"),
        (TRADES.replace(b'"Sell"', b'"sell"'), "bad_side"),
        (LIQUIDATION.replace(b'"Sell"', b'"None"'), "bad_side"),
        (TRADES.replace(b'"65114.20"', b'"0"'), "bad_number"),
        (TRADES.replace(b'"0.004"', b'"-1"'), "bad_number"),
        (TRADES.replace(b"a9188a0a", b"a9188a0a\\u0000"), "malformed"),
        (SNAPSHOT.replace(b'"6.054"', b'"1e400"'), "bad_number"),
        (SNAPSHOT.replace(b"15076952", b"-1"), "malformed"),
        (TOP.replace(b'"6.054"', b'"NaN"'), "bad_number"),
        (TICKER.replace(b'"65117.44"', b'"inf"'), "bad_number"),
        (TICKER.replace(b'"-0.0001"', b'"--1"'), "bad_number"),
        (TICKER.replace(b'"29945.866"', b'"x"'), "bad_number"),
        (TICKER.replace(b'"1786320000000"', b'"soon"'), "bad_time"),
        (TICKER.replace(b'"1786320000000"', b'"99999999999999999"'), "bad_time"),
        (CANDLE.replace(b'"interval":"1"', b'"interval":"7"'), "unknown_channel"),
        (CANDLE.replace(b'"1.576"', b'""'), "bad_number"),
        (TOP.replace(b"orderbook.1.", b"orderbook.rpi."), "unknown_channel"),
        (b'{"topic":"adlAlert.USDT","type":"snapshot","data":[]}', "unknown_channel"),
        (b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot"}', "malformed"),
        (b'{"something":"else"}', "unknown_channel"),
        (b"null", "malformed"),
        (b"", "malformed"),
    ],
)
def test_what_is_not_the_protocol_is_refused_with_its_reason(linear: Bybit, frame: bytes, reason: str) -> None:
    """From the small set."""
    assert refused(linear, frame) == reason


def test_a_bad_ticker_or_quote_leaves_no_trace(linear: Bybit) -> None:
    """What was refused isn't remembered either."""
    linear.decode(TICKER, NOW)
    assert refused(linear, ticker("delta", fundingRate="0.5", openInterest="1", markPrice="x")) == "bad_number"
    (funding,) = linear.decode(ticker("delta", nextFundingTime="1786348800000"), NOW)
    assert isinstance(funding, Funding) and funding.rate == "-0.0001"
    linear.decode(top("snapshot", 7, [["10", "1"]], [["11", "2"]]), NOW)
    for bids in ([["x", "1"]], [["10", "1e5"]], [["-1", "2"]]):
        assert refused(linear, top("delta", 8, bids, [])) == "bad_number"
        assert refused(linear, top("snapshot", 8, bids, [])) == "bad_number"
    (quote,) = linear.decode(top("delta", 8, [["10", "3"]], []), NOW)
    assert isinstance(quote, Quote) and (quote.bid_size_text, quote.ask_text) == ("3", "11")


def test_subscriptions_are_numbered_and_no_larger_than_the_venue_takes() -> None:
    """Ten topics a frame of spot; funding, mark price and open interest are one topic; spot has none of these."""
    spot, linear = Bybit("spot", 100), Bybit("linear", 10)
    symbols = [Instrument(n, "bybit", f"X{n}/USDT", f"X{n}USDT", f"X{n}", "USDT") for n in range(11)]
    frames = [json.loads(frame) for frame in spot.subscribe_frames(symbols, ["quote", "funding", "book"])]
    assert [(frame["req_id"], frame["op"], len(frame["args"])) for frame in frames] == [
        ("1", "subscribe", 10),
        ("2", "subscribe", 10),
        ("3", "subscribe", 2),
    ]
    assert frames[0]["args"][:3] == ["orderbook.1.X0USDT", "orderbook.200.X0USDT", "orderbook.1.X1USDT"]
    (frame,) = linear.subscribe_frames([BTC], sorted(linear.channels))
    assert sorted(json.loads(frame)["args"]) == [
        *("allLiquidation.BTCUSDT", "kline.1.BTCUSDT", "orderbook.1.BTCUSDT"),
        *("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT"),
    ]
    assert spot.channels == {"quote", "trade", "book", "candle"}
    assert spot.websocket_url(spot.live, [SPOT], ["quote"]) == "wss://stream.bybit.com/v5/public/spot"
    longest = max(len(f'"{topic}.1000000BABYDOGEUSDT",') for topic in ("allLiquidation", "orderbook.1000"))
    assert longest * linear.limits.streams_per_connection <= 21_000


@pytest.mark.parametrize(("asked", "depth"), [(1, 50), (50, 50), (51, 200), (1000, 1000), (5000, 1000)])
def test_a_books_depth_is_the_next_that_the_venue_offers(asked: int, depth: int) -> None:
    """The deepest where more is asked for."""
    (frame,) = Bybit("linear", asked).subscribe_frames([BTC], ["book"])
    assert json.loads(frame)["args"] == [f"orderbook.{depth}.BTCUSDT"]


def test_a_fresh_snapshot_is_had_by_leaving_and_joining(linear: Bybit) -> None:
    """Of what the market has; REST serves no book that fits."""
    frames = [json.loads(frame) for frame in linear.resubscribe_frames(BTC, "book")]
    assert [(frame["op"], frame["args"]) for frame in frames] == [
        ("unsubscribe", ["orderbook.50.BTCUSDT"]),
        ("subscribe", ["orderbook.50.BTCUSDT"]),
    ]
    assert Bybit("spot", 10).resubscribe_frames(SPOT, "liquidation") == []
    assert linear.book_resync == "resubscribe"
    assert (linear.snapshot_url(linear.live, BTC), linear.snapshot_symbol("https://x/v5/market/orderbook")) == ("", "")
    with pytest.raises(BadFrameError):
        linear.decode_snapshot(b"{}", BTC, NOW)


def answer(success: bool, request: int, reason: str = "", op: str = "subscribe") -> bytes:
    return json.dumps(
        {"success": success, "ret_msg": reason, "conn_id": "x", "req_id": str(request), "op": op}
    ).encode()


def test_an_answer_acknowledges_every_stream_that_its_frame_asked_for(linear: Bybit) -> None:
    """Once: repeated, or another's, it has no names."""
    channels: list[AnyChannel] = ["mark", "funding", "trade"]
    linear.subscribe_frames([BTC], channels)
    acks = [Ack(True, channel, "BTCUSDT", "", 1) for channel in channels]
    assert list(linear.decode(answer(True, 1, "subscribe"), NOW)) == acks
    assert list(linear.decode(answer(True, 1), NOW)) == [Ack(True, "", "", "", 1)]
    assert list(linear.decode(SUBSCRIBED, NOW)) == [Ack(True, "", "", "")]


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("error:handler not found,topic:orderbook.50.ETHUSDT", [("book", "ETHUSDT")]),
        ("Invalid symbol :[ETHUSDT]", [("quote", "ETHUSDT"), ("book", "ETHUSDT")]),
        ("error:topics per connection exceeded", [(c, s) for s in ("BTCUSDT", "ETHUSDT") for c in ("quote", "book")]),
    ],
)
def test_a_refusal_is_of_what_it_names_or_else_of_all(linear: Bybit, reason: str, named: list[Any]) -> None:
    """Of the streams that it doesn't name nothing is known."""
    linear.subscribe_frames([BTC, ETH], ["quote", "book"])
    told = [Ack(False, channel, symbol, reason, 1) for channel, symbol in named]
    assert list(linear.decode(answer(False, 1, reason), NOW)) == told


def test_other_answers_are_heartbeats_or_no_news(linear: Bybit) -> None:
    """What is subscribed already is granted; leaving a stream is nobody's business; a mistake of ours is told."""
    linear.resubscribe_frames(BTC, "trade")
    assert list(linear.decode(answer(False, 1, "error:not subscribed", "unsubscribe"), NOW)) == []
    already = answer(False, 2, "error:already subscribed,topic:publicTrade.BTCUSDT")
    assert list(linear.decode(already, NOW)) == [Ack(True, "trade", "BTCUSDT", "", 2)]
    assert list(linear.decode(PONG, NOW)) == [Heartbeat()]
    assert list(linear.decode(b'{"args":["1672916271846"],"op":"pong"}', NOW)) == [Heartbeat()]
    mistake = b'{"success":false,"ret_msg":"error:invalid op","conn_id":"x","request":{"op":"","args":null}}'
    assert list(linear.decode(mistake, NOW)) == [Ack(False, "", "", "error:invalid op")]
