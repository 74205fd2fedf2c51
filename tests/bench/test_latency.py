"""The latency bench finds every trade and every order again, whatever they took."""

import argparse

import latency
import pytest

from servers import PlainServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


async def test_every_trade_and_every_order_has_its_times_and_none_is_lost() -> None:
    """`judged` raises for a trade that the engine or the database lacks, and for an order that isn't stored."""
    server = PlainServer()
    await server.start()
    try:
        await latency.keep_commit_times(server)
        options = argparse.Namespace(seconds=2.0, nice=0, orders_per_s=260.0, redis="off", pin=False, turns=False)
        figures = await latency.measure(await latency.fresh_database(server.dsn, "latency"), 500, "disk", options)
    finally:
        await server.stop()
        server.remove()
    assert figures["orders"] > 20
    for name in ("engine", "wire", "row"):
        assert figures[name]["count"] > 20
        assert 0 < figures[name]["p50"] <= figures[name]["p99"] <= figures[name]["max"]
    assert figures["engine"]["p50"] < figures["wire"]["p50"], "an order is on the wire after the engine has its trade"
    assert "wire" in latency.told(figures)
