"""Kraken's dialect (websocket v2): what its frames and answers become."""

import json
from decimal import Decimal

import pytest

from traderd.core.errors import BadFrameError
from traderd.core.market import SUMMED, Ack, BookDelta, BookSnapshot, Heartbeat, Instrument, Quote, Trade, VenueCandle
from traderd.venues.kraken import Kraken

ETH = Instrument(0, "kraken", "ETH/USD", "ETH/USD", "ETH", "USD")
NOW = 1_785_644_622_178_672_613
TIME = 1_785_644_623_217_117_000
TICKER = (
    b'{"channel":"ticker","type":"update","data":[{"symbol":"ETH/USD","bid":1877.29,"bid_qty":2.41130000,"ask":1877.30,'
    b'"ask_qty":0.07018245,"last":1877.30,"volume":20154.7,"vwap":1861.04,"low":1830.12,"high":1891.00,"change":12.51,'
    b'"change_pct":0.67,"timestamp":"2026-08-02T04:23:43.217117Z"}]}'
)
TRADES = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"ETH/USD","side":"sell","price":0.50930100,"qty":4.0,'
    b'"ord_type":"market","trade_id":4665906,"timestamp":"2026-08-02T04:23:43.217117Z"},{"symbol":"ETH/USD",'
    b'"side":"buy","price":0.5147,"qty":6.1e-7,"ord_type":"limit","trade_id":4665907,'
    b'"timestamp":"2026-08-02T04:23:43.2171179Z"}]}'
)
BOOK = (
    b'{"channel":"book","type":"update","data":[{"symbol":"ETH/USD","bids":[],"asks":[{"price":1877.61,'
    b'"qty":0.00000000},{"price":1878.15,"qty":25.61585391}],"checksum":3730778136,'
    b'"timestamp":"2026-08-02T04:23:43.217117Z"}]}'
)
SNAPSHOT = (
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"ETH/USD","bids":[{"price":0.5666,"qty":4831.75496356}],'
    b'"asks":[{"price":0.5668,"qty":4410.79769741}],"checksum":2439117997}]}'
)
CANDLE = (
    b'{"channel":"ohlc","type":"update","timestamp":"2023-10-04T16:26:30.524394914Z","data":[{"symbol":"ETH/USD",'
    b'"open":0.5624,"high":0.5628,"low":0.5622,"close":0.5627,"trades":12,"volume":6.1e-7,"vwap":0.5626,'
    b'"interval_begin":"2023-10-04T16:25:00.000000000Z","interval":5,"timestamp":"2023-10-04T16:30:00.000000Z"}]}'
)
SUBSCRIBED = (
    b'{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,"symbol":"ETH/USD"},"success":true,'
    b'"time_in":"2026-08-02T04:23:42.847625Z","time_out":"2026-08-02T04:23:42.847670Z"}'
)
STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    b'"connection_id":15413894943188002760}]}'
)


@pytest.fixture
def kraken() -> Kraken:
    dialect = Kraken(10)
    dialect.bind([ETH])
    return dialect


def test_a_ticker_is_a_quote_with_the_digits_as_sent(kraken: Kraken) -> None:
    """Trailing zeros included; the sequence is what the receive time has below a microsecond."""
    assert list(kraken.decode(TICKER, NOW)) == [
        Quote(
            instrument=ETH,
            bid=1877.29,
            ask=1877.3,
            text="1877.29,2.41130000,1877.30,0.07018245",
            sequence=613,
            time_venue_ns=TIME,
            time_received_ns=NOW,
        )
    ]


def test_a_market_with_an_empty_side_has_no_quote_and_no_fault(kraken: Kraken) -> None:
    """Neither price nor quantity; a quantity without a price is a fault."""
    assert list(kraken.decode(TICKER.replace(b"1877.29,", b"0.00,").replace(b"2.41130000", b"0.0"), NOW)) == []
    with pytest.raises(BadFrameError, match="bad_number"):
        kraken.decode(TICKER.replace(b"1877.29,", b"0.00,"), NOW)


def test_a_ticker_without_a_time_has_none(kraken: Kraken) -> None:
    """Older servers send no timestamp there."""
    (quote,) = kraken.decode(TICKER.replace(b',"timestamp":"2026-08-02T04:23:43.217117Z"', b""), NOW)
    assert isinstance(quote, Quote)
    assert quote.time_venue_ns == 0


def test_trades_come_in_the_venue_s_order_with_the_taker_s_side(kraken: Kraken) -> None:
    """An exponent is written out exactly, and a time keeps all its digits."""
    assert list(kraken.decode(TRADES, NOW)) == [
        Trade(ETH, "4665906", "sell", 0.509301, "0.50930100,4.0", TIME, NOW),
        Trade(ETH, "4665907", "buy", 0.5147, "0.5147,0.00000061", TIME + 900, NOW),
    ]


