"""What a journal holds, read back for people: the digits and the times are those that went in."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from made_up import BTC, START, quote, trade
from traderd.adapters.copy_columns import Numerics, encode_rows
from traderd.adapters.journal_rows import numeric_text, rows_of, time_of_row
from traderd.adapters.tick_rows import TickRows
from traderd.core.facts import Alert, Fact, Gap, encode_fact
from traderd.runtime.ports import JournalRecord, Reject

TEXTS = st.builds(
    lambda whole, fraction: f"{whole}.{fraction}" if fraction else str(whole),
    st.integers(0, 10**28 - 1),
    st.text("0123456789", max_size=20),
)


@given(TEXTS)
def test_a_number_comes_back_as_the_text_that_the_venue_sent(text: str) -> None:
    """To the last zero behind the dot."""
    row = encode_rows([Numerics([text])], 1)
    assert numeric_text(row[6:]) == text


def record(label: str, payload: bytes) -> JournalRecord:
    return JournalRecord(1, label, 1, 0, 0, payload)


def test_every_kind_of_record_is_told_by_its_columns() -> None:
    """Quotes, trades, backfilled trades, quarantined frames."""
    rows = TickRows([BTC])
    one = trade("100.50", "0.10", START)
    quotes = rows.quotes([quote("99.9", "100.10", START)], [one.text])
    told = next(rows_of(record("tick_data:binance:quote", quotes.payload)))
    assert (told["symbol"], told["exchange"], told["bid"], told["ask"]) == ("BTC/USDT", "binance", "99.9", "100.10")
    assert (told["last_price"], told["last_volume"]) == ("100.50", "0.10")
    assert datetime.fromisoformat(told["time"]) == datetime.fromtimestamp(START // 10**9, UTC)
    assert time_of_row(told) == START
    traded = next(rows_of(record("public_trades:binance:trade", rows.trades([one]).payload)))
    assert (traded["price"], traded["quantity"], traded["trade_id"]) == ("100.50", "0.10", one.trade_id)
    late = next(rows_of(record("public_trades:binance:backfill", rows.backfilled([one]).payload)))
    assert late["backfilled"] is True
    bad = rows.rejects([Reject(START, "binance", "quote", "malformed", b"{")])
    assert next(rows_of(record("quarantine:binance:", bad.payload)))["payload"] == "{"


def test_facts_are_their_own_json_and_each_has_a_time() -> None:
    """One object a line; what is no number in JSON stays text."""
    facts: list[Fact] = [
        Alert("a", START, "test", "info", "title", "message"),
        Gap("g", "binance", "", "trade", "lost", START + 1, START + 2, 3),
    ]
    found = list(rows_of(record("facts", b"\n".join([encode_fact(fact) for fact in facts]))))
    assert [row["type"] for row in found] == ["alert", "gap"]
    assert [time_of_row(row) for row in found] == [START, START + 1]


def test_what_nobody_knows_is_shown_as_it_is() -> None:
    """A label of a later version."""
    assert list(rows_of(record("news:reuters", b"\x01\xff"))) == [{"payload": "01ff"}]
    assert numeric_text(bytes.fromhex("0001 0000 4000 0002 0005".replace(" ", ""))) == "-5.00"
    assert Decimal(numeric_text(bytes.fromhex("0001 ffff 0000 0004 0005".replace(" ", "")))) == Decimal("0.0005")
