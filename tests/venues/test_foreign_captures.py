"""Captures as others make them, out of real ones: the figures stay what they were whatever else was recorded with it.

Other channels of the same symbols, a book told twice over, two connections side by side, one that takes over from the
other, no acknowledgements, no header. Nothing of it may look like a gap or a bad checksum.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from traderd.adapters.capture import Capture
from traderd.core.errors import BadFrameError
from traderd.core.tally import Tally
from traderd.venues.playback import Playback, Recorded

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
OTHERS = {
    "binance": [
        '{"result":null,"id":1}',
        '{"error":{"code":2,"msg":"Invalid request"},"id":4}',
        '[{"e":"24hrMiniTicker","E":1,"s":"NKNUSDT","c":"1"}]',
        '{"stream":"!ticker@arr","data":[{"e":"24hrTicker","E":1,"s":"NKNUSDT","p":"1"}]}',
        '{"stream":"nknusdt@depth20@100ms","data":{"lastUpdateId":9,"bids":[["1","1"]],"asks":[["2","1"]]}}',
    ],
    "bybit": [
        '{"success":true,"ret_msg":"","conn_id":"x","op":"subscribe"}',
        '{"topic":"orderbook.rpi.BTCUSDT","ts":1,"type":"snapshot","data":{"s":"BTCUSDT","b":[["1","2","3"]],"a":[],"u":4}}',
        '{"topic":"orderbook.500.BTCUSDT","ts":1,"type":"delta","data":{"s":"BTCUSDT","b":[["1","2"]],"a":[],"u":4}}',
        '{"topic":"priceLimit.BTCUSDT","ts":1,"data":{"symbol":"BTCUSDT","buyLmt":"1","sellLmt":"2"}}',
        '{"topic":"insurance.USDT","type":"delta","ts":1,"data":[]}',
    ],
    "coinbase": ['{"type":"error","message":"rate limited"}'],
    "kraken": [
        '{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[]}}',
        '{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","checksum":1,"bids":[],"asks":[]}]}',
        '{"error":"Currency pair not supported XYZ/USD","method":"subscribe","success":false,"symbol":"XYZ/USD"}',
    ],
    "okx": [
        "pong",
        '{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"x"}',
        '{"arg":{"channel":"books5","instId":"BTC-USDT"},"data":[{"asks":[["1","1","0","1"]],"bids":[],"ts":"1"}]}',
        '{"arg":{"channel":"books50-l2-tbt","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[],"ts":"1",'
        '"checksum":7}]}',
        '{"arg":{"channel":"tickers","instId":"BTC-USD-220527-30000-C"},"data":[{"bidPx":"1","bidSz":"1","askPx":"2",'
        '"askSz":"1","ts":"1"}]}',
    ],
}
NAMES = [
    "binance/spot_four_symbols_2021",
    "bybit/first_400",
    "coinbase/first_150",
    "kraken/btcusd_depth10_resync",
    "okx/three_instruments_2022",
]
NOT_READ = {"unknown_channel", "unknown_symbol"}

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES.name}")
Records = Sequence[Recorded]


@cache
def recorded(name: str) -> tuple[str, str, Records]:
    """Venue, market and every record."""
    with Capture(CAPTURES / f"{name}.frames.gz") as capture:
        return capture.header.venue, capture.header.market, tuple(capture)


def reported(venue: str, market: str, records: Records) -> dict[str, Any]:
    """What a replay reports of them; a frame may only be unread because it is another channel's or symbol's."""
    playback, tally = Playback(venue, market, None, records[:1_000]), Tally()
    for record in records:
        try:
            tally.add_frame(record.connection, list(playback.events(record)))
        except BadFrameError as error:
            assert error.reason in NOT_READ, record.text
    return tally.report()


def with_others(venue: str, records: Records) -> Iterator[Recorded]:
    """After every fifth frame, once everything is under way, one of what else the venue may tell."""
    others = OTHERS[venue]
    for number, record in enumerate(records):
        yield record
        if number > 40 and number % 5 == 0 and record.kind == "frame":
            yield structs.replace(record, text=others[number // 5 % len(others)].encode())


def beside(records: Records) -> Iterator[Recorded]:
    """Everything once more over a second connection of each, three records later."""
    late: list[Recorded] = []
    for record in records:
        yield record
        if record.kind != "http":
            late.append(structs.replace(record, connection=f"{record.connection}b"))
        if len(late) > 3:
            yield late.pop(0)
    yield from late


def handed_over(records: Records) -> Iterator[Recorded]:
    """From the middle on over another connection, which tells the last twenty frames before it as well."""
    middle = len(records) // 2
    yield from records[:middle]
    for record in records[middle - 20 :]:
        yield record if record.kind == "http" else structs.replace(record, connection="ws9")


@pytest.mark.parametrize("name", NAMES)
def test_other_channels_of_the_same_connection_change_nothing(name: str) -> None:
    """Not even a book of fewer or more levels under the same symbol."""
    venue, market, records = recorded(name)
    assert reported(venue, market, list(with_others(venue, records))) == reported(venue, market, records)


@pytest.mark.parametrize("name", NAMES)
def test_two_connections_side_by_side_are_one_market(name: str) -> None:
    """The same trades and the same book; each connection's messages are applied to a book of its own, without a gap."""
    venue, market, records = recorded(name)
    once, twice = reported(venue, market, records), reported(venue, market, list(beside(records)))
    assert twice["trades"] == once["trades"]
    for symbol, book in twice["books"].items():
        assert book["seq_gaps"] == book.get("checksums_bad", 0) == 0
        assert book["book_msgs"] > once["books"][symbol]["book_msgs"] or venue == "binance"
        assert _state(book) == _state(once["books"][symbol])


