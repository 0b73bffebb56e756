from doorstep.benchmarks.scenario import Scenario, Suite
from doorstep.benchmarks.suite import plan_sessions


def _scenario(name: str, **changes: object) -> Scenario:
    return Scenario.model_validate({"name": name, "about": "", "users": 1, **changes})


STEADY = _scenario("steady", rounds=2, full_rounds=3)
DRAIN = _scenario("drain")
LINGER = _scenario("linger", targets=("ours",), settings={"DOORSTEP_KAFKA__LINGER_MS": "0"})
IDLE = _scenario("idle", fresh=True)
ALL = (STEADY, DRAIN, LINGER)


def _planned(suite: Suite, targets: tuple[str, ...]) -> list[tuple[int, str, list[str]]]:
    sessions = plan_sessions(ALL, suite, targets)
    return [(s.round, s.target, [scenario.name for scenario in s.scenarios]) for s in sessions]


def test_targets_take_turns_and_who_begins_changes() -> None:
    assert _planned(Suite.BENCH, ("ours", "peer")) == [
        (0, "ours", ["steady", "drain"]),
        (0, "peer", ["steady", "drain"]),
        (0, "ours", ["linger"]),
        (1, "peer", ["steady"]),
        (1, "ours", ["steady"]),
    ]


def test_other_settings_need_a_session_of_their_own() -> None:
    (session,) = (s for s in plan_sessions(ALL, Suite.BENCH, ["ours"]) if s.settings)

    assert session.settings == (("DOORSTEP_KAFKA__LINGER_MS", "0"),)
    assert session.scenarios == (LINGER,)


def test_a_fresh_start_is_shared_with_nobody() -> None:
    sessions = plan_sessions((STEADY, IDLE, DRAIN), Suite.SMOKE, ["ours"])

    assert [[scenario.name for scenario in s.scenarios] for s in sessions] == [["steady", "drain"], ["idle"]]


def test_the_full_suite_repeats() -> None:
    rounds = [number for number, target, names in _planned(Suite.FULL, ("ours",)) if "steady" in names]

    assert rounds == [0, 1, 2]


def test_without_targets_there_is_nothing_to_do() -> None:
    assert plan_sessions(ALL, Suite.BENCH, []) == []
