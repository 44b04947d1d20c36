"""A board's settings: a JSON file as `board run --config` and `ota_service.setup` take it."""

from pathlib import Path

from cryptography import x509

from ota_cli.doctor.agent import read_ca
from ota_cli.doctor.finding import Finding, Findings
from ota_service import allow_list
from ota_service.config import Config, read_json


def look(path: Path) -> tuple[list[Finding], Config | None]:
    """The settings as the board's own code reads them; secrets in them are not shown."""
    findings = Findings(f"settings {path}")
    try:
        if not path.is_file():
            raise ValueError("no such file" if not path.exists() else "not a regular file")
        config = Config(read_json(str(path)))
    except OSError as error:
        name = f"{error.filename}: " if error.filename not in (None, str(path)) else ""
        text = (error.strerror or "not readable").lower()
        findings.add("board-config-invalid", f"{name}{text}")
        return findings.found, None
    except (ValueError, TypeError, UnicodeError) as error:
        findings.add("board-config-invalid", str(error))
        return findings.found, None
    if not config.agent_ca and not config.insecure:
        findings.add("board-no-agent-ca", "expected `agent_ca`, found none")
    for name in ("insecure", "allow_unsigned"):
        if getattr(config, name):
            findings.add("board-insecure", f"{name} is set")
    if config.require_attestation and (config.insecure or config.protocol == 1):
        text = "insecure mode" if config.insecure else "protocol 1 (identity mac)"
        findings.add("board-attestation-impossible", f"require_attestation, and {text}")
    if findings.are_fine():
        text = f"identity {config.identity}, protocol {config.protocol}, policy {config.policy}"
        findings.add("board-config-ok", text)
    return findings.found, config


def cas_of(config: Config, findings: Findings) -> list[x509.Certificate]:
    """The CAs in the settings."""
    return [each for der in config.agent_ca for each in read_ca(der, findings)]


def look_at_agent(config: Config, host: str, findings: Findings) -> None:
    """Would a board with these settings take a request that names this agent?"""
    entries = config.allowed_agents
    if entries and not any(allow_list.covers(entry, host) for entry in entries):
        text = f"expected an agent of `allowed_agents`, found {host}"
        findings.add("board-agent-not-allowed", text)
