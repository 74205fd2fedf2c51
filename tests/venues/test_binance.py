"""Binance spot's dialect: what its frames and answers become."""

import json
from decimal import Decimal

import msgspec
import pytest

from traderd.core.errors import BadFrameError
from traderd.core.market import Ack, BookDelta, Heartbeat, Instrument, Level, Quote, Trade, VenueCandle
from traderd.venues.binance import Binance
from traderd.venues.dialect import Endpoint

ETH = Instrument(0, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")
BTC = Instrument(1, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
NOW = 1_723_161_254_024_619_568
TICKER = (
    b'{"stream":"ethusdt@bookTicker","data":{"u":35346513501,"s":"ETHUSDT",'
    b'"b":"2683.80000000","B":"3.02920000","a":"2683.81000000","A":"31.43950000"}}'
)
TRADE = (
    b'{"stream":"ethusdt@trade","data":{"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,'
    b'"p":"2683.80000000","q":"0.00200000","T":1723161255611,"m":true,"M":true}}'
)
AGG_TRADE = (
    b'{"stream":"ethusdt@aggTrade","data":{"e":"aggTrade","E":1633998512564,"s":"ETHUSDT","a":26129,'
    b'"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1633998512560,"m":false,"M":true}}'
)
DEPTH = (
    b'{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":35346513499,'
    b'"u":35346513505,"b":[["2683.80000000","3.02920000"],["2500.00000000","0.00000000"]],"a":[]}}'
)
KLINE = (
    b'{"stream":"ethusdt@kline_1m","data":{"e":"kline","E":1633998523963,"s":"ETHUSDT","k":{"t":1633998480000,'
    b'"T":1633998539999,"s":"ETHUSDT","i":"1m","f":19862761,"L":19862790,"o":"0.35270000","c":"0.35280000",'
    b'"h":"0.35290000","l":"0.35220000","v":"25877.00000000","n":30,"x":false,"q":"9116.04600000",'
    b'"V":"58.00000000","Q":"20.46240000","B":"0"}}}'
)


@pytest.fixture
def binance() -> Binance:
    dialect = Binance()
    dialect.bind([ETH, BTC])
    return dialect


def bare(frame: bytes) -> bytes:
    """The frame as a raw stream sends it."""
    return frame[frame.index(b'"data":') + 7 : -1]


def data_first(frame: bytes) -> bytes:
    """The same envelope with blanks, its stream named last and with an escaped @."""
    name = frame[: frame.index(b',"data"')].removeprefix(b"{").replace(b"@", rb"\u0040")
    return b'{ "data" : ' + bare(frame) + b" , " + name + b"}"


@pytest.mark.parametrize("shape", [bytes, bare, data_first])
def test_a_book_ticker_is_a_quote_with_the_texts_as_sent(binance: Binance, shape) -> None:
    """Whatever its envelope; the update id is the sequence, and the venue tells no time."""
    (quote,) = binance.decode(shape(TICKER), NOW)
    assert quote == Quote(
        instrument=ETH,
        bid=2683.8,
        ask=2683.81,
        text="2683.80000000,3.02920000,2683.81000000,31.43950000",
        sequence=35346513501,
        time_venue_ns=0,
        time_received_ns=NOW,
    )


@pytest.mark.parametrize("shape", [bytes, bare, data_first])
def test_a_trade_whose_buyer_made_the_price_was_sold_by_the_taker(binance: Binance, shape) -> None:
    """m true: the taker sells."""
    (trade,) = binance.decode(shape(TRADE), NOW)
    venue_ns = 1723161255611 * 1_000_000
    assert trade == Trade(ETH, "1520538925", "sell", 2683.8, "2683.80000000,0.00200000", venue_ns, NOW)


@pytest.mark.parametrize("shape", [bytes, bare, data_first])
def test_an_aggregated_trade_is_a_trade_under_its_own_id(binance: Binance, shape) -> None:
    """m false: the taker buys; the id is `a`, which in a plain trade is something else."""
    (trade,) = binance.decode(shape(AGG_TRADE), NOW)
    assert isinstance(trade, Trade)
    assert (trade.trade_id, trade.side, trade.price_text) == ("26129", "buy", "0.01633102")


def test_the_order_ids_of_old_trade_frames_are_not_taken_for_a_trade_id(binance: Binance) -> None:
    """Until 2023 `b` and `a` in a trade named the two orders."""
    (trade,) = binance.decode(TRADE.replace(b'"p":', b'"b":88,"a":50,"p":'), NOW)
    assert isinstance(trade, Trade)
    assert trade.trade_id == "1520538925"


@pytest.mark.parametrize("shape", [bytes, bare, data_first])
def test_a_depth_update_is_a_delta_with_its_first_and_last_update(binance: Binance, shape) -> None:
    """Zero quantities are kept: they remove a level."""
    levels: list[Level] = [("2683.80000000", "3.02920000"), ("2500.00000000", "0.00000000")]
    venue_ns = 1723161255308 * 1_000_000
    assert list(binance.decode(shape(DEPTH), NOW)) == [
        BookDelta(ETH, levels, [], 35346513499, 35346513505, None, venue_ns, NOW)
    ]


@pytest.mark.parametrize("shape", [bytes, bare, data_first])
def test_a_kline_is_the_venue_s_candle_so_far(binance: Binance, shape) -> None:
    """It is sent again until x says that it is closed."""
    opened, told = 1633998480000 * 1_000_000, 1633998523963 * 1_000_000
    prices = ("0.35270000", "0.35290000", "0.35220000", "0.35280000")
    candle = VenueCandle(ETH, "1m", opened, *prices, "25877.00000000", False, told, NOW)
    assert list(binance.decode(shape(KLINE), NOW)) == [candle]
    (closed,) = binance.decode(shape(KLINE.replace(b'"x":false', b'"x":true')), NOW)
    assert isinstance(closed, VenueCandle)
    assert closed.closed


@pytest.mark.parametrize("side", ["b", "a"])
def test_a_market_with_an_empty_side_has_no_quote_and_no_fault(binance: Binance, side: str) -> None:
    """A halted one, say: neither price nor quantity. A quantity without a price is a fault."""
    told = json.loads(TICKER)
    told["data"] |= {side: "0.00000000", side.upper(): "0.00000000"}
    assert list(binance.decode(json.dumps(told).encode(), NOW)) == []
    told["data"][side.upper()] = "1.00000000"
    with pytest.raises(BadFrameError, match="bad_number"):
        binance.decode(json.dumps(told).encode(), NOW)


def test_a_book_told_at_two_speeds_is_read_once(binance: Binance) -> None:
    """The slower stream's messages are the faster one's put together: after one of those nothing would follow."""
    slow = DEPTH.replace(b"@depth@100ms", b"@depth")
    assert [len(binance.decode(sent, NOW)) for sent in (DEPTH, slow, DEPTH)] == [1, 0, 1]
    assert [len(binance.decode(sent.replace(b"ETH", b"BTC"), NOW)) for sent in (slow, DEPTH, slow)] == [1, 0, 1]
    binance.bind([ETH, BTC])
    assert [len(binance.decode(sent, NOW)) for sent in (slow, DEPTH)] == [1, 0]


def test_trades_told_singly_and_aggregated_are_read_once(binance: Binance) -> None:
    """Added up, they would count twice, under ids of two kinds."""
    assert [len(binance.decode(sent, NOW)) for sent in (TRADE, AGG_TRADE, TRADE)] == [1, 0, 1]
    binance.bind([ETH, BTC])
    assert [len(binance.decode(sent, NOW)) for sent in (AGG_TRADE, TRADE, AGG_TRADE)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("frame", "ack"),
    [
        (b'{"result":null,"id":1}', Ack(True, "", "", "", 1)),
        (b'{"result":["ethusdt@bookTicker"],"id":3}', Ack(True, "", "", "", 3)),
        (b'{"result":null,"id":"x"}', Ack(True, "", "", "")),
        (
            b'{"error":{"code":2,"msg":"Invalid request: x@bookTicker"},"id":1}',
            Ack(False, "", "", "Invalid request: x@bookTicker", 1),
        ),
        (b'{"code":1,"msg":"Invalid value type"}', Ack(False, "", "", "Invalid value type")),
    ],
)
def test_an_answer_to_a_subscription_says_whether_it_was_accepted(binance: Binance, frame: bytes, ack: Ack) -> None:
    """Both forms of the venue's errors, even when they quote a stream's name."""
    assert list(binance.decode(frame, NOW)) == [ack]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "malformed"),
        (b"@", "malformed"),
        (b"[]", "malformed"),
        (b"\xff\xfe", "malformed"),
        (TICKER[:-1], "malformed"),
        (TICKER.replace(b'"2683.80000000"', b"2683.8"), "malformed"),
        (TICKER.replace(b"35346513501", b"9" * 5000), "malformed"),
        (TICKER.replace(b"35346513501", b"-1"), "malformed"),
        (b'{"data":' * 100_000, "malformed"),
        (b'{"x":' + b"[" * 100_000, "malformed"),
        (DEPTH.replace(b'"3.02920000"', b'"3.02920000","1"'), "malformed"),
        (TRADE.replace(b"1723161255611", b"9223372036855"), "malformed"),
        (TICKER.replace(b"ETHUSDT", b"SOLUSDT"), "unknown_symbol"),
        (TICKER.replace(b"2683.80000000", b"0.00000000"), "bad_number"),
        (TRADE.replace(b"2683.80000000", b"NaN"), "bad_number"),
        (DEPTH.replace(b"3.02920000", b"1,2"), "bad_number"),
        (b'{"stream":"ethusdt@avgPrice","data":{"e":"avgPrice","s":"ETHUSDT"}}', "unknown_channel"),
        (b'{"stream":"!ticker@arr","data":{"e":"24hrTicker","s":"ETHUSDT"}}', "unknown_channel"),
        (b'{"stream":"!ticker@arr","data":[{"e":"24hrTicker","s":"ETHUSDT"}]}', "unknown_channel"),
        (b'[{"e":"24hrMiniTicker","s":"ETHUSDT"}]', "unknown_channel"),
        (b'[{"e":"24hrMiniTicker","s":"ETHUSDT"', "malformed"),
        (b'{"stream":"ethusdt@depth20@100ms","data":{"lastUpdateId":1,"bids":[],"asks":[]}}', "unknown_channel"),
        (DEPTH.replace(b"@depth@", b"@depth20@"), "unknown_channel"),
        (b"{}", "unknown_channel"),
    ],
)
def test_a_frame_outside_the_protocol_is_refused_with_its_reason(binance: Binance, frame: bytes, reason: str) -> None:
    """The reason is one of a few, since it labels a counter."""
    with pytest.raises(BadFrameError) as refused:
        binance.decode(frame, NOW)
    assert refused.value.reason == reason


