"""OKX's dialect (v5): what its frames and answers become, and that no lost frame leaves a book wrong."""

import json
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from traderd.adapters.capture import Capture
from traderd.core.book import Book, Verdict
from traderd.core.errors import BadFrameError
from traderd.core.market import (
    Ack,
    BookDelta,
    BookSnapshot,
    Funding,
    Heartbeat,
    Instrument,
    Level,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
    VenueCandle,
    VenueEvent,
)
from traderd.venues.dialect import AnyChannel, History, Hole
from traderd.venues.okx import Okx
from traderd.venues.okx_events import LINKED, LINKED_SNAPSHOT, SUMMED
from traderd.venues.okx_symbols import instrument_of
from traderd.venues.playback import Recorded, events_of

CAPTURE = Path(__file__).parents[2].parent / "shared" / "captures" / "okx" / "three_instruments_2022.frames.gz"
BTC = Instrument(0, "okx", "BTC/USDT", "BTC-USDT", "BTC", "USDT")
SWAP = Instrument(1, "okx", "BTC/USDT:USDT", "BTC-USDT-SWAP", "BTC", "USDT", market="linear", settle="USDT")
COIN = Instrument(2, "okx", "BTC/USD:BTC", "BTC-USD-SWAP", "BTC", "USD", market="inverse", settle="BTC")
DATED = instrument_of("BTC-USDT-260327", 3)
BOUND = [BTC, SWAP, COIN, DATED]
NOW = 1_786_309_549_236_824_613
TS = 1_786_309_549_123
AT = TS * 1_000_000
MINUTE = 60_000_000_000
ALL: list[AnyChannel] = ["quote", "trade", "book", "candle", "funding", "mark", "open_interest", "liquidation"]


def frame(channel: str, *data: object, symbol: str = "BTC-USDT-SWAP", **more: object) -> bytes:
    told = {"arg": {"channel": channel, "instId": symbol}, **more, "data": data}
    return json.dumps(told, separators=(",", ":")).encode()


def changes(bids: list[list[str]], asks: list[list[str]], **numbers: int) -> dict[str, object]:
    return {"asks": asks, "bids": bids, "ts": str(TS), **numbers}


def answer(*data: object, code: str = "0") -> bytes:
    return json.dumps({"code": code, "msg": "", "data": data}, separators=(",", ":")).encode()


BID, ASK = ["64999.9", "120.5", "0", "9"], ["65000", "3", "0", "1"]
BEST = frame("bbo-tbt", changes([BID], [ASK], seqId=363996337))
TICKER = frame(
    "tickers",
    {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "last": "64999.9", "lastSz": "1", "askPx": "65000", "askSz": "3"}
    | {"bidPx": "64999.9", "bidSz": "120.5", "open24h": "63000", "vol24h": "1000", "ts": str(TS)},
)
FILL = {"instId": "BTC-USDT-SWAP", "tradeId": "130639474", "px": "64999.9", "sz": "0.12", "side": "sell", "source": "0"}
TRADE = frame("trades-all", {**FILL, "ts": str(TS)})
TRADES = frame("trades", {**FILL, "ts": str(TS), "count": "3", "seqId": 1234})
SNAPSHOT = frame("books", changes([BID], [ASK], checksum=0, prevSeqId=-1, seqId=10), action="snapshot")
BOOK = frame("books", changes([["64999.9", "0", "0", "0"]], [], checksum=0, prevSeqId=10, seqId=15), action="update")
OLD_BOOK = frame("books", changes([BID], [], checksum=-1023440116), action="update")
ROW = [str(TS - 9_123), "65000", "65010.5", "64990", "65001", "812.4", "8.124", "528066.8"]
CANDLE = frame("candle1m", [*ROW, "1"])
FUNDING = frame(
    "funding-rate",
    {"fundingRate": "-0.0001875391284828", "fundingTime": "1786320000000", "instId": "BTC-USDT-SWAP"}
    | {"nextFundingRate": "", "nextFundingTime": "1786348800000", "settState": "settled", "ts": str(TS)},
)
MARK = frame("mark-price", {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "65000.1", "ts": str(TS)})
INDEX = frame(
    "index-tickers", {"instId": "BTC-USDT", "idxPx": "65003.2", "high24h": "66000", "ts": str(TS)}, symbol="BTC-USDT"
)
INTEREST = frame("open-interest", {"instId": "BTC-USDT-SWAP", "oi": "2216113.01", "oiCcy": "22161.1", "ts": str(TS)})
FORCED = {"bkLoss": "0", "bkPx": "64000.5", "ccy": "", "posSide": "long", "side": "sell", "sz": "13", "ts": str(TS)}
LIQUIDATION = json.dumps(
    {
        "arg": {"channel": "liquidation-orders", "instType": "SWAP"},
        "data": [
            {"details": [FORCED], "instFamily": "BTC-USDT", "instId": "BTC-USDT-SWAP", "instType": "SWAP"},
            {"details": [FORCED], "instFamily": "IOST-USDT", "instId": "IOST-USDT-SWAP", "instType": "SWAP"},
        ],
    },
    separators=(",", ":"),
).encode()
SUBSCRIBED = b'{"id":"7","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"connId":"a4d3ae55"}'
REFUSAL = "Wrong URL or channel:trades-all,instId:NO-SUCH doesn't exist. Please use the correct URL."
REFUSED = b'{"id":"7","event":"error","code":"60018","msg":"%s","connId":"a4d3ae55"}' % REFUSAL.encode()
TICKS = [BEST, TICKER, TRADE, TRADES, SNAPSHOT, BOOK, OLD_BOOK, CANDLE, SUBSCRIBED, REFUSED]
FRAMES = [*TICKS, FUNDING, MARK, INDEX, INTEREST, LIQUIDATION]
SPOT_FRAMES = [sent.replace(b"-SWAP", b"") for sent in TICKS]
COIN_FRAMES = [sent.replace(b"BTC-USDT", b"BTC-USD") for sent in FRAMES]

