"""An agent that has gone over to the enemy: its certificate is genuine, what it serves is not.

It has nobody attested and looks at nothing; the board has to find out by itself. Run as
`python -m ota_cli.demo.rogue_agent CERT KEY IMAGE`.
"""

import socket
import ssl
import sys
from pathlib import Path


def serve(certificate: str, key: str, image: bytes) -> None:
    """Send `image` to whoever connects, one after the other, until ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"rogue agent listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(4096)
                    tls.sendall(image)
            except OSError as error:
                print(f"rogue agent: {error}", file=sys.stderr)


if __name__ == "__main__":
    try:
        serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes())
    except KeyboardInterrupt:
        sys.exit(0)
