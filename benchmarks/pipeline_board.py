"""What benchmarks/runtime.py runs under MicroPython: an image over TLS into a virtual partition.

micropython pipeline_board.py time PORT CA FLASH ROUNDS
micropython pipeline_board.py ours|peer PORT CA FLASH FREE_BYTES

The peer is the loop of the public MicroPython updaters: blocks of 4 KiB, each read, hashed and
written; then all are read back and hashed again. It parses nothing and trusts the TLS connection.
"""

import asyncio
import gc
import socket
import sys
import time
from hashlib import sha256

import tls
from ballast_board import fits_in

from esp_image import acceptance
from ota_service import compat, protocol1, session, tls_mbedtls
from ota_service.patience import Patience
from ota_service.trust import Trust
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import NorFlash

BLOCK_BYTES = 4096
NAME = "ota-agent"
HELLO = b"\x30"


class Peer:
    """Blocks of 4 KiB: read, hash, write; read back and hash."""

    def __init__(self, port, ca, board):
        self.port, self.ca = port, ca
        self.partition = board.running_partition().get_next_update()

    def run(self):
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED
        context.load_verify_locations(self.ca)
        raw = socket.socket()
        raw.connect(socket.getaddrinfo("127.0.0.1", self.port)[0][-1])
        stream = context.wrap_socket(raw, server_hostname=NAME)
        stream.write(HELLO)
        view = memoryview(bytearray(BLOCK_BYTES))
        received = sha256()
        block = 0
        while stream.readinto(view):
            received.update(view)
            self.partition.writeblocks(block, view)
            block += 1
        stream.close()
        raw.close()
        written = sha256()
        for number in range(block):
            self.partition.readblocks(number, view)
            written.update(view)
        if received.digest() != written.digest():
            raise ValueError("what was written is not what came")
        self.partition.set_boot()


class Ours:
    """The update session, fed by protocol1: everything from the handshake to set_boot."""

    def __init__(self, port, ca, board, digest):
        self.port, self.ca, self.board = port, ca, board
        slot = board.running_partition().get_next_update()
        expected = acceptance.Expected(board.chip_id, policy="any", max_bytes=slot.info()[3])
        self.session = session.Session(slot, expected, Trust("configuration", [digest]))

    def run(self):
        asyncio.run(self._run())

    async def _run(self):
        self.session.begin_attempt()
        patience = Patience(600)
        await patience.watch(self._receive(patience), "nothing", 60)
        for _ in self.session.verify_steps():
            await asyncio.sleep(0)
        self.session.switch(lambda: True)

    async def _receive(self, patience):
        context = tls_mbedtls.client_context([self.ca])
        address = await tls_mbedtls.resolve("127.0.0.1", self.port)
        reader, writer = await tls_mbedtls.open_stream(address, context, NAME)
        try:
            writer.write(HELLO)
            await writer.drain()
            self.session.connected()
            await protocol1.receive_firmware(reader, self.session, patience, 10, self._progress)
        finally:
            await compat.close_stream(writer)

    def _progress(self, received, total):
        self.board.feed_watchdog()


def own_key(board):
    """Key digest of the image in the running slot, which the same key signed."""
    from ota_service.trust import find_trust_steps

    steps = find_trust_steps(board, ())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value.digests[0]


def elapsed_us(update):
    gc.collect()
    start = time.ticks_us()
    update.run()
    return time.ticks_diff(time.ticks_us(), start)


def main(mode, port, ca, flash, number):
    # Beside its code is what is measured: none of it is let go, to be loaded again from source.
    for module in (compat, session):
        module.let_go = lambda *names: None
    with open(ca, "rb") as file:
        ca = file.read()
    board = VirtualBoard(NorFlash.open(flash), EFuse.load(flash))
    board.boot()
    digest = own_key(board)
    makers = {
        "ours": lambda: Ours(int(port), ca, board, digest),
        "peer": lambda: Peer(int(port), ca, board),
    }
    if mode == "time":
        for _ in range(int(number)):
            print(*[elapsed_us(makers[name]()) for name in ("peer", "ours")])
        return
    makers[mode]().run()  # its code is loaded now
    print("enough" if fits_in(int(number), lambda: makers[mode]().run()) else "too small")


main(*sys.argv[1:])
