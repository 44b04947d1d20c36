"""A TCP port for a server that has to be told one: below those that the kernel gives to clients
(Linux: from 32768 on), of which thousands come and go while the tests run."""

import random
import socket

_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    while True:
        port = random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
