"""The replay's figures where two markets of a venue spell a symbol alike."""

from traderd.core.market import BookRule, BookSnapshot, Instrument, Trade
from traderd.core.tally import Tally

SPOT = Instrument(0, "bybit", "ETH/USDT", "ETHUSDT", "ETH", "USDT")


def test_a_symbol_of_two_markets_stands_under_both_and_another_under_its_own_name() -> None:
    """However little is told of it on the one; never are two markets added up."""
    perpetual = Instrument(1, "bybit", "ETH/USDT:USDT", "ETHUSDT", "ETH", "USDT", market="linear", settle="USDT")
    other = Instrument(2, "bybit", "SOL/USDT:USDT", "SOLUSDT", "SOL", "USDT", market="linear", settle="USDT")
    tally = Tally()
    tally.add(Trade(SPOT, "1", "buy", 10.0, "10.0,1.0", 0, 0))
    assert set(tally.report()["trades"]) == {"ETHUSDT"}
    for instrument, quantity in ((perpetual, "3"), (other, "5")):
        tally.add(Trade(instrument, "7", "sell", 10.0, f"10.0,{quantity}", 0, 0))
    tally.add(BookSnapshot(perpetual, [("9", "1")], [("11", "1")], 5, None, 0, 0, rule=BookRule("ranges")))
    report = tally.report()
    quantities = {symbol: figures["qty"] for symbol, figures in report["trades"].items()}
    assert quantities == {"spot:ETHUSDT": "1.0", "linear:ETHUSDT": "3", "SOLUSDT": "5"}
    assert set(report["books"]) == set(tally.books) == {"linear:ETHUSDT"}