def test_streams_are_subscribed_to_in_numbered_frames_that_the_venue_can_swallow(binance: Binance) -> None:
    """At most as many names each as the limits say, none longer than 4088 bytes, symbols in lower case."""
    sim = Endpoint(websocket="ws://127.0.0.1:9443", rest="http://127.0.0.1:9443")
    assert binance.websocket_url(sim, [ETH, BTC], ["quote", "book"]) == "ws://127.0.0.1:9443/stream"
    assert [json.loads(frame) for frame in binance.subscribe_frames([ETH, BTC], ["quote", "candle"])] == [
        {
            "method": "SUBSCRIBE",
            "params": ["ethusdt@bookTicker", "ethusdt@kline_1m", "btcusdt@bookTicker", "btcusdt@kline_1m"],
            "id": 1,
        }
    ]
    many = [Instrument(n, "binance", f"X{n}", f"{'X' * 24}{n:08}", "X", "") for n in range(300)]
    frames = binance.subscribe_frames(many, ["book"])
    assert all(len(frame) <= 4088 for frame in frames)
    asked = [json.loads(frame) for frame in frames]
    assert [len(each["params"]) for each in asked] == [80, 80, 80, 60]
    assert [each["id"] for each in asked] == [2, 3, 4, 5]


def test_an_answer_acknowledges_every_stream_that_its_frame_asked_for(binance: Binance) -> None:
    """Once: a second answer under the same number is about something that we know nothing of."""
    binance.subscribe_frames([ETH, BTC], ["quote", "trade"])
    streams = [(channel, symbol) for symbol in ("ETHUSDT", "BTCUSDT") for channel in ("quote", "trade")]
    accepted, again = b'{"result":null,"id":1}', Ack(True, "", "", "", 1)
    assert list(binance.decode(accepted, NOW)) == [Ack(True, *stream, "", 1) for stream in streams]
    assert list(binance.decode(accepted, NOW)) == [again]
    binance.subscribe_frames([ETH], ["book"])
    refused = b'{"error":{"code":2,"msg":"no"},"id":2}'
    assert list(binance.decode(refused, NOW)) == [Ack(False, "book", "ETHUSDT", "no", 2)]


