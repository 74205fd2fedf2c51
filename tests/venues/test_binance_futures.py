"""The dialect of Binance's futures: what its frames and answers become, linear and inverse."""

import json
from decimal import Decimal

import msgspec
import pytest

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    LINKS_FROM_REST,
    Ack,
    BookDelta,
    Funding,
    Heartbeat,
    Instrument,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
)
from traderd.venues.binance_futures import BinanceFutures

ETH = Instrument(0, "binance", "ETH/USDT:USDT", "ETHUSDT", "ETH", "USDT", market="linear", settle="USDT")
BTC = Instrument(0, "binance", "BTC/USD:BTC", "BTCUSD_PERP", "BTC", "USD", market="inverse", settle="BTC")
NOW = 1_723_161_255_088_165_267
TICKER = (
    b'{"stream":"ethusdt@bookTicker","data":{"e":"bookTicker","u":5123107838717,"s":"ETHUSDT","b":"2681.62",'
    b'"B":"1.165","a":"2681.63","A":"73.077","T":1723161256310,"E":1723161256311}}'
)
TRADE = (
    b'{"stream":"ethusdt@trade","data":{"e":"trade","E":1723161256325,"T":1723161256324,"s":"ETHUSDT",'
    b'"t":4509021313,"p":"2681.62","q":"0.019","X":"MARKET","m":true}}'
)
AGG_TRADE = (
    b'{"stream":"ethusdt@aggTrade","data":{"e":"aggTrade","E":1723161256325,"a":5933014,"s":"ETHUSDT","p":"2681.63",'
    b'"q":"100","f":100,"l":105,"T":1723161256324,"m":false}}'
)
DEPTH = (
    b'{"stream":"ethusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256303,"T":1723161256302,"s":"ETHUSDT",'
    b'"U":5123107832349,"u":5123107837896,"pu":5123107832175,"b":[["200.00","10.229"],["707.81","0.000"]],"a":[]}}'
)
MARK = (
    b'{"stream":"ethusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1562305380000,"s":"ETHUSDT",'
    b'"p":"11794.15000000","ap":"11794.1","i":"11784.62659091","P":"11784.25641265","r":"-0.00038167",'
    b'"T":1562306400000}}'
)
LIQUIDATION = (
    b'{"stream":"ethusdt@forceOrder","data":{"e":"forceOrder","E":1698871323061,"o":{"s":"ETHUSDT","S":"BUY",'
    b'"o":"LIMIT","f":"IOC","q":"1.437","p":"35100.81","ap":"34959.70","X":"FILLED","l":"1.437","z":"1.437",'
    b'"T":1698871323059}}}'
)
KLINE = (
    b'{"stream":"ethusdt@kline_1m","data":{"e":"kline","E":1638747660000,"s":"ETHUSDT","k":{"t":1638747660000,'
    b'"T":1638747719999,"s":"ETHUSDT","i":"1m","f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015",'
    b'"v":"1000","n":100,"x":true,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}}}'
)
COIN_FRAMES = [frame.replace(b"ETHUSDT", b"BTCUSD_PERP") for frame in (TICKER, AGG_TRADE, DEPTH, MARK, LIQUIDATION)]
ALL = ["quote", "trade", "book", "candle", "funding", "mark", "open_interest", "liquidation"]


@pytest.fixture
def linear() -> BinanceFutures:
    dialect = BinanceFutures("linear")
    dialect.bind([ETH])
    return dialect


@pytest.fixture
def inverse() -> BinanceFutures:
    dialect = BinanceFutures("inverse")
    dialect.bind([BTC])
    return dialect


def bare(frame: bytes) -> bytes:
    """The frame as a raw stream sends it."""
    return frame[frame.index(b'"data":') + 7 : -1]


@pytest.mark.parametrize("shape", [bytes, bare])
def test_a_quote_tells_the_matching_engine_s_time(linear: BinanceFutures, shape) -> None:
    """Which spot's doesn't."""
    assert list(linear.decode(shape(TICKER), NOW)) == [
        Quote(
            instrument=ETH,
            bid=2681.62,
            ask=2681.63,
            text="2681.62,1.165,2681.63,73.077",
            sequence=5123107838717,
            time_venue_ns=1723161256310 * 1_000_000,
            time_received_ns=NOW,
        )
    ]


@pytest.mark.parametrize("shape", [bytes, bare])
def test_single_and_aggregated_trades_are_understood(linear: BinanceFutures, shape) -> None:
    """Only the aggregated ones are subscribed to; a recording may hold the others."""
    time_ns = 1723161256324 * 1_000_000
    assert list(linear.decode(shape(TRADE), NOW)) == [
        Trade(ETH, "4509021313", "sell", 2681.62, "2681.62,0.019", time_ns, NOW)
    ]
    linear.bind([ETH])
    assert list(linear.decode(shape(AGG_TRADE), NOW)) == [
        Trade(ETH, "5933014", "buy", 2681.63, "2681.63,100", time_ns, NOW)
    ]


