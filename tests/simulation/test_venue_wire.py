"""The way from the exchange late, in pieces, cut, frozen and corrupted: what comes is stored, the rest has a gap."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from accounts import settle
from books import expect_sound_books
from daemons import LONG, DaemonProcess, configuration, exchange

from certificates import make_certificate
from conftest import Database
from proxy import Proxy

pytestmark = [pytest.mark.process, pytest.mark.timeout(600 if LONG else 240)]
TROUBLE_S = 30.0 if LONG else 2.0
FROZEN_S = 30.0 if LONG else 6.0
"""Longer than a link without data is kept."""


async def late_and_slow(wire: Proxy) -> None:
    """200 ms to 400 ms and 64 KB/s each way: ticks come in heaps."""
    wire.latency_s, wire.jitter_s, wire.bytes_per_s = 0.2, 0.2, 64_000.0
    await asyncio.sleep(TROUBLE_S)
    wire.latency_s = wire.jitter_s = wire.bytes_per_s = 0.0


async def in_pieces(wire: Proxy) -> None:
    """No frame comes in one."""
    wire.piece_bytes_max = 100
    await asyncio.sleep(TROUBLE_S)
    wire.piece_bytes_max = 0


async def cut(wire: Proxy) -> None:
    """By RST, whatever is under way."""
    for _ in range(3):
        wire.cut()
        await asyncio.sleep(TROUBLE_S / 2)


async def frozen(wire: Proxy) -> None:
    """Nothing comes, and nobody hangs up."""
    wire.stopped = True
    await asyncio.sleep(FROZEN_S)
    wire.stopped = False


async def corrupted(wire: Proxy) -> None:
    """A bit in fifty thousand bytes, below TLS: the link ends, and no wrong digit gets through."""
    wire.corruption = 2e-5
    await asyncio.sleep(2 * TROUBLE_S)
    wire.corruption = 0.0


WHOLE: list[Callable[[Proxy], Awaitable[None]]] = [late_and_slow, in_pieces]
"""What costs nothing."""
CUTTING: list[Callable[[Proxy], Awaitable[None]]] = [cut, frozen, corrupted]
"""What ends links."""


async def test_whatever_happens_on_the_way_from_the_exchange_every_tick_sent_is_stored_or_in_a_gap(
    plain_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each trouble the three accounts agree; nothing is in quarantine, lost or doubled, and trading goes on."""
    certificate, key = make_certificate(tmp_path / "tls", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    dsn = plain_database.dsn
    async with exchange(remember=True) as sim:
        port = urlsplit(sim.url).port
        assert port is not None
        with Proxy(("127.0.0.1", port), tls=context) as far_end, Proxy(("127.0.0.1", far_end.port), seed=9) as wire:
            config = configuration(tmp_path, f"wss://127.0.0.1:{wire.port}", database=dsn)
            with DaemonProcess(config) as daemon:
                daemon.start()
                await daemon.until(lambda status: status["engine"]["trading"] and status["ticks"]["stored"] > 500, 60.0)
                for trouble in (*WHOLE, *CUTTING):
                    began = await daemon.status()
                    links = len(sim.ledger["connects"])
                    await trouble(wire)
                    await daemon.until(
                        lambda status: (
                            status["venues"]["binance"]["live"]
                            and not status["gaps_open"]
                            and status["engine"]["trading"]
                        ),
                        60.0,
                    )
                    found = await settle(daemon, sim, dsn, cut=True)
                    print(f"{trouble.__name__}: {found}")
                    status = await daemon.status()
                    assert status["ticks"]["received"] > began["ticks"]["received"]
                    assert (status["ticks"]["lost"], status["ticks"]["quarantined"]) == (0, 0)
                    assert (len(sim.ledger["connects"]) > links) == (trouble in CUTTING)
                    assert found.stored == found.sent or trouble in CUTTING
                await daemon.until(lambda status: status["engine"]["trading"], 30.0)
                await daemon.terminate()
                await expect_sound_books(dsn)
