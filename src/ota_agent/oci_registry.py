"""Reading from a registry over HTTP: manifests and blobs, each checked against its digest and size.

httpx carries the requests; what is asked and what is believed stands here. Credentials go to the
registry, and to the token service it names, over HTTPS alone (or on this machine, or where plain
HTTP is allowed), and never along with a redirect.
Source: OCI Distribution Specification 1.1, "Pull"; for tokens the Docker Registry v2 documents
("Token Authentication Specification").
"""

import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import httpx

from ota_agent.errors import PullError, SettingsError
from ota_agent.oci_credentials import Credentials, read_credentials
from ota_agent.oci_manifest import INDEX_TYPES, MANIFEST_TYPES, MOST_MANIFEST_BYTES, Descriptor
from ota_agent.oci_reference import Reference, is_loopback

_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_MOST_REDIRECTS = 5
_MOST_TOKEN_BYTES = 256 * 1024
_ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))
_PARAMETER = re.compile(r'([A-Za-z]+)="([^"]*)"')
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """tls: whose certificates are believed. is_plain: plain HTTP, wherever the registry is; one on
    this machine speaks it anyway, unless is_private. is_private: a CA was named. config: docker's
    config.json with credentials."""

    tls: ssl.SSLContext
    config: Path | None = None
    is_plain: bool = False
    is_private: bool = False


def registry_access(
    ca: Path | None = None, config: Path | None = None, *, plain_http: bool = False
) -> RegistryAccess:
    """ca: certificates to trust, PEM; None: the system's. Raises SettingsError."""
    if ca is not None and plain_http:
        raise SettingsError("--oci-ca is for https; it cannot go with --oci-plain-http")
    try:
        tls = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise SettingsError(f"--oci-ca {ca}: no certificates in it, PEM") from None
    except OSError as error:
        raise SettingsError(f"--oci-ca {ca}: {error.strerror}") from None
    return RegistryAccess(tls, config, plain_http, ca is not None)


