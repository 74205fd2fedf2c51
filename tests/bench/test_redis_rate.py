"""The bench of Redis measures, and what it is for holds."""

import pytest
import redis_rate


async def test_a_ticker_costs_a_fraction_of_a_pipelines(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth or so; here a third is enough, of CPU in the same run."""
    monkeypatch.setattr(redis_rate, "ROUNDS", 8)
    costs = await redis_rate.measured(redis_url, 100)
    assert costs["feed, a ticker"].cpu * 3 < costs["redis-py, pipeline"].cpu
