"""A session on a pipeline with real journals and real sockets, a venue that does what a test says, and driven time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from driven import DrivenClock, DrivenConnector
from traderd.adapters.capture import Header, Recorder
from traderd.adapters.journal import FileJournal
from traderd.adapters.paper_exchange import PaperExchange
from traderd.adapters.redis_feed import NoFeed
from traderd.adapters.rest import HttpRest
from traderd.adapters.tick_rows import TickRows
from traderd.core.backoff import Backoff
from traderd.core.engine import Engine
from traderd.core.engine_settings import EngineSettings
from traderd.core.facts import Fact, Gap, decode_fact
from traderd.core.gaps import GapLedger
from traderd.core.market import Instrument
from traderd.core.matching import PaperSettings
from traderd.core.risk import RiskSettings
from traderd.runtime.admission import Admission
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import Connector, Rest
from traderd.runtime.session import Session
from traderd.runtime.streams import Streams
from traderd.runtime.surroundings import Surroundings
from traderd.venues.dialect import AnyChannel, Channel, Dialect, Endpoint, Limits

SECOND = 10**9
ALL: tuple[Channel, ...] = ("quote", "trade", "book")
PLENTY = Limits(1_000, 1_000.0, 100, 0.0, 30.0)


class Seen:
    """Observer of session and pipeline."""

    def __init__(self) -> None:
        self.connects = 0
        self.disconnects: list[tuple[str, float]] = []
        self.bad: list[str] = []
        self.refusals: list[tuple[str, str, str]] = []
        self.resyncs: list[tuple[str, str]] = []
        self.remakes: list[tuple[str, str]] = []

    def connected(self, exchange: str) -> None:
        self.connects += 1

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None:
        self.disconnects.append((reason, delay_s))

    def bad_frame(self, exchange: str, reason: str, frame: bytes) -> None:
        self.bad.append(reason)

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None:
        self.refusals.append((channel, symbol, reason))

    def resync(self, exchange: str, symbol: str, verdict: str) -> None:
        self.resyncs.append((symbol, verdict))

    def remade(self, exchange: str, channel: str, symbol: str, reason: str) -> None:
        self.remakes.append((channel, symbol))

    def gathered(self, exchange: str, channel: str, received: int, journalled: int, quarantined: int) -> None: ...

    def lost(self, exchange: str, channel: str, rows: int, reason: str) -> None: ...

    def latency(self, exchange: str, seconds: float) -> None: ...

    def fact(self, fact: Fact) -> None: ...


def instruments_of(dialect: Dialect, *symbols: str) -> list[Instrument]:
    return [
        Instrument(at, dialect.exchange, symbol, dialect.symbol_to_venue(symbol), *symbol.split("/"))
        for at, symbol in enumerate(symbols)
    ]


class Line:
    """A session on a pipeline with real journals; run it with `running`."""

    def __init__(
        self,
        folder: Path,
        speak: Callable[[], Dialect],
        endpoint: Endpoint,
        symbols: Sequence[str],
        *,
        channels: Sequence[AnyChannel] = ALL,
        backoff: Backoff | None = None,
        uniform: Callable[[], float] = lambda: 0.5,
        rest: Rest | None = None,
        record: bool = False,
        age_max_s: float = 0.0,
        admission: Admission | None = None,
        instruments: Sequence[Instrument] = (),
        connector: Connector | None = None,
    ) -> None:
        """`instruments` stand for the symbols where those alone don't tell enough."""
        dialect = speak()
        self.instruments = list(instruments) or instruments_of(dialect, *symbols)
        clock = self.clock = DrivenClock()
        risk = RiskSettings(Decimal(5_000), Decimal(20_000), Decimal(100), 2_000, Decimal(10))
        engine = Engine(
            EngineSettings("r", "paper", "USDT", Decimal(1), ("1s",), 500, 1.0, Decimal(10), risk), self.instruments
        )
        self.ticks = FileJournal(folder / "ticks", 2**24, 2**30)
        self.facts = FileJournal(folder / "facts", 2**24, 2**30)
        self.seen = Seen()
        self.gaps = GapLedger("r")
        self.pipeline = Pipeline(
            engine,
            TickRows(self.instruments),
            self.ticks,
            self.facts,
            NoFeed(),
            PaperExchange(PaperSettings(Decimal(0), Decimal(0), 0, 2_000), engine.board, clock),
            self.seen,
            clock,
            self.gaps,
            1_000,
            lambda: None,
        )
        self.stream = self.pipeline.stream(dialect.exchange, symbols)
        self.rest = HttpRest()
        self.recorder: Recorder | None = None
        if record:
            header = Header(1, dialect.exchange, "spot", tuple(each.venue_symbol for each in self.instruments))
            self.recorder = Recorder(folder / "record", header, clock.time_ns())
        self.admission = admission or Admission(PLENTY, clock)
        world = Surroundings(
            connector or DrivenConnector(clock),
            rest or self.rest,
            clock,
            uniform,
            self.seen,
            self.admission,
            self.recorder,
        )
        self.session = Session(
            "ws1",
            speak,
            endpoint,
            Streams(self.instruments, channels, dialect.offers),
            self.stream,
            self.pipeline,
            backoff or Backoff(0.01, 0.05, 60.0),
            world,
            age_max_s,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """The session at work; its own mistake is the test's failure."""
        task = asyncio.create_task(self.session.run())
        try:
            yield task
            assert not task.done() or task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.rest.close()
            if self.recorder is not None:
                self.recorder.close()

    def received(self, channel: str) -> int:
        """Rows handed over so far."""
        pending = {"quote": self.stream.quotes, "trade": self.stream.trades, "": self.stream.bad}[channel]
        return self.stream.counts[channel].received + len(pending)

    def recorded_gaps(self) -> list[Gap]:
        self.pipeline.flush()
        facts = [decode_fact(line) for record in self.facts.read(0, 2**24) for line in record.payload.split(b"\n")]
        return [fact for fact in facts if isinstance(fact, Gap)]

    def whole(self) -> bool:
        books = self.session.books
        return len(books) == len(self.instruments) and all(book.usable for book in books.values())


def now_s() -> float:
    """Seconds of driven time."""
    return asyncio.get_running_loop().time()


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until it holds; the assertion tells what didn't."""
    deadline_s = now_s() + timeout_s
    while not condition():
        assert now_s() < deadline_s, "waited in vain"
        await asyncio.sleep(0.005)


class Venue:
    """A server that does what the test says: frames by `tell`, REST answers by path."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.heard: list[str] = []
        self.asked: list[str] = []
        self.answer: Callable[[str], tuple[int, bytes]] = lambda path: (404, b"nothing here")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Endpoint]:
        async with serve(
            self._converse, "127.0.0.1", 0, process_request=self._request, compression=None, close_timeout=0.2
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield Endpoint(f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}")

    async def tell(self, *frames: str | bytes) -> None:
        for frame in frames:
            await self.connections[-1].send(frame if isinstance(frame, str) else frame.decode())

    async def _converse(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        async for message in connection:
            assert isinstance(message, str)
            self.heard.append(message)

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        self.asked.append(request.path)
        status, body = self.answer(request.path)
        response = connection.respond(HTTPStatus(status), "")
        response.body = body
        del response.headers["Content-Length"]
        response.headers["Content-Length"] = str(len(body))
        return response


def quote_frame(update_id: int, bid: str = "100.1", symbol: str = "BTCUSDT") -> str:
    payload = {"u": update_id, "s": symbol, "b": bid, "B": "1", "a": "200.5", "A": "2"}
    return json.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": payload})


def depth_frame(first: int, last: int, bid: str = "100.0", quantity: str = "1") -> str:
    changes = {"U": first, "u": last, "b": [[bid, quantity]], "a": []}
    payload = {"e": "depthUpdate", "E": 1_700_000_000_000, "s": "BTCUSDT", **changes}
    return json.dumps({"stream": "btcusdt@depth@100ms", "data": payload})


def depth_answer(update_id: int) -> tuple[int, bytes]:
    body = {"lastUpdateId": update_id, "bids": [["99.0", "5"]], "asks": [["101.0", "7"]]}
    return 200, json.dumps(body).encode()


def closed_gaps(line: Line) -> list[Gap]:
    """Those that are over."""
    return [gap for gap in line.recorded_gaps() if gap.to_ns]
