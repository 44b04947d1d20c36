"""An attestation server that accepts everybody at once: what the agent costs without a real one."""

import asyncio
import json
import os
import sys

_ACCEPTED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n"
    b'{"status": "Certificate OK"}'
)


_VERDICT = {
    "device": "02:00:00:00:00:01", "hwmodel": "esp32", "application": "thermo",
    "version": "1.0.0", "verdict": "affirming", "claims": "self-asserted",
}  # fmt: skip


def _whole(kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_AFFIRMED = _whole("application/json", json.dumps(_VERDICT).encode())


def _answer(head: bytes) -> bytes:
    if head.startswith(b"GET /challenge "):
        return _whole("application/octet-stream", os.urandom(32))
    return _AFFIRMED if head.startswith(b"POST /attest ") else _ACCEPTED


class _Peer(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, end, body = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
            if len(body) < length:
                return
            self._received = body[length:]
            self._transport.write(_answer(head))  # type: ignore[attr-defined]


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Peer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
