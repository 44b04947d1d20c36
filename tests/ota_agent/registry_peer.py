"""Debian's docker-registry on a free port of the loopback interface, and images pushed to it
through its API, as tests want them."""

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ota_agent.layers import layer
from tests.ports import free_port

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
_PACKED = {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}
USER, PASSWORD = "fleet", "correct horse"
# Of that password: bcrypt with cost 4.
_HTPASSWD = "fleet:$2b$04$OHBwsw7mu8awHR9f2a2V..8DLb1RdNW0aXopQASwQyJbCrgKSspO.\n"


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encoded(members: object) -> bytes:
    return json.dumps(members).encode()


@dataclass
class Image:
    """What is published for one platform. architecture None: linux/amd64."""

    architecture: str | None
    layers: list[bytes]
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def platform(self) -> dict[str, str]:
        if self.architecture is None:
            return {"os": "linux", "architecture": "amd64"}
        return {"os": "custom", "architecture": self.architecture}

    @property
    def config(self) -> bytes:
        diffs = [sha256(each) for each in self.layers]
        return encoded(
            {**self.platform, "config": {"Labels": self.labels},
             "rootfs": {"type": "layers", "diff_ids": diffs}}
        )  # fmt: skip

    @property
    def manifest(self) -> bytes:
        layers = [described(each, LAYER + _PACKED.get(each[:2], "")) for each in self.layers]
        return encoded(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described(self.config, CONFIG),
             "layers": layers}
        )  # fmt: skip


def image(architecture: str | None, firmware: bytes) -> Image:
    return Image(architecture, [layer(app=firmware)])


def described(content: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": sha256(content), "size": len(content)}


def index_of(images: Iterable[Image]) -> bytes:
    manifests = [
        {**described(each.manifest, MANIFEST), "platform": each.platform} for each in images
    ]
    return encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})


class RegistryPeer:
    """authority: host and port, the same after it was started again."""

    def __init__(
        self, folder: Path, *, needs_login: bool = False, tls: tuple[Path, Path] | None = None
    ) -> None:
        self._folder = folder
        self._needs_login = needs_login
        self._tls = tls
        self.port = free_port()
        self.authority = f"localhost:{self.port}" if tls else f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None
        self._drain: threading.Thread | None = None

    def __enter__(self) -> "RegistryPeer":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        program = shutil.which("docker-registry")
        if program is None:
            pytest.skip("docker-registry is not installed")
        self._folder.mkdir(exist_ok=True)
        config = self._folder / "config.json"
        config.write_text(json.dumps(self._config()))
        self._process = subprocess.Popen(
            [program, "serve", str(config)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        lines = self._process.stderr
        assert lines is not None
        for line in lines:
            if "listening on" in line:
                break
        else:
            raise RuntimeError(f"docker-registry ended with {self._process.wait()}")
        self._drain = threading.Thread(target=lines.read, daemon=True)
        self._drain.start()

    def stop(self) -> None:
        if self._process is not None and self._drain is not None:
            self._process.kill()
            self._process.wait()
            self._drain.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    def _config(self) -> Mapping[str, Any]:
        made: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self._folder)}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "for this run alone"},
        }
        if self._needs_login:
            users = self._folder / "htpasswd"
            users.write_text(_HTPASSWD)
            made["auth"] = {"htpasswd": {"realm": "fleet", "path": str(users)}}
        if self._tls is not None:
            made["http"]["tls"] = dict(
                zip(("certificate", "key"), map(str, self._tls), strict=True)
            )
        return made

    def reference(self, name: str = "iot/thermo", version: str = ":1") -> str:
        return f"oci://{self.authority}/{name}{version}"

    def blob_file(self, digest: str) -> Path:
        """Where it keeps a blob or manifest."""
        kind, _, digits = digest.partition(":")
        return self._folder / "docker/registry/v2/blobs" / kind / digits[:2] / digits / "data"

    # Pushing

    def push(self, *images: Image, name: str = "iot/thermo", tag: str = "1") -> str:
        """As an index; its digest."""
        with self._client(name) as client:
            for each in images:
                self._push_image(client, each)
            return self._put_manifest(client, tag, INDEX, index_of(images))

    def push_single(self, single: Image, name: str = "iot/thermo", tag: str = "1") -> str:
        with self._client(name) as client:
            self._push_image(client, single)
            return self._put_manifest(client, tag, MANIFEST, single.manifest)

    def push_index(self, content: bytes, name: str = "iot/thermo", tag: str = "1") -> str:
        with self._client(name) as client:
            return self._put_manifest(client, tag, INDEX, content)

    def _client(self, name: str) -> httpx.Client:
        scheme = "https" if self._tls else "http"
        return httpx.Client(
            base_url=f"{scheme}://{self.authority}/v2/{name}/",
            auth=(USER, PASSWORD) if self._needs_login else None,
            trust_env=False,
            verify=False,
        )

    def _push_image(self, client: httpx.Client, each: Image) -> None:
        for content in (*each.layers, each.config):
            begun = client.post("blobs/uploads/")
            assert begun.status_code == 202, begun.text
            put = client.put(
                httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": sha256(content)}),
                content=content,
                headers={"Content-Type": "application/octet-stream"},
            )
            assert put.status_code == 201, put.text
        self._put_manifest(client, sha256(each.manifest), MANIFEST, each.manifest)

    def _put_manifest(self, client: httpx.Client, reference: str, kind: str, content: bytes) -> str:
        put = client.put(f"manifests/{reference}", content=content, headers={"Content-Type": kind})
        assert put.status_code == 201, put.text
        return sha256(content)
