"""Coinbase's dialect (Advanced Trade): what frames and answers become; no lost frame leaves a book wrong."""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from traderd.adapters.capture import Capture
from traderd.core.errors import BadFrameError
from traderd.core.market import (
    Ack,
    BookDelta,
    BookSnapshot,
    Heartbeat,
    Instrument,
    Numbered,
    Quote,
    Trade,
    VenueCandle,
    VenueEvent,
)
from traderd.core.tally import Tally
from traderd.venues.coinbase import UNNUMBERED, Coinbase
from traderd.venues.dialect import History, Hole
from traderd.venues.playback import Recorded, events_of

CAPTURE = Path(__file__).parents[2].parent / "shared" / "captures" / "coinbase" / "first_150.frames.gz"
ETH = Instrument(0, "coinbase", "ETH/USD", "ETH-USD", "ETH", "USD")
BTC = Instrument(1, "coinbase", "BTC/USD", "BTC-USD", "BTC", "USD")
NOW = 1_786_309_549_236_824_064
AT = "2026-08-09T21:05:48.501234567Z"
AT_NS = 1_786_309_548_501_234_567
MINUTE = 60_000_000_000


def frame(channel: str, number: int, *events: object) -> bytes:
    told = {"channel": channel, "client_id": "", "timestamp": AT, "sequence_num": number, "events": events}
    return json.dumps(told, separators=(",", ":")).encode()


def ticker(product: str, bid: str, bid_size: str, ask: str, ask_size: str) -> dict[str, str]:
    best = {"best_bid": bid, "best_bid_quantity": bid_size, "best_ask": ask, "best_ask_quantity": ask_size}
    return {"type": "ticker", "product_id": product, "price": "1919.41", "volume_24_h": "19975.9", **best}


def told(product: str, trade_id: str, side: str, time: str = "2026-08-09T21:05:48.167634Z") -> dict[str, str]:
    return {"product_id": product, "trade_id": trade_id, "price": "1919.40", "size": "0.10", "time": time, "side": side}


def change(side: str, price: str, quantity: str) -> dict[str, str]:
    return {"side": side, "event_time": "2026-08-09T21:05:48.17Z", "price_level": price, "new_quantity": quantity}


def bar(product: str, start: str, close: str) -> dict[str, str]:
    prices = {"open": "1919.5", "high": "1919.6", "low": "1919.2", "close": close}
    return {"start": start, **prices, "volume": "36.3", "product_id": product}


TICKER = frame(
    "ticker", 7, {"type": "update", "tickers": [ticker("ETH-USD", "1919.40", "1.5126730", "1919.49", "0.078")]}
)
TRADES = frame("market_trades", 8, {"type": "update", "trades": [told("ETH-USD", "100", "BUY")]})
SNAPSHOT = frame(
    "l2_data",
    9,
    {
        "type": "snapshot",
        "product_id": "ETH-USD",
        "updates": [change("bid", "1919.40", "1.5"), change("bid", "1919.3", "2"), change("offer", "1919.49", "0.07")],
    },
)
BOOK = frame(
    "l2_data",
    10,
    {
        "type": "update",
        "product_id": "ETH-USD",
        "updates": [change("offer", "1919.49", "0"), change("bid", "1919.41", "0.50")],
    },
)
CANDLES = frame("candles", 11, {"type": "update", "candles": [bar("ETH-USD", "1786309500", "1919.41")]})
HEARTBEAT = frame("heartbeats", 12, {"current_time": "2026-08-09 21:05:48.85 +0000 UTC m=+4.1", "heartbeat_counter": 4})
SUBSCRIBED = frame(
    "subscriptions", 13, {"subscriptions": {"level2": ["ETH-USD"], "heartbeats": ["heartbeats"], "ticker": ["ETH-USD"]}}
)
REFUSED = b'{"type":"error","message":"too many L2 streams requested in a single session"}'
REST_TRADES = json.dumps(
    {"trades": [told("ETH-USD", "1000", "SELL"), told("ETH-USD", "999", "BUY")], "best_bid": "", "best_ask": ""}
).encode()
REST_CANDLES = json.dumps({"candles": [bar("", "1786309500", "1919.41"), bar("", "1786309440", "1919.5")]}).encode()
REST_TIME = b'{"iso":"2023-10-26T18:59:05Z","epochSeconds":"1698346745","epochMillis":"1698346745123"}'
REST_PRODUCTS = (
    b'{"products":[{"product_id":"ETH-USD","base_increment":"0.00000001","quote_increment":"0.01",'
    b'"price_increment":"0.01","quote_min_size":"1","product_type":"SPOT","status":"online","alias":""}]}'
)


