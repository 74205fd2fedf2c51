"""One connection: whose reply is whose, whatever is cancelled, cut or corrupted on the way."""

import asyncio
import random
import re
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import Proxy
from redis_servers import RedisServer, redis_server
from traderd.adapters.redis_link import FAULTS, RedisLink, at, count, parts, refusals
from traderd.adapters.redis_messages import command, publish


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with redis_server() as own:
        yield own


async def test_no_reply_ever_goes_to_another_exchange(server: RedisServer) -> None:
    """A hundred exchanges, half of them cancelled at random moments, in small late pieces: each reply is its own."""
    chance = random.Random(7)
    own, ended, cancelled = 0, 0, 0
    with Proxy(server.path, seed=7) as proxy:
        proxy.piece_bytes_max, proxy.jitter_s = 40, 0.002
        link = RedisLink(f"redis://127.0.0.1:{proxy.port}", 2.0)
        for n in range(100):
            if not link.is_open:
                await link.open()
            tags = [b"%d-%d-%x" % (n, i, chance.getrandbits(64)) for i in range(chance.randint(1, 5))]
            asking = asyncio.create_task(link.exchange(b"".join(command(b"ECHO", tag) for tag in tags), len(tags)))
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.004)
                asking.cancel()
            try:
                answer = await asking
            except asyncio.CancelledError:
                cancelled += 1
                assert not link.is_open
                continue
            ended += 1
            own += re.findall(rb"\r\n(\d+-[^\r]+)\r\n", b"\r\n" + answer.replace(b"\r\n", b"\r\n\r\n")) == tags
        assert own == ended
        assert cancelled > 10
        assert ended > 40
        link.hang_up()


@pytest.mark.parametrize("trouble", ["cut", "corruption"])
async def test_a_broken_connection_gives_a_fault_or_the_own_reply(server: RedisServer, trouble: str) -> None:
    """Cut in the middle or corrupted on the way: never another one's reply, and never a hang."""
    chance = random.Random(11)
    with Proxy(server.path, seed=11) as proxy:
        link = RedisLink(f"redis://127.0.0.1:{proxy.port}", 0.2)
        faults = 0
        for _ in range(40):
            proxy.corruption = 0.0
            if not link.is_open:
                await link.open()
            proxy.corruption, proxy.piece_bytes_max = (0.015, 60) if trouble == "corruption" else (0.0, 8)
            proxy.latency_s = 0.001
            tag = b"%011x" % chance.getrandbits(44)
            asking = asyncio.create_task(link.exchange(command(b"ECHO", tag), 1))
            if trouble == "cut" and chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.004)
                await asyncio.to_thread(proxy.cut)
            try:
                answer = await asyncio.wait_for(asking, 5)
            except FAULTS:
                faults += 1
                assert not link.is_open
            else:
                # A flipped bit inside the text is TCP's affair, and TLS's; what was asked before must not come.
                known = sum(a == b for a, b in zip(answer, b"$11\r\n" + tag + b"\r\n", strict=False))
                assert known >= 14 or answer.startswith(b"-"), answer
        assert faults > 3
        link.hang_up()


async def test_a_second_exchange_beside_the_first_is_refused(server: RedisServer) -> None:
    """Replies are told apart by their order alone."""
    with Proxy(server.path) as proxy:
        link = RedisLink(f"redis://127.0.0.1:{proxy.port}", 2.0)
        await link.open()
        proxy.latency_s = 0.05
        first = asyncio.create_task(link.exchange(command(b"ECHO", b"first"), 1))
        await asyncio.sleep(0.01)
        with pytest.raises(ConnectionError, match="no connection"):
            await link.exchange(command(b"ECHO", b"second"), 1)
        assert await first == b"$5\r\nfirst\r\n"
        link.hang_up()


async def test_a_slow_way_is_not_taken_for_a_dead_one(server: RedisServer) -> None:
    """An exchange may last far longer than the time-out as long as replies go on coming."""
    with Proxy(server.path) as proxy:
        link = RedisLink(f"redis://127.0.0.1:{proxy.port}", 0.3)
        await link.open()
        proxy.bytes_per_s = 256_000
        started = asyncio.get_running_loop().time()
        answer = await link.exchange(publish("nobody", b"x" * 1_000) * 256, 256)
        assert asyncio.get_running_loop().time() - started > 0.6
        assert count(answer) == 256
        proxy.stopped = True
        with pytest.raises(TimeoutError):
            await link.exchange(command(b"PING"), 1)
        assert not link.is_open
        link.hang_up()


_LINES = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=20).map(str.encode)
_REPLIES = st.lists(
    st.one_of(
        _LINES.map(lambda text: b"+" + text + b"\r\n"),
        _LINES.map(lambda text: b"-ERR " + text + b"\r\n"),
        st.integers().map(lambda number: b":%d\r\n" % number),
        st.from_regex(rb"[0-9]{13}-[0-9]+", fullmatch=True).map(lambda name: b"$%d\r\n%b\r\n" % (len(name), name)),
    ),
    min_size=1,
)


@given(_REPLIES, st.data())
def test_replies_are_counted_as_they_are(replies: list[bytes], data: st.DataObject) -> None:
    """All of them, and of a part that ends anywhere no more than it holds in whole."""
    answer = b"".join(replies)
    assert count(answer) == len(replies)
    assert len(refusals(answer)) == sum(reply.startswith(b"-") for reply in replies)
    cut = data.draw(st.integers(0, len(answer)))
    whole = sum(sum(map(len, replies[: n + 1])) <= cut for n in range(len(replies)))
    assert count(answer[:cut]) == whole or not answer[:cut].endswith(b"\r\n")


def test_an_address_leads_to_its_neighbours_with_the_same_rights() -> None:
    """User, password and options stay; the host changes, IPv6 too."""
    url, clustered = parts("rediss+cluster://me:p%40ss@cache:7000?ssl_ca_certs=/ca")
    assert (url, clustered) == ("rediss://me:p%40ss@cache:7000?ssl_ca_certs=/ca&ssl_check_hostname=true", True)
    assert at(url, "::1", 7001) == "rediss://me:p%40ss@[::1]:7001?ssl_ca_certs=/ca&ssl_check_hostname=true"
    assert parts("rediss://cache?ssl_check_hostname=no")[0] == "rediss://cache?ssl_check_hostname=no"
    assert at("redis://cache", "::1", 7001) == "redis://[::1]:7001"
    assert parts("unix:///run/redis.sock") == ("unix:///run/redis.sock", False)
