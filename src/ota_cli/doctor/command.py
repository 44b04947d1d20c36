"""`ota-service doctor`: its options, and its exit code."""

from datetime import UTC, datetime
from pathlib import Path

import click

from ota_cli import output
from ota_cli.doctor import report
from ota_cli.doctor.catalogue import PROBLEM
from ota_cli.doctor.examination import Asked, examine
from ota_cli.doctor.http import parse_url
from ota_cli.file_completion import files
from ota_cli.registry import registry_file
from ota_cli.trusted_key import digest_of

_FILE = click.Path(path_type=Path)
_ADMIN_PORT = 4434
# option that is of no use alone -> those it needs one of
_NEEDS = {
    "agent_key": ("agent_cert",),
    "attestation_ca": ("attestation",),
    "attestation_token": ("attestation",),
    "trust": ("firmware",),
    "board_id": ("registry",),
    "certificate": ("registry", "attestation"),
}


@click.command()
@click.option("--agent", metavar="HOST[:PORT]", help="The agent, as boards reach it.")
@click.option("--agent-ca", type=_FILE, help="The CA on the board, DER or PEM.")
@click.option("--agent-cert", type=_FILE, help="The agent's certificate file, PEM.")
@click.option("--agent-key", type=_FILE, help="The agent's key file, PEM; with --agent-cert.")
@click.option("--agent-admin", metavar="URL", help="The agent's admin port.")
@click.option("--board", metavar="URL", help="A board: http://HOST[:PORT], or HOST[:PORT].")
@click.option("--board-config", type=_FILE, help="The board's settings, JSON.")
@click.option("--flash", type=_FILE, help="A board's flash file, instead of --partitions.")
@click.option("--partitions", type=_FILE, help="The board's partition table, CSV.")
@click.option(
    "--firmware", type=_FILE, multiple=True, help="Image, or folder of *.bin. May be repeated."
)
@click.option(
    "--trust",
    multiple=True,
    shell_complete=files,
    metavar="KEY",
    help="Whose signature counts: a public key (PEM file) or a key digest of 64 hex digits. May be"
    " repeated.",
)
@click.option("--attestation", metavar="URL", help="The attestation server.")
@click.option("--attestation-ca", type=_FILE, help="CA certificates for it alone, PEM.")
@click.option("--attestation-token", type=_FILE, help="File with the agent's token for it.")
@click.option(
    "--registry",
    metavar="URL",
    help="sqlite:///PATH, redis://HOST:6379 or, over TLS, rediss://HOST:6379?ca=FILE; without it"
    " the URL in the file OTA_REGISTRY_FILE.",
)
@click.option("--board-id", metavar="ID", help="The board's id in the registry.")
@click.option("--certificate", type=_FILE, help="The board's DICE certificate, DER or PEM.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def doctor(
    context: click.Context,
    agent: str | None,
    agent_ca: Path | None,
    agent_cert: Path | None,
    agent_key: Path | None,
    agent_admin: str | None,
    board: str | None,
    board_config: Path | None,
    flash: Path | None,
    partitions: Path | None,
    firmware: tuple[Path, ...],
    trust: tuple[str, ...],
    attestation: str | None,
    attestation_ca: Path | None,
    attestation_token: Path | None,
    registry: str | None,
    board_id: str | None,
    certificate: Path | None,
    as_json: bool,
) -> int:
    """Find what is wrong, and how to cure it: a line for each finding.

    Give it what is concerned; the more is given together, the more it can tell: an agent and the
    CA on the board, firmware and the board it is for. It changes nothing and starts no update, and
    is done within 15 seconds also where nobody answers.

    \b
    Example:
      ota-service doctor --agent 192.0.2.1 --agent-ca certs/ca.der
      ota-service doctor --board 192.0.2.17 --firmware thermo-2.0.0.bin
      ota-service doctor --board 192.0.2.17 --attestation http://127.0.0.1:8000

    Exit code 0: no problem (there may be warnings). 1: at least one. 2: usage.
    """
    _check_options(context)
    asked = Asked(
        agent=agent,
        agent_ca=agent_ca,
        agent_cert=agent_cert,
        agent_key=agent_key,
        agent_admin=parse_url(agent_admin, "--agent-admin", _ADMIN_PORT) if agent_admin else None,
        board=parse_url(board, "--board") if board else None,
        board_config=board_config,
        flash=flash,
        partitions=partitions,
        firmware=firmware,
        trust=tuple(map(digest_of, trust)),
        attestation=parse_url(attestation, "--attestation") if attestation else None,
        attestation_ca=attestation_ca,
        attestation_token=attestation_token,
        registry=registry,
        registry_file=registry_file() if registry is None else None,
        board_id=board_id,
        certificate=certificate,
    )
    with output.waiting("looking: 15 seconds at most"):
        findings = examine(asked, datetime.now(UTC))
    if as_json:
        output.print_json(report.as_json(findings))
    else:
        report.print_findings(findings)
    return 1 if any(finding.level == PROBLEM for finding in findings) else 0


def _check_options(context: click.Context) -> None:
    given = {name for name, value in context.params.items() if value and name != "as_json"}
    if registry_file() is not None:
        given.add("registry")
    if not given:
        raise click.UsageError(
            "nothing to look at: give --agent, --agent-ca, --agent-cert, --agent-admin, --board,"
            " --board-config, --flash, --partitions, --firmware, --attestation or --registry"
        )
    for name, needed in _NEEDS.items():
        if name in given and not given & set(needed):
            wanted = " or ".join(_option(each) for each in needed)
            raise click.UsageError(f"{_option(name)} needs {wanted}")
    if any(str(path).startswith("oci:") for path in context.params["firmware"]):
        raise click.UsageError(
            "--firmware: expected files or folders; --agent-admin shows the rest"
        )
    if {"flash", "partitions"} <= given:
        raise click.UsageError("expected either --flash or --partitions: a flash file has a table")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
