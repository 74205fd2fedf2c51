"""The servers of our own: PostgreSQL, Redis and the simulated exchange, each where the configuration asks for it.

A stop is bounded: a server that doesn't end in time is killed. Both databases are made for that.
"""

from pathlib import Path

from traderd.adapters.embedded import EmbeddedPostgres, EmbeddedRedis
from traderd.config import Config, endpoint, redacted, resolved
from traderd.sim.server import SimulatedExchange
from traderd.venues.dialect import Endpoint
from traderd.venues.roster import Seat


class OwnServers:
    """`start` tells the addresses, also of servers that aren't ours; `stop` undoes as much as was started."""

    def __init__(self, config: Config, state_dir: Path) -> None:
        self._venues = {str(venue.name): venue for venue in config.venues}
        self.dsn = config.database
        """As configured: what it refers to is read anew at each connection."""
        self.database = redacted(resolved(config.database))
        """The same, to be shown."""
        self.redis_url = resolved(config.redis)
        self._postgres = EmbeddedPostgres(state_dir) if config.database == "embedded" else None
        self._redis = EmbeddedRedis(state_dir) if config.redis == "embedded" else None
        simulated = any(venue.endpoint == "sim" for venue in config.venues)
        self.exchange = SimulatedExchange(config.sim) if simulated else None

    async def start(self) -> None:
        """Start them. Raises EmbeddedServerError."""
        if self._postgres is not None:
            self.dsn = await self._postgres.start()
            self.database = redacted(self.dsn)
        if self._redis is not None:
            self.redis_url = await self._redis.start()
        if self.exchange is not None:
            await self.exchange.start()

    @property
    def simulated(self) -> Endpoint | None:
        """Where the simulated exchange is, if it runs."""
        return Endpoint(self.exchange.url, self.exchange.rest_url) if self.exchange is not None else None

    def endpoint(self, seat: Seat) -> Endpoint:
        """Where a venue is; that of the simulated exchange only once it runs."""
        where = endpoint(self._venues[seat.exchange], seat.market) or self.simulated
        assert where is not None
        return where

    async def stop(self, within_s: float) -> None:
        """Stop them in about that time."""
        if self.exchange is not None:
            await self.exchange.stop()
        if self._redis is not None:
            await self._redis.stop()
        if self._postgres is not None:
            await self._postgres.stop(within_s)
