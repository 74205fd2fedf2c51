"""Several daemons on one database, as real processes."""

import pytest
import scale
import scale_symbols

from conftest import Database


async def test_daemons_that_share_a_database_store_every_tick_once_and_leave_each_other_alone(
    plain_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them, half of the symbols each, started at once; `scale.verify` holds rows, settings and portfolios."""
    for module in (scale, scale_symbols):
        monkeypatch.setattr(module, "WARM_S", 1.0)
    monkeypatch.setattr(scale, "CONNECTIONS_EACH", 1)
    cost = await scale.shared(plain_database.dsn, 2, 4, 400.0, 2.0)
    assert cost["ticks"] > 0
