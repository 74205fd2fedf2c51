"""Which server of a Redis Cluster has a key: CLUSTER SLOTS, asked of any server that is known.

Messages go by plain PUBLISH, which a cluster tells all its servers: `PSUBSCRIBE traderd:*` on any of them hears
everything, as it does on a single server. A sharded channel (SPUBLISH) would spare the servers that, but knows no
patterns, and each listener would have to follow the slots. A symbol's SET and PUBLISH go to the same server, that of
its key, so that they keep their order. Refuses to guess: a slot that no server has leads nowhere until one has it.
"""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ResponseError

from traderd.adapters.redis_link import FAULTS, at

_KEYS_MAX: Final = 100_000


class ClusterMap:
    """`read` it first, and again when a server is gone or says MOVED."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._seed = url
        self._timeout_s = timeout_s
        self._owners: list[str] = [""] * REDIS_CLUSTER_HASH_SLOTS
        self._of_key: dict[str, str] = {}
        self.stale = True
        """Somebody found it wrong."""

    @property
    def urls(self) -> set[str]:
        """Every server that has slots."""
        return set(self._owners) - {""}

    def owner(self, key: str) -> str:
        """The URL of the server that has this key, or that this channel's messages are given to; "" for none."""
        found = self._of_key.get(key)
        if found is None:
            if len(self._of_key) >= _KEYS_MAX:
                self._of_key.clear()
            found = self._of_key[key] = self._owners[key_slot(key.encode())]
        return found

    async def read(self) -> None:
        """Ask the servers one after the other until one answers. Raises the last one's fault (FAULTS)."""
        last: Exception | None = None
        for url in (*sorted(self.urls), self._seed):
            try:
                self._owners = await self._slots(url)
            except FAULTS as fault:
                last = fault
            else:
                self._of_key.clear()
                self.stale = False
                return
        assert last is not None
        raise last

    async def _slots(self, url: str) -> list[str]:
        redis = Redis.from_url(
            url,
            protocol=2,
            decode_responses=True,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        redis.set_response_callback("CLUSTER SLOTS", lambda reply, **_: reply)  # type: ignore[arg-type]
        try:
            ranges = await redis.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        finally:
            await redis.aclose()
        owners = [""] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            owners[first : last + 1] = [at(self._seed, host, port) if host else url] * (last - first + 1)
        if not any(owners):
            raise ResponseError("the cluster has no slots")
        return owners
