"""Boards for the tests: a label, the root that enrols it, a certificate it would present."""

from dataclasses import dataclass
from functools import cache

import dice
from dice import certificate


@dataclass(frozen=True)
class Board:
    board_id: str
    root: bytes
    certificate: bytes

    @property
    def pem(self) -> str:
        return certificate.to_pem(self.certificate)

    @property
    def root_pem(self) -> str:
        return certificate.to_pem(self.root)

    @property
    def key_id(self) -> bytes:
        key_id = certificate.parse(self.root).subject_key_id
        assert key_id is not None
        return key_id


@cache
def board(number: int) -> Board:
    mac = bytes((0x02, 0, 0, 0, 0, number))
    uds = dice.uds_from_mac(mac)
    return Board(
        board_id=mac.hex(":"),
        root=dice.root_certificate(uds),
        certificate=dice.device_certificate(uds, bytes([number]) * 64, bytes(64)),
    )
