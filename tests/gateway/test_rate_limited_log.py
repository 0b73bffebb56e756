"""One line at once, then few."""

from structlog.testing import capture_logs

from doorstep.gateway.rate_limited_log import RateLimitedLog


def test_a_kind_is_told_at_once_and_then_with_how_many_it_stands_for() -> None:
    now = 100.0
    with capture_logs() as lines:
        log = RateLimitedLog("test", lambda: now)
        for _ in range(5):
            log.complain("refused", "a", host="first")
            log.complain("refused", "b")
        now += 10
        log.complain("refused", "a", host="later")
        log.complain("refused", "a")
    told = [(line["code"], line["count"], line.get("host")) for line in lines]
    assert told == [("a", 1, "first"), ("b", 1, None), ("a", 5, "later")]