def test_a_silent_stream_is_left_and_joined_again(binance: Binance) -> None:
    """The answer to leaving is no news."""
    leave, join = (json.loads(frame) for frame in binance.resubscribe_frames(BTC, "trade"))
    assert leave == {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}
    assert join == {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 2}
    assert list(binance.decode(b'{"result":null,"id":1}', NOW)) == []
    assert list(binance.decode(b'{"result":null,"id":2}', NOW)) == [Ack(True, "trade", "BTCUSDT", "", 2)]


def test_what_is_never_answered_is_not_remembered_for_ever(binance: Binance) -> None:
    """A thousand requests back is enough."""
    for _ in range(1001):
        binance.subscribe_frames([ETH], ["quote"])
    assert list(binance.decode(b'{"result":null,"id":1}', NOW)) == [Ack(True, "", "", "", 1)]
    assert list(binance.decode(b'{"result":null,"id":2}', NOW)) == [Ack(True, "quote", "ETHUSDT", "", 2)]


def test_the_exchange_s_announcement_that_it_will_cut_is_no_bad_frame(binance: Binance) -> None:
    """It says nothing that the cut won't say."""
    assert list(binance.decode(b'{"e":"serverShutdown","E":1770123456789}', NOW)) == []
    assert list(binance.decode(b'{"result":true,"id":0}', NOW)) == [Heartbeat()]


