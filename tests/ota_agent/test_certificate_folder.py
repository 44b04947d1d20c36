"""What `agent init` and `agent renew` leave on disk, also when they cannot finish."""

import os
import resource
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from dice import server_certificate
from ota_agent import certificate_folder, issuing
from ota_agent.issuing import IssuingError, RequestError
from ota_agent.tls_context import server_tls
from tests.ota_agent.in_memory import shake_hands
from tests.peers import needs_openssl

NOW = datetime.now(UTC).replace(microsecond=0)
SOON = NOW + timedelta(days=10)
LATER = NOW + timedelta(days=20)


def create(folder: Path, names: tuple[str, ...] = (), kind: str = issuing.ECDSA) -> None:
    certificate_folder.create(folder, map(issuing.alternative_name, names), kind, SOON, LATER)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def agent_certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "agent.pem").read_bytes())


@pytest.mark.parametrize("kind", [issuing.ECDSA, issuing.RSA])
@pytest.mark.parametrize("name", ["ota-agent", "a.example", "192.0.2.7", "2001:db8::7"])
def test_a_strict_client_connects_to_an_agent_that_has_the_files(
    tmp_path: Path, kind: str, name: str
) -> None:
    create(tmp_path, ("a.example", "192.0.2.7", "2001:db8::7"), kind)
    server = server_tls(tmp_path / "agent.pem", tmp_path / "agent.key").context
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    shake_hands(server, client, name)


@pytest.mark.parametrize("until", [datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
                                   datetime(2050, 1, 1, tzinfo=UTC),
                                   datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])  # fmt: skip
def test_the_boards_own_reader_reads_every_date(until: datetime) -> None:
    ca = issuing.make_ca(until)
    agent = issuing.make_server(ca, (), until)
    parsed = server_certificate.parse(agent.der)
    for each in (server_certificate.parse(ca.der), parsed):
        assert each.not_before == (2000, 1, 1, 0, 0, 0)
        assert each.not_after == tuple(until.timetuple())[:6]
    at_power_on = (2000, 1, 1, 0, 0, 0)
    assert server_certificate.failed_checks(parsed, [ca.der], "ota-agent", at_power_on) == []


def test_no_key_is_readable_for_others_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    born: list[tuple[str, int]] = []
    real = os.open

    def watched(path: str, flags: int, *more: int, **options: int) -> int:
        descriptor = real(path, flags, *more, **options)
        if flags & os.O_CREAT:
            born.append((os.path.basename(path), os.fstat(descriptor).st_mode & 0o777))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    before = os.umask(0)
    try:
        create(tmp_path)
        certificate_folder.renew(tmp_path, (), None, SOON, NOW)
    finally:
        os.umask(before)
    keys = [mode for name, mode in born if ".key" in name]
    assert keys == [0o600] * 3
    assert {(tmp_path / f"{name}.key").stat().st_mode & 0o777 for name in ("ca", "agent")} == {
        0o600
    }