def test_a_connection_that_takes_over_shows_no_seam() -> None:
    """Where messages are numbered and overlap, the book goes on and no trade counts twice."""
    venue, market, records = recorded("binance/spot_four_symbols_2021")
    once, seamed = reported(venue, market, records), reported(venue, market, list(handed_over(records)))
    assert (seamed["books"], seamed["trades"]) == (once["books"], once["trades"])


@pytest.mark.parametrize("name", ["kraken/btcusd_depth10_resync", "kraken/ethusd_depth25"])
def test_without_acknowledgements_a_book_is_as_deep_as_it_was(name: str) -> None:
    """Its snapshot tells; cut too short, the next checksum would fail."""
    venue, market, records = recorded(name)
    silent = [record for record in records if not record.text.startswith((b'{"method"', b'{"channel":"status"'))]
    assert len(silent) < len(records)
    assert reported(venue, market, silent) == reported(venue, market, records)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("binance/spot_four_symbols_2021", lambda record: record.kind == "http"),
        ("bybit/first_400", lambda record: b'"type":"snapshot"' in record.text and b'"orderbook.' in record.text),
        ("kraken/ethusd_depth25", lambda record: b'"type":"snapshot"' in record.text),
        ("okx/three_instruments_2022", lambda record: b'"action":"snapshot"' in record.text),
    ],
)
def test_a_book_without_its_snapshot_is_none_and_has_no_gap(name: str, begins: Callable[[Recorded], bool]) -> None:
    """Its trades and quotes are what they were."""
    venue, market, records = recorded(name)
    whole, headless = reported(venue, market, records), reported(venue, market, [r for r in records if not begins(r)])
    for book in headless["books"].values():
        assert (book["snapshots"], book["book_msgs"], book["seq_gaps"]) == (0, 0, 0)
        assert (book["best_bid"], book["best_ask"], book.get("checksums_bad", 0)) == (None, None, 0)
    assert set(headless["books"]) == set(whole["books"])
    assert all(headless[figure] == whole[figure] for figure in ("trades", "bookTicker", "last_bookTicker"))


@pytest.mark.parametrize("name", ["binance/usdm_ethusdt", "binance/spot_ethusdt"])
def test_without_market_and_address_the_frames_say_what_they_are(name: str) -> None:
    """With or without the envelope of combined streams; a part of the recording suffices."""
    venue, market, records = recorded(name)
    part = records[:6_000]
    bare = [
        structs.replace(record, text=json.dumps(json.loads(record.text)["data"]).encode())
        if record.kind == "frame"
        else record
        for record in part
    ]
    expected = reported(venue, market, part)
    assert reported(venue, "", part) == reported(venue, "", bare) == expected
    assert expected["books"]["ETHUSDT"]["book_msgs"] > 400


def _state(book: dict[str, Any]) -> dict[str, Any]:
    return {key: book[key] for key in book if key.startswith(("final", "best", "sum_"))}
