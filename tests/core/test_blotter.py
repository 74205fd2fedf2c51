from decimal import Decimal

from msgspec import structs

from made_up import START
from traderd.core.blotter import FINISHED_MAX, Blotter
from traderd.core.facts import Order

OPEN = Order(
    "o1", "paper", "ema", "s", "binance", "BTC/USDT", "buy", "market", Decimal(5), None, "open", "paper", START, START
)


def test_working_orders_reserve_what_they_may_still_fill() -> None:
    """By instrument and side; an ended one reserves nothing."""
    blotter = Blotter()
    blotter.record(structs.replace(OPEN, filled_quantity=Decimal(2), status="partially_filled"))
    blotter.record(structs.replace(OPEN, client_order_id="o2"))
    blotter.record(structs.replace(OPEN, client_order_id="o3", side="sell"))
    blotter.record(structs.replace(OPEN, client_order_id="o4", exchange="kraken"))
    assert blotter.remaining("binance", "BTC/USDT", "buy") == 8
    assert blotter.remaining("binance", "BTC/USDT", "sell") == 5
    blotter.record(structs.replace(OPEN, client_order_id="o2", status="cancelled"))
    assert blotter.remaining("binance", "BTC/USDT", "buy") == 3


def test_an_ended_order_is_found_until_many_newer_ones_have_ended() -> None:
    """So that late news is recognised, and memory stays bounded."""
    blotter = Blotter()
    for number in range(FINISHED_MAX + 1):
        blotter.record(structs.replace(OPEN, client_order_id=f"o{number}", status="filled"))
    assert blotter.find("o0") is None
    assert blotter.find("o1") is not None
    assert not list(blotter.working())
