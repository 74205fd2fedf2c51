"""Frames of the form that nearly all have are read at once, and mean what the patient decoder reads in them."""

import gc
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, Quote, Trade, VenueEvent
from traderd.venues import forms
from traderd.venues.binance import Binance
from traderd.venues.binance_frames import FUTURES_QUOTE, LINEAR_TRADE, SPOT_QUOTE, SPOT_TRADE
from traderd.venues.binance_futures import BinanceFutures
from traderd.venues.forms import pieces_of, reader
from traderd.venues.okx import Okx
from traderd.venues.okx_frames import BEST

NOW = 1_723_161_254_024_619_568
ETH = Instrument(3, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")
FORMS: dict[str, Any] = {SPOT_QUOTE: Quote, SPOT_TRADE: Trade, FUTURES_QUOTE: Quote, LINEAR_TRADE: Trade, BEST: Quote}
compiled = pytest.mark.skipif(forms.native is None, reason="not compiled here")

digits = st.text("0123456789", min_size=1, max_size=20)
decimals = st.one_of(
    st.decimals(0, 10**9, places=8).map(lambda number: format(number, "f")),
    st.builds("{}.{}".format, digits, digits),
    st.text("0123456789.", max_size=36),
    st.sampled_from(["0", "0.00000000", ".5", "5.", "", "1e5", "-1", "NaN", "007"]),
)
numbers = st.one_of(st.integers(-1, 2**64).map(str), digits, st.sampled_from(["1.0", "1e3", "00", "-0", ""]))
times = st.one_of(st.integers(0, 2 * 10**13).map(str), numbers)
names = st.sampled_from(["ethusdt", "ETHUSDT", "BTCUSDT", "eth@usdt", "", "ÄÖ", 'e"', "e\\u0074h"])
VALUES: dict[str, st.SearchStrategy[str]] = {
    **dict.fromkeys(("bid", "bid_size", "ask", "ask_size", "price", "quantity"), decimals),
    **dict.fromkeys(("sequence", "trade_id", "number"), numbers),
    **dict.fromkeys(("name", "symbol"), names),
    "time_ms": times,
    "buyer_is_maker": st.sampled_from(["true", "false", "null", "1", "tru"]),
}
SOUND = {
    **{"name": "ethusdt", "symbol": "ETHUSDT", "sequence": "35346513501", "trade_id": "1520538925"},
    **{"bid": "2683.80000000", "bid_size": "3.02920000", "ask": "2683.81000000", "ask_size": "0.00000000"},
    **{"price": "2683.80000000", "quantity": "0.00200000", "time_ms": "1723161255611", "buyer_is_maker": "true"},
    "number": "1723161255612",
}


def compiled_forms() -> ModuleType:
    assert forms.native is not None
    return forms.native


def filled(form: str, values: dict[str, str]) -> bytes:
    return b"".join(piece if isinstance(piece, bytes) else values[piece].encode() for piece in pieces_of(form))


def dialect_of(form: str) -> Any:
    if form is BEST:
        return Okx()
    return BinanceFutures("linear") if form in (FUTURES_QUOTE, LINEAR_TRADE) else Binance()


def dialects(form: str) -> tuple[Any, Any]:
    """One that knows the form, and one that reads every frame patiently."""
    quick, patient = dialect_of(form), dialect_of(form)
    for dialect in (quick, patient):
        dialect.bind([ETH])
    known = [name for name in ("_read_quote", "_read_trade", "_read_best") if hasattr(patient, name)]
    assert known
    for name in known:
        setattr(patient, name, forms._left)
    return quick, patient


def meaning(decode: Callable[[bytes, int], Sequence[VenueEvent]], frame: bytes) -> Sequence[VenueEvent] | str:
    try:
        return list(decode(frame, NOW))
    except BadFrameError as error:
        return error.reason


@compiled
@pytest.mark.parametrize("form", FORMS)
def test_a_frame_of_the_form_is_read_at_once(form: str) -> None:
    event = reader(form, {"ETHUSDT": ETH}, FORMS[form])(filled(form, SOUND), NOW)
    assert [event] == list(dialects(form)[1].decode(filled(form, SOUND), NOW))
    assert type(event) is FORMS[form]


@given(st.data(), st.sampled_from(list(FORMS)))
def test_whatever_stands_in_the_form_means_what_the_patient_decoder_reads(data: st.DataObject, form: str) -> None:
    odd = data.draw(st.sets(st.sampled_from(sorted(SOUND)), max_size=3))
    frame = filled(form, SOUND | {name: data.draw(VALUES[name]) for name in sorted(odd)})
    quick, patient = dialects(form)
    assert meaning(quick.decode, frame) == meaning(patient.decode, frame)


@given(st.data(), st.sampled_from(list(FORMS)))
def test_a_frame_that_was_damaged_means_what_the_patient_decoder_reads(data: st.DataObject, form: str) -> None:
    frame = bytearray(filled(form, SOUND))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(frame) - 1))
        byte = data.draw(st.one_of(st.sampled_from(b'"\\{}[]:,.0123456789etf- \n\x00\xff'), st.integers(0, 255)))
        frame[at : at + data.draw(st.integers(0, 2))] = bytes([byte] * data.draw(st.integers(0, 2)))
        if not frame:
            break
    quick, patient = dialects(form)
    assert meaning(quick.decode, bytes(frame)) == meaning(patient.decode, bytes(frame))


