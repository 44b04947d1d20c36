import json
from pathlib import Path

import pytest

from dice_auth.enrolment import parse_mac, root_certificate_for_mac
from dice_auth.errors import EnrolmentError

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "dice_vectors.json"


def test_a_mac_address_is_read_in_either_case() -> None:
    assert parse_mac("aa:bb:cc:dd:ee:0f") == bytes.fromhex("aabbccddee0f")
    assert parse_mac("AA:BB:CC:dd:ee:0F") == bytes.fromhex("aabbccddee0f")


@pytest.mark.parametrize(
    "text",
    [
        "", "zz:zz", "zz:zz:zz:zz:zz:zz", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:ff:00",
        "aabbccddeeff", "aa-bb-cc-dd-ee-ff", " aa:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:ff\n",
        "a:b:c:d:e:f", "aa:bb:cc:dd:ee:f", "aa:bb:cc:dd:ee:fg", "\u0660\u0660:00:00:00:00:00",
        "0x:00:00:00:00:00",
    ],
)  # fmt: skip
def test_what_is_not_a_mac_address_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(EnrolmentError, match="expected six pairs of hex digits") as raised:
        parse_mac(text)
    assert "\n" not in str(raised.value)


def test_the_root_of_a_mac_has_the_bytes_the_c_code_makes() -> None:
    if not VECTORS.is_file():
        pytest.skip(f"no vectors at {VECTORS}")
    vectors = json.loads(VECTORS.read_text())["gen_dice_cert"]
    for vector in vectors[:5]:
        root = root_certificate_for_mac(bytes.fromhex(vector["mac"]))
        assert root == bytes.fromhex(vector["root_cert_der"]), vector["name"]