@pytest.fixture
def coinbase() -> Coinbase:
    dialect = Coinbase()
    dialect.bind([ETH, BTC])
    return dialect


def test_a_ticker_is_a_quote_with_the_digits_as_sent(coinbase: Coinbase) -> None:
    """Its number is the frame's, its time too; the number comes first."""
    assert list(coinbase.decode(TICKER, NOW)) == [
        Numbered(7),
        Quote(
            instrument=ETH,
            bid=1919.4,
            ask=1919.49,
            text="1919.40,1.5126730,1919.49,0.078",
            sequence=7,
            time_venue_ns=AT_NS,
            time_received_ns=NOW,
        ),
    ]


@pytest.mark.parametrize("bid", ["", "0", "0.00"])
def test_a_market_with_an_empty_side_has_no_quote_and_no_fault(coinbase: Coinbase, bid: str) -> None:
    """A refused frame would be missing in the numbers and break every book of the connection."""
    tickers = [ticker("ETH-USD", bid, "0", "1919.49", "0.078"), ticker("BTC-USD", "1", "2", "3", "4")]
    number, quote = coinbase.decode(frame("ticker", 3, {"type": "snapshot", "tickers": tickers}), NOW)
    assert number == Numbered(3)
    assert isinstance(quote, Quote)
    assert quote.instrument is BTC


def test_a_trade_s_side_is_the_taker_s_and_the_oldest_comes_first(coinbase: Coinbase) -> None:
    """The venue tells the maker's side and the newest first; 1000 is newer than 999."""
    trades = [told("ETH-USD", "1000", "SELL"), told("ETH-USD", "999", "BUY", "2026-08-09T21:05:48Z")]
    time_ns = 1_786_309_548_000_000_000
    assert list(coinbase.decode(frame("market_trades", 0, {"type": "update", "trades": trades}), NOW)) == [
        Numbered(0),
        Trade(ETH, "999", "sell", 1919.4, "1919.40,0.10", time_ns, NOW),
        Trade(ETH, "1000", "buy", 1919.4, "1919.40,0.10", time_ns + 167_634_000, NOW),
    ]


def test_trades_of_before_the_subscription_are_left_out(coinbase: Coinbase) -> None:
    """They would be stored twice, and make a hole look as if it ended where it began."""
    before = {"type": "snapshot", "trades": [told("ETH-USD", "99", "BUY"), told("ETH-USD", "98", "BUY")]}
    assert list(coinbase.decode(frame("market_trades", 0, before), NOW)) == [Numbered(0)]
    both = frame("market_trades", 1, before, {"type": "update", "trades": [told("ETH-USD", "100", "BUY")]})
    number, trade = coinbase.decode(both, NOW)
    assert isinstance(trade, Trade)
    assert (number, trade.trade_id) == (Numbered(1), "100")


def test_a_book_comes_whole_and_then_changes(coinbase: Coinbase) -> None:
    """No numbers of its own; the time is the levels'."""
    time_ns = 1_786_309_548_170_000_000
    bids = [("1919.40", "1.5"), ("1919.3", "2")]
    snapshot = BookSnapshot(ETH, bids, [("1919.49", "0.07")], 0, None, time_ns, NOW, 0, UNNUMBERED)
    assert list(coinbase.decode(SNAPSHOT, NOW)) == [Numbered(9), snapshot]
    delta = BookDelta(ETH, [("1919.41", "0.50")], [("1919.49", "0")], 0, 0, None, time_ns, NOW, rule=UNNUMBERED)
    assert list(coinbase.decode(BOOK, NOW)) == [Numbered(10), delta]


