"""What is fuzzed: each target takes any bytes and lets only undocumented exceptions out.

Each has seeds, from Espressif's images where they are there. `python -m tests.fuzz.run NAME`
drives one with atheris; test_targets.py gives each a short run without it.
"""

from collections.abc import Callable
from typing import NamedTuple

import dice
from dice import EvidenceError, certificate, evidence, server_certificate
from esp_image import ImageError, ImageParser, signature
from esp_image.build import build_app
from esp_image.chips import CHIPS
from esp_image.signature_block import SECTOR_BYTES, parse_sector
from esp_partition import PartitionError, csv, table
from ota_agent.attestation import Reply
from ota_agent.http_request import RequestError, RequestReader
from ota_agent.verdict import AnswerError, read_failed_check, read_verdict
from tests.dice import server_certificates
from tests.esp_image import signing
from tests.micropython_port import SHARED

IMAGES = SHARED / "images"
FORMS = (True, False, None, "v1")
CSV = "nvs,data,nvs,,16K\notadata,data,ota,,8K\na,app,ota_0,,1M,encrypted\nb,app,17,,1M"


class Target(NamedTuple):
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def image(data: bytes) -> None:
    """The first two bytes choose the parser's form and how the stream is cut."""
    if len(data) < 2:
        return
    form, step = data[0], data[1] + 1
    parser = ImageParser(
        signed=FORMS[form & 3],
        max_bytes=0x10000 if form & 4 else None,
        bootloader=bool(form & 8),
        hash=not form & 16,
        ignore_rest=bool(form & 32),
    )
    try:
        for start in range(2, len(data), step * 16):
            parser.feed(data[start : start + step * 16])
        parser.close()
    except ImageError as error:
        _check_error(error.code, str(error))
        return
    if parser.received > len(data) - 2 or not parser.is_complete:
        raise RuntimeError("an image that is not there was accepted")


def signature_sector(data: bytes) -> None:
    """The CRC of each block is made right, so that what it covers is reached."""
    sector = bytearray(data[:SECTOR_BYTES].ljust(SECTOR_BYTES, b"\xff"))
    for start in range(0, 3 * signing.BLOCK_BYTES, signing.BLOCK_BYTES):
        if sector[start] == 0xE7:
            fields = bytes(sector[start : start + 1196])
            sector[start : start + signing.BLOCK_BYTES] = signing.finish(fields)
    try:
        digest = parse_sector(sector)[0].image_digest
        signature.verify(sector, digest, None)
    except ImageError as error:
        _check_error(error.code, str(error))


def partition_table(data: bytes) -> None:
    """Binary and, where it is text, CSV; what is accepted has to survive the way back."""
    try:
        partitions = table.parse(data)
    except PartitionError as error:
        _check_error(error.code, str(error))
    else:
        if len(partitions) <= 94 and table.parse(table.build(partitions)) != partitions:
            raise RuntimeError("a table changed on its way through build and parse")
    try:
        csv.parse_csv(data.decode())
    except UnicodeDecodeError:
        return
    except PartitionError as error:
        _check_error(error.code, str(error))


def dice_certificate(data: bytes) -> None:
    """DER, and the same bytes as the text a PEM block may stand in."""
    try:
        certificate.from_pem(data)
    except certificate.CertificateError as error:
        _check_line(str(error))
    try:
        parsed = certificate.parse(data)
    except certificate.CertificateError as error:
        _check_line(str(error))
        return
    if bytes(parsed.to_be_signed) not in data:
        raise RuntimeError("the signed part is not part of the certificate")
    certificate.verify_chain(parsed, parsed, (2026, 1, 1, 0, 0, 0))


def tls_server_certificate(data: bytes) -> None:
    """X.509 of others; what names are read has to match."""
    try:
        parsed = server_certificate.parse(data)
    except certificate.CertificateError as error:
        _check_line(str(error))
        return
    names = parsed.dns_names
    if not parsed.has_alternative_names and parsed.common_name is not None:
        names = [parsed.common_name]
    for name in names:
        failed = server_certificate.failed_checks(parsed, [data], name, (2026, 1, 1, 0, 0, 0))
        if "wrong-name" in failed:
            raise RuntimeError(f"does not match its own name: {name!r}")
    if parsed.issuer not in data or parsed.subject not in data:
        raise RuntimeError("a name that is not there")


def attestation_evidence(data: bytes) -> None:
    """CBOR and COSE; the certificate inside is not looked into."""
    try:
        decoded = evidence.decode(data)
    except EvidenceError as error:
        _check_line(str(error))
        return
    if len(decoded.claims.nonce) > len(data):
        raise RuntimeError("a nonce that is not there")