SPOT_ROW = {
    **{"instType": "SPOT", "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "settleCcy": "", "uly": ""},
    **{"tickSz": "0.1", "lotSz": "0.00000001", "minSz": "0.00001", "ctVal": "", "ctMult": "", "ctType": ""},
    **{"expTime": "1790000000000", "state": "live", "instIdCode": 1000000000, "tradeQuoteCcyList": ["USDT"]},
}
SWAP_ROW = {
    **{"instType": "SWAP", "instId": "BTC-USDT-SWAP", "baseCcy": "", "quoteCcy": "", "settleCcy": "USDT"},
    **{"uly": "BTC-USDT", "tickSz": "0.1", "lotSz": "0.01", "ctVal": "0.01", "ctMult": "1", "ctType": "linear"},
    **{"expTime": "", "state": "live"},
}
DATED_ROW = {
    **SWAP_ROW,
    **{"instType": "FUTURES", "instId": "BTC-USD-260327", "uly": "BTC-USD", "settleCcy": "BTC", "ctVal": "100"},
    **{"ctType": "inverse", "expTime": "1774598400000", "lotSz": "1"},
}
REST_BOOK = answer({"asks": [ASK], "bids": [BID], "ts": str(TS), "seqId": 12})
REST_TIME = answer({"ts": str(TS)})
REST_TRADES = answer({**FILL, "ts": str(TS)}, {**FILL, "tradeId": "130639473", "side": "buy", "ts": str(TS - 5)})
REST_CANDLES = answer([*ROW, "0"], [str(TS - 69_123), *ROW[1:], "1"])
COIN_ROW = {**DATED_ROW, "instType": "SWAP", "instId": "BTC-USD-SWAP", "expTime": ""}
ANSWERS = [REST_BOOK, REST_TIME, REST_TRADES, REST_CANDLES, answer(SWAP_ROW)]
SPOT_ANSWERS = [REST_TRADES.replace(b"-SWAP", b""), answer(SPOT_ROW)]
COIN_ANSWERS = [REST_TRADES.replace(b"BTC-USDT", b"BTC-USD"), answer(COIN_ROW)]


@pytest.fixture
def okx() -> Okx:
    dialect = Okx("linear")
    dialect.bind(BOUND)
    return dialect


QUOTE = Quote(SWAP, 64999.9, 65000.0, "64999.9,120.5,65000,3", 363996337, AT, NOW)
TRADED = Trade(SWAP, "130639474", "sell", 64999.9, "64999.9,0.12", AT, NOW)
OPENED = (TS - 9_123) * 1_000_000
PRICES = ("65000", "65010.5", "64990", "65001")


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        (BEST, [QUOTE]),
        (TRADE, [TRADED]),
        (TRADES, [TRADED]),
        (CANDLE, [VenueCandle(SWAP, "1m", OPENED, *PRICES, "812.4", True, 0, NOW)]),
        (CANDLE.replace(b"candle1m", b"candle6Hutc").replace(b'"1"]', b'"0"]'), None),
        (FUNDING, [Funding(SWAP, "-0.0001875391284828", 1_786_320_000_000_000_000, AT, NOW)]),
        (FUNDING.replace(b'"-0.0001875391284828"', b'""'), []),
        (MARK, [MarkPrice(SWAP, "65000.1", "", AT, NOW)]),
        (INTEREST, [OpenInterest(SWAP, "2216113.01", AT, NOW)]),
        (LIQUIDATION, [Liquidation(SWAP, "sell", "64000.5", "13", AT, NOW)]),
        (INDEX, [MarkPrice(SWAP, "", "65003.2", AT, NOW), MarkPrice(DATED, "", "65003.2", AT, NOW)]),
        (INDEX.replace(b"BTC-USDT", b"ETH-USDT"), []),
    ],
)
def test_a_frame_means_what_it_says(okx: Okx, sent: bytes, events: list[VenueEvent] | None) -> None:
    """The index's price is every contract's that it values; others' liquidations are passed over."""
    if events is None:
        events = [VenueCandle(SWAP, "6h", OPENED, *PRICES, "812.4", False, 0, NOW)]
    assert list(okx.decode(sent, NOW)) == events


