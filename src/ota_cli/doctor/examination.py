"""What is looked at, in which order, and what is known by combining it."""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from ota_cli.doctor import (
    agent,
    agent_admin,
    attestation,
    board,
    board_settings,
    clock,
    enrolment,
    firmware,
    fitting,
    target,
)
from ota_cli.doctor.agent_admin import Offered
from ota_cli.doctor.at_once import Running
from ota_cli.doctor.attestation import SeenServer
from ota_cli.doctor.board import SeenBoard
from ota_cli.doctor.finding import Finding, Findings
from ota_cli.doctor.firmware import Image
from ota_cli.doctor.http import Url
from ota_cli.doctor.target import Target
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.files import read_bytes
from ota_service.config import Config
from ota_service.errors import BadRequest
from ota_service.request import parse_address

_AGENT_NAME = "ota-agent"
_AGENT_PORT = 4433
_NETWORK_S = 11.0
_ENROLMENT_S = 3.5

_T = TypeVar("_T")
_G = TypeVar("_G")
_Cas = list[x509.Certificate]
_Found = tuple[list[Finding], _T | None]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line names; None or empty is not looked at. agent: `HOST[:PORT]`. trust:
    key digests. registry_file: has the registry's URL where `registry` is None."""

    agent: str | None = None
    agent_ca: Path | None = None
    agent_cert: Path | None = None
    agent_key: Path | None = None
    agent_admin: Url | None = None
    board: Url | None = None
    board_config: Path | None = None
    attestation: Url | None = None
    attestation_ca: Path | None = None
    attestation_token: Path | None = None
    registry: str | None = None
    registry_file: Path | None = None
    board_id: str | None = None
    certificate: Path | None = None
    firmware: tuple[Path, ...] = ()
    trust: tuple[bytes, ...] = ()
    flash: Path | None = None
    partitions: Path | None = None


def examine(asked: Asked, now: datetime) -> list[Finding]:
    """Everything that is asked for, within 15 s where nobody answers. now: this machine's clock.
    Raises CommandError for what cannot be an address."""
    return _Examination(asked, now).run()