def test_a_book_update_is_a_delta_with_its_checksum(kraken: Kraken) -> None:
    """Texts as sent: they are what the checksum is made of."""
    levels = [("1877.61", "0.00000000"), ("1878.15", "25.61585391")]
    assert list(kraken.decode(BOOK, NOW)) == [BookDelta(ETH, [], levels, 0, 0, 3730778136, TIME, NOW, rule=SUMMED)]


def test_a_candle_is_told_while_it_grows(kraken: Kraken) -> None:
    """Whether it is closed the venue doesn't say; one of an odd length is of a stream that nobody asked for."""
    begun, told = 1_696_436_700_000_000_000, 1_696_437_000_000_000_000
    prices = ("0.5624", "0.5628", "0.5622", "0.5627")
    assert list(kraken.decode(CANDLE, NOW)) == [
        VenueCandle(ETH, "5m", begun, *prices, "0.00000061", False, told, NOW),
    ]
    with pytest.raises(BadFrameError, match="unknown_channel"):
        kraken.decode(CANDLE.replace(b'"interval":5', b'"interval":7'), NOW)


def test_a_snapshot_knows_the_depth_that_the_venue_granted(kraken: Kraken) -> None:
    """The configured one until the venue has answered the subscription."""

    def depth() -> int:
        (snapshot,) = kraken.decode(SNAPSHOT, NOW)
        assert isinstance(snapshot, BookSnapshot)
        assert snapshot.bids == [("0.5666", "4831.75496356")]
        return snapshot.depth

    assert depth() == 10
    assert list(kraken.decode(SUBSCRIBED, NOW)) == [Ack(True, "book", "ETH/USD", "")]
    assert depth() == 25
    kraken.decode(SUBSCRIBED.replace(b'"depth":25', b'"depth":10'), NOW)
    assert depth() == 25, "of two depths the greater"
    kraken.decode(SUBSCRIBED.replace(b'"subscribe"', b'"unsubscribe"'), NOW)
    kraken.decode(SUBSCRIBED.replace(b'"depth":25', b'"depth":100'), NOW)
    assert depth() == 100


@pytest.mark.parametrize(("levels", "depth"), [(3, 10), (10, 10), (11, 25), (25, 25), (100, 100), (1000, 1000)])
def test_a_snapshot_whose_subscription_was_not_heard_of_tells_its_depth(levels: int, depth: int) -> None:
    """A book cut to fewer levels than the venue keeps would break at the next checksum."""
    asks = ",".join(f'{{"price":{1 + at},"qty":1}}' for at in range(levels))
    book = f'{{"symbol":"ETH/USD","bids":[],"asks":[{asks}],"checksum":1}}'
    kraken = Kraken(10)
    kraken.discover()
    (snapshot,) = kraken.decode(f'{{"channel":"book","type":"snapshot","data":[{book}]}}'.encode(), NOW)
    assert isinstance(snapshot, BookSnapshot)
    assert snapshot.depth == depth


@pytest.mark.parametrize(
    ("frame", "events"),
    [
        (b'{"channel":"heartbeat"}', [Heartbeat()]),
        (b'{"method":"pong","req_id":7,"time_in":"2026-08-02T04:23:42.847625Z"}', [Heartbeat()]),
        (STATUS, []),
        (SUBSCRIBED.replace(b'"subscribe"', b'"unsubscribe"'), []),
        (
            b'{"error":"Currency pair not supported ETH/USD","method":"subscribe","success":false,"symbol":"ETH/USD"}',
            [Ack(False, "", "ETH/USD", "Currency pair not supported ETH/USD")],
        ),
        (b'{"error":"Malformed request","success":false}', [Ack(False, "", "", "Malformed request")]),
    ],
)
def test_what_is_not_market_data_is_told_apart(kraken: Kraken, frame: bytes, events: list[object]) -> None:
    """A status whose connection id no double holds passes too."""
    assert list(kraken.decode(frame, NOW)) == events


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "malformed"),
        (b"[]", "malformed"),
        (b'{"channel":"book","type":"update"}', "malformed"),
        (BOOK.replace(b"3730778136", b"4294967296"), "malformed"),
        (BOOK.replace(b"3730778136", b"9" * 5000), "malformed"),
        (b'{"channel":"book","x":' + b"[" * 100_000, "malformed"),
        (b'{"channel":"instrument","data":{}}', "unknown_channel"),
        (b"{}", "unknown_channel"),
        (TICKER.replace(b"ETH/USD", b"SOL/USD"), "unknown_symbol"),
        (SUBSCRIBED.replace(b"ETH/USD", b"SOL/USD"), "unknown_symbol"),
        (TICKER.replace(b"1877.29", b"0.0"), "bad_number"),
        (TICKER.replace(b"1877.29", b"-1877.29"), "bad_number"),
        (TICKER.replace(b"1877.29", b"null"), "bad_number"),
        (TICKER.replace(b"1877.29", b'"1877.29"'), "bad_number"),
        (TICKER.replace(b"1877.29", b"1e400"), "bad_number"),
        (TICKER.replace(b"1877.29", b"1" * 400), "bad_number"),
        (BOOK.replace(b"25.61585391", b'"\xc3\xa9"'), "malformed"),
        (TRADES.replace(b'"sell"', b'"short"'), "bad_side"),
        (TRADES.replace(b"2026-08-02T", b"2026-08-32T"), "bad_time"),
        (TRADES.replace(b"2026-08-02T", b"2026-08-02 "), "bad_time"),
        (TRADES.replace(b"2026-", b"9026-"), "bad_time"),
    ],
)
def test_a_frame_outside_the_protocol_is_refused_with_its_reason(kraken: Kraken, frame: bytes, reason: str) -> None:
    """The reason is one of a few, since it labels a counter."""
    with pytest.raises(BadFrameError) as refused:
        kraken.decode(frame, NOW)
    assert refused.value.reason == reason


