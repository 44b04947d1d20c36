"""Kubernetes manifests as kubectl's kustomize makes them, everything that stands there as a comment
switched on, and questions about them."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

OVERLAYS = ("oci", "volume")
_COMMENTED = re.compile(r"^(\s*)# (?=- (?:\.\./\.\./monitoring|admin-tokens)$)", re.MULTILINE)
_PATCHES = re.compile(r"^# (patchesJson6902:|  .*)$", re.MULTILINE)

Object = dict[str, Any]


class Manifests:
    def __init__(self, text: str) -> None:
        self.text = text
        self.objects: list[Object] = [each for each in yaml.safe_load_all(text) if each]

    def of_kind(self, *kinds: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object:
        (found,) = (each for each in self.of_kind(kind) if each["metadata"]["name"] == name)
        return found

    def workloads(self) -> list[Object]:
        return self.of_kind("Deployment", "StatefulSet")

    def containers(self) -> Iterator[tuple[Object, Object]]:
        """(pod's spec, container)"""
        for workload in self.workloads():
            pod = workload["spec"]["template"]["spec"]
            for container in pod["containers"]:
                yield pod, container

    def selected(self, labels: dict[str, str]) -> list[Object]:
        """Workloads whose pods have these labels."""
        return [
            each
            for each in self.workloads()
            if labels.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]


def kustomize(kubernetes: Path, overlay: str, *, with_options: bool = True) -> Manifests:
    """An overlay of this folder. with_options: with admin API and monitoring."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed (Debian: kubernetes-client)")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "deploy")
        shutil.copytree(kubernetes.parent, root)
        if with_options:
            (root / "kubernetes" / "secrets" / "admin-tokens").write_text("# none yet\n")
            for file in root.glob("kubernetes/**/kustomization.yaml"):
                file.write_text(_switched_on(file.read_text()))
        done = subprocess.run(
            ["kubectl", "kustomize", root / "kubernetes" / "overlays" / overlay],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    return Manifests(done.stdout)


def _switched_on(text: str) -> str:
    return _PATCHES.sub(r"\1", _COMMENTED.sub(r"\1", text))
