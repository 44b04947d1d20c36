"""The certificates of `agent init` in use: by boards on both runtimes, by an agent that runs."""

import json
import os
import socket
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509

from tests import world
from tests.ota_cli.configured import MAC, RUNTIMES, board, is_new, settled
from tests.ota_cli.processes import COMMAND, done, refused, run, server

NOWHERE = "http://127.0.0.1:1"


def served(address: str, ca: Path, name: str = "ota-agent") -> x509.Certificate:
    host, port = address.rsplit(":", 1)
    context = ssl.create_default_context(cafile=ca)
    with (
        socket.create_connection((host, int(port)), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=name) as tls,
    ):
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")


def agent(folder: Path, certs: Path, attestation: str):  # type: ignore[no-untyped-def]
    firmware = folder / "new.bin"
    firmware.write_bytes(world.app("2.0.0"))
    return server(
        "agent", "--firmware", firmware,
        "--cert", certs / "agent.pem", "--key", certs / "agent.key",
        "--dice-auth-url", attestation, "--listen", "127.0.0.1:0",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_boards_update_with_ca_der_before_and_after_a_renewal(tmp_path: Path, kind: str) -> None:
    certs, registry = tmp_path / "certs", f"sqlite:///{tmp_path}/boards.sqlite"
    done("agent", "init", certs, "--key-type", kind)
    done("submit", MAC, "--registry", registry)
    with (
        server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as attestation,
        agent(tmp_path, certs, attestation) as address,
    ):
        for runtime in RUNTIMES:
            folder = tmp_path / runtime
            folder.mkdir()
            with board(folder, runtime, {"agent_ca": str(certs / "ca.der")}) as url:
                done("update", url, "--agent", address)
                settled(url, is_new)
            done("agent", "renew", certs)
            with (certs / "agent.pem").open("rb") as file:
                renewed = x509.load_pem_x509_certificate(file.read())
            end = time.monotonic() + 10
            while served(address, certs / "ca.pem") != renewed:
                assert time.monotonic() < end
                time.sleep(0.05)


def test_the_output_holds_every_path_and_no_key(tmp_path: Path) -> None:
    folder = tmp_path / "my certs"
    texts = [
        done("agent", "init", folder, "--name", "A.example", "--name", "::1"),
        done("agent", "renew", folder),
        done("agent", "renew", folder, "--json"),
        refused("agent", "init", folder),
    ]
    secret = [
        line
        for name in ("ca.key", "agent.key")
        for line in (folder / name).read_text().splitlines()
    ]
    for text in texts:
        assert not [line for line in secret if line in text]
    assert f"--agent-ca '{folder}/ca.pem'" in texts[0]
    assert f"ota-service agent --cert '{folder}/agent.pem' --key '{folder}/agent.key'" in texts[0]
    assert "within a second" in texts[1]
    said = json.loads(texts[2])
    assert said["names"] == ["ota-agent", "a.example", "::1"]
    assert said["not_before"] == said["ca"]["not_before"] == "2000-01-01T00:00:00Z"
    assert {said["certificate"], said["key"], *(said["ca"][n] for n in ("pem", "der", "key"))} == {
        str(path) for path in folder.iterdir()
    }


def test_the_days_count_from_now_and_may_be_those_of_the_ca(tmp_path: Path) -> None:
    before = int(time.time())
    said = json.loads(done("agent", "init", tmp_path, "--days", 9, "--ca-days", 9, "--json"))
    after = int(time.time())
    assert said["not_after"] == said["ca"]["not_after"]
    pem = (tmp_path / "agent.pem").read_bytes()
    until = x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    assert before <= until - 9 * 86400 <= after
    line = refused("agent", "renew", tmp_path, "--days", 10, code=2)
    assert "outlive" in line


@pytest.mark.parametrize("place", ["/dev/null/certs", "/proc/certs", "/proc/self/fdinfo"])
def test_a_place_that_takes_no_files_is_one_line(place: str) -> None:
    assert place in refused("agent", "init", place)
    assert place in refused("agent", "renew", place)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused("agent", "init", tmp_path / "file", code=2)
    refused("agent", "init", code=2)


def test_the_agent_still_runs_without_a_subcommand_and_help_names_both(tmp_path: Path) -> None:
    assert "no firmware" in refused("agent", code=2, env={"PATH": os.environ["PATH"]})
    said = run("agent", "--help").stdout
    assert "init" in said
    assert "renew" in said
    for command in ("init", "renew"):
        assert f"Example:\n    ota-service agent {command} certs" in done(
            "agent", command, "--help"
        )
    assert Path(COMMAND).exists()