def test_a_ticker_is_a_quote_without_a_number(okx: Okx) -> None:
    """What the receive time has below a microsecond tells neighbours apart."""
    (quote,) = okx.decode(TICKER, NOW)
    assert isinstance(quote, Quote)
    assert quote.sequence == 613
    quote.sequence = QUOTE.sequence
    assert quote == QUOTE


@pytest.mark.parametrize(
    "sent",
    [
        frame("bbo-tbt", changes([], [ASK], seqId=1)),
        frame("bbo-tbt", changes([BID], [], seqId=1)),
        TICKER.replace(b'"64999.9","bidSz":"120.5"', b'"","bidSz":""'),
        TICKER.replace(b'"askPx":"65000"', b'"askPx":""'),
    ],
)
def test_a_market_with_an_empty_side_has_no_quote_and_no_fault(okx: Okx, sent: bytes) -> None:
    """Nobody bids, or nobody offers."""
    assert list(okx.decode(sent, NOW)) == []


def test_a_book_comes_whole_and_then_changes(okx: Okx) -> None:
    """A checksum of 0 beside ids is none."""
    bids: list[Level] = [("64999.9", "120.5")]
    asks: list[Level] = [("65000", "3")]
    whole = BookSnapshot(SWAP, bids, asks, 10, None, AT, NOW, 400, LINKED_SNAPSHOT)
    assert list(okx.decode(SNAPSHOT, NOW)) == [whole]
    assert list(okx.decode(BOOK, NOW)) == [BookDelta(SWAP, [("64999.9", "0")], [], 11, 15, None, AT, NOW, 10, LINKED)]
    summed = SNAPSHOT.replace(b'"checksum":0', b'"checksum":-7')
    assert getattr(okx.decode(summed, NOW)[0], "checksum", None) == -7


def test_of_an_instruments_several_books_the_deepest_that_began_is_the_book(okx: Okx) -> None:
    """Each has links of its own; when it is left, another may take its place. Five levels anew each time are none."""

    def depths(sent: bytes, channel: str) -> list[int]:
        events = okx.decode(sent.replace(b'"books"', f'"{channel}"'.encode()), NOW)
        return [event.depth if isinstance(event, BookSnapshot) else 0 for event in events]

    fifty, deep = "books50-l2-tbt", "books-l2-tbt"
    assert [depths(SNAPSHOT, fifty), depths(BOOK, "books"), depths(BOOK, fifty)] == [[50], [], [0]]
    assert [depths(SNAPSHOT, "books"), depths(BOOK, fifty), depths(BOOK, "books")] == [[400], [], [0]]
    assert [depths(SNAPSHOT, deep), depths(BOOK, deep), depths(SNAPSHOT, fifty)] == [[], [], []]
    assert depths(SNAPSHOT, "books") == [400], "its own begins it anew"
    left = {"event": "unsubscribe", "arg": {"channel": "books", "instId": "BTC-USDT-SWAP"}, "connId": "a4d3ae55"}
    assert list(okx.decode(json.dumps(left).encode(), NOW)) == []
    assert [depths(SNAPSHOT, deep), depths(BOOK, deep), depths(BOOK, "books")] == [[400], [0], []]
    with pytest.raises(BadFrameError, match="unknown_channel"):
        depths(SNAPSHOT.replace(b'"action":"snapshot",', b""), "books5")


def test_of_two_tapes_what_came_first_is_the_tape(okx: Okx) -> None:
    """`trades` puts fills together that `trades-all` tells one by one: added up they would count twice."""
    assert [len(okx.decode(sent, NOW)) for sent in (TRADE, TRADES, TRADE)] == [1, 0, 1]
    okx.bind(BOUND)
    assert [len(okx.decode(sent, NOW)) for sent in (TRADES, TRADE, TRADES)] == [1, 0, 1]


def test_before_there_were_ids_a_book_had_its_checksum(okx: Okx) -> None:
    """Recordings of 2022: the message is linked to nothing, whatever its checksum."""
    (delta,) = okx.decode(OLD_BOOK, NOW)
    assert delta == BookDelta(SWAP, [("64999.9", "120.5")], [], 0, 0, -1023440116, AT, NOW, rule=SUMMED)
    (whole,) = okx.decode(OLD_BOOK.replace(b"update", b"snapshot").replace(b"-1023440116", b"0"), NOW)
    assert isinstance(whole, BookSnapshot)
    assert (whole.sequence, whole.checksum, whole.rule) == (0, 0, SUMMED)


