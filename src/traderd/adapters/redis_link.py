"""One connection to one Redis server: bytes of commands out, bytes of their replies back, never anybody else's.

redis-py opens it (TCP, TLS or a Unix socket, AUTH, SELECT); what goes over it are whole buffers, and replies are
counted instead of parsed: 0.1 µs each instead of 5. An exchange owns the connection while it is under way; one that was
cancelled, timed out or failed closes it, so that no reply is left for the next one. Refuses a second exchange beside
the first, and whatever isn't an answer in RESP2.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import SplitResult, urlsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from traderd.adapters.redis_messages import command

FAULTS: Final = (RedisError, OSError, TimeoutError, EOFError)
"""Whatever Redis or the way to it may do to us."""
CLUSTER: Final = "+cluster"
"""Behind a URL's scheme: the server is one of a Redis Cluster's."""
_REPLY_BYTES_MAX: Final = 512
"""On average; a single one may be longer by what is read at once."""
_READ_BYTES: Final = 65_536


class RedisLink:
    """`open` it, then any number of exchanges, one after the other."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Raises ValueError when the URL isn't a redis://, rediss:// or unix:// one; connects to nothing yet."""
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A retry would publish twice, and we have a rhythm of our own.
            retry=Retry(NoBackoff(), 0),
            client_name="traderd",
        )

    @property
    def is_open(self) -> bool:
        """Whether an exchange may begin; the server's hanging up is noticed here too."""
        reader = self._connection._reader if self._connection is not None else None
        return reader is not None and not reader.at_eof()

    async def open(self) -> None:
        """A fresh connection to a server that answers. Raises FAULTS; AuthenticationError for a wrong password."""
        self.hang_up()
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self._timeout_s):
                with _uvloops_words():
                    await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            _abort(connection)
            raise
        self._connection = connection
        answer = await self.exchange(command(b"PING"), 1)
        if answer.startswith(b"-") and not answer.startswith(b"-NOPERM"):
            self.hang_up()
            raise _refusal(answer)

    async def exchange(self, commands: bytes, replies: int) -> bytes:
        """Send the commands, return their replies as they came: `replies` of them, of one line or one bulk string each.

        Time-outs are for no progress, so that a slow way isn't taken for a dead one. Raises FAULTS.
        """
        connection, self._connection = self._connection, None
        if connection is None or connection._writer is None or connection._reader is None:
            raise ConnectionError("there is no connection")
        try:
            with _uvloops_words():
                connection._writer.write(commands)
            answer = await self._read(connection._reader, replies)
        except BaseException:
            _abort(connection)
            raise
        self._connection = connection
        return answer

    def hang_up(self) -> None:
        """At once, without waiting for anybody."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _abort(connection)

    async def _read(self, reader: asyncio.StreamReader, replies: int) -> bytes:
        answer = bytearray()
        while True:
            async with asyncio.timeout(self._timeout_s):
                piece = await reader.read(_READ_BYTES)
            if not piece:
                raise ConnectionError("the server hung up")
            answer += piece
            found = count(answer)
            if found > replies or len(answer) > replies * _REPLY_BYTES_MAX + _READ_BYTES or answer[:1] not in b"+-:$":
                raise ConnectionError("that is no answer of a Redis")
            if found == replies and answer.endswith(b"\r\n"):
                return bytes(answer)


def count(answer: bytes | bytearray) -> int:
    """Complete replies: each is one line, and a bulk string has the line of its length before it."""
    return answer.count(b"\r\n") - answer.count(b"\n$") - answer.startswith(b"$")


def refusals(answer: bytes) -> list[str]:
    """The error replies, without their `-`."""
    if not answer.startswith(b"-") and b"\n-" not in answer:
        return []
    return [line[1:].decode(errors="replace") for line in answer.split(b"\r\n") if line.startswith(b"-")]


def parts(url: str) -> tuple[str, bool]:
    """The URL that redis-py understands, and whether it is a cluster's.

    A certificate's name is checked unless the URL says otherwise, as redis-py before 6.0 doesn't.
    """
    scheme, colon, rest = url.partition(":")
    if scheme.startswith("rediss") and "ssl_check_hostname=" not in rest and "ssl_cert_reqs=" not in rest:
        rest += ("&" if "?" in rest else "?") + "ssl_check_hostname=true"
    return scheme.removesuffix(CLUSTER) + colon + rest, scheme.endswith(CLUSTER)


def at(url: str, host: str, port: int) -> str:
    """The same URL, user, password and options, for another server."""
    old: SplitResult = urlsplit(url)
    user, sign, _ = old.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    return old._replace(netloc=f"{user}{sign}{name}:{port}").geturl()


@contextmanager
def _uvloops_words() -> Iterator[None]:
    """Who writes to a connection that was just reset hears of a closed handler there, and nothing from asyncio."""
    try:
        yield
    except RuntimeError as error:
        if "handler is closed" not in str(error):
            raise
        raise ConnectionError("the server hung up") from error


def _refusal(answer: bytes) -> RedisError:
    text = answer[1:].decode(errors="replace").strip()
    return AuthenticationError(text) if text.startswith(("NOAUTH", "WRONGPASS")) else ResponseError(text)


def _abort(connection: AbstractConnection) -> None:
    if connection._writer is not None:
        connection._writer.transport.abort()
        connection._writer = connection._reader = None