@pytest.mark.parametrize("shape", [bytes, bare])
def test_a_trade_of_nothing_for_nothing_is_none(linear: BinanceFutures, shape) -> None:
    """The stream of single trades has such; a price without a quantity, or the other way round, is no number."""
    nothing = TRADE.replace(b'"2681.62"', b'"0"').replace(b'"MARKET"', b'"NA"')
    assert list(linear.decode(shape(nothing.replace(b'"0.019"', b'"0"')), NOW)) == []
    with pytest.raises(BadFrameError, match="bad_number"):
        linear.decode(shape(nothing), NOW)


@pytest.mark.parametrize("shape", [bytes, bare])
def test_a_change_of_the_book_is_linked_to_the_one_before(linear: BinanceFutures, shape) -> None:
    """Without the link nobody could say whether one is missing: such a frame is refused."""
    levels = [("200.00", "10.229"), ("707.81", "0.000")]
    ids = (5123107832349, 5123107837896)
    time_ns, previous = 1723161256302 * 1_000_000, 5123107832175
    assert list(linear.decode(shape(DEPTH), NOW)) == [
        BookDelta(ETH, levels, [], *ids, None, time_ns, NOW, previous, LINKS_FROM_REST)
    ]
    with pytest.raises(BadFrameError, match="malformed"):
        linear.decode(shape(DEPTH.replace(b'"pu":5123107832175,', b"")), NOW)


def depth(bids: int, asks: int, gone: int = 0) -> bytes:
    """A change, or a partial book, without its stream's name: so many levels, and so many bids that are gone."""
    levels = [[f"{2600 - at}.10", "0.000" if at < gone else "1.500"] for at in range(bids)]
    told = {"e": "depthUpdate", "E": 1723161256303, "T": 1723161256302, "s": "ETHUSDT", "U": 5, "u": 9, "pu": 4}
    return json.dumps(told | {"b": levels, "a": [[f"{2601 + at}.10", "2.5"] for at in range(asks)]}).encode()


def test_a_partial_book_without_its_name_is_no_change(linear: BinanceFutures) -> None:
    """It has a change's very fields: its shape tells, until the stream shows that it has changes."""
    for levels in (20, 20, 5, 10):
        with pytest.raises(BadFrameError, match="unknown_channel"):
            linear.decode(depth(levels, levels), NOW)
    for change in (depth(20, 20, gone=1), depth(20, 20), depth(7, 5)):
        (delta,) = linear.decode(change, NOW)
        assert isinstance(delta, BookDelta)
    linear.bind([linear.instrument("ETHUSDT")])
    with pytest.raises(BadFrameError, match="unknown_channel"):
        linear.decode(depth(20, 20), NOW)


@pytest.mark.parametrize("shape", [bytes, bare])
def test_a_mark_price_comes_with_index_and_funding(linear: BinanceFutures, shape) -> None:
    """A rate below zero is paid by the shorts."""
    time_ns, next_ns = 1562305380000 * 1_000_000, 1562306400000 * 1_000_000
    assert list(linear.decode(shape(MARK), NOW)) == [
        MarkPrice(ETH, "11794.15000000", "11784.62659091", time_ns, NOW),
        Funding(ETH, "-0.00038167", next_ns, time_ns, NOW),
    ]


def test_a_contract_that_expires_has_no_funding(inverse: BinanceFutures) -> None:
    """Its rate is empty; an index that isn't told stays empty, too."""
    frame = (
        b'{"e":"markPriceUpdate","E":1596095725000,"s":"BTCUSD_PERP","p":"10934.62615417","P":"10962.17178236",'
        b'"r":"","T":0}'
    )
    assert list(inverse.decode(frame, NOW)) == [MarkPrice(BTC, "10934.62615417", "", 1596095725000 * 1_000_000, NOW)]


@pytest.mark.parametrize("shape", [bytes, bare])
def test_a_liquidation_is_told_at_the_price_it_was_filled_at(linear: BinanceFutures, shape) -> None:
    """Or at its own while nothing is filled. The side is the closing order's: a short was bought back."""
    time_ns = 1698871323059 * 1_000_000
    assert list(linear.decode(shape(LIQUIDATION), NOW)) == [Liquidation(ETH, "buy", "34959.70", "1.437", time_ns, NOW)]
    unfilled = LIQUIDATION.replace(b'"34959.70"', b'"0"').replace(b'"BUY"', b'"SELL"')
    assert list(linear.decode(shape(unfilled), NOW)) == [Liquidation(ETH, "sell", "35100.81", "1.437", time_ns, NOW)]


