"""The Helm chart: what it renders is valid, and says what Doorstep understands."""

import subprocess
from collections import Counter
from typing import Any

import kubernetes_validate
import pytest

from doorstep.config.settings import unknown_environment
from tests.deploy.conftest import KUBERNETES, Manifest, Render

EVERYTHING: dict[str, Any] = {
    "routes": '[[route]]\nname = "x"\n',
    "settings": {"DOORSTEP_GATEWAY__ALLOWED_ORIGINS": "https://school.example", "DOORSTEP_LOG_LEVEL": "info"},
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
OPERATORS = {"monitoring.coreos.com", "keda.sh", "gateway.networking.k8s.io"}
"""Kinds of other people's operators, whose schemas are not Kubernetes' own."""


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
    ],
    ids=["least", "everything", "hpa", "keda"],
)
def test_every_manifest_is_valid(render: Render, values: dict[str, Any]) -> None:
    manifests = render(**values)
    for manifest in manifests:
        if manifest["apiVersion"].partition("/")[0] not in OPERATORS:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    names = Counter((each["kind"], each["metadata"]["name"]) for each in manifests)
    assert max(names.values()) == 1


def test_it_sets_only_what_doorstep_knows(render: Render) -> None:
    container = _named(render(**EVERYTHING), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    names = {each["name"]: "" for each in container["env"]}
    assert unknown_environment(names) == []


def test_a_pod_gets_as_little_as_it_needs(render: Render) -> None:
    pod = _named(render(), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not [each for each in container["env"] if "valueFrom" in each]  # secrets are files


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
    ],
)
def test_wrong_values_are_refused_by_name(render: Render, values: dict[str, Any], said: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        render(**values)
    assert said in refusal.value.stderr
