"""Provisioning on the board itself: its UDS is made here, once, and never leaves it.

For the serial console of a new board, before it is enrolled:

    from ota_service import provision
    provision.provision(board)

What has to be enrolled is the root certificate that this prints. Not here: provisioning at
manufacture, with an NVS image made on a workstation.
"""

import hashlib
from binascii import hexlify

from ota_crypto import wipe

from . import uds
from .compat import const
from .errors import OtaError
from .root_certificate import root_certificate_steps

# Of 32 random bytes some 30 differ; so few mean a generator that is stuck.
_DISTINCT = const(8)


def provision(board, show=print):
    """Make the UDS from the hardware's random numbers, keep it, and show the root certificate.

    Only with Wi-Fi on: before the radio runs an ESP32's numbers are not random (ESP-IDF,
    "Random Number Generation"). Only where none was ever made. show(text): where the certificate
    goes. Returns it, DER. Raises OtaError: `network-down`, `already-provisioned`, `uds-lost`,
    `no-randomness`, `nvs-write`, `nvs-unreadable`.
    """
    if not board.radio_is_on():
        raise OtaError("network-down", "turn Wi-Fi on first: without it nothing here is random")
    if uds.has_uds(board):
        raise OtaError("already-provisioned", "this board has its UDS, and keeps it")
    if uds.was_provisioned(board):
        text = "this board had a UDS that is gone; another one would be another board"
        raise OtaError("uds-lost", text)
    secret = bytearray(board.random(uds.UDS_BYTES))
    try:
        if len(secret) != uds.UDS_BYTES or len(set(secret)) < _DISTINCT:
            raise OtaError("no-randomness", "the hardware gave no random bytes")
        uds.write_uds(board, secret)
    except OSError as error:
        raise OtaError("nvs-write", "the UDS was not written: error %s" % error.args[:1])
    finally:
        wipe(secret)
    return show_root(board, show)


def show_root(board, show=print):
    """Show the root certificate of a provisioned board, PEM, and its SHA-256 fingerprint; returns
    it, DER. Raises OtaError."""
    steps = root_certificate_steps(board, "provisioned")
    while True:
        try:
            next(steps)
        except StopIteration as end:
            certificate = end.value
            break
        board.feed_watchdog()
    from dice.pem import to_pem

    show(to_pem(certificate))
    show("SHA-256 " + hexlify(hashlib.sha256(certificate).digest()).decode())
    return certificate
