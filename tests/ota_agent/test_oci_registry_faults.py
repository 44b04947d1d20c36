"""Registries that break, lie, or lead elsewhere; and who is given which credentials."""

import asyncio
import base64
import gzip
import json
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ota_agent import oci_registry
from ota_agent.errors import PullError
from ota_agent.oci_puller import Puller
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.images import app
from tests.ota_agent.pulling import contents, puller_of
from tests.ota_agent.registry_peer import image, sha256
from tests.ota_agent.scripted_registry import ScriptedRegistry, http, scripted_registry

THERMO = app("2.0.0", "thermo")
OF = image("esp32", THERMO)
LAYER_PATH = f"/v2/a/blobs/{sha256(OF.layers[0])}"
SECRET = "horse"
BASIC = "Basic " + base64.b64encode(f"fleet:{SECRET}".encode()).decode()


def pulled(
    tmp_path: Path,
    script: ScriptedRegistry,
    change: Callable[[ScriptedRegistry], None] = lambda script: None,
    tls: ssl.SSLContext | None = None,
    **access: Any,
) -> list[bytes] | str:
    """What there is after a pull, or why not."""

    async def run() -> list[bytes] | str:
        async with scripted_registry(script, tls):
            script.publish(OF)
            change(script)
            config = tmp_path / "config.json"
            auth = {"username": "fleet", "password": SECRET}
            config.write_text(json.dumps({"auths": {script.authority: auth}}))
            puller = puller_of(
                f"oci://{script.authority}/a:1", tmp_path / "cache", config=config, **access
            )
            try:
                return await fill(puller)
            finally:
                puller.close()

    async def fill(puller: Puller) -> list[bytes] | str:
        try:
            async with asyncio.timeout(20):
                await puller.fill()
        except PullError as error:
            return str(error)
        return contents(puller)

    tmp_path.mkdir(exist_ok=True)
    found = asyncio.run(run())
    assert "\n" not in found
    assert SECRET not in found
    return found


def test_what_is_published_is_pulled(tmp_path: Path) -> None:
    assert pulled(tmp_path, ScriptedRegistry()) == [THERMO]


def answer_of(path: str, change: Callable[[bytes], bytes]) -> Callable[[ScriptedRegistry], None]:
    def do(script: ScriptedRegistry) -> None:
        script.answers[path] = change(script.answers[path])

    return do


def without_digest(answer: bytes) -> bytes:
    return answer.replace(b"Docker-Content-Digest", b"X-Nothing")


def packed(answer: bytes) -> bytes:
    """As a proxy may do that was not asked to."""
    body = gzip.compress(answer.partition(b"\r\n\r\n")[2])
    return http(200, body, "Content-Encoding: gzip")


@pytest.mark.parametrize(
    ("what", "change", "reason"),
    [
        ("layer", lambda answer: answer[:-10], "peer closed connection"),
        ("layer", lambda answer: answer[:60], "disconnected"),
        ("layer", lambda answer: b"", "disconnected"),
        ("layer", lambda answer: b"SSH-2.0-x\r\n", "registry localhost"),
        ("layer", lambda answer: http(500), "status 500"),
        ("layer", lambda answer: http(404), "not in the registry"),
        ("layer", lambda answer: http(200, THERMO), "expected"),
        ("layer", lambda answer: http(200, OF.layers[0] + b"x"), "more bytes, expected"),
        ("layer", packed, "expected"),
        ("index", lambda answer: http(200, b"[]"), "expected a JSON object"),
        ("index", lambda answer: http(200, b"{}"), "expected an image"),
        ("index", lambda answer: http(200, b"[" * 100_000), "not JSON"),
        ("index", lambda answer: http(200, b" " * 5_000_000), "more than 4194304"),
        ("index", lambda answer: answer[:-1], "closed"),
    ],
)
def test_a_registry_that_breaks_or_lies_gets_nothing_taken(
    tmp_path: Path, what: str, change: Callable[[bytes], bytes], reason: str
) -> None:
    path = LAYER_PATH if what == "layer" else "/v2/a/manifests/1"
    found = pulled(tmp_path, *scripts(path, change))
    assert isinstance(found, str)
    assert reason in found
    assert not list(tmp_path.glob("cache/*/*.bin"))
    assert not list(tmp_path.glob("cache/*/.new-*"))


def test_a_manifest_that_is_not_what_its_answer_says_it_is_is_refused(tmp_path: Path) -> None:
    def change(answer: bytes) -> bytes:
        return answer.replace(b"Docker-Content-Digest: sha256:", b"Docker-Content-Digest: sha256:0")

    def other(answer: bytes) -> bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n" + body.replace(b"custom", b"CUSTOM")

    path = "/v2/a/manifests/1"
    assert pulled(tmp_path / "1", *scripts(path, change)) == [THERMO]
    found = pulled(tmp_path / "2", *scripts(path, other))
    assert isinstance(found, str)
    assert "expected sha256:" in found


def scripts(
    path: str, change: Callable[[bytes], bytes]
) -> tuple[ScriptedRegistry, Callable[[ScriptedRegistry], None]]:
    return ScriptedRegistry(), answer_of(path, change)


def test_a_registry_that_does_not_tell_digests_is_read_all_the_same(tmp_path: Path) -> None:
    path = "/v2/a/manifests/1"
    assert pulled(tmp_path, *scripts(path, without_digest)) == [THERMO]


