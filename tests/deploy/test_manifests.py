"""The Kubernetes manifests hold together: what one names, another is."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.documented import DEPLOY
from tests.deploy.manifests import OVERLAYS, Manifests, Object, kustomize

KUBERNETES = "1.37"
# Of the Prometheus operator; the schemas of Kubernetes do not know them.
_OPERATORS = ("PodMonitor", "PrometheusRule")


def test_every_object_is_what_kubernetes_knows(manifests: Manifests) -> None:
    kinds = set()
    for each in manifests.objects:
        if each["kind"] not in _OPERATORS:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
            kinds.add(each["kind"])
    assert kinds >= {
        "Deployment", "StatefulSet", "Service", "Secret", "ConfigMap", "NetworkPolicy",
        "HorizontalPodAutoscaler", "PodDisruptionBudget", "Namespace",
    }  # fmt: skip


def test_the_validator_refuses_what_kubernetes_does_not_know(manifests: Manifests) -> None:
    service = dict(manifests.one("Service", "redis-service"))
    service["spec"] = {**service["spec"], "selectors": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, KUBERNETES, strict=True)


def test_everything_is_in_the_namespace(manifests: Manifests) -> None:
    assert {
        each["metadata"].get("namespace")
        for each in manifests.objects
        if each["kind"] != "Namespace"
    } == {"ota"}
    assert manifests.one("Namespace", "ota")


def test_workloads_select_their_own_pods_and_no_others(manifests: Manifests) -> None:
    for each in manifests.workloads():
        assert manifests.selected(each["spec"]["selector"]["matchLabels"]) == [each]


@pytest.mark.parametrize(
    ("service", "workload", "port"),
    [
        ("ota-agent-service", "ota-agent", 4433),
        ("dice-auth-service", "dice-auth", 8000),
        ("redis-service", "redis", 6379),
    ],
)
def test_services_are_called_and_reach_what_the_originals_expect(
    manifests: Manifests, service: str, workload: str, port: int
) -> None:
    spec = manifests.one("Service", service)["spec"]
    (selected,) = manifests.selected(spec["selector"])
    assert selected["metadata"]["name"] == workload
    (only,) = spec["ports"]
    assert only["port"] == port
    ports = {each["name"]: each["containerPort"] for each in _container(selected)["ports"]}
    assert ports[only["targetPort"]] == port


def test_boards_keep_their_addresses(manifests: Manifests) -> None:
    spec = manifests.one("Service", "ota-agent-service")["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("LoadBalancer", "Local")


def test_every_secret_map_and_volume_that_is_named_is_there(manifests: Manifests) -> None:
    held = {
        (each["kind"], each["metadata"]["name"]): set(each.get("data", {}))
        for each in manifests.of_kind("Secret", "ConfigMap")
    }
    claims = {each["metadata"]["name"] for each in manifests.of_kind("PersistentVolumeClaim")}
    used = set()
    for workload in manifests.workloads():
        pod = workload["spec"]["template"]["spec"]
        volumes = {each["name"]: each for each in pod["volumes"]}
        templates = workload["spec"].get("volumeClaimTemplates", [])
        mounts = {each["name"] for each in _container(workload)["volumeMounts"]}
        assert mounts == set(volumes) | {each["metadata"]["name"] for each in templates}
        for volume in volumes.values():
            for kind, name in _sources(volume):
                if kind == "claim":
                    assert name in claims
                else:
                    assert (kind, name) in held
                    used.add((kind, name))
        for variable in _container(workload).get("env", []):
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["configMapKeyRef"]
                assert reference["key"] in held["ConfigMap", reference["name"]]
                used.add(("ConfigMap", reference["name"]))
    assert used == set(held)


def test_every_file_an_argument_names_is_mounted(manifests: Manifests) -> None:
    held = {
        (each["kind"], each["metadata"]["name"]): set(each.get("data", {}))
        for each in manifests.of_kind("Secret", "ConfigMap")
    }
    for workload in manifests.workloads():
        pod = workload["spec"]["template"]["spec"]
        files = set()
        places = {each["name"]: each["mountPath"] for each in _container(workload)["volumeMounts"]}
        for volume in pod["volumes"]:
            place = places[volume["name"]]
            sources = _sources(volume)
            files |= {f"{place}/{key}" for source in sources for key in held.get(source, ())}
            files |= {place} if not sources or sources[0][0] == "claim" else set()
        named = [
            argument.rpartition("=")[2]
            for argument in _container(workload)["args"]
            if "/" in argument and "://" not in argument
        ]
        named += [each["value"] for each in _container(workload).get("env", []) if "value" in each]
        assert named
        assert set(named) <= files, named


def test_a_secret_that_changes_is_seen_and_its_group_may_read_it(manifests: Manifests) -> None:
    """A mount by subPath would not see a new certificate."""
    for pod, container in manifests.containers():
        assert all("subPath" not in each for each in container["volumeMounts"])
        group = pod["securityContext"]["fsGroup"]
        assert group == pod["securityContext"]["runAsGroup"]
        for volume in pod["volumes"]:
            source = volume.get("secret") or volume.get("projected")
            assert source is None or source["defaultMode"] == 0o440


def test_probes_ask_ports_there_are_and_none_kills_for_want_of_redis(manifests: Manifests) -> None:
    asked = 0
    for _, container in manifests.containers():
        ports = {each["name"] for each in container["ports"]}
        for kind in ("livenessProbe", "readinessProbe"):
            probe = container[kind]
            if "httpGet" in probe:
                asked += 1
                assert probe["httpGet"]["port"] in ports
                path = {"livenessProbe": "/metrics", "readinessProbe": "/healthz"}[kind]
                assert probe["httpGet"]["path"] == path
                scheme = {"agent": "HTTP", "dice-auth": "HTTPS"}[container["name"]]
                assert probe["httpGet"].get("scheme", "HTTP") == scheme
    assert asked == 4


def test_a_pod_has_the_time_that_its_server_takes_to_end(manifests: Manifests) -> None:
    for name, deadline in (("ota-agent", None), ("dice-auth", 10)):
        workload = manifests.one("Deployment", name)
        pod, container = workload["spec"]["template"]["spec"], _container(workload)
        pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        if deadline is None:
            (option,) = (each for each in container["args"] if "--shutdown-deadline" in each)
            deadline = int(option.partition("=")[2])
        assert pod["terminationGracePeriodSeconds"] >= pause + deadline + 10


def test_scalers_and_budgets_are_of_workloads_there_are(manifests: Manifests) -> None:
    scaled = {
        (each["spec"]["scaleTargetRef"]["kind"], each["spec"]["scaleTargetRef"]["name"])
        for each in manifests.of_kind("HorizontalPodAutoscaler")
    }
    assert scaled == {("Deployment", "ota-agent"), ("Deployment", "dice-auth")}
    for kind, name in scaled:
        # Else every `apply` would set the number back.
        assert "replicas" not in manifests.one(kind, name)["spec"]
    for each in manifests.of_kind("HorizontalPodAutoscaler"):
        assert each["spec"]["minReplicas"] >= 2
    for each in manifests.of_kind("PodDisruptionBudget"):
        (workload,) = manifests.selected(each["spec"]["selector"]["matchLabels"])
        assert ("Deployment", workload["metadata"]["name"]) in scaled
        scaled.remove(("Deployment", workload["metadata"]["name"]))
    assert not scaled


def test_no_container_has_more_rights_than_it_needs(manifests: Manifests) -> None:
    seen = 0
    for pod, container in manifests.containers():
        seen += 1
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert ":" in container["image"] and not container["image"].endswith(":latest")
    assert seen == 3
    labels = manifests.one("Namespace", "ota")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_secrets_are_the_files_that_the_documented_commands_made(
    manifests: Manifests, tree: Path
) -> None:
    token = manifests.one("Secret", "ota-agent-attestation")["data"]["token"]
    assert base64.b64decode(token) == (tree / "secrets" / "agent-token").read_bytes()
    tls = manifests.one("Secret", "ota-agent-certificate")
    assert tls["type"] == "kubernetes.io/tls"
    assert base64.b64decode(tls["data"]["tls.key"]).startswith(b"-----BEGIN")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_a_comment_may_stay_one(tree: Path, overlay: str) -> None:
    plain = kustomize(tree / "deploy" / "kubernetes", overlay, with_options=False)
    assert not plain.of_kind(*_OPERATORS)
    assert "admin-tokens" not in plain.text


def test_without_the_files_nothing_is_made(tmp_path: Path) -> None:
    kubernetes = shutil.copytree(DEPLOY, tmp_path / "deploy") / "kubernetes"
    for each in (kubernetes / "secrets").iterdir():
        if each.name != "kustomization.yaml":
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    with pytest.raises(AssertionError, match="no such file"):
        kustomize(kubernetes, "oci", with_options=False)


def test_the_repository_holds_no_secret() -> None:
    pattern = re.compile(r"PRIVATE KEY|kind: Secret|stringData|:[^@/$\s]{8,}@|#[0-9a-f]{64}")
    for file in DEPLOY.rglob("*"):
        if file.is_file() and not _is_ignored(file):
            assert not pattern.search(file.read_text()), file


def test_the_operators_rules_are_those_of_prometheus(manifests: Manifests) -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    assert manifests.one("PrometheusRule", "ota-service")["spec"] == rules


def test_pod_monitors_scrape_ports_and_read_secrets_there_are(manifests: Manifests) -> None:
    monitors = manifests.of_kind("PodMonitor")
    assert len(monitors) == 2
    for each in monitors:
        (workload,) = manifests.selected(each["spec"]["selector"]["matchLabels"])
        (endpoint,) = each["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in {port["name"] for port in _container(workload)["ports"]}
        if "tlsConfig" in endpoint:
            secret = endpoint["tlsConfig"]["ca"]["secret"]
            assert secret["key"] in manifests.one("Secret", secret["name"])["data"]
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        numbers = {port["name"]: port["containerPort"] for port in _container(workload)["ports"]}
        assert int(annotations["prometheus.io/port"]) == numbers[endpoint["port"]]
        assert annotations.get("prometheus.io/scheme", "http") == endpoint.get("scheme", "http")


def _container(workload: Object) -> Object:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    return only


def _sources(volume: Object) -> list[tuple[str, str]]:
    if "secret" in volume:
        return [("Secret", volume["secret"]["secretName"])]
    if "configMap" in volume:
        return [("ConfigMap", volume["configMap"]["name"])]
    if "persistentVolumeClaim" in volume:
        return [("claim", volume["persistentVolumeClaim"]["claimName"])]
    kinds = {"secret": "Secret", "configMap": "ConfigMap"}
    return [
        (kinds[kind], source["name"])
        for each in volume.get("projected", {}).get("sources", ())
        for kind, source in each.items()
    ]


def _is_ignored(file: Path) -> bool:
    """What somebody has made in the clone, and git does not take."""
    done = subprocess.run(["git", "check-ignore", "-q", file], cwd=DEPLOY, check=False)
    return done.returncode == 0
