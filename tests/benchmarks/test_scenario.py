from pathlib import Path

import pytest

from doorstep.benchmarks.errors import SetupError
from doorstep.benchmarks.matrix import expand
from doorstep.benchmarks.scenario import SHIPPED, Claim, Load, Scenario, Suite, load_scenarios, read_scenarios
from doorstep.benchmarks.verdict import LOAD_METRICS, RUN_METRICS


def _shipped(suite: Suite) -> list[Scenario]:
    return list(load_scenarios(SHIPPED, suite))


def test_every_shipped_scenario_is_named_like_its_file() -> None:
    for path in SHIPPED.glob("*.toml"):
        stem = path.stem.partition("-")[2]
        scenarios = read_scenarios(path)
        assert all(scenario.name == stem or scenario.name.startswith(f"{stem}-") for scenario in scenarios)


def test_every_shipped_scenario_is_of_a_suite() -> None:
    every = [scenario.name for path in SHIPPED.glob("*.toml") for scenario in read_scenarios(path)]
    of_suites = {scenario.name for suite in Suite for scenario in _shipped(suite)}
    assert sorted(every) == sorted(of_suites)


def test_a_matrix_makes_a_scenario_of_each_value(tmp_path: Path) -> None:
    path = tmp_path / "10-crowd.toml"
    path.write_text("""
name = "crowd-{users}"
about = "{users} users"
users = "{users}"
[matrix]
users = [5, 70]
[settings]
DOORSTEP_HOLDERS = "{users}"
[[load]]
name = "x"
events = "{users}"
must = ["cpu_us <= 2 * ours@crowd-5"]
""")
    first, second = read_scenarios(path)
    assert (first.name, first.users, first.load[0].events) == ("crowd-5", 5, 5)
    assert (second.name, second.users, second.settings) == ("crowd-70", 70, {"DOORSTEP_HOLDERS": "70"})
    assert second.load[0].must == ("cpu_us <= 2 * ours@crowd-5",)
    assert [one.name for one in load_scenarios(tmp_path, Suite.FULL, ["crowd-70"])] == ["crowd-70"]


def test_a_matrix_of_two_lists_makes_every_combination() -> None:
    table = {"matrix": {"a": [1, 2], "b": ["x", "y"]}, "name": "{a}{b}"}
    assert [one["name"] for one in expand(table)] == ["1x", "1y", "2x", "2y"]


def test_the_drains_and_the_holders_go_by_their_names() -> None:
    names = ["drain-1000", "drain-10000", "drain-50000", "holders-1", "holders-2", "holders-3", "holders-4"]
    assert [one.name for one in load_scenarios(SHIPPED, Suite.FULL, names)] == names


def test_the_shipped_scenarios_are_those_that_were_asked_for() -> None:
    wanted = {"steady", "steps", "drain", "burst", "connect-storm", "resume-storm", "slow-readers", "skew"}

    names = {scenario.name for scenario in _shipped(Suite.BENCH)}

    assert wanted | {"mostly-offline", "idle"} <= names
    assert "idle-100k" not in names


def test_what_shipped_claims_are_about_is_measured() -> None:
    known = {(scenario.name, load.name) for scenario in _shipped(Suite.FULL) for load in scenario.load}
    for scenario in _shipped(Suite.FULL):
        for text in (*scenario.must, *scenario.goal):
            assert Claim.parse(text).metric in RUN_METRICS
        for load in scenario.load:
            for claim in map(Claim.parse, (*load.must, *load.goal)):
                assert claim.metric in LOAD_METRICS
                assert (claim.scenario or scenario.name, claim.load or load.name) in known


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("p99_ms <= 30", Claim(text="", metric="p99_ms", relation="<=", factor=30)),
        (
            "rate_per_s >= 2.5 * peer",
            Claim(text="", metric="rate_per_s", relation=">=", factor=2.5, target="peer"),
        ),
        (
            "p99_ms <= 1.2 * peer@steady",
            Claim(text="", metric="p99_ms", relation="<=", factor=1.2, target="peer", scenario="steady"),
        ),
        (
            "p99_ms <= 1.2 * ours/all read",
            Claim(text="", metric="p99_ms", relation="<=", factor=1.2, target="ours", load="all read"),
        ),
    ],
)
def test_claims_are_read(text: str, claim: Claim) -> None:
    assert Claim.parse(text) == claim.model_copy(update={"text": text})


@pytest.mark.parametrize(
    "text", ["p99_ms < 30", "p99_ms <= fast", "p99_ms <= 2 * them", "<= 3", "p99_ms <= 30 ms"]
)
def test_other_text_is_no_claim(text: str) -> None:
    with pytest.raises(ValueError, match="no claim"):
        Claim.parse(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("users = 0", "users"),
        ("users = 5\nspeed = 3", "speed"),
        ("users = 5\n[[load]]\nname = 'x'\nkind = 'odd'", "load.0.kind"),
        ("users = 5\nmust = ['p99_ms']", "p99_ms"),
        ("users = ", "Invalid value"),
        ("users = '{many}'\nmatrix = {users = [1]}", "the matrix has no 'many'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f'name = "wrong"\nabout = ""\n{text}')

    with pytest.raises(SetupError) as caught:
        read_scenarios(path)

    assert str(path) in str(caught.value)
    assert named in str(caught.value)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(SetupError, match=r"named stady; there are: steady, "):
        load_scenarios(SHIPPED, Suite.BENCH, ["stady"])


def test_smoke_has_every_scenario_of_bench_in_small() -> None:
    small = _shipped(Suite.SMOKE)

    assert [scenario.name for scenario in small] == [scenario.name for scenario in _shipped(Suite.BENCH)]
    for scenario in small:
        assert scenario.connections <= 60
        assert not scenario.must
        assert not scenario.settings
        for load in scenario.load:
            assert not load.must
            assert load.arrivals(scenario.users, 1).count <= 400
            assert load.duration_s <= 1


def test_online_users_are_a_share_of_all() -> None:
    scenario = Scenario(name="x", about="", users=1000, devices=3, online=0.01)

    assert (scenario.online_users, scenario.connections) == (10, 30)


def test_recipients_are_some_of_the_users() -> None:
    load = Load(name="few", kind="backlog", events=10, recipients=3)
    assert load.arrivals(users=50, seed=1).users == 3
    assert load.arrivals(users=2, seed=1).users == 2