def linked(previous: int, last: int, quantity: str = "1") -> bytes:
    levels = [["64999.9", quantity, "0", "1"]] if previous != last else []
    return frame("books", changes(levels, [], checksum=0, prevSeqId=previous, seqId=last), action="update")


def test_the_example_of_the_documentation_is_a_whole_book(okx: Okx) -> None:
    """An update, a sign of life, a count that begins anew, and on; then one is missing."""
    book = Book()
    verdicts = [
        book.delta(event) if isinstance(event, BookDelta) else book.snapshot(event)
        for sent in (SNAPSHOT, linked(10, 15), linked(15, 15), linked(15, 3, "2"), linked(3, 5, "3"), linked(6, 7))
        for event in okx.decode(sent, NOW)
        if isinstance(event, BookDelta | BookSnapshot)
    ]
    assert verdicts == [Verdict.APPLIED] * 5 + [Verdict.GAP]
    assert (book.usable, book.book_msgs, book.seq_gaps) == (False, 5, 1)


def test_a_broken_book_is_mended_by_rest_or_by_the_stream(okx: Okx) -> None:
    """REST tells the same ids: messages before its snapshot are passed over, the first may reach over it."""
    for mended in (okx.decode_snapshot(REST_BOOK, SWAP, NOW), *okx.decode(SNAPSHOT, NOW)):
        assert isinstance(mended, BookSnapshot)
        book = Book()
        for sent in (linked(4, 8), linked(8, 9)):
            (event,) = okx.decode(sent, NOW)
            assert isinstance(event, BookDelta)
            assert book.delta(event) is Verdict.BUFFERED
        assert book.snapshot(mended) is Verdict.APPLIED
        assert book.best_bid() == ("64999.9", "120.5")
        (event,) = okx.decode(linked(10, 15), NOW)
        assert isinstance(event, BookDelta)
        assert book.delta(event) is Verdict.APPLIED
        assert book.best_bid() == ("64999.9", "1")


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        (b"pong", [Heartbeat()]),
        (SUBSCRIBED, [Ack(True, "book", "BTC-USDT-SWAP", "", 7)]),
        (SUBSCRIBED.replace(b'"id":"7",', b""), [Ack(True, "book", "BTC-USDT-SWAP", "")]),
        (SUBSCRIBED.replace(b"books", b"something-new"), [Ack(True, "", "BTC-USDT-SWAP", "", 7)]),
        (SUBSCRIBED.replace(b"books", b"candle1m"), [Ack(True, "candle", "BTC-USDT-SWAP", "", 7)]),
        (SUBSCRIBED.replace(b"books", b"index-tickers").replace(b"-SWAP", b""), []),
        (SUBSCRIBED.replace(b'"subscribe"', b'"unsubscribe"'), []),
        (
            b'{"event":"subscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"},"connId":"a"}',
            [Ack(True, "liquidation", "BTC-USDT-SWAP", ""), Ack(True, "liquidation", "BTC-USD-SWAP", "")],
        ),
        (
            b'{"event":"subscribe","arg":{"channel":"liquidation-orders","instType":"OPTION"},"connId":"a"}',
            [Ack(True, "liquidation", "", "")],
        ),
        (REFUSED, [Ack(False, "trade", "NO-SUCH", REFUSAL, 7)]),
        (REFUSED.replace(b"trades-all", b"index-tickers"), None),
        (
            b'{"event":"error","code":"60014","msg":"Requests too frequent"}',
            [Ack(False, "", "", "Requests too frequent")],
        ),
        (b'{"event":"notice","code":"64008","msg":"The connection will soon be closed","connId":"a"}', []),
        (b'{"event":"channel-conn-count","channel":"books","connCount":"2","connId":"a"}', []),
    ],
)
def test_what_is_not_market_data_is_told_apart(okx: Okx, sent: bytes, events: list[object] | None) -> None:
    """What a refusal is about stands in its text; without its index a contract still has its mark price."""
    if events is None:
        events = [Ack(False, "", "", REFUSAL.replace("trades-all", "index-tickers"), 7)]
    assert list(okx.decode(sent, NOW)) == events


