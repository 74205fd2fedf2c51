"""Metrics: what Prometheus reads."""

import asyncio
import time
from decimal import Decimal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from traderd.adapters.metrics import Metrics, watch_loop_lag
from traderd.core.facts import Alert, Equity, Execution, Gap, Order, Signal

D = Decimal


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_row_of_a_batch_is_counted_where_it_went() -> None:
    """received = journalled + quarantined + lost, by venue and channel; stored follows the journal."""
    metrics = Metrics()
    metrics.gathered("binance", "quote", 100, 97, 0)
    metrics.gathered("binance", "quote", 3, 0, 3)
    metrics.lost("binance", "quote", 50)
    metrics.stored({("binance", "quote"): 97, ("kraken", "trade"): 3}, 0.02)
    stream = {"venue": "binance", "channel": "quote"}
    assert _value(metrics, "traderd_ticks_received_total", **stream) == 153
    assert _value(metrics, "traderd_ticks_journalled_total", **stream) == 97
    assert _value(metrics, "traderd_ticks_quarantined_total", **stream) == 3
    assert _value(metrics, "traderd_ticks_lost_total", **stream) == 50
    assert _value(metrics, "traderd_ticks_stored_total", **stream) == 97
    assert _value(metrics, "traderd_ticks_stored_total", venue="kraken", channel="trade") == 3
    assert _value(metrics, "traderd_batch_rows_sum") == 100
    assert _value(metrics, "traderd_copy_seconds_bucket", le="0.025") == 1


def test_facts_are_counted_by_what_they_are() -> None:
    """A gap counts when it opens, an order at each of its states; equity and drawdown are the newest."""
    metrics = Metrics()
    one = D(1)
    order = Order("r-o1", "paper", "s", "r-s1", "binance", "A/B", "buy", "market", one, None, "filled", "paper", 1, 2)
    for fact in (
        Signal("r-s1", 1, "s", "binance", "A/B", "LONG", 1.0, 1.0, 1.0, "because"),
        order,
        order,
        Execution("e", "r-o1", "paper", "s", "binance", "A/B", "buy", one, one, one, "B", one, "paper", 1),
        Equity("paper", 1, D(90), one, one, one, one, one, D(120), D(30), D(100), "B", "paper"),
        Alert("a", 1, "breaker_tripped", "critical", "t", "m"),
        Gap("g", "binance", "", "", "disconnect", 1, 0),
        Gap("g", "binance", "", "", "disconnect", 1, 2),
    ):
        metrics.fact(fact)
    assert _value(metrics, "traderd_signals_total", strategy="s", signal_type="LONG") == 1
    assert _value(metrics, "traderd_orders_total", status="filled") == 2
    assert _value(metrics, "traderd_fills_total", venue="binance", side="buy") == 1
    assert _value(metrics, "traderd_equity", portfolio="paper") == 90
    assert _value(metrics, "traderd_drawdown_ratio", portfolio="paper") == 0.25
    assert _value(metrics, "traderd_alerts_total", alert_type="breaker_tripped", severity="critical") == 1
    assert _value(metrics, "traderd_gaps_total", venue="binance", reason="disconnect") == 1


def test_links_go_up_and_down() -> None:
    """A websocket's end is a reconnect to come."""
    metrics = Metrics()
    metrics.connected("kraken")
    assert _value(metrics, "traderd_connection_up", venue="kraken") == 1
    metrics.disconnected("kraken")
    assert _value(metrics, "traderd_connection_up", venue="kraken") == 0
    assert _value(metrics, "traderd_reconnects_total", venue="kraken") == 1


def test_a_venue_whose_clock_runs_ahead_has_no_negative_latency() -> None:
    """The histogram's sum would otherwise run backwards, which Prometheus takes for a restart."""
    metrics = Metrics()
    metrics.latency("binance", -0.5)
    metrics.latency("binance", 0.004)
    assert _value(metrics, "traderd_feed_latency_seconds_sum", venue="binance") == pytest.approx(0.004)
    assert _value(metrics, "traderd_feed_latency_seconds_count", venue="binance") == 2


def test_the_text_is_what_prometheus_parses_and_every_name_is_ours() -> None:
    """Counters end in _total, times and sizes carry their unit."""
    metrics = Metrics()
    metrics.tick_to_order(0.0002)
    metrics.backlog("ticks", 10, 2_000)
    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    assert all(name.startswith("traderd_") for name in families)
    assert families["traderd_tick_to_order_seconds"].type == "histogram"
    assert families["traderd_journal_backlog_bytes"].samples[0].value == 2_000
    assert {sample.name for sample in families["traderd_redis_drops"].samples} >= {"traderd_redis_drops_total"}
    assert all(family.documentation for family in families.values())


def test_two_runs_in_one_process_do_not_mix() -> None:
    """Each has a registry of its own."""
    first, second = Metrics(), Metrics()
    first.redis_drops.inc()
    assert _value(second, "traderd_redis_drops_total") == 0


async def test_a_loop_that_is_held_up_shows_its_lag() -> None:
    """Someone keeps the loop for 60 ms: that is observed."""
    metrics = Metrics()
    watch = asyncio.create_task(watch_loop_lag(metrics, 0.01))
    await asyncio.sleep(0.03)
    time.sleep(0.06)
    await asyncio.sleep(0.03)
    watch.cancel()
    count, quick = (
        _value(metrics, name, **labels)
        for name, labels in (
            ("traderd_event_loop_lag_seconds_count", {}),
            ("traderd_event_loop_lag_seconds_bucket", {"le": "0.025"}),
        )
    )
    assert count is not None
    assert quick is not None
    assert count >= 3
    assert count - quick >= 1