class Registry:
    """One repository of a registry; an asynchronous context manager.

    Every method raises PullError for what may pass, and ContentError for what does not.
    """

    def __init__(self, reference: Reference, access: RegistryAccess) -> None:
        self._reference = reference
        self._access = access
        is_plain = access.is_plain or (reference.is_loopback and not access.is_private)
        scheme = "http" if is_plain else "https"
        self._base = f"{scheme}://{reference.authority}/v2/{reference.name}"
        self._authorization = ""
        self._client = httpx.AsyncClient(
            verify=access.tls,
            timeout=_TIMEOUT,
            # A proxy leads nowhere from a registry on this machine.
            trust_env=not reference.is_loopback,
            headers={"User-Agent": "ota-agent", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def digest(self) -> str | None:
        """What the tag names now; None where the registry does not tell without sending it."""
        async with self._answer("HEAD", self._manifest_url(self._reference.version)) as response:
            found = response.headers.get("Docker-Content-Digest", "")
            return found if _DIGEST.fullmatch(found) else None

    async def root(self) -> tuple[bytes, str, str]:
        """What the reference names: its bytes, its digest, its media type."""
        async with self._answer("GET", self._manifest_url(self._reference.version)) as response:
            content = await self._content(response, MOST_MANIFEST_BYTES, "manifest")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
            told = response.headers.get("Docker-Content-Digest", "")
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        for expected in (self._reference.digest, told if _DIGEST.fullmatch(told) else None):
            if expected is not None and expected != digest:
                raise PullError(f"manifest {digest}: expected {expected}")
        return content, digest, kind

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """One that an index names."""
        async with self._answer("GET", self._manifest_url(descriptor.digest)) as response:
            content = await self._content(response, descriptor.size, "manifest")
        _check(descriptor, len(content), hashlib.sha256(content).hexdigest(), "manifest")
        return content

    async def blob(self, descriptor: Descriptor) -> bytes:
        """A small one."""
        async with self._answer("GET", self._blob_url(descriptor)) as response:
            content = await self._content(response, descriptor.size, "blob")
        _check(descriptor, len(content), hashlib.sha256(content).hexdigest(), "blob")
        return content

    async def download(self, descriptor: Descriptor, file: BinaryIO) -> None:
        """Write a blob to a file, which is worth nothing if this raises."""
        digest, size = hashlib.sha256(), 0
        async with self._answer("GET", self._blob_url(descriptor)) as response:
            async for piece in _pieces(response):
                size += len(piece)
                if size > descriptor.size:
                    break
                digest.update(piece)
                file.write(piece)
        _check(descriptor, size, digest.hexdigest(), "blob")

    def _manifest_url(self, version: str) -> str:
        return f"{self._base}/manifests/{version}"

    def _blob_url(self, descriptor: Descriptor) -> str:
        return f"{self._base}/blobs/{descriptor.digest}"

    # Asking

    @asynccontextmanager
    async def _answer(self, method: str, url: str) -> AsyncIterator[httpx.Response]:
        """A good one, its body still to be read."""
        try:
            response = await self._send(method, url)
            if response.status_code == 401:
                await response.aclose()
                await self._authenticate(response)
                response = await self._send(method, url)
            try:
                self._expect_good(response)
                yield response
            finally:
                await response.aclose()
        # UnicodeError: what httpx makes of some names of hosts.
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError) as error:
            text = _ERRNO.sub("", str(error)) or type(error).__name__
            raise PullError(f"registry {self._reference.registry}: {text}") from None

    async def _send(self, method: str, url: str) -> httpx.Response:
        """Follows redirects, with credentials to the registry alone."""
        headers = {"Accept": _ACCEPT}
        if self._authorization:
            headers["Authorization"] = self._authorization
        for _ in range(_MOST_REDIRECTS):
            request = self._client.build_request(method, url, headers=headers)
            response = await self._client.send(request, stream=True)
            if response.status_code not in _REDIRECTS:
                return response
            await response.aclose()
            target = httpx.URL(url).join(response.headers.get("Location", ""))
            self._expect_safe(target)
            # Where the registry keeps its blobs: that is another's house.
            url, headers = str(target), {"Accept": _ACCEPT}
        raise PullError(
            f"registry {self._reference.registry}: more than {_MOST_REDIRECTS} redirects"
        )

    def _expect_safe(self, url: httpx.URL) -> None:
        """Plain HTTP leads to this machine from a registry on it, else nowhere unasked."""
        if url.port is not None and url.port > 65535:
            raise PullError(
                f"registry {self._reference.registry}: it leads to port {url.port},"
                " expected up to 65535"
            )
        is_here = self._reference.is_loopback and is_loopback(url.host)
        if url.scheme == "http" and (self._access.is_plain or is_here):
            return
        if url.scheme != "https":
            raise PullError(
                f"registry {self._reference.registry}: it leads to {url.scheme}://{url.host},"
                " expected https"
            )

    def _expect_good(self, response: httpx.Response) -> None:
        status, reference = response.status_code, self._reference
        if status == 200:
            return
        if status in (401, 403):
            credentials = self._credentials()
            reason = "its credentials are not enough" if credentials.user else credentials.lack
            raise PullError(f"registry {reference.registry}: status {status}: {reason}")
        if status == 404:
            raise PullError(f"{reference}: not in the registry (404)")
        raise PullError(f"registry {reference.registry}: status {status}")

    async def _content(self, response: httpx.Response, most: int, name: str) -> bytes:
        content = bytearray()
        async for piece in _pieces(response):
            content += piece
            if len(content) > most:
                raise PullError(f"{name}: more than {most} bytes")
        return bytes(content)

    # Credentials

    def _credentials(self) -> Credentials:
        return read_credentials(self._access.config, self._reference.registry)

    async def _authenticate(self, refusal: httpx.Response) -> None:
        """As the registry asks for it (RFC 9110, section 11.6.1); else it refuses again."""
        self._authorization = ""
        credentials = self._credentials()
        for challenge in refusal.headers.get_list("WWW-Authenticate"):
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                token = await self._token(dict(_PARAMETER.findall(rest)), credentials)
                self._authorization = f"Bearer {token}"
                return
            if scheme.lower() == "basic" and credentials.basic is not None:
                self._authorization = credentials.basic
                return

    async def _token(self, asked: dict[str, str], credentials: Credentials) -> str:
        """From the service that the registry names, for reading this repository alone."""
        realm = httpx.URL(asked.get("realm", ""))
        self._expect_safe(realm)
        scope = f"repository:{self._reference.name}:pull"
        query = {"scope": scope, **({"service": asked["service"]} if "service" in asked else {})}
        headers = {"Authorization": credentials.basic} if credentials.basic is not None else {}
        request = self._client.build_request("GET", realm.copy_merge_params(query), headers=headers)
        response = await self._client.send(request, stream=True)
        try:
            content = await self._content(response, _MOST_TOKEN_BYTES, "token")
        finally:
            await response.aclose()
        if response.status_code != 200:
            lack = f": {credentials.lack}" if not credentials.user else ""
            raise PullError(f"token service {realm.host}: status {response.status_code}{lack}")
        return _read_token(content, realm.host)


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """As they were sent: what is packed once more would not be what was asked for."""
    async for piece in response.aiter_raw(65536):
        yield piece


def _read_token(content: bytes, host: str) -> str:
    try:
        members = json.loads(content)
    except (ValueError, RecursionError):
        members = None
    token = None
    if isinstance(members, dict):
        token = members.get("token") or members.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise PullError(f"token service {host}: no token in its answer")
    return token


def _check(descriptor: Descriptor, size: int, digest: str, name: str) -> None:
    """Transport errors and changed storage alike: to be tried again, and not believed."""
    if size != descriptor.size:
        found = "more" if size > descriptor.size else str(size)
        raise PullError(f"{name} {descriptor.digest}: {found} bytes, expected {descriptor.size}")
    if f"sha256:{digest}" != descriptor.digest:
        raise PullError(f"{name} sha256:{digest}: expected {descriptor.digest}")
