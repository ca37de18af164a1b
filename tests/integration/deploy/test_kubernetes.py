"""The manifests for Kubernetes are valid, and fit each other, the image and the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_file import read_settings
from kailash_mcp_prod.transports.rest_health import LIVE, READY
from tests.e2e.servers import ROOT
from tests.integration.deploy.dockerfile import stages
from tests.integration.deploy.test_dockerfile import SETTINGS

HOME = ROOT / "deploy/kubernetes"
VERSION = "1.31"
LABELS = {"app.kubernetes.io/name": "kailash-mcp-prod"}
DOCUMENTS: dict[str, dict[str, Any]] = {
    str(path.relative_to(HOME)): yaml.safe_load(path.read_text("utf-8"))
    for path in sorted(HOME.rglob("*.yaml"))
}
# These are no resources that Kubernetes itself knows.
OTHERS = {"Kustomization", "Component", "PodMonitor", None}
RESOURCES = {
    name: document for name, document in DOCUMENTS.items() if document.get("kind") not in OTHERS
}
DEPLOYMENT = DOCUMENTS["base/deployment.yaml"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
[GENERATED] = DOCUMENTS["base/kustomization.yaml"]["configMapGenerator"]
CONFIG_MAP = dict(each.split("=", 1) for each in GENERATED["literals"])
AUTOSCALER = DOCUMENTS["components/autoscaling/autoscaler.yaml"]
ADAPTER = DOCUMENTS["components/autoscaling/prometheus-adapter.yaml"]


@pytest.mark.parametrize("name", RESOURCES)
def test_a_manifest_is_valid(name: str) -> None:
    kubernetes_validate.validate(RESOURCES[name], VERSION, strict=True)


def test_the_schemas_find_what_is_wrong() -> None:
    service = DOCUMENTS["base/service.yaml"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {"prots": []}}, VERSION, strict=True)


def test_every_file_is_used() -> None:
    for name, document in DOCUMENTS.items():
        if document.get("kind") not in {"Kustomization", "Component"}:
            continue
        folder = (HOME / name).parent
        for used in [*document.get("resources", []), *document.get("components", [])]:
            assert (folder / used).exists(), used
        files = {path.name for path in folder.glob("*.yaml")}
        left = files - {"kustomization.yaml", *document["resources"]}
        assert left <= {"prometheus-adapter.yaml"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_kustomize_makes_valid_manifests_of_the_example() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", HOME / "overlays/example"],
        check=True,
        capture_output=True,
        text=True,
    )
    made = list(yaml.safe_load_all(done.stdout))
    # The others are the PodMonitor and the ConfigMap.
    assert len(made) == len(RESOURCES) + 2
    [given] = [each for each in made if each["kind"] == "ConfigMap"]
    assert given["data"] == CONFIG_MAP
    assert re.fullmatch(r"kailash-mcp-prod-\w{10}", given["metadata"]["name"])
    for each in made:
        assert each["metadata"]["namespace"] == "mcp"
        if each["kind"] not in OTHERS:
            kubernetes_validate.validate(each, VERSION, strict=True)
        if each["kind"] == "Deployment":
            [container] = each["spec"]["template"]["spec"]["containers"]
            assert container["image"] == "registry.example.com/shop-mcp:1"
            # A change of the ConfigMap is a change of the pods.
            assert container["envFrom"] == [{"configMapRef": {"name": given["metadata"]["name"]}}]
        if each["kind"] == "NetworkPolicy":
            rules = each["spec"]["ingress"]
            assert [rule["ports"] for rule in rules] == [
                [{"port": port}] for port in PORTS.values()
            ]
            assert all(rule["from"] for rule in rules)


def test_everything_selects_the_pods() -> None:
    monitor = DOCUMENTS["components/monitoring/podmonitor.yaml"]
    assert DEPLOYMENT["spec"]["template"]["metadata"]["labels"] == LABELS
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == LABELS
    assert POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == LABELS
    assert DOCUMENTS["base/service.yaml"]["spec"]["selector"] == LABELS
    assert DOCUMENTS["base/disruption.yaml"]["spec"]["selector"]["matchLabels"] == LABELS
    assert DOCUMENTS["base/network.yaml"]["spec"]["podSelector"]["matchLabels"] == LABELS
    assert monitor["spec"]["selector"]["matchLabels"] == LABELS


def test_ports_are_those_of_the_image() -> None:
    [exposed] = [
        each.rest for each in stages(ROOT / "Dockerfile")["runtime"] if each.word == "EXPOSE"
    ]
    service = DOCUMENTS["base/service.yaml"]["spec"]["ports"]
    [rule] = DOCUMENTS["base/network.yaml"]["spec"]["ingress"]
    [scraped] = DOCUMENTS["components/monitoring/podmonitor.yaml"]["spec"]["podMetricsEndpoints"]
    assert [*PORTS.values()] == [int(port) for port in exposed.split()]
    assert {port["targetPort"]: port["port"] for port in service} == PORTS
    assert [port["port"] for port in rule["ports"]] == [*PORTS.values()]
    assert (scraped["port"], scraped["path"]) == ("rest", "/metrics")


def test_probes_ask_what_the_server_answers() -> None:
    asked = {name: CONTAINER[name]["httpGet"] for name in CONTAINER if name.endswith("Probe")}
    assert asked == {
        "startupProbe": {"path": READY, "port": "rest"},
        "readinessProbe": {"path": READY, "port": "rest"},
        "livenessProbe": {"path": LIVE, "port": "rest"},
    }


def test_variables_are_settings_and_the_values_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {each["name"]: each.get("value", "") for each in CONTAINER["env"]} | CONFIG_MAP
    assert {*given} - {"PUBLIC_HOST", "POD_IP"} <= SETTINGS
    for name, value in given.items():
        if name in SETTINGS and name != "MCP_SECRETS_DIR":
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("JWT_SECRET", "a-secret-that-is-long-enough-for-all-of-this")
    monkeypatch.setenv("MCP_CONFIG_FILE", str(ROOT / "deploy/docker/settings.jsonc"))
    config = ServerConfig.load({})
    assert (config.port, config.host, config.transport) == (3001, "0.0.0.0", "all")


def test_the_pod_is_ended_after_the_server_has_drained() -> None:
    """The server itself goes on for a while, so nothing has to hold up the signal."""
    grace, drain = (
        int(CONFIG_MAP[name]) for name in ("MCP_SHUTDOWN_GRACE_SECONDS", "MCP_DRAIN_SECONDS")
    )
    seen, stuck = (
        CONTAINER[name]["periodSeconds"] * CONTAINER[name]["failureThreshold"]
        for name in ("readinessProbe", "livenessProbe")
    )
    assert "lifecycle" not in CONTAINER
    assert POD["terminationGracePeriodSeconds"] >= grace + drain + 5
    # Who goes by the probe sees it in time, and a server that drains does not count as stuck.
    assert seen < grace
    assert stuck > drain


def test_the_pod_gets_the_time_to_wait_for_its_database() -> None:
    probe = CONTAINER["startupProbe"]
    waits = read_settings(ROOT / "deploy/docker/settings.jsonc")["wait_for_db"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= waits + 30


def test_the_image_is_that_of_this_version() -> None:
    assert CONTAINER["image"] == f"kailash-mcp-prod:{__version__}"


def test_a_node_can_be_emptied_of_pods_that_do_not_work() -> None:
    budget = DOCUMENTS["base/disruption.yaml"]["spec"]
    assert budget["maxUnavailable"] < DEPLOYMENT["spec"]["replicas"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_pod_is_bounded() -> None:
    resources = CONTAINER["resources"]
    assert {*resources["limits"]} == {"cpu", "memory", "ephemeral-storage"}
    assert {*resources["requests"]} == {*resources["limits"]}
    assert all(each["emptyDir"]["sizeLimit"] for each in POD["volumes"] if "emptyDir" in each)


def test_the_pod_may_do_little() -> None:
    context = CONTAINER["securityContext"]
    mounted = {each["mountPath"]: each["name"] for each in CONTAINER["volumeMounts"]}
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] == 10001
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    assert POD["enableServiceLinks"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {*mounted.values()} == {volume["name"] for volume in POD["volumes"]}
    secrets = {each["name"]: each.get("value") for each in CONTAINER["env"]}["MCP_SECRETS_DIR"]
    assert mounted[str(Path(str(secrets)))] == "secrets"


def test_the_autoscaler_asks_for_what_the_adapter_gives() -> None:
    metrics = AUTOSCALER["spec"]["metrics"]
    [pods] = [each["pods"]["metric"]["name"] for each in metrics if each["type"] == "Pods"]
    [rule] = ADAPTER["rules"]["custom"]
    assert rule["name"] == {"as": pods}
    assert AUTOSCALER["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    assert AUTOSCALER["spec"]["minReplicas"] == DEPLOYMENT["spec"]["replicas"]
