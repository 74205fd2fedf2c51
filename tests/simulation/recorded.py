"""A venue that plays its part from records: websocket and REST on one port, in the manner of one real venue.

It answers what it is sent as that venue does (`manners`), and plays a tape: recorded or made-up frames in the venue's
own format, each to those who subscribed to its stream. What was played is what it knows: its REST serves these trades
and these books. A cut doesn't stop the tape: what passes meanwhile is missed by whoever was cut.

Of a recorded frame nothing is changed but its times, all by the same span, so that the tape plays in the present. The
span is whole five minutes, so that candles begin where candles begin; the rest is the venue's clock being behind ours.
"""

import asyncio
import gzip
import heapq
import re
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from aiohttp import WSMsgType, web
from manners import Caller, Manners

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
_BATCH = 200
_TICK_S = 0.01
_GRID_NS = 300 * 10**9
_AROUND_MS = 2 * 86_400_000
_MS = re.compile(r"(?<![\d.])\d{13}(?![\d.])")
_ISO = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d")
_START = re.compile(r'(?<="start":")\d{10}(?=")')


class Record(NamedTuple):
    """One line of a capture: `market` is what the header or the address says, "" where neither does."""

    at_ns: int
    market: str
    text: str


class Recording(NamedTuple):
    """A capture, brought to the present."""

    records: list[Record]
    bodies: dict[str, str]
    """REST answers by address, the last of each; their times are as they were."""
    lag_ns: int
    """How far the venue's clock is behind ours then."""


def recording(name: str, market: str = "") -> Recording:
    """Read one of the captures: all frames that the venue sent."""
    with gzip.open(CAPTURES / f"{name}.frames.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split(" ", 2) for line in list(file)[1:]]
    bodies = {kind.removeprefix("http:"): text for _, kind, text in lines if kind.startswith("http:")}
    sent = [(int(at_ns), text) for at_ns, kind, text in lines if ":" not in kind]
    behind_ns = time.time_ns() - sent[-1][0]
    shift_ns = behind_ns - behind_ns % _GRID_NS
    around_ms = sent[0][0] // 10**6 - _AROUND_MS, sent[-1][0] // 10**6 + _AROUND_MS
    records = [Record(at_ns, market, _redated(text, shift_ns // 10**9, around_ms)) for at_ns, text in sent]
    return Recording(records, bodies, behind_ns % _GRID_NS)


class RecordedVenue:
    """One venue. `start` it, let a daemon subscribe, then `play`."""

    def __init__(self, manners: Manners, lag_ns: int = 0) -> None:
        self.manners = manners
        manners.clock = lambda: time.time_ns() - lag_ns
        self.connects: list[float] = []
        """When somebody knocked, in epoch seconds."""
        self.clock_asked = 0
        self._callers: set[Caller] = set()
        self._refusing_until_s = 0.0
        self._runner: web.AppRunner | None = None
        self._heart: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> None:
        """On a free port."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._asked)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"
        self._heart = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        """Everybody is sent away."""
        if self._heart is not None:
            self._heart.cancel()
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()

    async def play(self, *tapes: Iterable[Record], paced: bool = False) -> None:
        """Play them together: each frame at its time, or all as fast as it goes."""
        for number, record in enumerate(heapq.merge(*tapes, key=lambda record: record.at_ns)):
            if number % _BATCH == 0:
                await asyncio.sleep(0)  # others have their turn, and hearts beat
            while paced and time.time_ns() < record.at_ns:
                await asyncio.sleep(_TICK_S)
            told = self.manners.read(record.market, record.text)
            if told is None:
                continue
            place, stream, text = told
            self.manners.take(place, stream, text)
            await self._send([each for each in self._callers if each.hears(place, stream)], text)

    def cut(self, refuse_s: float = 0.0) -> None:
        """End every connection without a word, and let nobody in for so long."""
        self._refusing_until_s = time.monotonic() + refuse_s
        for caller in self._callers:
            caller.abort()
        self._callers.clear()

    @property
    def subscribed(self) -> set[str]:
        """The streams that somebody is subscribed to now."""
        return {stream for caller in self._callers for stream in caller.streams}

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._converse(request)
        body = self.manners.rest(request.path, dict(request.query))
        self.clock_asked += request.path.lower().endswith("time")
        if body is None:
            return web.Response(status=404, text=f"no such route: {request.path_qs}")
        return web.Response(text=body, content_type="application/json")

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        self.connects.append(time.time())
        place = self.manners.place(request.path)
        if time.monotonic() < self._refusing_until_s:
            return web.Response(status=503, text="maintenance")
        if place is None:
            return web.Response(status=404, text="no such address")
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        assert request.transport is not None
        caller = Caller(place, socket.send_str, request.transport.abort)
        await self._send([caller], *self.manners.greeting())
        self._callers.add(caller)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._send([caller], *self.manners.answer(caller, message.data))
        finally:
            self._callers.discard(caller)
        return socket

    async def _send(self, callers: Sequence[Caller], *texts: str) -> None:
        for caller in callers:
            for text in texts:
                with suppress(ConnectionError):
                    await caller.send(self.manners.stamped(caller, text))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for caller in list(self._callers):
                if beat := self.manners.heartbeat(caller):
                    await self._send([caller], beat)


@asynccontextmanager
async def playing(*venues: RecordedVenue) -> AsyncIterator[None]:
    """All of them, for the length of the block."""
    for venue in venues:
        await venue.start()
    try:
        yield
    finally:
        for venue in venues:
            await venue.stop()


def _redated(text: str, shift_s: int, around_ms: tuple[int, int]) -> str:
    """Milliseconds that lie near the capture, RFC 3339, and Coinbase's candles in seconds."""

    def milliseconds(match: re.Match[str]) -> str:
        told = int(match[0])
        return str(told + shift_s * 1000) if around_ms[0] < told < around_ms[1] else match[0]

    text = _MS.sub(milliseconds, text)
    if 'Z"' in text:
        text = _ISO.sub(lambda match: _later(match[0], shift_s), text)
    return _START.sub(lambda match: str(int(match[0]) + shift_s), text) if '"start":"' in text else text


def _later(second: str, shift_s: int) -> str:
    at_s = datetime.fromisoformat(second).replace(tzinfo=UTC).timestamp()
    return datetime.fromtimestamp(at_s + shift_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
