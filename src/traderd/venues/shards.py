"""How a venue's streams are spread over connections: by what may share one, and by how many one bears."""

from collections.abc import Sequence
from typing import NamedTuple

from traderd.core.market import Instrument
from traderd.venues.dialect import AnyChannel, Dialect


class Shard(NamedTuple):
    """What one connection carries: these channels of these instruments, as far as each instrument has them."""

    channels: Sequence[AnyChannel]
    instruments: Sequence[Instrument]


def shards(
    dialect: Dialect, instruments: Sequence[Instrument], channels: Sequence[AnyChannel], streams_max: int = 0
) -> list[Shard]:
    """As few as the venue's limit allows, evenly filled; `streams_max` is a lower limit of our own, 0 for none.

    A symbol's channels stay together as far as the venue lets them.
    """
    most = min(filter(None, (dialect.limits.streams_per_connection, streams_max)))
    found = []
    for group in dialect.by_connection(channels):
        heard = [each for each in instruments if any(dialect.offers(each, channel) for channel in group)]
        if not heard:
            continue
        connections = -(-len(heard) // max(1, most // len(group)))
        size = -(-len(heard) // connections)
        found += [Shard(group, heard[at : at + size]) for at in range(0, len(heard), size)]
    return found