class _Examination:
    def __init__(self, asked: Asked, now: datetime) -> None:
        self._asked = asked
        self._now = now
        self._end = time.monotonic() + _NETWORK_S

    def run(self) -> list[Finding]:
        asked = self._asked
        settings_found, config = _none_if(asked.board_config, board_settings.look)
        ca_found, cas = self._read_cas(config)
        name = config.agent_name if config is not None else _AGENT_NAME
        host, port = _agent_address(asked.agent, config)
        # Who may not answer is asked first; files are read meanwhile.
        agent_look = Running("agent", lambda: self._look_at_agent(host, port, name, cas))
        admin_look = Running(
            "agent's admin port", lambda: _none_if(asked.agent_admin, agent_admin.look)
        )
        board_look = Running("board", self._look_at_board)
        server_look = Running("attestation server", self._look_at_server)
        flash_found, goal = self._look_at_target(config)
        firmware_found, images = self._look_at_firmware(config)
        agent_found, shown = agent_look.result(self._end, lambda: self._late_agent(host, port))
        if asked.agent_cert is not None:
            agent_found += agent.look_at_files(
                asked.agent_cert, asked.agent_key, shown, name, cas, self._now
            )
        admin_found, offered = admin_look.result(self._end, self._late_admin)
        board_found, seen = board_look.result(self._end, self._late_board)
        server = server_look.result(self._end, self._late_server)
        found = agent_found + ca_found + admin_found + board_found + settings_found
        found += self._combine(host, config, seen, offered, server)
        found += flash_found + firmware_found
        for image in images:
            found += fitting.look(image, seen, goal, config)
        found += server.findings if server is not None else []
        found += self._look_at_enrolment(seen, server)
        return found + self._look_at_clock(server)

    # -- looks --------------------------------------------------------------------------------

    def _read_cas(self, config: Config | None) -> tuple[list[Finding], _Cas]:
        """Those of --agent-ca, else those of the board's settings."""
        path = self._asked.agent_ca
        findings = Findings(f"CA {path}" if path is not None else "CA in the board's settings")
        if path is not None:
            try:
                cas = agent.read_ca(read_bytes(path, "CA certificate"), findings)
            except CommandError as error:
                findings.add("agent-ca-unreadable", str(error))
                cas = []
        elif config is not None:
            cas = board_settings.cas_of(config, findings)
        else:
            return [], []
        agent.look_at_ca(cas, self._now, findings)
        return findings.found, cas

    def _look_at_agent(
        self, host: str, port: int, name: str, cas: _Cas
    ) -> tuple[list[Finding], x509.Certificate | None]:
        if not host:
            return [], None
        return agent.look_at_port(host, port, name, cas, self._now)

    def _look_at_board(self) -> _Found[SeenBoard]:
        asked = self._asked
        if asked.board is None:
            return [], None
        wants_certificate = asked.certificate is None and (
            asked.attestation is not None
            or asked.registry is not None
            or asked.registry_file is not None
        )
        return board.look(asked.board, certificate=wants_certificate)

    def _look_at_server(self) -> SeenServer | None:
        asked = self._asked
        if asked.attestation is None:
            return None
        return attestation.look(asked.attestation, asked.attestation_ca, asked.attestation_token)

    def _look_at_target(self, config: Config | None) -> _Found[Target]:
        if self._asked.flash is not None:
            return target.look_at_flash(self._asked.flash, config)
        return _none_if(self._asked.partitions, target.look_at_partitions)

    def _look_at_firmware(self, config: Config | None) -> tuple[list[Finding], list[Image]]:
        found: list[Finding] = []
        images: list[Image] = []
        for path in self._asked.firmware:
            files, complaints = firmware.files_of(path)
            found += complaints
            for file in files:
                complaints, image = firmware.look(file, self._asked.trust, self._now)
                found += complaints
                images += [image] if image is not None else []
        return found + firmware.look_for_duplicates(images), images

    def _combine(
        self,
        host: str,
        config: Config | None,
        seen: SeenBoard | None,
        offered: list[Offered] | None,
        server: SeenServer | None,
    ) -> list[Finding]:
        """What shows only in two things together."""
        findings = Findings(f"board {self._asked.board or self._asked.board_config}")
        if config is not None and host:
            board_settings.look_at_agent(config, host, findings)
        if seen is not None and offered is not None:
            agent_admin.look_for_board(offered, seen.chip, seen.application, findings)
        protocol = seen.protocol if seen is not None else config.protocol if config else None
        if protocol == 2 and server is not None and server.serves_protocol_2 is False:
            text = "expected challenges from the attestation server, found none"
            findings.add("board-needs-protocol-2", text)
        return findings.found

    def _look_at_enrolment(
        self, seen: SeenBoard | None, server: SeenServer | None
    ) -> list[Finding]:
        asked = self._asked
        found: list[Finding] = []
        certificate: bytes | None = None
        if asked.certificate is not None:
            found, certificate = enrolment.read_certificate(asked.certificate)
        elif seen is not None and seen.certificate is not None:
            complaints = Findings(f"board {asked.board}")
            code = "board-no-certificate"
            certificate = enrolment.checked(seen.certificate, code, complaints)
            found = complaints.found
        subject = f"board {asked.board_id or asked.board or asked.certificate or ''}".strip()
        looks: list[Running[list[Finding]]] = []
        der = certificate
        if der is not None and server is not None and server.is_usable:
            usable = server
            looks.append(
                Running(
                    "enrolment, at the server", lambda: enrolment.ask_server(usable, der, subject)
                )
            )
        registry = asked.registry
        if registry is None and asked.registry_file is not None:
            complaints_of_file, registry = enrolment.read_registry_file(asked.registry_file)
            found += complaints_of_file
        if registry is not None:
            who = subject if asked.board_id or der else "registry"
            looks.append(
                Running(
                    "enrolment, in the registry",
                    lambda: enrolment.ask_registry(registry, asked.board_id, der, who),
                )
            )
        end = time.monotonic() + _ENROLMENT_S
        for look in looks:
            found += look.result(end, self._late_registry)
        return found

    def _look_at_clock(self, server: SeenServer | None) -> list[Finding]:
        others = []
        if server is not None and server.date is not None:
            others.append(("the attestation server", *server.date))
        return clock.look(self._now, others)

    # -- what did not end in time -------------------------------------------------------------

    def _late_agent(self, host: str, port: int) -> tuple[list[Finding], x509.Certificate | None]:
        return _late("agent-timeout", f"agent {host}:{port}"), None

    def _late_admin(self) -> _Found[list[Offered]]:
        return _late("agent-admin-timeout", f"agent's admin port {self._asked.agent_admin}"), None

    def _late_board(self) -> _Found[SeenBoard]:
        return _late("board-timeout", f"board {self._asked.board}"), None

    def _late_server(self) -> SeenServer | None:
        url = self._asked.attestation
        if url is None:
            return None
        late = _late("attestation-timeout", f"attestation server {url}")
        return SeenServer(url, findings=late)

    def _late_registry(self) -> list[Finding]:
        return _late("registry-unreachable", "registry")


def _late(code: str, subject: str) -> list[Finding]:
    findings = Findings(subject)
    findings.add(code, "answers too slowly: not done in time")
    return findings.found


def _none_if(given: _G | None, look: Callable[[_G], _Found[_T]]) -> _Found[_T]:
    return ([], None) if given is None else look(given)


def _agent_address(text: str | None, config: Config | None) -> tuple[str, int]:
    """Host and port, by the rules of boards, but an IPv6 address is a finding and no mistake in
    typing; an empty host where no agent is given. Raises CommandError."""
    if text is None:
        return "", 0
    default = config.agent_port if config is not None else _AGENT_PORT
    try:
        host, _, port = text[1:].partition("]") if text.startswith("[") else (text, "", "")
        if _is_ipv6(host):
            # A stand-in for the host: boards' rules for what follows it.
            return host, parse_address("x" + port, default)[1]
        return parse_address(text, default)
    except BadRequest as error:
        raise CommandError(f"--agent: {error}", EXIT_USAGE) from None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