@pytest.mark.parametrize("updates", [[], [{**change("bid", "1", "2"), "event_time": "1970-01-01T00:00:00Z"}]])
def test_a_book_without_a_time_of_its_own_has_the_frame_s(coinbase: Coinbase, updates: list[Any]) -> None:
    """The venue writes 1970 for a level whose time it doesn't know."""
    _, book = coinbase.decode(
        frame("l2_data", 0, {"type": "snapshot", "product_id": "ETH-USD", "updates": updates}), NOW
    )
    assert isinstance(book, BookSnapshot)
    assert book.time_venue_ns == AT_NS


def test_candles_are_five_minutes_long_and_only_the_newest_of_a_snapshot_is_news(coinbase: Coinbase) -> None:
    """What came before is asked for by REST; whether one is closed the venue doesn't say."""
    prices = ("1919.5", "1919.6", "1919.2", "1919.41")
    candle = VenueCandle(ETH, "5m", 1_786_309_500_000_000_000, *prices, "36.3", False, AT_NS, NOW)
    assert list(coinbase.decode(CANDLES, NOW)) == [Numbered(11), candle]
    bars = [bar("ETH-USD", "1786309500", "1919.41"), bar("ETH-USD", "1786309200", "1"), bar("BTC-USD", "300", "9.5")]
    events = list(coinbase.decode(frame("candles", 1, {"type": "snapshot", "candles": bars}), NOW))
    assert events[2:] == [candle]
    assert isinstance(events[1], VenueCandle)
    assert (events[1].instrument, events[1].close) == (BTC, "9.5")
    grown = list(coinbase.decode(frame("candles", 2, {"type": "update", "candles": bars}), NOW))
    assert len(grown) == 4


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        (HEARTBEAT, [Numbered(12), Heartbeat()]),
        (SUBSCRIBED, [Numbered(13), Ack(True, "book", "ETH-USD", ""), Ack(True, "quote", "ETH-USD", "")]),
        (REFUSED, [Ack(False, "", "", "too many L2 streams requested in a single session")]),
        (b'{"type":"error"}', [Ack(False, "", "", "refused")]),
        (frame("status", 5, {"type": "snapshot", "products": []}), [Numbered(5)]),
        (frame("what_comes_next_year", 6), [Numbered(6)]),
    ],
)
def test_what_is_not_market_data_is_told_apart(coinbase: Coinbase, sent: bytes, events: list[object]) -> None:
    """A channel that nobody asked for is ignored, as the venue wants it; but its number counts."""
    assert list(coinbase.decode(sent, NOW)) == events


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "malformed"),
        (b"[]", "malformed"),
        (b"{}", "unknown_channel"),
        (b'{"channel":"new"}', "unknown_channel"),
        (b'{"channel":"new","sequence_num":-1}', "malformed"),
        (b'{"channel":"ticker","sequence_num":1}', "malformed"),
        (b'{"channel":"l2_data","x":' + b"[" * 100_000, "malformed"),
        (TICKER.replace(b'"sequence_num":7', b'"sequence_num":9223372036854775808'), "malformed"),
        (TICKER.replace(b'"sequence_num":7,', b""), "malformed"),
        (TICKER.replace(b"ETH-USD", b"SOL-USD"), "unknown_symbol"),
        (BOOK.replace(b"ETH-USD", b"SOL-USD"), "unknown_symbol"),
        (TICKER.replace(b'"1919.49"', b'"-1919.49"'), "bad_number"),
        (TICKER.replace(b'"1919.49"', b'"1e400"'), "bad_number"),
        (TICKER.replace(b'"1919.49"', b"1919.49"), "malformed"),
        (TICKER.replace(b'"0.078"', b'""'), "bad_number"),
        (BOOK.replace(b'"0.50"', b'"NaN"'), "bad_number"),
        (BOOK.replace(b'"1919.41"', b'"0"'), "bad_number"),
        (BOOK.replace(b'"bid"', b'"ask"'), "malformed"),
        (BOOK.replace(b'"update"', b'"upset"'), "malformed"),
        (TRADES.replace(b'"BUY"', b'"buy"'), "bad_side"),
        (TRADES.replace(b'"100"', b'"x-1"'), "bad_number"),
        (TRADES.replace(b'"0.10"', b'"1e-1"'), "bad_number"),
        (TRADES.replace(b"2026-08-09T21:05:48.167634Z", b"2026-08-32T21:05:48Z"), "bad_time"),
        (CANDLES.replace(b'"1786309500"', b'"-5"'), "bad_time"),
        (CANDLES.replace(b'"1786309500"', b'"99999999999"'), "bad_time"),
        (CANDLES.replace(b'"36.3"', b'"inf"'), "bad_number"),
    ],
)
def test_a_frame_outside_the_protocol_is_refused_with_its_reason(coinbase: Coinbase, sent: bytes, reason: str) -> None:
    """The reason is one of a few, since it labels a counter."""
    with pytest.raises(BadFrameError) as refused:
        coinbase.decode(sent, NOW)
    assert refused.value.reason == reason


