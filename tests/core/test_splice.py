"""Two links that carry the same, made into one."""

from random import Random

import pytest

from traderd.core.market import Instrument, Quote, Trade, VenueEvent
from traderd.core.splice import Splice

BTC = Instrument(0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT")


def quote(number: int, price: str, time_ns: int) -> Quote:
    return Quote(BTC, 1.0, 2.0, f"{price},1,2,1", number, time_ns, 0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("numbered", [True, False], ids=["by update id", "by the venue's time"])
def test_nothing_is_missing_and_nothing_comes_twice(seed: int, numbered: bool) -> None:
    """The second link joins late, the first ends early, and either may be ahead at any moment."""
    random = Random(seed)
    sent: list[VenueEvent] = []
    for number in range(300):
        price = random.choice(["1", "1.5"])  # the same price comes back again and again
        sent.append(quote(number if numbered else random.randrange(1_000), price, 0 if numbered else number + 1))
        sent.append(Trade(BTC, str(number), "buy", 1.0, "1,1", 0, 0))
    joined, ended = random.randrange(0, 200), random.randrange(300, 600)
    links = [sent[:ended], sent[joined:]]
    splice, taken = Splice(), list[VenueEvent]()
    while any(links):
        link = random.choice([link for link in links if link])
        taken += splice.new([link.pop(0)])
    assert sorted(map(repr, taken)) == sorted(map(repr, sent))
    assert len(taken) == 600, "of the overlap each came once"