@pytest.mark.parametrize("most", [0, 300, 500])
@pytest.mark.parametrize("exists", [True, False])
def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, most: int, exists: bool) -> None:
    folder = tmp_path / "a" / "b"
    if exists:
        folder.mkdir(parents=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(IssuingError, match=r"(ca|agent)\.\w+: file too large"):
            create(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(tmp_path.rglob("*")) == ([tmp_path / "a", folder] if exists else [])


def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupted(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create(tmp_path / "certs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("most", [0, 300])
def test_a_renewal_that_cannot_be_written_changes_nothing(tmp_path: Path, most: int) -> None:
    create(tmp_path)
    before = content(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(IssuingError, match=r"agent\.\w+: file too large"):
            certificate_folder.renew(tmp_path, (), None, SOON, NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(tmp_path) == before


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "agent.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IssuingError, match=r"agent\.key is there already"):
        create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["agent.key"]


def test_a_renewal_keeps_names_kind_and_what_follows_the_certificate(tmp_path: Path) -> None:
    create(tmp_path, ("a.example", "::1"), issuing.RSA)
    ca_pem = (tmp_path / "ca.pem").read_bytes()
    with (tmp_path / "agent.pem").open("ab") as file:
        file.write(ca_pem)
    old = agent_certificate(tmp_path)
    certificate_folder.renew(tmp_path, (), None, SOON, NOW)
    new = agent_certificate(tmp_path)
    assert issuing.names_of(new) == issuing.names_of(old)
    assert new.public_key().key_size == 2048  # type: ignore[union-attr]
    assert new.public_key() != old.public_key()
    assert new.serial_number != old.serial_number
    assert (tmp_path / "agent.pem").read_bytes().endswith(ca_pem)
    server_tls(tmp_path / "agent.pem", tmp_path / "agent.key")


def test_new_names_replace_the_old(tmp_path: Path) -> None:
    create(tmp_path, ("a.example",))
    names = [issuing.alternative_name("b.example")]
    certificate_folder.renew(tmp_path, names, issuing.RSA, SOON, NOW)
    found = [name.value for name in issuing.names_of(agent_certificate(tmp_path))]
    assert found == ["ota-agent", "b.example"]


def test_a_lost_certificate_can_be_renewed_only_with_names(tmp_path: Path) -> None:
    create(tmp_path, ("a.example",))
    for name in ("agent.pem", "agent.key"):
        (tmp_path / name).unlink()
    with pytest.raises(IssuingError, match=r"agent\.pem: no such file"):
        certificate_folder.renew(tmp_path, (), None, SOON, NOW)
    certificate_folder.renew(tmp_path, [issuing.alternative_name("a.example")], None, SOON, NOW)
    server_tls(tmp_path / "agent.pem", tmp_path / "agent.key")
    assert (tmp_path / "agent.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_its_group_may_read_stays_so_and_no_key_is_for_all(tmp_path: Path) -> None:
    create(tmp_path)
    for before, after in ((0o640, 0o640), (0o644, 0o640), (0o400, 0o400)):
        (tmp_path / "agent.key").chmod(before)
        certificate_folder.renew(tmp_path, (), None, SOON, NOW)
        assert (tmp_path / "agent.key").stat().st_mode & 0o777 == after


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_an_agent_of_another_user_can_read_its_new_key(tmp_path: Path) -> None:
    create(tmp_path)
    for name in ("agent.key", "agent.pem"):
        os.chown(tmp_path / name, 1234, 1235)
    certificate_folder.renew(tmp_path, (), None, SOON, NOW)
    for name in ("agent.key", "agent.pem"):
        status = (tmp_path / name).stat()
        assert (status.st_uid, status.st_gid) == (1234, 1235)


def test_a_certificate_of_another_ca_is_not_renewed(tmp_path: Path) -> None:
    create(tmp_path / "a")
    create(tmp_path / "b")
    os.replace(tmp_path / "b" / "agent.pem", tmp_path / "a" / "agent.pem")
    before = content(tmp_path / "a")
    with pytest.raises(IssuingError, match="would not trust a new certificate"):
        certificate_folder.renew(tmp_path / "a", (), None, SOON, NOW)
    assert content(tmp_path / "a") == before


def test_an_expired_ca_issues_nothing(tmp_path: Path) -> None:
    create(tmp_path)
    with pytest.raises(IssuingError, match=f"the CA expired on {LATER:%Y-%m-%d}"):
        certificate_folder.renew(tmp_path, (), None, LATER, LATER)
    with pytest.raises(RequestError, match="outlive"):
        certificate_folder.renew(tmp_path, (), None, LATER + timedelta(seconds=1), NOW)


@pytest.mark.parametrize("broken", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nMAA=\n"
                                    b"-----END CERTIFICATE-----\n"])  # fmt: skip
@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "agent.pem"])
def test_what_is_no_certificate_or_key_is_named(tmp_path: Path, name: str, broken: bytes) -> None:
    create(tmp_path)
    (tmp_path / name).write_bytes(broken)
    with pytest.raises(IssuingError, match=name) as caught:
        certificate_folder.renew(tmp_path, (), None, SOON, NOW)
    assert "\n" not in str(caught.value)


def test_a_ca_key_with_a_password_is_named(tmp_path: Path) -> None:
    create(tmp_path)
    key = serialization.load_pem_private_key((tmp_path / "ca.key").read_bytes(), None)
    (tmp_path / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    with pytest.raises(IssuingError, match="unencrypted"):
        certificate_folder.renew(tmp_path, (), None, SOON, NOW)


def test_an_agents_certificate_is_no_ca(tmp_path: Path) -> None:
    create(tmp_path)
    for old, new in (("agent.pem", "ca.pem"), ("agent.key", "ca.key")):
        (tmp_path / new).write_bytes((tmp_path / old).read_bytes())
    with pytest.raises(IssuingError, match="expected one of a CA"):
        certificate_folder.renew(tmp_path, (), None, SOON, NOW)


def test_more_names_than_boards_read_are_refused() -> None:
    names = [issuing.alternative_name(f"{'a' * 50}{number}.example") for number in range(200)]
    with pytest.raises(RequestError, match="boards read at most 8192"):
        issuing.make_server(issuing.make_ca(SOON), names, SOON)


@pytest.mark.parametrize("text", ["*.example.org", "xn--bcher-kva.example", "A.EXAMPLE", "a" * 63])
def test_a_dns_name_is_taken_in_small_letters(text: str) -> None:
    assert issuing.alternative_name(text) == x509.DNSName(text.lower())


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "[::1]", "*", "a.*.b", "a.", ".a", "\u212a.example", "192.0.2.256",
             "a\n", "http://a", "a:443", ".".join(["a" * 63] * 4)],
)  # fmt: skip
def test_what_no_client_could_ask_for_is_no_name(text: str) -> None:
    with pytest.raises(RequestError):
        issuing.alternative_name(text)


@needs_openssl
def test_openssl_made_cas_can_be_used_too(tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -days 40"
    files = ["-subj", "/O=us/CN=our CA", "-keyout", "ca.key", "-out", "ca.pem"]
    subprocess.run(command.split() + files, cwd=tmp_path, check=True, capture_output=True)
    certificate_folder.renew(tmp_path, [issuing.alternative_name("a.example")], None, SOON, NOW)
    verify = ["openssl", "verify", "-CAfile", "ca.pem", "agent.pem"]
    subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True)


def test_the_key_is_not_in_a_representation() -> None:
    ca = issuing.make_ca(SOON)
    assert "PRIVATE" not in repr(ca)
    assert "PRIVATE" not in repr(certificate_folder.File(Path("a"), ca.key, secret=True))
