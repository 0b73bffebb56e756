"""The Helm chart: what it renders is valid, and says what Doorstep understands."""

import json
import subprocess
from collections import Counter
from typing import Any

import kubernetes_validate
import pytest

from doorstep.actors.commands.drain import LATE_S
from doorstep.config.settings import unknown_environment
from tests.deploy.conftest import KUBERNETES, Manifest, Render

EVERYTHING: dict[str, Any] = {
    "routes": '[[route]]\nname = "x"\n',
    "settings": {"DOORSTEP_GATEWAY__ALLOWED_ORIGINS": "https://school.example", "DOORSTEP_TRACES": True},
    "environment": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
    "imagePullSecrets": [{"name": "registry"}],
    "service": {"annotations": {"a": "b"}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "events.school.example",
        "tlsSecretName": "tls",
    },
    "httpRoute": {"enabled": True, "hostnames": ["events.school.example"], "parentRefs": [{"name": "edge"}]},
    "monitoring": {"serviceMonitor": True, "prometheusRule": True, "labels": {"release": "prometheus"}},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "sockets", "operator": "Exists"}],
}
RAY_CLUSTER: dict[str, Any] = {
    "form": "ray-cluster",
    "rayCluster": {
        "tokenSecret": "ray-token",
        "redis": {
            "address": "redis-of-ray:6379",
            "passwordSecret": {"name": "redis-of-ray", "key": "password"},
        },
    },
}
OPERATORS = {"monitoring.coreos.com", "keda.sh", "gateway.networking.k8s.io", "ray.io"}
"""Kinds of other people's operators, whose schemas are not Kubernetes' own."""


Pod = dict[str, Any]


def _ray_cluster(manifests: list[Manifest]) -> tuple[Manifest, Pod, Pod]:
    """Its `spec`, and the templates of its head and its cells."""
    spec = _named(manifests, "RayCluster")["spec"]
    (cells,) = spec["workerGroupSpecs"]
    return spec, spec["headGroupSpec"]["template"], cells["template"]


def _pods(manifests: list[Manifest]) -> list[Pod]:
    """The templates of all pods, whatever their form."""
    if any(each["kind"] == "RayCluster" for each in manifests):
        return list(_ray_cluster(manifests)[1:])
    return [_named(manifests, "Deployment")["spec"]["template"]]


def _named(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = [each for each in manifests if each["kind"] == kind]
    return found


@pytest.mark.parametrize(
    "values",
    [
        {},
        EVERYTHING,
        {"autoscaling": {"mode": "hpa"}},
        {"autoscaling": {"mode": "keda", "keda": {"prometheusAddress": "http://prometheus:9090"}}},
        RAY_CLUSTER,
        EVERYTHING | RAY_CLUSTER | {"autoscaling": {"mode": "ray"}},
    ],
    ids=["least", "everything", "hpa", "keda", "ray cluster", "everything of a ray cluster"],
)
def test_every_manifest_is_valid(render: Render, values: dict[str, Any]) -> None:
    manifests = render(**values)
    for manifest in manifests:
        if manifest["apiVersion"].partition("/")[0] not in OPERATORS:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    for pod in _pods(manifests):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **pod["metadata"]}}
        kubernetes_validate.validate(whole | {"spec": pod["spec"]}, KUBERNETES, strict=True)
    names = Counter((each["kind"], each["metadata"]["name"]) for each in manifests)
    assert max(names.values()) == 1


def _environment(container: Manifest) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container["env"]}


@pytest.mark.parametrize("form", [{}, RAY_CLUSTER], ids=["pods", "ray cluster"])
def test_it_sets_only_what_doorstep_knows(render: Render, form: dict[str, Any]) -> None:
    for pod in _pods(render(**EVERYTHING | form)):
        for container in pod["spec"]["containers"]:
            assert unknown_environment(_environment(container)) == []


@pytest.mark.parametrize("form", [{}, RAY_CLUSTER], ids=["pods", "ray cluster"])
def test_a_pod_gets_as_little_as_it_needs(render: Render, form: dict[str, Any]) -> None:
    for pod in _pods(render(**form)):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            from_secrets = [each["name"] for each in container["env"] if "valueFrom" in each]
            assert set(from_secrets) <= {"RAY_AUTH_TOKEN"}  # ours are files


