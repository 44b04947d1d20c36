"""Somebody on the same network who wants firmware that is not for him.

What he can have is what anybody can: a board's certificate, from its `/onboard`, and evidence of
its, from an agent that it was sent to. What he cannot have is the board's key.
"""

import hashlib
import http.client
import json
import secrets
import socket
import ssl
from pathlib import Path
from typing import Self

import httpx

from dice import certificate, evidence
from ota_crypto import p256

_TIMEOUT_S = 10.0


class Thief:
    """agent: HOST:PORT of the genuine one. ca: the CA of its certificate."""

    def __init__(self, agent: str, ca: Path) -> None:
        self._agent = agent
        self._context = ssl.create_default_context(cafile=str(ca))

    def with_certificate_of(self, board_url: str, root: Path) -> str:
        """Claim to be this board, with its certificate and a key of his own; what comes of it."""
        stolen = httpx.get(f"{board_url}/onboard", timeout=_TIMEOUT_S).content
        root_key = certificate.parse(certificate.from_pem(root.read_bytes())).public_key
        with self._connection() as connection:
            nonce = _ask(connection, "GET", "/v2/challenge")[1]
            claims = evidence.Claims(
                nonce,
                evidence.ueid_of(root_key),
                "esp32",
                "thermo",
                "1.0.0",
                connection.channel,
                bytes(32),
            )
            own_key = 1 + secrets.randbelow(p256.ORDER - 1)
            return self._attest(connection, evidence.encode(own_key, stolen, claims))

    def with_evidence(self, recorded: bytes) -> str:
        """Send evidence that a board once gave to somebody; what comes of it."""
        with self._connection() as connection:
            return self._attest(connection, recorded)

    def _attest(self, connection: "_Connection", data: bytes) -> str:
        status, body = _ask(connection, "POST", "/v2/attest", data)
        if status == 200:
            return "let in"
        return f"{status}: {json.loads(body).get('check', 'no reason')}"

    def _connection(self) -> "_Connection":
        return _Connection(self._agent, self._context)


class _Connection(http.client.HTTPConnection):
    """channel: SHA-256 of the certificate that the agent has shown here."""

    def __init__(self, agent: str, context: ssl.SSLContext) -> None:
        super().__init__("ota-agent")
        host, _, port = agent.rpartition(":")
        raw = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
        tls = context.wrap_socket(raw, server_hostname="ota-agent")
        self.channel = hashlib.sha256(tls.getpeercert(True) or b"").digest()
        self.sock = tls

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/eat+cwt"} if body is not None else {}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
