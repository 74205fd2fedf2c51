"""The fact journal's records, as a drain hands them on."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from traderd.core.facts import Alert, Fact, encode_fact
from traderd.runtime.facts import FactRecords
from traderd.runtime.ports import JournalRecord, PortfolioState

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.just("two\nlines\r\n")


class Kept:
    """A fact store that keeps in memory what it is given."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.positions: list[int] = []

    async def cursor(self, journal_id: str) -> int:
        return len(journal_id)

    async def store(self, journal_id: str, position: int, facts: Sequence[Fact]) -> int:
        self.facts += facts
        self.positions.append(position)
        return 3

    async def load_portfolio(self, portfolio: str) -> PortfolioState:
        raise NotImplementedError


@given(messages=st.lists(st.lists(TEXTS, min_size=1, max_size=4), min_size=1, max_size=4))
async def test_records_of_lines_are_facts_in_order_with_one_cursor(messages: list[list[str]]) -> None:
    """Whatever their texts hold, line breaks too; the cursor is the last record's position."""
    written = [
        [Alert(f"a{number}", 1, "t", "info", text, text) for number, text in enumerate(each)] for each in messages
    ]
    records = [
        JournalRecord(7 + at, "facts", len(facts), 0, 0, b"\n".join(map(encode_fact, facts)))
        for at, facts in enumerate(written)
    ]
    store = Kept()
    assert await FactRecords(store).store("facts-1", records) == 3
    assert store.facts == [fact for facts in written for fact in facts]
    assert store.positions == [6 + len(records)]


async def test_the_cursor_is_the_stores() -> None:
    """Nothing is remembered here."""
    assert await FactRecords(Kept()).cursor("abcd") == 4