@compiled
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("symbol", "BTCUSDT"),
        ("bid", "12345678.12345678"),
        ("bid", "0.00000000"),
        ("ask", "1" * 33),
        ("ask_size", "0." + "1" * 33),
        ("sequence", "9223372036854775808"),
        ("sequence", "007"),
        ("name", "eth@usdt"),
    ],
)
def test_what_is_not_just_so_is_left_to_the_decoder(value: str, text: str) -> None:
    assert reader(SPOT_QUOTE, {"ETHUSDT": ETH}, Quote)(filled(SPOT_QUOTE, SOUND | {value: text}), NOW) is None


@compiled
def test_each_symbol_has_its_own_instrument_however_many_there_are_and_however_long_their_names() -> None:
    """Also those that are added later; of an unknown one nothing is remembered."""
    instruments: dict[str, Instrument] = {}
    read = reader(SPOT_QUOTE, instruments, Quote)
    for number in range(300):
        symbol = f"{'LONGNAME' * (number % 4)}{number}USDT"
        frame = filled(SPOT_QUOTE, SOUND | {"symbol": symbol})
        assert read(frame, NOW) is None
        instruments[symbol] = Instrument(number, "binance", symbol, symbol, "X", "USDT")
        assert read(frame, NOW) == read(frame, NOW)
    for symbol, instrument in instruments.items():
        quote = read(filled(SPOT_QUOTE, SOUND | {"symbol": symbol}), NOW)
        assert quote is not None and quote.instrument is instrument


def test_an_instrument_that_is_described_anew_is_found_anew() -> None:
    """After `bind`, though frames of it were read before."""
    dialect, frame = Binance(), filled(SPOT_QUOTE, SOUND)
    for each in (ETH, replace(ETH, index=7), replace(ETH, price_tick=Decimal("0.5"))):
        dialect.bind([each])
        (quote,) = dialect.decode(frame, NOW)
        assert isinstance(quote, Quote) and quote.instrument is each
    dialect.bind([])
    with pytest.raises(BadFrameError, match="unknown_symbol"):
        dialect.decode(frame, NOW)


def test_a_venue_without_a_known_form_leaves_every_frame_to_the_decoder() -> None:
    assert reader("", {"ETHUSDT": ETH}, Quote)(filled(SPOT_QUOTE, SOUND), NOW) is None


def test_single_and_aggregated_trades_of_one_symbol_are_not_both_read() -> None:
    quick, _ = dialects(SPOT_TRADE)
    aggregated = filled(SPOT_TRADE, SOUND).replace(b"@trade", b"@aggTrade").replace(b'"trade"', b'"aggTrade"')
    aggregated = aggregated.replace(b'"t":', b'"a":')
    assert len(quick.decode(aggregated, NOW)) == 1
    assert quick.decode(filled(SPOT_TRADE, SOUND), NOW) == ()


@compiled
@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"{", "symbol", b"}"),
        (b"{", "no_value", b"}"),
        (b"{", 3, b"}"),
        (b"",) * 33,
    ],
)
def test_a_form_that_is_none_is_refused_when_it_is_made(pieces: tuple[bytes | str, ...]) -> None:
    with pytest.raises(ValueError, match="form"):
        compiled_forms().Form(pieces, {}, Quote)


@compiled
@example(frames=[b"", b"{", filled(SPOT_QUOTE, SOUND)[:-1]])
@given(frames=st.lists(st.binary(max_size=200)))
def test_foreign_bytes_are_left_to_the_decoder(frames: list[bytes]) -> None:
    read = reader(SPOT_QUOTE, {"ETHUSDT": ETH}, Quote)
    assert [read(frame, NOW) for frame in frames] == [None] * len(frames)


@compiled
def test_what_cannot_be_made_raises_and_leaks_nothing() -> None:
    def refuse(*parts: object) -> Quote:
        raise OverflowError(f"{len(parts)} parts")

    gc.collect()
    before = sys.getrefcount(ETH)
    read = compiled_forms().Form(pieces_of(SPOT_QUOTE), {"ETHUSDT": ETH}, refuse).read
    frame = filled(SPOT_QUOTE, SOUND)
    for _ in range(100):
        with pytest.raises(OverflowError, match="7 parts"):
            read(frame, NOW)
    del read
    gc.collect()
    assert sys.getrefcount(ETH) == before
    quote = reader(SPOT_QUOTE, {"ETHUSDT": ETH}, Quote)(frame, NOW)
    assert quote is not None
    assert Decimal(quote.bid_text) == Decimal("2683.8")