def test_subscribing_begins_with_heartbeats_and_names_one_channel_a_frame(coinbase: Coinbase) -> None:
    """At most as many symbols in one frame as a connection bears; what the venue doesn't offer isn't asked for."""
    many = [Instrument(n, "coinbase", f"X{n}/USD", f"X{n}-USD", f"X{n}", "USD") for n in range(20)]
    frames = [json.loads(sent) for sent in coinbase.subscribe_frames(many, ["quote", "trade", "book", "mark"])]
    assert frames[0] == {"type": "subscribe", "channel": "heartbeats"}
    asked = [(sent["channel"], len(sent["product_ids"])) for sent in frames[1:]]
    assert asked == [(name, n) for name in ("ticker", "market_trades", "level2") for n in (16, 4)]
    assert frames[1]["product_ids"][:2] == ["X0-USD", "X1-USD"]
    assert coinbase.websocket_url(coinbase.live, many, ["quote"]) == "wss://advanced-trade-ws.coinbase.com"


def test_books_have_connections_of_their_own(coinbase: Coinbase) -> None:
    """Megabytes of snapshot hold up no quote."""
    assert coinbase.by_connection(["quote", "book", "trade", "mark"]) == [["quote", "trade"], ["book"]]
    assert coinbase.by_connection(["book"]) == [["book"]]
    assert coinbase.by_connection(["candle"]) == [["candle"]]


def test_a_broken_book_is_subscribed_to_anew(coinbase: Coinbase) -> None:
    """Unsubscribed first, or there would be no snapshot."""
    frames = [json.loads(sent) for sent in coinbase.resubscribe_frames(ETH, "book")]
    assert frames == [
        {"type": method, "product_ids": ["ETH-USD"], "channel": "level2"} for method in ("unsubscribe", "subscribe")
    ]
    assert coinbase.resubscribe_frames(ETH, "funding") == []
    assert coinbase.snapshot_url(coinbase.live, ETH) == ""
    assert coinbase.snapshot_symbol("https://api.coinbase.com/api/v3/brokerage/market/product_book") == ""
    with pytest.raises(BadFrameError, match="refused"):
        coinbase.decode_snapshot(b"{}", ETH, NOW)


def test_a_market_in_usdc_is_found_under_its_name_in_usd() -> None:
    """As the venue names its frames; unless the one in USD is asked for itself."""
    dialect, usdc = Coinbase(), Instrument(0, "coinbase", "ETH/USDC", "ETH-USDC", "ETH", "USDC")
    dialect.bind([usdc])
    assert dialect.instrument("ETH-USD") is dialect.instrument("ETH-USDC") is usdc
    dialect.bind([usdc, ETH])
    assert dialect.instrument("ETH-USD") is ETH


def products(*changed: dict[str, object]) -> bytes:
    (plain,) = json.loads(REST_PRODUCTS)["products"]
    return json.dumps({"products": [{**plain, **each} for each in changed]}).encode()


