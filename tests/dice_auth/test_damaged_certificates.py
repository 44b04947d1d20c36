"""No certificate that is damaged at random is accepted, and none makes anything fail otherwise."""

import base64
import json
import os
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dice_auth.verification import Verdict
from tests.dice_auth import bad_certificates as bad
from tests.dice_auth.bad_certificates import encoded
from tests.dice_auth.boards import Board, board
from tests.dice_auth.damaged_certificates import mutated
from tests.dice_auth.verifier import Verifier

# Set it to try other certificates than last time
SEED = int(os.environ.get("MUTATION_SEED", "0"))
EACH = 5_000
BOARDS = [board(number) for number in range(1, 5)]
WHOLE = {each.certificate for each in BOARDS}
VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "dice_vectors.json"


def vector_boards() -> list[Board]:
    if not VECTORS.is_file():
        pytest.skip(f"no vectors at {VECTORS}")
    return [
        Board(vector["mac"], *(bytes.fromhex(vector[f"{of}_cert_der"]) for of in ("root", "dice")))
        for vector in json.loads(VECTORS.read_text())["gen_dice_cert"]
    ]


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    """BOARDS are enrolled."""
    url = f"sqlite:///{tmp_path_factory.mktemp('registry')}/registry.db"
    verifier = Verifier(url, [each.root for each in BOARDS])
    yield verifier
    verifier.close()


@pytest.fixture(scope="module")
def verify_vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    """The boards of the vectors are enrolled."""
    roots = sorted({each.root for each in vector_boards()})
    url = f"sqlite:///{tmp_path_factory.mktemp('registry')}/registry.db"
    verifier = Verifier(url, roots)
    yield verifier
    verifier.close()


def damaged(seed: int, boards: list[Board]) -> list[bytes]:
    """EACH certificates of these boards and their roots, damaged."""
    generator = random.Random(seed)
    originals = sorted({each.certificate for each in boards} | {each.root for each in boards})
    return [mutated(generator, *generator.choices(originals, k=2)) for _ in range(EACH)]


def verdicts(verifier: Verifier, made: list[bytes], seed: int) -> Iterable[tuple[bytes, Verdict]]:
    """The verdict on each; whatever else happens fails the test and shows the certificate."""
    for at in range(0, len(made), 500):
        batch = made[at : at + 500]
        try:
            found = list(verifier.each(map(encoded, batch)))
        except Exception:
            found = [_one_verdict(verifier, each, seed) for each in batch]
        assert len(found) == len(batch)
        yield from zip(batch, found, strict=True)


def _one_verdict(verifier: Verifier, certificate: bytes, seed: int) -> Verdict:
    try:
        return verifier(encoded(certificate))
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r} at {certificate.hex()}") from error


def check_damaged(verifier: Verifier, boards: list[Board], seed: int) -> None:
    whole = {each.certificate for each in boards}
    for certificate, verdict in verdicts(verifier, damaged(seed, boards), seed):
        shown = f"seed {seed}: {verdict} at {certificate.hex()}"
        assert verdict.accepted is (certificate in whole), shown
        assert verdict.accepted is (not verdict.failed), shown


@pytest.mark.parametrize("seed", range(SEED, SEED + 20))
def test_a_damaged_certificate_is_never_accepted(seed: int, verify: Verifier) -> None:
    """20 times 5,000: 100,000 in all."""
    check_damaged(verify, BOARDS, seed)


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_a_damaged_certificate_of_a_c_board_is_never_accepted(
    seed: int, verify_vectors: Verifier
) -> None:
    check_damaged(verify_vectors, vector_boards(), seed)


def test_the_certificates_of_c_boards_are_accepted(verify_vectors: Verifier) -> None:
    """Where the code hash is all zeros too: then the board still has a key of its own."""
    for each in vector_boards():
        assert verify_vectors(each.pem.encode()).accepted, each.board_id
        assert verify_vectors(each.root_pem.encode()).failed == ("is-root",), each.board_id


