"""HTTP on loopback: what it answers, and whom."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from traderd.adapters.http_api import Announcement, HttpApi, announce, announced, ask, withdraw
from traderd.adapters.metrics import Metrics
from traderd.core.errors import ConfigError, TraderdError


class Daemon:
    """What the daemon would say of itself."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.waiting_for: list[str] = []
        self.unwell: list[str] = []
        self.api = self.another(0)

    def another(self, port: int) -> HttpApi:
        return HttpApi("127.0.0.1", port, self.metrics, self.status, lambda: self.waiting_for, lambda: self.unwell)

    def status(self) -> dict[str, Any]:
        return {"received": 3, "state_dir": Path("/var/lib/traderd")}


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    running = Daemon()
    await running.api.start()
    yield running
    await running.api.stop()


async def _get(url: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers.get("Content-Type", "")


async def test_metrics_are_scraped_in_prometheus_format(daemon: Daemon) -> None:
    """With its content type."""
    daemon.metrics.redis_drops.inc(7)
    status, body, kind = await _get(daemon.api.url + "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=0.0.4")
    assert "traderd_redis_drops_total 7.0" in body


@pytest.mark.parametrize(("path", "reasons"), [("/readyz", "waiting_for"), ("/healthz", "unwell")])
async def test_a_probe_fails_with_its_reasons(daemon: Daemon, path: str, reasons: str) -> None:
    """200 when there are none, 503 and one line for each otherwise; asked anew each time."""
    assert (await _get(daemon.api.url + path))[:2] == (200, "ok\n")
    getattr(daemon, reasons).extend(["database: not reached", "binance: disconnected"])
    assert (await _get(daemon.api.url + path))[:2] == (503, "database: not reached\nbinance: disconnected\n")
    getattr(daemon, reasons).clear()
    assert (await _get(daemon.api.url + path))[0] == 200


async def test_the_status_is_json(daemon: Daemon) -> None:
    """What JSON doesn't know becomes text."""
    status, body, kind = await _get(daemon.api.url + "/status")
    assert (status, body, kind) == (200, '{"received":3,"state_dir":"/var/lib/traderd"}', "application/json")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_nothing_but_get_is_answered(daemon: Daemon, method: str) -> None:
    """There is nothing here to change."""
    assert (await _get(daemon.api.url + "/status", method))[0] == 405


async def test_a_web_page_that_calls_us_by_another_name_is_refused(daemon: Daemon) -> None:
    """DNS rebinding: its name leads here, but the Host header betrays it."""
    status, body, _ = await _get(daemon.api.url + "/status", Host="evil.example:9465")
    assert status == 403
    assert "received" not in body
    assert (await _get(daemon.api.url + "/status", Host="localhost:9465"))[0] == 200


async def test_a_port_that_is_taken_is_one_line_that_names_the_key(daemon: Daemon) -> None:
    """And nothing stays open."""
    port = int(daemon.api.url.rsplit(":", 1)[1])
    with pytest.raises(TraderdError, match=rf"^http\.port: {port} on 127\.0\.0\.1 is in use[^\n]*$"):
        await daemon.another(port).start()


async def test_the_port_is_free_again_after_a_stop() -> None:
    """At once: a restart doesn't wait."""
    daemon = Daemon()
    await daemon.api.start()
    port = int(daemon.api.url.rsplit(":", 1)[1])
    await _get(daemon.api.url + "/healthz")
    await daemon.api.stop()
    again = daemon.another(port)
    await again.start()
    await again.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com", ""])
def test_a_host_that_others_reach_is_refused(host: str) -> None:
    """There is no authentication."""
    with pytest.raises(ConfigError, match=r"^http\.host: must be a loopback address"):
        HttpApi(host, 0, Metrics(), dict, list, list)


async def test_a_running_daemon_is_found_and_asked(daemon: Daemon, tmp_path: Path) -> None:
    """By the file in its state folder, until that is withdrawn."""
    note = Announcement(pid=os.getpid(), http=daemon.api.url, started_ns=1, database="d", redis="r")
    assert announced(tmp_path) is None
    announce(tmp_path, note)
    assert announced(tmp_path) == note
    body = await asyncio.to_thread(ask, note, "/healthz", 2.0)
    assert body == b"ok\n"
    withdraw(tmp_path)
    withdraw(tmp_path)
    assert announced(tmp_path) is None


def test_a_dead_daemons_file_and_a_torn_one_count_for_nothing(tmp_path: Path) -> None:
    """After kill -9 the file stays; its process doesn't."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    announce(tmp_path, Announcement(pid=ended.pid, http="http://127.0.0.1:1", started_ns=1, database="", redis=""))
    assert announced(tmp_path) is None
    (tmp_path / "daemon.json").write_text('{"pid": ')
    assert announced(tmp_path) is None


def test_a_daemon_that_does_not_answer_is_an_oserror() -> None:
    """Nobody listens there."""
    nobody = Announcement(pid=1, http="http://127.0.0.1:1", started_ns=1, database="", redis="")
    with pytest.raises(OSError, match="refused"):
        ask(nobody, "/status", 1.0)
