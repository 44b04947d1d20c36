"""An agent that has gone over to the enemy: its certificate is genuine, what it serves is not.

It speaks protocol 2, has nobody attested, writes down the evidence that it is sent, and serves any
image to everybody; the board has to find out by itself. Run as
`python -m ota_cli.demo.rogue_agent CERT KEY IMAGE EVIDENCE`.
"""

import base64
import hashlib
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_NONCE = b"a challenge of the enemy's own.."


class RogueAgent(BaseHTTPRequestHandler):
    """image: what is served. evidence: the file that takes what boards send."""

    protocol_version = "HTTP/1.1"
    image = b""
    evidence = Path()

    def do_GET(self) -> None:
        if self.path == "/v2/challenge":
            self._answer("application/octet-stream", _NONCE)
            return
        digest = hashlib.sha256(self.image).digest()
        self._answer(
            "application/octet-stream",
            self.image,
            ETag=f'"{digest.hex()}"',
            Repr_Digest=f"sha-256=:{base64.b64encode(digest).decode()}:",
        )

    def do_POST(self) -> None:
        self.evidence.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer("application/json", b'{"token": "everybody-is-welcome", "expires_in": 60}')

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the log is for what goes wrong."""

    def _answer(self, content_type: str, body: bytes, **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def main(certificate: str, key: str, image: str, evidence: str) -> None:
    RogueAgent.image = Path(image).read_bytes()
    RogueAgent.evidence = Path(evidence)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), RogueAgent) as server:
        # Each connection's own thread shakes hands.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        print(f"rogue agent listening on 127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(0)