def test_products_are_instruments_with_their_steps(coinbase: Coinbase) -> None:
    """In the order asked for, those alone that trade: spot, online, and not barred in any way."""
    listed = products(
        {},
        {"product_id": "BTC-USD", "price_increment": "", "quote_increment": "0.10", "quote_min_size": "0"},
        {"product_id": "A-USD", "status": "delisted"},
        {"product_id": "B-USD", "trading_disabled": True},
        {"product_id": "C-USD", "cancel_only": True},
        {"product_id": "D-USD", "product_type": "FUTURE"},
        {"product_id": "E-USD", "limit_only": True},
    )
    step = Decimal("0.00000001")
    asked = ["BTC/USD", "A/USD", "B/USD", "C/USD", "D/USD", "E/USD", "F/USD", "ETH/USD:USD", "ETH/USD"]
    assert coinbase.decode_instruments(listed, asked) == [
        Instrument(0, "coinbase", "BTC/USD", "BTC-USD", "BTC", "USD", Decimal("0.10"), step, Decimal(0)),
        Instrument(1, "coinbase", "E/USD", "E-USD", "E", "USD", Decimal("0.01"), step, Decimal(1)),
        Instrument(2, "coinbase", "ETH/USD", "ETH-USD", "ETH", "USD", Decimal("0.01"), step, Decimal(1)),
    ]
    url = coinbase.instruments_url(coinbase.live, asked)
    assert url == "https://api.coinbase.com/api/v3/brokerage/market/products?product_type=SPOT"


def test_one_market_under_two_names_is_listed_once(coinbase: Coinbase) -> None:
    """Under the name that its frames have; alone, the other one will do."""
    listed = products({}, {"product_id": "ETH-USDC", "alias": "ETH-USD"})
    both = coinbase.decode_instruments(listed, ["ETH/USDC", "ETH/USD"])
    assert [(each.index, each.symbol) for each in both] == [(0, "ETH/USD")]
    assert [each.symbol for each in coinbase.decode_instruments(listed, ["ETH/USDC"])] == ["ETH/USDC"]


def test_the_clock_is_told_in_milliseconds(coinbase: Coinbase) -> None:
    """As a text."""
    assert coinbase.decode_time(REST_TIME) == 1_698_346_745_123 * 10**6
    assert coinbase.time_url(coinbase.live) == "https://api.coinbase.com/api/v3/brokerage/time"
    for wrong, reason in ((b'"-1"', "bad_time"), (b'"99999999999999"', "bad_time"), (b"1698346745123", "malformed")):
        with pytest.raises(BadFrameError, match=reason):
            coinbase.decode_time(REST_TIME.replace(b'"1698346745123"', wrong))


def test_trades_of_the_past_are_asked_for_backward_and_by_time(coinbase: Coinbase) -> None:
    """In whole seconds, which hold the hole; ids and sides are those of the stream."""
    history: History = coinbase
    assert history.trades_paged == "backward"
    url = history.trades_url(coinbase.live, ETH, Hole(5_900_000_000, 9_000_000_001, "998", "1001"))
    root = "https://api.coinbase.com/api/v3/brokerage/market/products/ETH-USD"
    assert url == f"{root}/ticker?limit=1000&start=5&end=10"
    old, new = history.decode_trades(REST_TRADES, ETH, NOW)
    time_ns = 1_786_309_548_167_634_000
    assert old == Trade(ETH, "999", "sell", 1919.4, "1919.40,0.10", time_ns, NOW)
    assert (new.trade_id, new.side) == ("1000", "buy")


def test_candles_of_the_past_are_asked_for_up_to_350_at_a_time(coinbase: Coinbase) -> None:
    """Up to the end and without it; "" for what the venue doesn't make."""
    root = "https://api.coinbase.com/api/v3/brokerage/market/products/ETH-USD/candles"
    start = 28_145_000 * 60
    from_ns = start * 10**9
    asked = coinbase.candles_url(coinbase.live, ETH, "1m", from_ns, from_ns + 3 * MINUTE)
    assert asked == f"{root}?start={start}&end={start + 179}&granularity=ONE_MINUTE&limit=350"
    long = coinbase.candles_url(coinbase.live, ETH, "5m", from_ns + 1, from_ns + 5_000 * MINUTE)
    assert long == f"{root}?start={start + 1}&end={start + 1 + 349 * 300}&granularity=FIVE_MINUTE&limit=350"
    assert coinbase.candles_url(coinbase.live, ETH, "3m", from_ns, from_ns + MINUTE) == ""
    assert coinbase.candles_url(coinbase.live, ETH, "1m", from_ns, from_ns) == ""