def test_subscribing_asks_for_each_channel_as_this_house_needs_it(kraken: Kraken) -> None:
    """Quotes at every change of the best prices, no history of trades, the configured depth of book."""
    frames = [json.loads(frame) for frame in kraken.subscribe_frames([ETH], ["quote", "trade", "book"])]
    assert frames == [
        {"method": "subscribe", "params": {"channel": "ticker", "symbol": ["ETH/USD"], "event_trigger": "bbo"}},
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["ETH/USD"], "snapshot": False}},
        {"method": "subscribe", "params": {"channel": "book", "symbol": ["ETH/USD"], "depth": 10}},
    ]
    assert kraken.websocket_url(kraken.live, [ETH], ["quote"]) == "wss://ws.kraken.com/v2"


def test_many_symbols_are_asked_for_in_several_frames(kraken: Kraken) -> None:
    """A hundred each; candles of a minute, without the history that comes with them unasked."""
    many = [Instrument(n, "kraken", f"X{n}/USD", f"X{n}/USD", f"X{n}", "USD") for n in range(250)]
    frames = [json.loads(frame) for frame in kraken.subscribe_frames(many, ["quote", "candle", "mark"])]
    assert [len(frame["params"]["symbol"]) for frame in frames] == [100, 100, 50] * 2
    params = {"channel": "ohlc", "symbol": ["ETH/USD"], "interval": 1}
    asked = [json.loads(frame) for frame in kraken.resubscribe_frames(ETH, "candle")]
    assert [each["params"] for each in asked] == [params, {**params, "snapshot": False}]


def test_a_broken_book_is_subscribed_to_anew(kraken: Kraken) -> None:
    """Unsubscribed first, or the venue would refuse."""
    frames = [json.loads(frame) for frame in kraken.resubscribe_frames(ETH, "book")]
    params = {"channel": "book", "symbol": ["ETH/USD"], "depth": 10}
    assert frames == [{"method": "unsubscribe", "params": params}, {"method": "subscribe", "params": params}]
    assert kraken.snapshot_url(kraken.live, ETH) == ""


def test_pairs_are_named_as_the_websocket_names_them(kraken: Kraken) -> None:
    """XBT is BTC and XDG is DOGE; only pairs that are online; the tick is told, or follows from the decimals."""

    def pair(wsname: str, **more: object) -> dict[str, object]:
        return {"wsname": wsname, "pair_decimals": 1, "lot_decimals": 8, "costmin": "0.5", "status": "online", **more}

    pairs = {
        "XXBTZUSD": pair("XBT/USD", tick_size="0.5"),
        "XDGUSD": pair("XDG/USD", costmin="0"),
        "SOLUSD": pair("SOL/USD", status="cancel_only"),
    }
    body = json.dumps({"error": [], "result": pairs}).encode()
    step = Decimal("0.00000001")
    assert kraken.decode_instruments(body, ["DOGE/USD", "SOL/USD", "BTC/USD"]) == [
        Instrument(0, "kraken", "DOGE/USD", "DOGE/USD", "DOGE", "USD", Decimal("0.1"), step, Decimal(0)),
        Instrument(1, "kraken", "BTC/USD", "BTC/USD", "BTC", "USD", Decimal("0.5"), step, Decimal("0.5")),
    ]


def test_a_rest_answer_that_says_no_is_refused(kraken: Kraken) -> None:
    """An error and no result."""
    with pytest.raises(BadFrameError, match="refused"):
        kraken.decode_time(b'{"error":["EGeneral:Too many requests"]}')
    assert kraken.decode_time(b'{"error":[],"result":{"unixtime":1616336594,"rfc1123":"x"}}') == 1616336594 * 10**9