def test_the_damage_gets_past_the_first_checks(verify: Verifier) -> None:
    """Or the tests above would say little."""
    met = {
        name
        for _, verdict in verdicts(verify, damaged(SEED, BOARDS), SEED)
        for name in verdict.failed
    }
    assert met >= {"no-certificate", "not-enrolled", "is-root", "issuer", "signature"}


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
def test_damage_under_a_good_signature_makes_nothing_fail_otherwise(
    seed: int, verify: Verifier
) -> None:
    """A root that signs anything: every check behind the signature meets it."""
    generator = random.Random(seed)
    made = []
    for _ in range(EACH):
        number = generator.randrange(1, 5)
        body, algorithm, _ = bad.elements(bad.contents_of(board(number).certificate))
        other = bad.elements(bad.contents_of(board(generator.randrange(1, 5)).certificate))[0]
        body = mutated(generator, body, other)
        signed = bad.bit_string(bad.signature_by(number)(body))
        made.append(bad.sequence(body, algorithm, signed))
    signatures_held = 0
    for certificate, verdict in verdicts(verify, made, seed):
        assert verdict.accepted is (not verdict.failed), certificate.hex()
        signatures_held += "no-certificate" not in verdict.failed
    assert signatures_held > EACH // 50


# The same by hypothesis, which makes what it finds small

EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 20),
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [b"\x00", b"\x30\x80", b"\x00\x00", b"\x02\x01\x00", b"\x05\x00", b"\x81", b"\xff"]
            ),
        ),
    ),
    max_size=5,
)


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """At each place, so many bytes taken out and these put in."""
    for place, count, instead in edits:
        at = int(place * len(data))
        data = data[:at] + instead + data[at + count :]
    return data


@settings(max_examples=1_000, deadline=None)
@given(original=st.sampled_from(sorted(WHOLE)), edits=EDITS)
def test_whatever_is_edited_in_a_certificate(
    original: bytes, edits: list[tuple[float, int, bytes]], verify: Verifier
) -> None:
    certificate = edited(original, edits)
    verdict = verify(encoded(certificate))
    assert verdict.accepted is (certificate in WHOLE)
    assert verdict.accepted is (not verdict.failed)


_BLOCK = re.compile(
    rb"^-----BEGIN CERTIFICATE-----[^\S\n]*\n(.*?)\n-----END CERTIFICATE-----", re.S | re.M
)


def first_certificate(body: bytes) -> bytes | None:
    """What the first PEM block holds, read here another way, and leniently."""
    found = _BLOCK.search(body)
    try:
        return None if found is None else base64.b64decode(found[1])
    except ValueError:
        return None


@settings(max_examples=1_000, deadline=None)
@given(
    original=st.sampled_from(sorted(WHOLE)),
    edits=st.one_of(
        EDITS,
        st.lists(
            st.tuples(
                st.floats(0, 1, exclude_max=True),
                st.integers(0, 3),
                st.sampled_from(
                    [b"\n", b"\r\n", b" ", b"\t", b"\0", b"=", b"-----", b"A", b"\xef\xbb\xbf",
                     b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"]
                ),
            ),
            max_size=5,
        ),
    ),
)  # fmt: skip
def test_whatever_is_edited_in_a_body(
    original: bytes, edits: list[tuple[float, int, bytes]], verify: Verifier
) -> None:
    body = edited(b"text\n" + encoded(original), edits)
    verdict = verify(body)
    assert not verdict.accepted or first_certificate(body) in WHOLE
    assert verdict.accepted is (not verdict.failed)


@settings(max_examples=500, deadline=None)
@given(body=st.binary(max_size=300))
def test_whatever_bytes_come(body: bytes, verify: Verifier) -> None:
    assert verify(body).failed == ("no-certificate",)
    assert not verify(encoded(body)).accepted


@settings(max_examples=500, deadline=None)
@given(
    number=st.integers(1, 4),
    at=st.integers(0, 4),
    value=st.one_of(st.binary(max_size=40), EDITS),
)
def test_whatever_a_root_signs_into_an_extension(
    number: int, at: int, value: bytes | list[tuple[float, int, bytes]], verify: Verifier
) -> None:
    parts = bad.parts_of(number)
    oid, *flag, octets = bad.elements(bad.contents_of(parts.extensions[at]))
    if isinstance(value, list):
        value = edited(bad.contents_of(octets), value)
    extension = bad.sequence(oid, *flag, bad.encode(bad.der.OCTET_STRING, value))
    verdict = verify(encoded(parts.with_extension(at, extension).der()))
    assert verdict.accepted is (not verdict.failed)