def test_candles_of_the_past_are_closed_once_they_ended_a_while_ago(coinbase: Coinbase) -> None:
    """Our clock may be ahead of the venue's; the venue tells the newest first."""
    ended = 1_786_309_560_000_000_000
    for received_ns, closed in ((ended + 9 * 10**9, [True, False]), (ended + 10 * 10**9, [True, True])):
        candles = coinbase.decode_candles(REST_CANDLES, ETH, "1m", received_ns)
        assert [candle.closed for candle in candles] == closed
    prices = ("1919.5", "1919.6", "1919.2", "1919.5")
    assert candles[0] == VenueCandle(ETH, "1m", 1_786_309_440_000_000_000, *prices, "36.3", True, 0, ended + 10 * 10**9)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error":"NOT_FOUND","error_details":"valid product_id is required"}', "malformed"),
        (REST_TRADES.replace(b'"SELL"', b'"UNKNOWN_ORDER_SIDE"'), "bad_side"),
        (REST_TRADES.replace(b'"0.10"', b'"0,10"'), "bad_number"),
    ],
)
def test_an_answer_that_is_none_is_refused(coinbase: Coinbase, body: bytes, reason: str) -> None:
    """With one of the few reasons."""
    with pytest.raises(BadFrameError, match=reason):
        coinbase.decode_trades(body, ETH, NOW)


@cache
def records() -> list[Recorded]:
    if not CAPTURE.exists():
        pytest.skip(f"no capture at {CAPTURE.name}")
    with Capture(CAPTURE) as capture:
        return list(capture)


@cache
def decoded() -> list[Sequence[VenueEvent]]:
    """Of every frame of the capture."""
    dialect = Coinbase()
    dialect.discover()
    return [events_of(dialect, record) for record in records() if record.kind == "frame"]


def test_a_recorded_product_list_has_what_was_recorded(coinbase: Coinbase) -> None:
    """920 products: nearly all of them trade."""
    listing = next(record.text for record in records() if record.kind == "http")
    symbols = [each["product_id"].replace("-", "/") for each in json.loads(listing)["products"]]
    found = coinbase.decode_instruments(listing, symbols)
    aliases = sum(bool(each["alias"]) and each["status"] == "online" for each in json.loads(listing)["products"])
    assert len(symbols) == 920
    assert len(found) == 912 - aliases
    assert len(coinbase.decode_instruments(listing, ["BTC/USDC", "ETH/USDC", "USDT/USDC"])) == 3


def test_a_recorded_session_agrees_with_a_plain_reading_of_it() -> None:
    """Books as dictionaries, trades as sums, straight from the JSON; no gap in the numbers, none in the ids."""
    tally = Tally()
    for events in decoded():
        tally.add_frame("ws1", events)
    report, plain = tally.report(), _Plainly()
    for record in records():
        if record.kind == "frame":
            plain.read(json.loads(record.text))
    assert report["connections"] == {"ws1": {"frames": 150, "seq_gaps": 0, "missing": 0, "repeated": 0, "restarts": 0}}
    assert set(report["books"]) == set(plain.books) == {"BTC-USD", "ETH-USD"}
    for symbol, book in plain.books.items():
        kept = tally.books[symbol]
        ours = {("bid", Decimal(p)): q for p, q in kept.bids()} | {("offer", Decimal(p)): q for p, q in kept.asks()}
        assert ours == book
        told = report["books"][symbol]
        assert (told["book_msgs"], told["snapshots"], told["seq_gaps"]) == (plain.messages[symbol], 1, 0)
    for symbol, trades in plain.trades.items():
        told = report["trades"][symbol]
        assert (told["trades"], told["id_gaps"]) == (len(trades), 0)
        assert Decimal(told["qty"]) == sum(quantity for quantity, _ in trades)
        assert Decimal(told["taker_buy_qty"]) == sum(quantity for quantity, maker in trades if maker == "SELL")
    assert report["last_bookTicker"] == plain.quotes
    assert report["bookTicker"] == plain.tickers


