"""What a venue that won't have us is spared."""

import pytest

from driven import DrivenClock
from traderd.core.errors import VenueRefusalError
from traderd.runtime.admission import Admission, AdmittedRest
from traderd.venues.binance import Binance

pytestmark = pytest.mark.driven


class Refusing:
    """A venue's REST that bans for a minute whoever asks."""

    asked = 0

    async def get(self, url: str, timeout_s: float) -> bytes:
        self.asked += 1
        raise VenueRefusalError("418", 418, 60.0)


async def test_a_ban_is_heeded_by_those_who_ask_seldom_and_what_they_are_told_is_everybodys() -> None:
    """The listing and the clock ask nothing while it lasts, and a ban that they meet keeps the connections away."""
    clock, venue = DrivenClock(), Refusing()
    admission = Admission(Binance.limits, clock)
    rest, begun_ns = AdmittedRest(venue, admission), clock.monotonic_ns()
    with pytest.raises(VenueRefusalError):
        await rest.get("https://venue/time", 1.0)
    with pytest.raises(ConnectionError, match="not asked: the venue won't have us for 60 s"):
        await rest.get("https://venue/time", 1.0)
    assert venue.asked == 1
    await admission.connect()
    assert clock.monotonic_ns() - begun_ns >= 60 * 10**9
    with pytest.raises(VenueRefusalError):
        await rest.get("https://venue/time", 1.0)