def token_script(realm: str) -> ScriptedRegistry:
    return ScriptedRegistry(
        authorization="Bearer opaque-token",
        challenge=f'Bearer realm="{realm}",service="it",scope="repository:a:pull,push"',
    )


def test_a_token_is_asked_of_the_service_that_the_registry_names(tmp_path: Path) -> None:
    script = token_script("")

    def change(script: ScriptedRegistry) -> None:
        script.challenge = script.challenge.replace(
            'realm=""', f'realm="http://{script.authority}/token?x=1"'
        )
        script.answers["/token"] = http(200, b'{"token": "opaque-token"}')

    assert pulled(tmp_path, script, change) == [THERMO]
    (head,) = script.asked("/token")
    target = head.split(" ")[1]
    assert "x=1" in target
    assert "scope=repository%3Aa%3Apull&" in target + "&"
    assert "service=it" in target
    assert f"authorization: {BASIC}".lower() in head.lower()
    # The password goes to the service, the token to the registry.
    assert not any(BASIC.lower() in each.lower() for each in script.asked("/v2/"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(401), "status 401"),
        (http(200, b"{}"), "no token"),
        (http(200, b'{"token": "a\\r\\nX: y"}'), "no token"),
        (http(200, b"x" * 300_000), "more than 262144"),
    ],
)
def test_a_token_service_that_gives_none_is_named(
    tmp_path: Path, answer: bytes, reason: str
) -> None:
    script = token_script("")

    def change(script: ScriptedRegistry) -> None:
        script.challenge = f'Bearer realm="http://{script.authority}/token"'
        script.answers["/token"] = answer

    found = pulled(tmp_path, script, change)
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.parametrize("realm", ["http://192.0.2.1/token", "file:///etc/passwd", "", "//x", "::"])
def test_a_password_goes_nowhere_but_by_https(tmp_path: Path, realm: str) -> None:
    found = pulled(tmp_path, token_script(realm))
    assert isinstance(found, str)
    assert ("URL" if realm == "::" else "expected https") in found


def test_credentials_do_not_go_along_with_a_redirect(tmp_path: Path) -> None:
    """Registries keep their blobs elsewhere."""
    script = ScriptedRegistry(authorization=BASIC)

    def change(script: ScriptedRegistry) -> None:
        script.answers["/elsewhere"] = script.answers[LAYER_PATH]
        script.answers[LAYER_PATH] = http(
            307, b"", f"Location: http://{script.authority}/elsewhere"
        )

    assert pulled(tmp_path, script, change) == [THERMO]
    (head,) = script.asked("/elsewhere")
    assert "authorization" not in head.lower()
    assert all(BASIC.lower() in each.lower() for each in script.asked(LAYER_PATH))


@pytest.mark.parametrize("target", ["http://192.0.2.1/x", "ftp://localhost/x", "//192.0.2.1/x"])
def test_a_redirect_to_where_anybody_reads_along_is_not_followed(
    tmp_path: Path, target: str
) -> None:
    found = pulled(
        tmp_path, *scripts(LAYER_PATH, lambda answer: http(302, b"", f"Location: {target}"))
    )
    assert isinstance(found, str)
    assert "expected https" in found


@pytest.mark.parametrize("target", ["https://127.0.0.1:70000/", "https://xn--a/", "https://[/"])
def test_where_nothing_can_be_is_a_refusal_of_one_line(tmp_path: Path, target: str) -> None:
    """A redirect or a token service: the puller is to try again, and not to end."""
    redirected = scripts(LAYER_PATH, lambda answer: http(302, b"", f"Location: {target}"))
    for number, asked in enumerate((redirected, (token_script(target),))):
        found = pulled(tmp_path / str(number), *asked)
        assert isinstance(found, str)
        assert "\n" not in found


def test_redirects_in_a_circle_end(tmp_path: Path) -> None:
    found = pulled(
        tmp_path, *scripts(LAYER_PATH, lambda answer: http(302, b"", f"Location: {LAYER_PATH}"))
    )
    assert isinstance(found, str)
    assert "redirects" in found


def test_from_https_nothing_leads_to_plain_http(tmp_path: Path) -> None:
    identity = make_identity(tmp_path / "identity", names=["localhost"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(identity.certificate, identity.key)
    script, change = scripts(
        LAYER_PATH, lambda answer: http(302, b"", "Location: http://192.0.2.1/")
    )
    found = pulled(tmp_path, script, change, tls, ca=identity.certificate)
    assert isinstance(found, str)
    assert "expected https" in found
    script, change = ScriptedRegistry(), lambda script: None
    assert pulled(tmp_path, script, change, tls, ca=identity.certificate) == [THERMO]


def test_a_registry_elsewhere_is_spoken_to_by_https_unless_plain_http_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.0.0.0 leads to this machine, and is no address of the loopback interface."""

    async def run(*, plain_http: bool) -> list[bytes]:
        async with scripted_registry(ScriptedRegistry()) as script:
            script.publish(OF)
            reference = f"oci://0.0.0.0:{script.authority.rpartition(':')[2]}/a:1"
            puller = puller_of(reference, tmp_path / "cache", plain_http=plain_http)
            try:
                await puller.fill()
            finally:
                puller.close()
                assert bool(script.heads) == plain_http
            return contents(puller)

    assert asyncio.run(run(plain_http=True)) == [THERMO]
    shutil.rmtree(tmp_path / "cache")
    # Nobody there answers a TLS handshake.
    monkeypatch.setattr(oci_registry, "_TIMEOUT", 0.2)
    with pytest.raises(PullError):
        asyncio.run(run(plain_http=False))