class _Plainly:
    """The capture, read as simply as can be."""

    def __init__(self) -> None:
        self.books: dict[str, dict[tuple[str, Decimal], str]] = defaultdict(dict)
        self.messages: dict[str, int] = defaultdict(int)
        self.trades: dict[str, list[tuple[Decimal, str]]] = defaultdict(list)
        self.quotes: dict[str, list[str]] = {}
        self.tickers: dict[str, int] = defaultdict(int)

    def read(self, sent: dict[str, Any]) -> None:
        for event in sent["events"]:
            if sent["channel"] == "l2_data":
                book = self.books[event["product_id"]]
                self.messages[event["product_id"]] += 1
                for each in event["updates"]:
                    key = (each["side"], Decimal(each["price_level"]))
                    if Decimal(each["new_quantity"]):
                        book[key] = each["new_quantity"]
                    else:
                        book.pop(key, None)
            elif sent["channel"] == "market_trades" and event["type"] == "update":
                for trade in event["trades"]:
                    self.trades[trade["product_id"]].append((Decimal(trade["size"]), trade["side"]))
            elif sent["channel"] == "ticker":
                for each in event["tickers"]:
                    self.tickers[each["product_id"]] += 1
                    best = ("best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity")
                    self.quotes[each["product_id"]] = [each[key] for key in best]


def small(events: Sequence[VenueEvent]) -> list[VenueEvent]:
    """With snapshots cut to 200 levels a side, so that hundreds of replays take seconds."""
    return [
        replace(event, bids=event.bids[:200], asks=event.asks[:200]) if isinstance(event, BookSnapshot) else event
        for event in events
    ]


def session_with_a_second_snapshot() -> list[list[VenueEvent]]:
    """The capture, in the middle of which each book is sent whole once more, as after a new subscription."""
    frames = [small(events) for events in decoded()]
    tally, half = Tally(), len(frames) // 2
    for events in frames[:half]:
        tally.add_frame("", events)
    again: list[list[VenueEvent]] = []
    for event in (event for events in frames for event in events if isinstance(event, BookSnapshot)):
        book = tally.books[event.instrument.venue_symbol]
        again.append([Numbered(0), replace(event, bids=book.bids(), asks=book.asks())])
    joined = [*frames[:half], *again, *frames[half:]]
    return [[Numbered(at), *events[1:]] for at, events in enumerate(joined)]


State = dict[str, tuple[list[Any], list[Any]]]


def replayed(frames: Sequence[tuple[int, list[VenueEvent]]], tally: Tally) -> Iterator[tuple[int, State]]:
    """After each frame, every book that is usable."""
    for at, events in frames:
        tally.add_frame("ws1", events)
        yield at, {symbol: (book.bids(), book.asks()) for symbol, book in tally.books.items() if book.usable}


def test_a_lost_frame_breaks_every_book_at_the_next_one_and_no_book_is_ever_wrong() -> None:
    """200 seeds: until its next snapshot a book is not there, and what is there is what it would have been."""
    frames = list(enumerate(session_with_a_second_snapshot()))
    truth = dict(replayed(frames, Tally()))
    snapshots = {
        at: event.instrument.venue_symbol
        for at, events in frames
        for event in events
        if isinstance(event, BookSnapshot)
    }
    assert len(snapshots) == 4
    for seed in range(200):
        lost = random.Random(seed).randrange(1, len(frames) - 1)
        tally = Tally()
        for at, books in replayed(frames[:lost] + frames[lost + 1 :], tally):
            whole = {snapshots[n] for n in snapshots if n <= at and (at < lost or n > lost)}
            assert set(books) == whole
            assert all(books[symbol] == truth[at][symbol] for symbol in books)
        counts = tally.report()["connections"]["ws1"]
        assert (counts["seq_gaps"], counts["missing"], counts["repeated"]) == (1, 1, 0)


def test_a_repeated_frame_changes_nothing() -> None:
    """An old quantity would put the book back into the past."""
    frames = list(enumerate(session_with_a_second_snapshot()))
    truth = dict(replayed(frames, Tally()))
    for seed in range(20):
        dice = random.Random(seed)
        at = dice.randrange(30, len(frames))
        again = dice.randrange(1, at)
        tally = Tally()
        for number, books in replayed([*frames[:at], frames[again], *frames[at:]], tally):
            if number >= at:
                assert books == truth[number]
        assert tally.report()["connections"]["ws1"]["repeated"] == 1