def test_a_rest_snapshot_is_a_book_with_its_last_update(binance: Binance) -> None:
    """Its address leads back to its symbol, and other addresses to none."""
    url = binance.snapshot_url(binance.live, ETH)
    assert url == "https://api.binance.com/api/v3/depth?symbol=ETHUSDT&limit=1000"
    assert binance.snapshot_symbol(url) == "ETHUSDT"
    assert binance.snapshot_symbol("https://api.binance.com/api/v3/klines?symbol=ETHUSDT") == ""
    body = b'{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}'
    snapshot = binance.decode_snapshot(body, ETH, NOW)
    assert (snapshot.sequence, snapshot.bids, snapshot.asks) == (160, [("0.0024", "10")], [("0.0026", "100")])
    assert (snapshot.checksum, snapshot.depth) == (None, 0)


def test_only_trading_symbols_become_instruments_with_the_venue_s_limits(binance: Binance) -> None:
    """In the order asked for, numbered from zero; both names of the notional filter; a filter of zero is none."""

    def entry(base: str, status: str, notional: str) -> dict[str, object]:
        filters = [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00010000"},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": notional, "minNotional": "5.00000000"},
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.00000000"},
        ]
        return {"symbol": f"{base}USDT", "status": status, "baseAsset": base, "quoteAsset": "USDT", "filters": filters}

    body = msgspec.json.encode(
        {
            "symbols": [
                entry("SOL", "BREAK", "NOTIONAL"),
                entry("BTC", "TRADING", "MIN_NOTIONAL"),
                entry("ETH", "TRADING", "NOTIONAL"),
            ]
        }
    )
    found = binance.decode_instruments(body, ["ETH/USDT", "SOL/USDT", "NOPE/USDT", "BTC/USDT"])
    limits = (Decimal("0.01"), Decimal("0.0001"), Decimal(5))
    assert found == [
        Instrument(0, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT", *limits),
        Instrument(1, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT", *limits),
    ]


def test_the_clock_is_told_in_nanoseconds(binance: Binance) -> None:
    """From milliseconds."""
    assert binance.decode_time(b'{"serverTime":1633998511098}') == 1_633_998_511_098_000_000
    with pytest.raises(BadFrameError):
        binance.decode_time(b'{"serverTime":"soon"}')


@pytest.mark.parametrize(
    ("venue_symbol", "symbol", "base", "quote"),
    [
        ("RUNEEUR", "RUNE/EUR", "RUNE", "EUR"),
        ("BLZETH", "BLZ/ETH", "BLZ", "ETH"),
        ("ETHBIDR", "ETH/BIDR", "ETH", "BIDR"),
        ("BTCUSD1", "BTC/USD1", "BTC", "USD1"),
        ("XYZQQQ", "XYZQQQ", "XYZQQQ", ""),
        ("USDT", "USDT", "USDT", ""),
    ],
)
def test_a_discovering_dialect_splits_a_symbol_by_its_quote_asset(venue_symbol, symbol, base, quote) -> None:
    """The longest quote asset that fits; an unknown one leaves the symbol whole."""
    dialect = Binance()
    dialect.discover()
    made = dialect.instrument(venue_symbol)
    assert (made.symbol, made.base, made.quote, made.venue_symbol) == (symbol, base, quote, venue_symbol)
    assert dialect.instrument(venue_symbol) is made


def test_even_a_discovering_dialect_refuses_what_is_no_symbol() -> None:
    """Blanks, control characters and essays; but letters of any script, which the venue uses."""
    dialect = Binance()
    dialect.discover()
    assert dialect.instrument("币安人生USDT").symbol == "币安人生/USDT"
    for text in ("", " ", "a\x00", "E" * 100, "ETHUSDT\n"):
        with pytest.raises(BadFrameError):
            dialect.instrument(text)
