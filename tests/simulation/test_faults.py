"""What else may go wrong around a running daemon: Redis, foul input from a venue, a port or a folder that is taken."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from accounts import settle
from books import counted, expect_sound_books, rows
from daemons import DaemonProcess, configuration, exchange, frozen
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from conftest import Database
from proxy import Proxy
from redis_servers import redis_server
from traderd.cli import ExitCode

pytestmark = pytest.mark.process


@pytest.mark.parametrize("trouble", ["absent", "frozen"])
async def test_a_redis_that_is_away_delays_neither_ticks_nor_orders(
    plain_database: Database, tmp_path: Path, trouble: str
) -> None:
    """sent = received = stored, and orders are filled within their latency, as if nothing had happened."""
    redis = "redis://127.0.0.1:1/0" if trouble == "absent" else "embedded"
    async with exchange(remember=True) as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=plain_database.dsn, redis=redis)) as daemon:
            daemon.start("--for", "1h")
            before = await daemon.until(lambda status: status["ticks"]["stored"] > 1_000)
            if trouble == "frozen":
                with frozen(daemon.servers()):
                    status = await _expect_business_as_usual(daemon, before["ticks"]["stored"])
                    found = await settle(daemon, sim, plain_database.dsn)
                    took_s = await daemon.terminate()
            else:
                status = await _expect_business_as_usual(daemon, before["ticks"]["stored"])
                found = await settle(daemon, sim, plain_database.dsn)
                took_s = await daemon.terminate()
            assert found.stored == found.sent
            print(f"SIGTERM with Redis {trouble}: {took_s:.2f} s")
            assert "journalled 0 + quarantined 0 + lost 0" in daemon.printed()
            assert "redis does not take messages" in daemon.events()
            assert await expect_sound_books(plain_database.dsn) >= status["engine"]["fills"]
            slowest = await rows(
                plain_database.dsn,
                "SELECT max(waited)::float8 FROM (SELECT min(extract(epoch FROM e.time - o.created_at)) AS waited"
                " FROM executions e JOIN orders o ON o.id = e.order_id GROUP BY o.id) first_fills",
            )
            assert slowest[0][0] < 1.0


async def test_a_redis_that_is_slow_cut_off_frozen_or_gone_delays_neither_ticks_nor_orders(
    plain_database: Database, tmp_path: Path
) -> None:
    """One after the other, at 200 ms and 16 KB/s first; after each of them sent = received = stored."""
    async with exchange(remember=True) as sim, redis_server() as server:
        with Proxy(server.path, seed=3) as proxy:
            redis = f"redis://127.0.0.1:{proxy.port}"
            config = configuration(tmp_path, sim.url, database=plain_database.dsn, redis=redis)
            with DaemonProcess(config) as daemon:
                daemon.start()
                status = await daemon.until(lambda status: status["ticks"]["stored"] > 500)
                for trouble in (_slow, Proxy.cut, _frozen, _gone, _well):
                    trouble(proxy)
                    await asyncio.sleep(1.5)
                    status = await _expect_business_as_usual(daemon, status["ticks"]["stored"])
                    found = await settle(daemon, sim, plain_database.dsn)
                    assert found.stored == found.sent
                async with asyncio.timeout(20):  # the pause between two tries may be seconds by now
                    while not proxy.open_connections:
                        await asyncio.sleep(0.05)
                await daemon.terminate()
                assert "redis does not take messages" in daemon.events()
                await expect_sound_books(plain_database.dsn)


def _slow(proxy: Proxy) -> None:
    proxy.latency_s, proxy.bytes_per_s = 0.2, 16_000.0


def _frozen(proxy: Proxy) -> None:
    proxy.latency_s = proxy.bytes_per_s = 0.0
    proxy.stopped = True


def _gone(proxy: Proxy) -> None:
    proxy.stopped, proxy.refusing = False, True
    proxy.cut()


def _well(proxy: Proxy) -> None:
    proxy.refusing = False


async def _expect_business_as_usual(daemon: DaemonProcess, stored: int) -> dict[str, Any]:
    """Ticks are stored as they come and orders are filled."""
    status = await daemon.until(
        lambda status: (
            status["engine"]["fills"] > 0 and not status["not_ready"] and status["ticks"]["stored"] > stored + 1_000
        ),
        30.0,
    )
    assert status["ticks"]["journalled"] + status["ticks"]["pending"] < 500
    assert status["ticks"]["lost"] == 0
    return status


BAD = {
    "{": "malformed",
    '{"stream":"btcusdt@trade","data":{"e":"trade"}}': "malformed",
    '{"stream":"btcusdt@bookTicker","data":[]}': "malformed",
    "\x00\x01": "malformed",
    '{"stream":"nonsuch@bookTicker","data":{"u":1,"s":"NONSUCH","b":"1","B":"1","a":"2","A":"1"}}': "unknown_symbol",
    '{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"NaN","B":"1","a":"2","A":"1"}}': "bad_number",
    '{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"0","B":"1","a":"2","A":"1"}}': "bad_number",
    '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":1,"p":"-5","q":"1","T":1767225600000,"m":true}}': (
        "bad_number"
    ),
    '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":1,"p":"Infinity","q":"1","T":1767225600000,'
    '"m":true}}': "bad_number",
}


async def test_foul_frames_are_counted_and_kept_and_the_stream_goes_on(database: Database, tmp_path: Path) -> None:
    """Malformed, of an unknown symbol, NaN, zero, negative, endless: each is in quarantine as it came, with its reason.

    The good frames between them are all stored, over one and the same connection.
    """
    async with foul_exchange() as (url, good):
        settings = {
            "venues": [{"name": "binance", "endpoint": url, "symbols": ["BTC/USDT"], "channels": ["quote", "trade"]}],
            "strategies": [],
        }
        with DaemonProcess(configuration(tmp_path, url, database=database.dsn, **settings)) as daemon:
            daemon.start("--for", "1h")
            total = len(BAD) * 20
            status = await daemon.until(lambda status: status["ticks"]["quarantined"] >= total)
            status = await daemon.until(lambda status: status["ticks"]["stored"] >= good())
            assert status["venues"]["binance"]["live"]
            _, metrics = await daemon.get("/metrics")
            await daemon.terminate()
            counts = await counted(database.dsn)
            assert counts["quarantine"] == total
            assert counts["tick_data"] == good()
            received = total + good()
            assert (
                f"{received:,} = stored {good():,} + journalled 0 + quarantined {total:,} + lost 0" in daemon.printed()
            )
            kept = await rows(database.dsn, "SELECT payload, reason, count(*) FROM quarantine GROUP BY 1, 2")
            assert {payload: (reason, times) for payload, reason, times in kept} == {
                frame.replace("\x00", "\ufffd"): (reason, 20) for frame, reason in BAD.items()
            }
            assert 'reason="bad_number"' in metrics
            lines = [line for line in daemon.log() if line["event"] == "bad frame"]
            assert 0 < len(lines) < total / 5, "a flood of bad frames is a flood of log lines"
            assert "disconnected" not in daemon.events()


@asynccontextmanager
async def foul_exchange() -> AsyncIterator[tuple[str, Callable[[], int]]]:
    """Speaks Binance's protocol, but for every second frame. Also gives how many good frames were sent."""
    sent = count()
    good = 0

    async def converse(connection: ServerConnection) -> None:
        nonlocal good
        wanted = {"btcusdt@bookTicker", "btcusdt@trade"}
        while wanted:
            asked = json.loads(await connection.recv())
            assert asked["method"] == "SUBSCRIBE" and wanted >= set(asked["params"])
            wanted -= set(asked["params"])
            await connection.send(json.dumps({"result": None, "id": asked["id"]}))
        for frame in list(BAD) * 20:
            number = next(sent)
            await connection.send(frame)
            quote = {"u": number + 1, "s": "BTCUSDT", "b": "100.5", "B": "1", "a": "100.6", "A": "2"}
            await connection.send(json.dumps({"stream": "btcusdt@bookTicker", "data": quote}))
            good += 1
        await connection.wait_closed()

    async with serve(converse, "127.0.0.1", 0, process_request=_rest, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}", lambda: good


