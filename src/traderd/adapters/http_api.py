"""What operators and their machines ask over HTTP, on loopback: /metrics, /healthz, /readyz, /status. Only GET.

There is no authentication, so a host that others can reach is refused, and so is a request that was sent to another
name than this machine's (a web page in a browser here could otherwise read it by a name of its own: DNS rebinding).
"""

import errno
import os
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson
from aiohttp import web
from msgspec import Struct

from traderd.adapters.metrics import CONTENT_TYPE, Metrics
from traderd.config.rules import is_loopback
from traderd.core.errors import ConfigError, TraderdError

_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Announcement(Struct, frozen=True, kw_only=True):
    """STATE/daemon.json: how a running daemon is found."""

    pid: int
    http: str
    """Base address, without a trailing slash."""
    started_ns: int
    database: str
    """Without its password, as `redis`."""
    redis: str


class HttpApi:
    """`status` gives what /status shows; `ready` and `healthy` give reasons why not, none when all is well."""

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        status: Callable[[], dict[str, Any]],
        ready: Callable[[], list[str]],
        healthy: Callable[[], list[str]],
    ) -> None:
        """Raises ConfigError when the host isn't this machine's own."""
        if not is_loopback(host):
            raise ConfigError([f"http.host: must be a loopback address such as 127.0.0.1, got {host!r}"])
        self._host = host
        self._port = port
        self._metrics = metrics
        self._status = status
        self._ready = ready
        self._healthy = healthy
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises TraderdError when the port can't be had."""
        app = web.Application(middlewares=[_for_this_machine])
        routes = {
            "/metrics": self._scrape,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status": self._state,
        }
        for path, answer in routes.items():
            app.router.add_get(path, answer, allow_head=False)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as fault:
            await self.stop()
            raise TraderdError(f"http.port: {_port_fault(self._host, self._port, fault)}") from fault

    async def stop(self) -> None:
        """Close the port; open requests get a second."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """Base address, without a trailing slash. Known while started."""
        assert self._runner is not None
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def _scrape(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, _request: web.Request) -> web.Response:
        return _verdict(self._healthy())

    async def _readiness(self, _request: web.Request) -> web.Response:
        return _verdict(self._ready())

    async def _state(self, _request: web.Request) -> web.Response:
        body = orjson.dumps(self._status(), default=str)
        return web.Response(body=body, content_type="application/json")


def announce(state_dir: Path, announcement: Announcement) -> None:
    """Write STATE/daemon.json, whole or not at all."""
    fresh = state_dir / "daemon.json.new"
    fresh.write_bytes(msgspec.json.encode(announcement))
    fresh.replace(state_dir / "daemon.json")


def withdraw(state_dir: Path) -> None:
    """The daemon ends: nobody is to look for it there."""
    (state_dir / "daemon.json").unlink(missing_ok=True)


def announced(state_dir: Path) -> Announcement | None:
    """The daemon that lives on this state folder; None where there is none, or one that is dead."""
    try:
        found = msgspec.json.decode((state_dir / "daemon.json").read_bytes(), type=Announcement)
        os.kill(found.pid, 0)
    except PermissionError:  # alive, but somebody else's
        return found
    except (OSError, msgspec.DecodeError):
        return None
    return found


def ask(daemon: Announcement, path: str, timeout_s: float) -> bytes:
    """What the daemon answers to a GET. Raises OSError when it doesn't, or doesn't in time."""
    url = urlsplit(daemon.http)
    connection = HTTPConnection(url.hostname or "", url.port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except HTTPException as fault:
        raise OSError(f"no HTTP: {type(fault).__name__}") from fault
    finally:
        connection.close()


def _verdict(reasons: list[str]) -> web.Response:
    text = "".join(f"{reason}\n" for reason in reasons) or "ok\n"
    return web.Response(status=503 if reasons else 200, text=text)


@web.middleware
async def _for_this_machine(request: web.Request, handler: _Answer) -> web.StreamResponse:
    host = request.url.host
    if host is None or not is_loopback(host):
        return web.Response(status=403, text="ask for this by the machine's own address, such as 127.0.0.1\n")
    return await handler(request)


def _port_fault(host: str, port: int, fault: OSError) -> str:
    if fault.errno == errno.EADDRINUSE:
        return f"{port} on {host} is in use by another program; choose another one, or 0 for any free one"
    if fault.errno in (errno.EACCES, errno.EPERM):
        return f"{port} on {host} is not ours to take; choose one above 1023, or 0 for any free one"
    return f"{port} on {host} can't be had: {fault.strerror or fault}"
