from made_up import BTC, ETH, START, quote, trade
from traderd.core.ticker import TickerBoard


def test_each_instrument_has_its_own_place_and_nothing_before_its_first_tick() -> None:
    """Setting one place leaves the others alone."""
    board = TickerBoard(2)
    newest, last = quote("1", "2", START, ETH), trade("1.5", "3", START, BTC)
    board.quotes[ETH.index] = newest
    board.trades[BTC.index] = last
    assert board.quotes == [None, newest]
    assert board.trades == [last, None]