def test_fields_in_another_order_are_read_too(okx: Okx) -> None:
    """And blanks between them, and a number of the request before them."""
    told = {"id": "1512", **dict(reversed(json.loads(BEST).items()))}
    assert list(okx.decode(json.dumps(told, indent=1).encode(), NOW)) == [QUOTE]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "malformed"),
        (b"ping", "malformed"),
        (b"[]", "malformed"),
        (b"{}", "unknown_channel"),
        (b'{"event":"login"}', "unknown_channel"),
        (BEST.replace(b"bbo-tbt", b"sprd-bbo"), "unknown_channel"),
        (BEST.replace(b"bbo-tbt", b"\\ud800"), "malformed"),
        (BEST[:-1], "malformed"),
        (b'{"arg":{"channel":"books","x":' + b"[" * 100_000, "malformed"),
        (BEST.replace(b"BTC-USDT-SWAP", b"ETH-USDT-SWAP"), "unknown_symbol"),
        (TRADE.replace(b'"instId":"BTC-USDT-SWAP","tr', b'"instId":"BTC-USDT","tr'), "unknown_symbol"),
        (BEST.replace(b'"64999.9"', b'"0"'), "bad_number"),
        (BEST.replace(b'"64999.9"', b'"-1"'), "bad_number"),
        (BEST.replace(b'"64999.9"', b'"1e5"'), "bad_number"),
        (BEST.replace(b'"64999.9"', b"64999.9"), "malformed"),
        (BEST.replace(b"363996337", b"9223372036854775808"), "malformed"),
        (BEST.replace(b'"%d"' % TS, b'"9223372036855"'), "malformed"),
        (BEST.replace(b'"%d"' % TS, b'""'), "malformed"),
        (BEST.replace(b',"120.5","0","9"', b""), "malformed"),
        (BOOK.replace(b'"update"', b'"upset"'), "malformed"),
        (BOOK.replace(b'"0","0","0"', b'"NaN","0","0"'), "bad_number"),
        (BOOK.replace(b'"checksum":0', b'"checksum":2147483648'), "malformed"),
        (BOOK.replace(b',"seqId":15', b""), "malformed"),
        (TRADE.replace(b'"sell"', b'"short"'), "bad_side"),
        (TRADE.replace(b'"0.12"', b'""'), "bad_number"),
        (TRADE.replace(b'"130639474"', b'"x"'), "malformed"),
        (CANDLE.replace(b'"64990"', b'"0"'), "bad_number"),
        (CANDLE.replace(b"candle1m", b"candle7m"), "unknown_channel"),
        (FUNDING.replace(b'"-0.0001875391284828"', b'"inf"'), "bad_number"),
        (FUNDING.replace(b'"1786320000000"', b'"-1"'), "bad_time"),
        (FUNDING.replace(b'"1786320000000"', b'"9999999999999"'), "bad_time"),
        (MARK.replace(b'"65000.1"', b'"0"'), "bad_number"),
        (INDEX.replace(b'"65003.2"', b'""'), "bad_number"),
        (INTEREST.replace(b'"2216113.01"', b'"-5"'), "bad_number"),
        (LIQUIDATION.replace(b'"64000.5"', b'"0"'), "bad_number"),
        (LIQUIDATION.replace(b'"sell"', b'"none"'), "bad_side"),
    ],
)
def test_a_frame_outside_the_protocol_is_refused_with_its_reason(okx: Okx, sent: bytes, reason: str) -> None:
    """The reason is one of a few, since it labels a counter."""
    with pytest.raises(BadFrameError) as refused:
        okx.decode(sent, NOW)
    assert refused.value.reason == reason


def asked(frames: list[str]) -> list[dict[str, Any]]:
    return [json.loads(sent) for sent in frames]


def test_each_channel_is_asked_for_where_it_is_offered(okx: Okx) -> None:
    """Spot has no more than quotes, trades, books and candles; a dated contract no funding; an index is many's."""
    (request,) = asked(okx.subscribe_frames(BOUND, ["funding", "mark", "open_interest", "liquidation"]))
    assert (request["id"], request["op"]) == ("1", "subscribe")
    names = [(arg["channel"], arg.get("instId") or arg["instType"]) for arg in request["args"]]
    assert names == [
        ("funding-rate", "BTC-USDT-SWAP"),
        ("mark-price", "BTC-USDT-SWAP"),
        ("index-tickers", "BTC-USDT"),
        ("open-interest", "BTC-USDT-SWAP"),
        ("liquidation-orders", "SWAP"),
        ("funding-rate", "BTC-USD-SWAP"),
        ("mark-price", "BTC-USD-SWAP"),
        ("index-tickers", "BTC-USD"),
        ("open-interest", "BTC-USD-SWAP"),
        ("mark-price", "BTC-USDT-260327"),
        ("open-interest", "BTC-USDT-260327"),
        ("liquidation-orders", "FUTURES"),
    ]
    (request,) = asked(okx.subscribe_frames([BTC], ALL))
    assert request == {
        "id": "2",
        "op": "subscribe",
        "args": [{"channel": name, "instId": "BTC-USDT"} for name in ("bbo-tbt", "trades-all", "books", "candle1m")],
    }
    assert okx.resubscribe_frames(BTC, "funding") == []


