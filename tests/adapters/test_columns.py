"""Objects become columns: the same lists whether gathered in C or in Python."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import BTC, ETH, START, quote, trade
from traderd.adapters.columns import columns_of, columns_of_slowly

WAYS = [columns_of, columns_of_slowly]
PATHS = ("time_received_ns", "instrument.index", "text", "flags", "instrument.symbol", "bid_text")


class Slotted:
    __slots__ = ("kept", "lent")

    def __init__(self, kept: Any) -> None:
        self.kept = kept


class Computed:
    @property
    def kept(self) -> str:
        return "computed"


@pytest.mark.parametrize("gather", WAYS)
def test_each_path_gives_a_list_with_a_value_of_each_object(gather: Any) -> None:
    quotes = [quote("100", "101", START), quote("9.5", "9.6", START + 1, ETH)]
    assert gather(quotes, PATHS) == [
        [START, START + 1],
        [BTC.index, ETH.index],
        [each.text for each in quotes],
        [0, 0],
        ["BTC/USDT", "ETH/USDT"],
        ["100", "9.5"],
    ]
    assert gather([], PATHS) == [[]] * len(PATHS)
    assert gather(quotes, ()) == []


@pytest.mark.parametrize("gather", WAYS)
def test_objects_of_several_types_may_stand_in_one_list(gather: Any) -> None:
    mixed = [Slotted(1), SimpleNamespace(kept=2), Computed(), Slotted(None), trade("1", "2", START)]
    assert gather(mixed[:-1], ("kept",)) == [[1, 2, "computed", None]]
    with pytest.raises(AttributeError):
        gather(mixed, ("kept",))


@pytest.mark.parametrize("gather", WAYS)
@pytest.mark.parametrize("path", ["lent", "no_such", "kept.no_such", ""])
def test_what_an_object_does_not_have_is_an_error(gather: Any, path: str) -> None:
    with pytest.raises(AttributeError):
        gather([Slotted(1)], (path,))


class Shrinking:
    """Takes the others out of the list while it is looked at."""

    def __init__(self, objects: list[Any]) -> None:
        self.objects = objects

    @property
    def kept(self) -> int:
        self.objects.clear()
        return 1


@pytest.mark.skipif(columns_of is columns_of_slowly, reason="not compiled here")
def test_a_list_that_changes_meanwhile_is_noticed() -> None:
    objects: list[Any] = []
    objects += [Slotted(0), Shrinking(objects), Slotted(2)]
    with pytest.raises(RuntimeError, match="shorter"):
        columns_of(objects, ("kept",))


@pytest.mark.skipif(columns_of is columns_of_slowly, reason="not compiled here")
@pytest.mark.parametrize("call", [((), ("kept",)), ([], ["kept"]), ([],), ([Slotted(1)], (3,)), ([], ("a.b.c.d.e",))])
def test_what_is_no_question_is_a_mistake_of_ours(call: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        columns_of(*call)


@given(st.lists(st.one_of(st.integers(), st.text(max_size=3), st.none()).map(Slotted), max_size=20))
def test_both_ways_agree(objects: list[Any]) -> None:
    assert columns_of(objects, ("kept", "kept")) == columns_of_slowly(objects, ("kept", "kept"))