def _rest(_: ServerConnection, request: Request) -> Response | None:
    if not request.path.startswith("/api/v3/exchangeInfo"):
        return None
    symbol = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": []}
    body = json.dumps({"symbols": [symbol]}).encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
    return Response(HTTPStatus.OK, "OK", headers, body)


async def test_run_for_some_seconds_prints_a_summary(tmp_path: Path) -> None:
    """On servers of its own and its own exchange: exit code 0, and every tick has its place in one line."""
    with DaemonProcess(configuration(tmp_path, "sim", redis="embedded")) as daemon:
        daemon.start("--for", "5s")
        assert await daemon.ended(20.0) == ExitCode.OK
        told = dict(line.strip().split(maxsplit=1) for line in daemon.printed().splitlines()[1:])
        assert "journalled 0 + quarantined 0 + lost 0" in daemon.printed()
        assert int(told["candles"]) > 0
        assert re.match(r"traderd ran for [5-9]\.\d s\n", daemon.printed())
        assert not daemon.servers(), "an embedded server was left behind"
        assert not (daemon.state / "daemon.json").exists()


async def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """And nothing stays behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with DaemonProcess(configuration(tmp_path, "sim", http={"port": port})) as daemon:
            daemon.start()
            assert await daemon.ended(20.0) == ExitCode.FAILED
            (line,) = daemon.stderr().splitlines()
            assert line.startswith("traderd: http.port:")
            assert str(port) in line
            assert not daemon.servers()


async def test_a_second_daemon_on_the_same_state_folder_is_refused(plain_database: Database, tmp_path: Path) -> None:
    """In one line that names the first, which isn't disturbed."""
    config = configuration(tmp_path, "sim", database=plain_database.dsn)
    with DaemonProcess(config) as first:
        first.start()
        await first.ready()
        other = tmp_path / "other"
        other.mkdir()
        settings = {"state_dir": str(first.state), "database": plain_database.dsn}
        with DaemonProcess(configuration(other, "sim", **settings)) as second:
            second.start()
            assert await second.ended(10.0) == ExitCode.REFUSED
            (line,) = second.stderr().splitlines()
            assert str(first.pid) in line
        status = await first.status()
        await asyncio.sleep(0.5)
        assert (await first.status())["ticks"]["stored"] > status["ticks"]["stored"]
        await first.terminate()
