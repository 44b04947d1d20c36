"""Names in a registry, credentials in docker's file, and what manifests may say."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota_agent.errors import ContentError, PullError, SettingsError
from ota_agent.oci_credentials import read_credentials
from ota_agent.oci_manifest import is_index, read_config, read_index, read_manifest
from ota_agent.oci_reference import parse_reference
from ota_agent.oci_registry import registry_access
from ota_agent.settings import from_environment
from tests.ota_agent.registry_peer import MANIFEST, encoded, image, index_of

DIGEST = "sha256:" + "0a" * 32
GIVEN = {"certificate": "c", "key": "k", "dice_auth_url": "http://127.0.0.1:8000"}
OCI = "oci://registry.example/iot/thermo:1"


@pytest.mark.parametrize(
    ("text", "parts", "authority"),
    [
        ("oci://r.example/a", ("r.example", "a", "latest", None), "r.example"),
        ("oci://r.example:5000/a/b-c/d_e:v1", ("r.example:5000", "a/b-c/d_e", "v1", None), None),
        (f"oci://localhost/a@{DIGEST}", ("localhost", "a", None, DIGEST), "localhost"),
        (f"oci://[::1]:5000/a:1@{DIGEST}", ("[::1]:5000", "a", None, DIGEST), None),
        ("oci://docker.io/a", ("docker.io", "library/a", "latest", None), "registry-1.docker.io"),
        ("oci://docker.io/a/b:2", ("docker.io", "a/b", "2", None), "registry-1.docker.io"),
    ],
)
def test_a_reference_names_registry_repository_and_version(
    text: str, parts: tuple[str | None, ...], authority: str | None
) -> None:
    found = parse_reference(text)
    assert (found.registry, found.name, found.tag, found.digest) == parts
    assert found.authority == (authority or found.registry)
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["oci://", "oci://a", "oci:///a", "oci://r/", "oci://r/A", "oci://r/a:", "oci://r/a:b c",
     "oci://r/a@sha256:00", "oci://r/a@md5:00", "oci://user:pw@r/a", "oci://r:0/a", "oci://r:x/a",
     "oci://r:99999/a", "oci://r/../a", "oci://r/a/", "oci://r//a", "oci://r/a?x", "oci://r/a#x",
     "oci://r/" + "a" * 300, "OCI://r/a", "oci://r/a:1\n", "oci://-r/a"],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(SettingsError, match="expected") as raised:
        parse_reference(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("registry", "here"),
    [("localhost:5000", True), ("127.0.0.1", True), ("[::1]:5000", True), ("127.9.9.9:1", True),
     ("localhost.example", False), ("10.0.0.1:5000", False), ("127.0.0.1.example", False)],
)  # fmt: skip
def test_only_what_is_surely_on_this_machine_is(registry: str, here: bool) -> None:
    assert parse_reference(f"oci://{registry}/a").is_loopback is here


# Settings


def settings_for(firmware: str, environment: dict[str, str], **given: Any) -> Any:
    return from_environment(environment=environment, firmware=firmware, **GIVEN, **given)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"CACHE_DIRECTORY": "/var/cache/ota:/x", "HOME": "/root"}, "/var/cache/ota"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/root"}, "/c/ota-service"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/root"}, "/root/.cache/ota-service"),
        ({"HOME": "/root"}, "/root/.cache/ota-service"),
    ],
)
def test_the_cache_is_the_units_or_the_users(environment: dict[str, str], folder: str) -> None:
    assert settings_for(OCI, environment).cache == Path(folder)
    assert settings_for(OCI, environment, cache=Path("/given")).cache == Path("/given")


def test_without_any_folder_one_has_to_be_given() -> None:
    with pytest.raises(SettingsError, match="--cache"):
        settings_for(OCI, {})


def test_credentials_are_those_of_docker_unless_others_are_given() -> None:
    home = {"HOME": "/h"}
    assert settings_for(OCI, home).oci_config == Path("/h/.docker/config.json")
    named = settings_for(OCI, {**home, "DOCKER_CONFIG": "/d"})
    assert named.oci_config == Path("/d/config.json")
    assert settings_for(OCI, home, oci_config=Path("/g")).oci_config == Path("/g")


def test_the_originals_variable_may_name_a_registry_too() -> None:
    made = from_environment(environment={"NEW_FIRMWARE_PATH": OCI, "HOME": "/h"}, **GIVEN)
    assert made.firmware == parse_reference(OCI)


@pytest.mark.parametrize(
    ("name", "value"),
    [("oci_interval_s", 5.0), ("cache", Path("c")), ("oci_ca", Path("c")),
     ("oci_config", Path("c")), ("oci_plain_http", True)],
)  # fmt: skip
def test_options_for_a_registry_are_refused_where_there_is_none(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match="--" + name.removesuffix("_s").replace("_", "-")):
        settings_for("firmware.bin", {}, **{name: value})


def test_a_ca_that_is_none_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "ca.pem"
    junk.write_text("junk")
    for path, reason in ((junk, "no certificates"), (tmp_path / "no.pem", "No such file")):
        with pytest.raises(SettingsError, match=reason):
            registry_access(path)
    with pytest.raises(SettingsError, match="https"):
        registry_access(junk, plain_http=True)


# Credentials


def config_of(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("registry", "auths"),
    [
        ("r:5000", {"r:5000": {"auth": b64("me:a:b")}}),
        ("r", {"https://r": {"auth": b64("me:a:b")}}),
        ("r", {"r": {"username": "me", "password": "a:b"}}),
        ("docker.io", {"https://index.docker.io/v1/": {"auth": b64("me:a:b")}}),
    ],
)
def test_credentials_stand_in_dockers_file(
    tmp_path: Path, registry: str, auths: dict[str, Any]
) -> None:
    found = read_credentials(config_of(tmp_path, {"auths": auths}), registry)
    assert found.basic == "Basic " + b64("me:a:b")
    assert "a:b" not in repr(found)


@pytest.mark.parametrize(
    ("content", "lack"),
    [
        ({"auths": {"other": {"auth": b64("me:x")}}}, "has no credentials for r"),
        ({"auths": {}}, "has no credentials for r"),
        ({"credsStore": "desktop", "auths": {"r": {}}}, "a credential helper"),
        ({"credHelpers": {"r": "ecr"}}, "a credential helper"),
        ({"auths": 5}, "has no credentials for r"),
    ],
)
def test_without_credentials_the_lack_is_said(tmp_path: Path, content: object, lack: str) -> None:
    found = read_credentials(config_of(tmp_path, content), "r")
    assert found.basic is None
    assert lack in found.lack


@pytest.mark.parametrize(
    "content",
    ['{"auths": SECRET', "[1]", "[" * 100_000, {"auths": {"r": {"auth": "SECRET!"}}},
     {"auths": {"r": {"auth": b64(":SECRET")}}}, {"auths": {"r": {"username": "SECRET"}}},
     {"auths": {"r": {"identitytoken": "SECRET"}}}],
)  # fmt: skip
def test_a_file_that_is_no_good_is_named_and_not_quoted(tmp_path: Path, content: object) -> None:
    with pytest.raises(PullError, match=r"registry credentials .*config\.json") as raised:
        read_credentials(config_of(tmp_path, content), "r")
    assert "SECRET" not in str(raised.value)


# Manifests

OF = image("esp32", b"firmware")


def changed(content: bytes, **changes: Any) -> bytes:
    members = json.loads(content) | changes
    return encoded({key: value for key, value in members.items() if value is not None})


def test_the_types_of_docker_are_read_like_those_of_oci() -> None:
    kind = "application/vnd.docker.distribution.manifest"
    assert is_index(changed(index_of([OF]), mediaType=None), f"{kind}.list.v2+json")
    assert not is_index(changed(OF.manifest, mediaType=None), f"{kind}.v2+json")
    docker = OF.manifest.replace(
        b"application/vnd.oci.image.layer.v1.tar+gzip",
        b"application/vnd.docker.image.rootfs.diff.tar.gzip",
    )
    assert read_manifest(docker).layers == read_manifest(OF.manifest).layers


@pytest.mark.parametrize(
    "digest",
    ["", None, 5, "sha256:" + "0" * 63, "sha512:" + "0" * 128, "sha256:../../../etc/passwd",
     "sha256:" + "A" * 64],
)  # fmt: skip
def test_a_digest_that_is_none_is_refused(digest: object) -> None:
    config = {"mediaType": "x", "digest": digest, "size": 1}
    with pytest.raises(ContentError, match="expected sha256:HEX"):
        read_manifest(changed(OF.manifest, config=config))


@pytest.mark.parametrize("size", [-1, True, "1", None, 1.5, 1 << 62])
def test_a_size_that_cannot_be_is_refused(size: object) -> None:
    config = {"mediaType": "x", "digest": DIGEST, "size": size}
    with pytest.raises(ContentError, match="expected at most"):
        read_manifest(changed(OF.manifest, config=config))


@pytest.mark.parametrize(
    "layers",
    [[], None, 5, [5], [{"mediaType": "text/plain", "digest": DIGEST, "size": 1}],
     [{"mediaType": "application/vnd.oci.image.layer.v1.tar+xz", "digest": DIGEST, "size": 1}],
     [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": DIGEST, "size": 1}] * 65],
)  # fmt: skip
def test_layers_that_are_none_are_refused(layers: object) -> None:
    with pytest.raises(ContentError, match="layer"):
        read_manifest(changed(OF.manifest, layers=layers))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["manifests", "platform", "os", "architecture", "digest", "size", "layers",
                         "config", "mediaType", "Labels"]),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=60)
@given(JSON.map(encoded) | st.binary(max_size=200))
def test_any_content_is_read_or_refused_in_one_line(content: bytes) -> None:
    for read in (read_index, read_manifest, read_config, lambda each: is_index(each, MANIFEST)):
        try:
            read(content)
        except ContentError as error:
            lines = str(error).splitlines()
            if len(lines) != 1:
                raise
