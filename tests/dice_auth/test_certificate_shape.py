"""The fast reader agrees with `certificate.parse` on every certificate, whole or damaged."""

import json
import random
from pathlib import Path

import pytest

import dice
from dice import certificate
from dice_auth import certificate_shape

_VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "dice_vectors.json"
_UDS = dice.uds_from_mac(bytes(6))
_SHAPED = [
    dice.root_certificate(_UDS),
    dice.device_certificate(_UDS, bytes(64), bytes(64)),
    dice.device_certificate(_UDS, b"\n" * 64, b"\xff" * 64),
]


def fields(read: certificate.Certificate) -> dict[str, object]:
    assert read.dice is not None
    return {**read.__dict__, "dice": read.dice.__dict__}


def assert_agrees(data: bytes) -> bool:
    """Whether the fast reader read it; then the other one has to read the same."""
    fast = certificate_shape.read_shaped(data)
    if fast is not None:
        assert fields(fast) == fields(certificate.parse(data)), data.hex()
    return fast is not None


@pytest.mark.parametrize("data", _SHAPED)
def test_what_the_writer_writes_has_the_shape(data: bytes) -> None:
    assert assert_agrees(data)


def test_what_the_c_code_writes_is_read_alike_its_odd_serial_numbers_too() -> None:
    if not _VECTORS.is_file():
        pytest.skip(f"no vectors at {_VECTORS}")
    vectors = json.loads(_VECTORS.read_text())["gen_dice_cert"]
    certificates = [
        bytes.fromhex(vector[name])
        for vector in vectors
        for name in ("root_cert_der", "dice_cert_der")
    ]
    assert sum(map(assert_agrees, certificates)) > len(certificates) // 2


def test_a_serial_number_with_its_leading_zeros_as_the_c_code_writes_it_is_read_alike() -> None:
    data = bytearray(_SHAPED[1])
    assert data[13:15] == b"\x02\x14"
    data[15:17] = b"\x00\x01"
    assert assert_agrees(bytes(data))


@pytest.mark.parametrize("data", _SHAPED)
def test_a_change_of_any_byte_is_read_alike(data: bytes) -> None:
    for at in range(len(data)):
        for change in (1, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[at] ^= change
            assert_agrees(bytes(damaged))


def test_pieces_cut_out_and_put_in_are_read_alike() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    read = 0
    for _ in range(5000):
        damaged = bytearray(chance.choice(_SHAPED))
        for _ in range(chance.randint(1, 2)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.choice((0, 1, 2, 20))] = chance.randbytes(chance.randrange(3))
        read += assert_agrees(bytes(damaged))
    assert read < 5000


def test_a_signature_of_another_size_than_it_says_is_not_read() -> None:
    data = _SHAPED[1]
    assert certificate_shape.read_shaped(data + b"\x00") is None
    assert certificate_shape.read_shaped(data[:-1]) is None
    longer = bytearray(data + b"\x00")
    longer[2:4] = (len(longer) - 4).to_bytes(2, "big")
    assert certificate_shape.read_shaped(bytes(longer)) is None
