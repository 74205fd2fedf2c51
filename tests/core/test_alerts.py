from made_up import SECOND, START
from traderd.core.alerts import AlertLog


def test_a_repeated_alert_is_muted_for_a_minute_and_then_counted() -> None:
    """Another title is another alert; ids are dense."""
    log = AlertLog("r")
    (first,) = log.note(START, "order_refused", "warning", "Order refused: stale_quote", "old")
    assert first.alert_id == "r-a1"
    for second in (1, 30, 59):
        assert not log.note(START + second * SECOND, "order_refused", "warning", "Order refused: stale_quote", "old")
    (other,) = log.note(START + SECOND, "order_refused", "warning", "Order refused: cash", "none")
    (again,) = log.note(START + 60 * SECOND, "order_refused", "warning", "Order refused: stale_quote", "old")
    assert (other.alert_id, again.alert_id, again.metadata) == ("r-a2", "r-a3", {"muted_before": 3})