def test_many_symbols_are_asked_for_in_frames_of_a_hundred(okx: Okx) -> None:
    """Far below 64 KB, and each with a number of its own."""
    many = [instrument_of(f"LONGNAME{n:03}-USDT-SWAP", n) for n in range(250)]
    frames = okx.subscribe_frames(many, ["quote"])
    assert [(each["id"], len(each["args"])) for each in asked(frames)] == [("1", 100), ("2", 100), ("3", 50)]
    assert max(map(len, frames)) < 16_000
    left, joined = asked(okx.resubscribe_frames(BTC, "book"))
    assert (left["op"], joined["op"]) == ("unsubscribe", "subscribe")
    assert left["args"] == joined["args"] == [{"channel": "books", "instId": "BTC-USDT"}]


def test_trades_and_candles_have_an_address_of_their_own(okx: Okx) -> None:
    """/business; what stands on /public can't be had there."""
    groups = okx.by_connection(ALL)
    assert groups == [[name for name in ALL if name not in ("trade", "candle")], ["trade", "candle"]]
    addresses = [okx.websocket_url(okx.live, BOUND, group) for group in groups]
    assert addresses == [f"wss://ws.okx.com:8443/ws/v5/{name}" for name in ("public", "business")]
    assert okx.by_connection(["trade"]) == [["trade"]]
    with pytest.raises(ValueError, match="can't share"):
        okx.websocket_url(okx.live, BOUND, ["quote", "trade"])


def test_what_is_offered_is_read(okx: Okx) -> None:
    """Every channel's name leads back to the channel."""
    assert okx.channels == set(ALL)
    for channel in ALL:
        (request,) = asked(okx.subscribe_frames([SWAP], [channel]))
        arg = request["args"][0]
        told = json.dumps({"event": "subscribe", "arg": arg}).encode()
        assert Ack(True, channel, "BTC-USDT-SWAP", "") in okx.decode(told, NOW)


@pytest.mark.parametrize(
    ("venue_symbol", "symbol", "market", "settle", "expiry_ns"),
    [
        ("BTC-USDT", "BTC/USDT", "spot", "", 0),
        ("BTC-USDT-SWAP", "BTC/USDT:USDT", "linear", "USDT", 0),
        ("BTC-USD-SWAP", "BTC/USD:BTC", "inverse", "BTC", 0),
        ("BTC-USD_UM-SWAP", "BTC/USD:USD", "linear", "USD", 0),
        ("BTC-USD-220527", "BTC/USD:BTC-220527", "inverse", "BTC", 1_653_638_400_000_000_000),
        ("BTC-USDC-260327", "BTC/USDC:USDC-260327", "linear", "USDC", 1_774_598_400_000_000_000),
    ],
)
def test_a_name_tells_its_instrument_and_back(
    venue_symbol: str, symbol: str, market: str, settle: str, expiry_ns: int
) -> None:
    """As a replay without a list needs it."""
    okx = Okx()
    okx.discover()
    made = okx.instrument(venue_symbol)
    assert (made.symbol, made.market, made.settle, made.expiry_ns) == (symbol, market, settle, expiry_ns)
    assert okx.symbol_to_venue(symbol) == venue_symbol


@pytest.mark.parametrize(
    "name", ["BTC-USD-220514-22000-C", "BTC", "BTC-", "BTC-USD_UM", "BTC-USD-221327", "BTC-USD-22052", "BTC--SWAP"]
)
def test_options_and_what_is_no_name_are_refused(name: str) -> None:
    """They are of a market that isn't spoken here."""
    okx = Okx()
    okx.discover()
    with pytest.raises(BadFrameError, match="unknown_symbol"):
        okx.instrument(name)


def test_while_discovering_an_index_values_the_contracts_met_so_far() -> None:
    """And liquidations are everybody's."""
    okx = Okx()
    okx.discover()
    assert list(okx.decode(INDEX, NOW)) == []
    okx.decode(MARK, NOW)
    assert [getattr(event, "index", None) for event in okx.decode(INDEX, NOW)] == ["65003.2"]
    assert len(okx.decode(LIQUIDATION, NOW)) == 2
    okx.bind([BTC])
    assert list(okx.decode(INDEX, NOW)) == []


def test_each_type_of_instrument_has_a_list_of_its_own(okx: Okx) -> None:
    """Perpetual and dated contracts are asked for apart."""
    parts = okx.by_listing(["BTC/USDT:USDT", "BTC/USD:BTC-260327", "BTC/USD:BTC", "BTC/USDT"])
    assert parts == [["BTC/USDT:USDT", "BTC/USD:BTC"], ["BTC/USD:BTC-260327"], ["BTC/USDT"]]
    root = "https://www.okx.com/api/v5/public/instruments?instType="
    assert [okx.instruments_url(okx.live, part) for part in parts] == [
        f"{root}{t}" for t in ("SWAP", "FUTURES", "SPOT")
    ]