@pytest.mark.parametrize("frame", [TICKER, AGG_TRADE, DEPTH, MARK, LIQUIDATION])
def test_what_the_venue_has_told_besides_since_2026_changes_nothing(linear: BinanceFutures, frame: bytes) -> None:
    """The pair, the kind of contract, and what of a trade wasn't retail's."""
    more = frame.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","ps":"ETHUSDT"', 1).replace(
        b'"f":100', b'"nq":"99.5","f":100'
    )
    more = more.removesuffix(b"}}") + b',"st":1}}'
    assert more != frame
    assert linear.decode(more, NOW) == linear.decode(frame, NOW)


@pytest.mark.parametrize("frame", COIN_FRAMES)
def test_the_inverse_market_speaks_the_same_frames(inverse: BinanceFutures, frame: bytes) -> None:
    """With a pair more in some of them."""
    with_pair = frame.replace(b'"s":"BTCUSD_PERP"', b'"s":"BTCUSD_PERP","ps":"BTCUSD"')
    for text in (frame, with_pair):
        events = list(inverse.decode(text, NOW))
        assert events
        assert all(event.instrument == BTC for event in events)  # type: ignore[union-attr]  # only market events here


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (MARK.replace(b"11794.15000000", b"0.0"), "bad_number"),
        (MARK.replace(b"-0.00038167", b"1e-5"), "bad_number"),
        (MARK.replace(b"11784.62659091", b"-1"), "bad_number"),
        (LIQUIDATION.replace(b"1.437", b"NaN"), "bad_number"),
        (LIQUIDATION.replace(b'"BUY"', b'"HOLD"'), "malformed"),
        (KLINE.replace(b'"i":"1m"', b'"i":"7m"'), "unknown_channel"),
        (KLINE.replace(b'"h":"0.0025"', b'"h":"0"'), "bad_number"),
        (TICKER.replace(b"ETHUSDT", b"SOLUSDT"), "unknown_symbol"),
        (b'{"stream":"!contractInfo","data":{"e":"contractInfo","s":"ETHUSDT"}}', "unknown_channel"),
    ],
)
def test_a_frame_outside_the_protocol_is_refused(linear: BinanceFutures, frame: bytes, reason: str) -> None:
    """The reason is one of a few, since it labels a counter."""
    with pytest.raises(BadFrameError) as refused:
        linear.decode(frame, NOW)
    assert refused.value.reason == reason


def test_quotes_and_books_of_the_linear_market_have_an_address_of_their_own(linear: BinanceFutures) -> None:
    """What both addresses would have to carry can't be asked of one connection."""
    groups = linear.by_connection(ALL)
    assert groups == [["quote", "book"], ["trade", "candle", "funding", "mark", "liquidation"]]
    assert [linear.websocket_url(linear.live, [ETH], group) for group in groups] == [
        "wss://fstream.binance.com/public/stream",
        "wss://fstream.binance.com/market/stream",
    ]
    with pytest.raises(ValueError, match="can't share"):
        linear.websocket_url(linear.live, [ETH], ["quote", "trade"])
    assert linear.by_connection(["open_interest"]) == []


def test_the_inverse_market_has_one_address(inverse: BinanceFutures) -> None:
    """For everything that is streamed."""
    assert inverse.by_connection(ALL) == [[channel for channel in ALL if channel != "open_interest"]]
    assert inverse.websocket_url(inverse.live, [BTC], ["quote", "trade"]) == "wss://dstream.binance.com/stream"


def test_funding_and_mark_price_share_one_stream(linear: BinanceFutures) -> None:
    """Asked for once, acknowledged for both."""
    (frame,) = linear.subscribe_frames([ETH], ["funding", "mark", "open_interest", "trade"])
    assert json.loads(frame)["params"] == ["ethusdt@markPrice@1s", "ethusdt@aggTrade"]
    acks = [Ack(True, channel, "ETHUSDT", "", 1) for channel in ("funding", "mark", "trade")]
    assert list(linear.decode(b'{"result":null,"id":1}', NOW)) == acks
    assert linear.resubscribe_frames(ETH, "open_interest") == []


def test_the_link_is_asked_whether_it_lives(linear: BinanceFutures) -> None:
    """Liquidations alone may be hours apart, and the answer is no acknowledgement."""
    assert json.loads(linear.heartbeat.frame)["id"] == 0
    assert list(linear.decode(b'{"result":true,"id":0}', NOW)) == [Heartbeat()]