def test_a_ray_cluster_has_its_actors_on_its_cells(render: Render) -> None:
    spec, head, cell = _ray_cluster(render(**RAY_CLUSTER, replicas=3))
    (cells,) = spec["workerGroupSpecs"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert json.loads(json.loads(cells["rayStartParams"]["resources"])) == {"cell": 1}
    assert [cells[bound] for bound in ("minReplicas", "replicas", "maxReplicas")] == [3, 3, 3]
    assert spec["authOptions"] == {"mode": "token", "secretName": "ray-token"}
    assert spec["gcsFaultToleranceOptions"]["redisAddress"] == "redis-of-ray:6379"
    assert "enableInTreeAutoscaling" not in spec
    _, serve = head["spec"]["containers"]
    assert _environment(serve)["DOORSTEP_RAY__ADDRESS"] == "events-head-svc:6379"
    assert cell["spec"]["containers"][0]["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}


def test_a_cell_is_drained_before_its_pod_ends(render: Render) -> None:
    *_, cell = _pods(render(**RAY_CLUSTER, drainSeconds=90))
    (ray,) = cell["spec"]["containers"]
    sh, option, script = ray["lifecycle"]["preStop"]["exec"]["command"]
    assert (sh, option, script) == ("sh", "-c", "sleep 5; doorstep drain --over 90s")
    assert cell["spec"]["terminationGracePeriodSeconds"] > 5 + 90 + LATE_S
    environment = _environment(ray)
    assert (
        environment.items()
        >= {
            "DOORSTEP_RAY__ADDRESS": "events-head-svc:6379",
            "DOORSTEP_ADMIN__PORT": "8001",
            "DOORSTEP_REDIS__URL_FILE": "/etc/doorstep/secrets/redis-url",
        }.items()
    )


def test_a_ray_cluster_scales_itself(render: Render) -> None:
    bounds = {"minReplicas": 3, "maxReplicas": 7}
    spec, head, _ = _ray_cluster(render(**RAY_CLUSTER, autoscaling={"mode": "ray", **bounds}))
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["workerGroupSpecs"][0].items() >= bounds.items()
    settings = _environment(head["spec"]["containers"][1])
    limits = [settings[f"DOORSTEP_AUTOSCALE__{which}_CELLS"] for which in ("MIN", "MAX")]
    assert limits == ["3", "7"]


@pytest.mark.parametrize("form", [{}, RAY_CLUSTER], ids=["pods", "ray cluster"])
def test_services_and_budget_are_of_the_pods_that_take_sockets(render: Render, form: dict[str, Any]) -> None:
    manifests = render(**form)
    *others, cell = _pods(manifests)
    selectors = [each["spec"]["selector"] for each in manifests if each["kind"] == "Service"]
    selectors.append(_named(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    assert len(selectors) == 3
    for selector in selectors:
        assert selector.items() <= cell["metadata"]["labels"].items()
        assert not any(selector.items() <= other["metadata"]["labels"].items() for other in others)


def test_the_nodes_of_a_ray_cluster_may_talk_to_each_other(render: Render) -> None:
    manifests = render(**RAY_CLUSTER)
    policy = _named(manifests, "NetworkPolicy")["spec"]
    (among_us,) = [rule for rule in policy["ingress"] if "ports" not in rule]
    (peer,) = among_us["from"]
    for pod in _pods(manifests):
        assert peer["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_a_rollout_and_a_drain_refuse_nobody(render: Render) -> None:
    deployment = _named(render(drainSeconds=90), "Deployment")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = deployment["template"]["spec"]
    environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert environment["DOORSTEP_DRAIN_S"] == "90"
    assert pod["terminationGracePeriodSeconds"] > 90 + 5


def test_a_changed_routes_file_restarts_the_pods(render: Render) -> None:
    checksums = {
        _named(render(routes=text), "Deployment")["spec"]["template"]["metadata"]["annotations"][
            "checksum/config"
        ]
        for text in ("", "# one", "# two")
    }
    assert len(checksums) == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kafka": {"bootstrapServers": ""}}, "where is Kafka"),
        ({"secrets": {"name": ""}}, "secrets.name"),
        ({"kafka": {"bootstrapServers": "kafka"}}, "bootstrapServers"),
        ({"replicas": 0}, "replicas"),
        ({"replica": 3}, "replica"),
        ({"settings": {"KAFKA": "x"}}, "KAFKA"),
        ({"ingress": {"enabled": True}}, "ingress.host"),
        ({"autoscaling": {"mode": "keda"}}, "prometheusAddress"),
        ({"autoscaling": {"mode": "both"}}, "mode"),
        ({"autoscaling": {"mode": "ray"}}, "is for form: ray-cluster"),
        (RAY_CLUSTER | {"autoscaling": {"mode": "hpa"}}, "its own autoscaler"),
        ({"form": "ray-cluster"}, "rayCluster.tokenSecret"),
        ({"form": "ray-cluster", "rayCluster": {"tokenSecret": "t"}}, "rayCluster.redis.address"),
        ({"form": "both"}, "form"),
        ({"environment": {"PATH": "/"}}, "PATH"),
    ],
)
def test_wrong_values_are_refused_by_name(render: Render, values: dict[str, Any], said: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        render(**values)
    assert said in refusal.value.stderr