def test_lists_are_instruments_with_their_steps(okx: Okx) -> None:
    """In the order asked for, live ones alone; a time at which spot or a perpetual is delisted is no expiry."""
    announced = {
        **SWAP_ROW,
        "instId": "NEW-USDT-SWAP",
        "uly": "NEW-USDT",
        "state": "preopen",
        "tickSz": "",
        "ctVal": "",
    }
    listed = answer(SPOT_ROW, announced, {**SWAP_ROW, "ctMult": "10", "expTime": "1790000000000"}, DATED_ROW)
    wanted = ["BTC/USD:BTC-260327", "NEW/USDT:USDT", "BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"]
    tick = Decimal("0.1")
    assert okx.decode_instruments(listed, wanted) == [
        Instrument(
            0,
            "okx",
            "BTC/USD:BTC-260327",
            "BTC-USD-260327",
            "BTC",
            "USD",
            tick,
            Decimal(1),
            market="inverse",
            settle="BTC",
            contract_size=Decimal(100),
            expiry_ns=1_774_598_400_000_000_000,
        ),
        Instrument(1, "okx", "BTC/USDT", "BTC-USDT", "BTC", "USDT", tick, Decimal("0.00000001")),
        Instrument(
            2,
            "okx",
            "BTC/USDT:USDT",
            "BTC-USDT-SWAP",
            "BTC",
            "USDT",
            tick,
            Decimal("0.01"),
            market="linear",
            settle="USDT",
            contract_size=Decimal("0.10"),
        ),
    ]


def test_the_clock_is_told_in_milliseconds(okx: Okx) -> None:
    """As a text."""
    assert okx.time_url(okx.live) == "https://www.okx.com/api/v5/public/time"
    assert okx.decode_time(REST_TIME) == AT


def test_a_snapshot_from_rest_is_as_deep_as_the_stream(okx: Okx) -> None:
    """Its address is known again in a recording; without its id it is of no use."""
    url = okx.snapshot_url(okx.live, SWAP)
    assert url == "https://www.okx.com/api/v5/market/books?instId=BTC-USDT-SWAP&sz=400"
    assert okx.snapshot_symbol(url) == "BTC-USDT-SWAP"
    assert okx.snapshot_symbol("https://www.okx.com/api/v5/market/trades?instId=BTC-USDT") == ""
    (event,) = events_of(okx, Recorded(NOW, "http", url, REST_BOOK))
    assert event == BookSnapshot(SWAP, [("64999.9", "120.5")], [("65000", "3")], 12, None, AT, NOW, 400, LINKED)
    for body in (REST_BOOK.replace(b',"seqId":12', b""), answer()):
        with pytest.raises(BadFrameError, match="malformed"):
            okx.decode_snapshot(body, SWAP, NOW)


def test_trades_of_the_past_are_asked_for_backward(okx: Okx) -> None:
    """Before the id behind the hole or, if that isn't known, before its end; they are put in order."""
    history: History = okx
    assert history.trades_paged == "backward"
    root = "https://www.okx.com/api/v5/market/history-trades?instId=BTC-USDT-SWAP"
    hole = Hole(AT, AT + 7, "130639000", "130639475")
    assert history.trades_url(okx.live, SWAP, hole) == f"{root}&type=1&after=130639475&limit=100"
    assert history.trades_url(okx.live, SWAP, Hole(AT, AT + 7)) == f"{root}&type=2&after={TS + 2}&limit=100"
    old, new = history.decode_trades(REST_TRADES, SWAP, NOW)
    assert new == TRADED
    assert (old.trade_id, old.side, old.time_venue_ns) == ("130639473", "buy", AT - 5_000_000)


def test_candles_of_the_past_are_asked_for_three_hundred_at_a_time(okx: Okx) -> None:
    """The first of them: both ends are outside. A day begins at midnight UTC."""
    root = "https://www.okx.com/api/v5/market/history-candles?instId=BTC-USDT-SWAP"
    start = 28_145_000 * 60_000
    from_ns = start * 1_000_000
    few = okx.candles_url(okx.live, SWAP, "1m", from_ns, from_ns + 3 * MINUTE)
    assert few == f"{root}&bar=1m&before={start - 1}&after={start + 180_000}&limit=300"
    many = okx.candles_url(okx.live, SWAP, "1d", from_ns, from_ns + 1440 * 1000 * MINUTE)
    assert many == f"{root}&bar=1Dutc&before={start - 1}&after={start + 300 * 86_400_000}&limit=300"
    assert okx.candles_url(okx.live, SWAP, "7m", from_ns, from_ns + MINUTE) == ""
    assert okx.candles_url(okx.live, SWAP, "1m", from_ns, from_ns) == ""
    done, growing = okx.decode_candles(REST_CANDLES, SWAP, "1m", NOW)
    assert done == VenueCandle(SWAP, "1m", OPENED - MINUTE, *PRICES, "812.4", True, 0, NOW)
    spot, _ = okx.decode_candles(REST_CANDLES, replace(SWAP, market="spot"), "1m", NOW)
    assert spot.quote_volume == ROW[7], "of contracts it is another figure than price times contracts"
    assert not growing.closed


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "malformed"),
        (b'{"code":"51001","msg":"Instrument ID does not exist","data":[]}', "refused"),
        (REST_TRADES.replace(b"BTC-USDT-SWAP", b"ETH-USDT-SWAP"), "unknown_symbol"),
        (REST_TRADES.replace(b'"sell"', b'""'), "bad_side"),
        (REST_TRADES.replace(b'"64999.9"', b'"0"'), "bad_number"),
        (REST_TRADES.replace(b'"130639474"', b'"-1"'), "malformed"),
    ],
)
def test_an_answer_that_is_none_is_refused(okx: Okx, body: bytes, reason: str) -> None:
    """With one of the few reasons."""
    with pytest.raises(BadFrameError) as refused:
        okx.decode_trades(body, SWAP, NOW)
    assert refused.value.reason == reason


