"""OpenSSL's opinion of our certificates."""

import shutil
import subprocess
from pathlib import Path

import pytest

import dice
from dice import certificate, keys
from tests.micropython import test_dice

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)


def verify(tmp_path: Path, root: bytes, presented: bytes) -> subprocess.CompletedProcess[str]:
    (tmp_path / "root.pem").write_text(certificate.to_pem(root))
    (tmp_path / "cert.pem").write_text(certificate.to_pem(presented))
    command = ["openssl", "verify", "-ignore_critical", "-CAfile", "root.pem", "cert.pem"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "mac",
    [
        b"\x24\x0a\xc4\xcb\x48\x1d",
        test_dice.MAC_SHORT_SERIAL,
        test_dice.MAC_SHORT_ROOT_SERIAL,
        test_dice.MAC_ZERO_THEN_HIGH,
    ],
    ids=["ordinary", "short serial", "short root serial", "serial with a zero byte"],
)
def test_openssl_verifies_the_chain(tmp_path: Path, mac: bytes) -> None:
    uds = dice.uds_from_mac(mac)
    presented = dice.device_certificate(uds, bytes(range(64)), bytes(64))
    done = verify(tmp_path, dice.root_certificate(uds), presented)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "cert.pem: OK\n"


def test_openssl_refuses_the_serial_number_that_the_c_code_writes(tmp_path: Path) -> None:
    """The reason for our one difference from the C code's bytes."""
    uds = dice.uds_from_mac(test_dice.MAC_SHORT_SERIAL)
    ours = dice.device_certificate(uds, bytes(64), bytes(64))
    c_form = test_dice.as_the_c_code_writes_it(ours, keys.private_key_from_cdi(uds))
    done = verify(tmp_path, dice.root_certificate(uds), c_form)
    assert done.returncode != 0
    assert verify(tmp_path, dice.root_certificate(uds), ours).returncode == 0


def test_openssl_reads_the_pem_that_we_write(tmp_path: Path) -> None:
    der = test_dice.make_certificate()
    command = ["openssl", "x509", "-outform", "DER"]
    text = certificate.to_pem(der).encode()
    done = subprocess.run(command, input=text, capture_output=True, check=True)
    assert done.stdout == der
    command = ["openssl", "x509", "-inform", "DER"]
    done = subprocess.run(command, input=der, capture_output=True, check=True)
    assert certificate.from_pem(done.stdout) == der