@pytest.mark.parametrize(
    ("market", "symbol", "venue_symbol", "expiry"),
    [
        ("linear", "ETH/USDT:USDT", "ETHUSDT", 0),
        ("linear", "1000SHIB/USDC:USDC", "1000SHIBUSDC", 0),
        ("linear", "BTC/USDT:USDT-261225", "BTCUSDT_261225", 1_798_185_600),
        ("inverse", "BTC/USD:BTC", "BTCUSD_PERP", 0),
        ("inverse", "BTC/USD:BTC-261225", "BTCUSD_261225", 1_798_185_600),
    ],
)
def test_symbols_are_spelled_as_in_ccxt_both_ways(market, symbol: str, venue_symbol: str, expiry: int) -> None:
    """A discovered contract is delivered at eight in the morning of the day in its name."""
    dialect = BinanceFutures(market)
    assert dialect.symbol_to_venue(symbol) == venue_symbol
    dialect.discover()
    made = dialect.instrument(venue_symbol)
    assert (made.symbol, made.market, made.expiry_ns) == (symbol, market, expiry * 1_000_000_000)
    assert f"{made.base}/{made.quote}:{made.settle}" == symbol.partition("-")[0]


def test_a_name_that_ends_in_no_date_never_expires() -> None:
    """Whatever it means."""
    dialect = BinanceFutures("linear")
    dialect.discover()
    assert dialect.instrument("BTCUSDT_999999").expiry_ns == 0
    assert dialect.instrument("QQQ_X").symbol == "QQQ-X"


def contract(symbol: str, **fields: object) -> dict[str, object]:
    return {
        "symbol": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500"},
        ],
        **fields,
    }


def test_linear_contracts_come_with_their_limits(linear: BinanceFutures) -> None:
    """Only those that trade, in the order asked for; a dated one knows when it ends."""
    dated = {"contractType": "CURRENT_QUARTER", "deliveryDate": 1_798_185_600_000}
    body = msgspec.json.encode(
        {
            "symbols": [
                contract("BTCUSDT", status="TRADING"),
                contract("ETHUSDT", status="SETTLING", baseAsset="ETH"),
                contract("XAUUSDT", status="TRADING", baseAsset="XAU", contractType="TRADIFI_PERPETUAL"),
                contract("BTCUSDT_261225", status="TRADING", **dated),
            ]
        }
    )
    limits = (Decimal("0.10"), Decimal("0.001"), Decimal(100), "linear", "USDT", Decimal(1))
    wanted = ["BTC/USDT:USDT-261225", "ETH/USDT:USDT", "XAU/USDT:USDT", "BTC/USDT:USDT", "BTC/USDT"]
    expiry_ns = 1_798_185_600_000_000_000
    assert linear.decode_instruments(body, wanted) == [
        Instrument(0, "binance", wanted[0], "BTCUSDT_261225", "BTC", "USDT", *limits, expiry_ns),
        Instrument(1, "binance", wanted[2], "XAUUSDT", "XAU", "USDT", *limits),
        Instrument(2, "binance", wanted[3], "BTCUSDT", "BTC", "USDT", *limits),
    ]


def test_inverse_contracts_know_how_many_dollars_they_stand_for(inverse: BinanceFutures) -> None:
    """Settled in what they are of."""
    entry = contract(
        "BTCUSD_PERP", contractStatus="TRADING", contractSize=100, quoteAsset="USD", marginAsset="BTC", filters=[]
    )
    (found,) = inverse.decode_instruments(msgspec.json.encode({"symbols": [entry]}), ["BTC/USD:BTC"])
    assert (found.venue_symbol, found.contract_size, found.settle) == ("BTCUSD_PERP", Decimal(100), "BTC")
    assert (found.market, found.expiry_ns) == ("inverse", 0)


def test_a_snapshot_is_the_book_at_the_matching_engine_s_time(linear: BinanceFutures) -> None:
    """Joined to the stream by links."""
    url = linear.snapshot_url(linear.live, ETH)
    assert url == "https://fapi.binance.com/fapi/v1/depth?symbol=ETHUSDT&limit=1000"
    assert linear.snapshot_symbol(url) == "ETHUSDT"
    body = b'{"lastUpdateId":7,"E":2,"T":1,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}'
    snapshot = linear.decode_snapshot(body, ETH, NOW)
    assert (snapshot.sequence, snapshot.time_venue_ns, snapshot.rule) == (7, 1_000_000, LINKS_FROM_REST)


def test_open_interest_is_asked_for_by_rest(inverse: BinanceFutures) -> None:
    """An answer about another contract is none."""
    url = inverse.open_interest_url(inverse.live, BTC)
    assert url == "https://dapi.binance.com/dapi/v1/openInterest?symbol=BTCUSD_PERP"
    body = b'{"contractType":"PERPETUAL","openInterest":"6784657","pair":"BTCUSD","symbol":"BTCUSD_PERP","time":17}'
    assert inverse.decode_open_interest(body, BTC, NOW) == OpenInterest(BTC, "6784657", 17_000_000, NOW)
    for spoilt in (body.replace(b"_PERP", b"_X"), body.replace(b"6784657", b"-1"), b"[]"):
        with pytest.raises(BadFrameError):
            inverse.decode_open_interest(spoilt, BTC, NOW)