@cache
def records() -> list[Recorded]:
    if not CAPTURE.exists():
        pytest.skip(f"no capture at {CAPTURE.name}")
    with Capture(CAPTURE) as capture:
        return list(capture)


def test_recorded_lists_agree_with_what_the_names_tell(okx: Okx) -> None:
    """Of every instrument of 2022: symbol, market, currency of settlement and expiry; all were live."""
    lists = {record.connection: record.text for record in records() if record.kind == "http"}
    counts = {}
    for address, body in lists.items():
        inst_type = address.partition("instType=")[2]
        if inst_type in ("SPOT", "SWAP", "FUTURES"):
            named = [instrument_of(row["instId"], at) for at, row in enumerate(json.loads(body)["data"])]
            found = okx.decode_instruments(body, [each.symbol for each in named])
            counts[inst_type] = len(found)
            for ours, theirs in zip(named, found, strict=True):
                assert [getattr(ours, of) for of in _TOLD] == [getattr(theirs, of) for of in _TOLD]
                assert okx.symbol_to_venue(theirs.symbol) == theirs.venue_symbol
    assert counts == {"SPOT": 513, "SWAP": 166, "FUTURES": 104}


_TOLD = ("index", "symbol", "venue_symbol", "base", "quote", "market", "settle", "expiry_ns")


def book_frames(numbered: bool) -> list[bytes]:
    """The capture's book messages; numbered as the venue has done since, and then without their checksums."""
    frames: list[bytes] = []
    last: dict[str, int] = {}
    for record in records():
        if record.kind == "frame" and b'"channel":"books"' in record.text and b'"data"' in record.text:
            told = json.loads(record.text)
            if numbered:
                symbol, (book,) = told["arg"]["instId"], told["data"]
                previous = last.get(symbol, -1)
                last[symbol] = max(previous, 1000) + 7
                book.update(checksum=0, prevSeqId=previous, seqId=last[symbol])
            frames.append(json.dumps(told, separators=(",", ":")).encode())
    return frames


def told_of(decoded: Sequence[BookDelta | BookSnapshot]) -> Iterator[Book]:
    """The book behind each message."""
    book = Book()
    for event in decoded:
        if isinstance(event, BookSnapshot):
            book.snapshot(event)
        else:
            book.delta(event)
        yield book


@pytest.mark.parametrize("numbered", [True, False], ids=["linked", "summed"])
def test_a_lost_frame_is_found_at_the_next_one_and_no_book_is_ever_wrong(numbered: bool) -> None:
    """One lost in each of two hundred seeds. What only a checksum guards is right as far down as that reaches."""
    okx, deep = Okx(), None if numbered else 25
    okx.discover()
    streams: dict[str, list[BookDelta | BookSnapshot]] = {}
    for event in (event for sent in book_frames(numbered) for event in okx.decode(sent, NOW)):
        assert isinstance(event, BookDelta | BookSnapshot)
        streams.setdefault(event.instrument.symbol, []).append(event)
    whole = {
        symbol: [(book.bids()[:deep], book.asks()[:deep]) for book in told_of(stream)]
        for symbol, stream in streams.items()
    }
    unseen = 0
    for seed in range(200):
        dice = random.Random(seed)
        symbol = dice.choice(sorted(streams))
        stream, right = streams[symbol], whole[symbol]
        lost = dice.randrange(len(stream) - 1)
        books = told_of([*stream[:lost], *stream[lost + 1 :]])
        for at, book in enumerate(books):
            after = at >= lost
            if not book.usable:
                assert after
                break
            assert (book.bids()[:deep], book.asks()[:deep]) == right[at + after]
            assert not (after and numbered), "found at once"
            unseen += at == lost
    assert unseen < 20, "of the summed ones, those that changed nothing among the best levels"