def http_request(data: bytes) -> None:
    """The first byte chooses how the stream is cut; in one piece it has to mean the same."""
    step = data[0] + 1 if data else 1
    if _requests(data[1:], step) != _requests(data[1:], len(data) + 1):
        raise RuntimeError("other requests when the stream is cut otherwise")


def _requests(data: bytes, step: int) -> list[tuple[str, str, bytes]]:
    reader = RequestReader()
    found = []
    try:
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
            while (request := reader.next_request()) is not None:
                found.append((request.method, request.path, request.body))
    except RequestError as error:
        _check_line(str(error))
    return found


def attestation_verdict(data: bytes) -> None:
    """What an attestation server may answer, as verdict and as refusal."""
    read_failed_check(Reply(401, "", b"application/problem+json", data))
    try:
        read_verdict(Reply(200, "", b"application/json", data))
    except AnswerError as error:
        _check_line(str(error))


def _check_line(text: str) -> None:
    if not text or "\n" in text:
        raise RuntimeError(f"expected one line: {text!r}")


def _check_error(code: str, text: str) -> None:
    if not code or "\n" in text:
        raise RuntimeError(f"no stable code or more than a line: {code!r} {text!r}")


def _image_seeds() -> list[bytes]:
    seeds = [bytes((2, 15)) + build_app("1.0", "x", chip, 1024) for chip in CHIPS]
    for path in sorted(IMAGES.glob("*.bin")):
        seeds.append(bytes((10 if "boot" in path.name else 2, 255)) + path.read_bytes())
    return seeds


def _sector_seeds() -> list[bytes]:
    padded = signing.pad(build_app("1.0", "x"))
    seeds = []
    for kind in ("p192", "p256", "p384"):
        key = signing.make_key(kind)
        seeds.append(signing.sector_of(*[signing.block(padded, key)] * 2))
    for path in sorted(IMAGES.glob("*signed_v2_*.bin")):
        seeds.append(path.read_bytes()[-SECTOR_BYTES:])
    return seeds


def _certificate_seeds() -> list[bytes]:
    uds = dice.uds_from_mac(bytes(6))
    root = dice.root_certificate(uds)
    board = dice.device_certificate(uds, bytes(64), bytes(64))
    return [root, board, certificate.to_pem(board).encode()]


def _server_certificate_seeds() -> list[bytes]:
    ca = server_certificates.authority()
    names = ["*.example.org", "192.168.4.1", "fe80::1", "admin@example.org"]
    issued = server_certificates.issue(ca, names=names)
    plain = server_certificates.issue(ca, names=None)
    rsa = server_certificates.issue(ca, private=server_certificates.key("rsa"))
    return [ca.der, issued, plain, rsa, server_certificates.as_version_1(plain, ca)]


def _evidence_seeds() -> list[bytes]:
    uds = dice.uds_from_mac(bytes(6))
    claims = evidence.Claims(
        nonce=bytes(32),
        ueid=bytes(17),
        hwmodel="esp32",
        application="thermo",
        version="1.0",
        channel=bytes(32),
        image_digest=bytes(32),
    )
    private = dice.device_private_key(uds, bytes(64), bytes(64))
    board = dice.device_certificate(uds, bytes(64), bytes(64))
    return [evidence.encode(private, board, claims)]


def _table_seeds() -> list[bytes]:
    built = table.build(csv.parse_csv(CSV))
    return [CSV.encode(), built, built[:128] + b"\xff" * 32]


def _request_seeds() -> list[bytes]:
    head = b"POST /v2/attest HTTP/1.1\r\nHost: a\r\nContent-Type: application/eat+cwt\r\n"
    get = b"GET /v2/firmware HTTP/1.1\r\nHost: a\r\nRange: bytes=5-\r\n\r\n"
    post = head + b"Content-Length: 5\r\n\r\nabcde"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
    return [b"\x10" + each for each in (get, post + get, chunked, get * 3)]


def _verdict_seeds() -> list[bytes]:
    return [
        b'{"device":"d","hwmodel":"esp32","application":"a","version":"1","verdict":"affirming",'
        b'"claims":"self-asserted","image_digest":"' + b"ab" * 32 + b'"}',
        b'{"title":"Unauthorized","status":401,"check":"nonce"}',
    ]


TARGETS = {
    "image": Target(image, _image_seeds),
    "signature_sector": Target(signature_sector, _sector_seeds),
    "partition_table": Target(partition_table, _table_seeds),
    "certificate": Target(dice_certificate, _certificate_seeds),
    "server_certificate": Target(tls_server_certificate, _server_certificate_seeds),
    "evidence": Target(attestation_evidence, _evidence_seeds),
    "http_request": Target(http_request, _request_seeds),
    "verdict": Target(attestation_verdict, _verdict_seeds),
}
