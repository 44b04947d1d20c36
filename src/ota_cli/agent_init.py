"""`ota-service agent init` and `agent renew`: the certificates of an OTA agent."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ota_cli import output
from ota_cli.errors import EXIT_REFUSED, EXIT_USAGE, CommandError

if TYPE_CHECKING:
    from cryptography import x509

    from ota_agent.certificate_folder import Folder
    from ota_agent.issuing import Issued

_KEY_TYPES = ("ecdsa", "rsa")
_DAYS = click.IntRange(min=1)

_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
_days = click.option(
    "--days",
    default=3650,
    show_default=True,
    metavar="N",
    type=_DAYS,
    help="Days from now that the agent's certificate is valid.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _name_option(default: str) -> Callable[[Any], Any]:
    return click.option(
        "--name",
        "names",
        multiple=True,
        metavar="NAME_OR_ADDRESS",
        help="The certificate is for this DNS name or IP address as well; may be given several"
        f" times.  [default: {default}]",
    )


def _key_type_option(default: str | None, text: str) -> Callable[[Any], Any]:
    return click.option(
        "--key-type",
        type=click.Choice(_KEY_TYPES),
        default=default,
        show_default=default is not None,
        help=text,
    )


@click.command()
@_folder
@_name_option("only ota-agent, which boards ask for")
@_days
@click.option(
    "--ca-days",
    default=7300,
    show_default=True,
    metavar="N",
    type=_DAYS,
    help="Days from now that the CA is valid.",
)
@_key_type_option("ecdsa", "ECDSA P-256, or RSA: 2048 bits for the agent, 3072 for the CA.")
@_json
def init(
    folder: Path,
    names: tuple[str, ...],
    days: int,
    ca_days: int,
    key_type: str,
    as_json: bool,
) -> None:
    """Make a CA for boards to trust and the agent's certificate under it.

    DIR gets ca.pem, ca.der and ca.key, agent.pem and agent.key, all or none; nothing is
    overwritten. Both certificates are valid from 2000-01-01, where a board's clock starts.

    \b
    Example:
      ota-service agent init certs --name agent.example --name 192.0.2.7
    """
    from ota_agent import certificate_folder, issuing

    now = datetime.now(UTC)
    with _one_line(certificate_folder.Folder(folder).ca_key):
        ca, agent = certificate_folder.create(
            folder,
            [issuing.alternative_name(name) for name in names],
            key_type,
            issuing.expiry(days, now),
            issuing.expiry(ca_days, now),
        )
    files = certificate_folder.Folder(folder)
    if as_json:
        output.print_json(_described(files, ca, agent))
        return
    output.say(f"{folder}: a CA, and the agent's certificate under it")
    output.print_fields(_summary(ca, agent))
    for line in _what_goes_where(files):
        output.say(line)


@click.command()
@_folder
@_name_option("the names of the certificate that is there")
@_days
@_key_type_option(None, "As for init.  [default: that of the certificate that is there]")
@_json
def renew(
    folder: Path, names: tuple[str, ...], days: int, key_type: str | None, as_json: bool
) -> None:
    """Replace agent.pem and agent.key in DIR by new ones under the CA there.

    Boards need not learn anything: they trust the CA. With --name the certificate is for
    ota-agent and the names given, and no longer for those it had.

    \b
    Example:
      ota-service agent renew certs
    """
    from ota_agent import certificate_folder, issuing

    now = datetime.now(UTC)
    with _one_line():
        ca, agent = certificate_folder.renew(
            folder,
            [issuing.alternative_name(name) for name in names],
            key_type,
            issuing.expiry(days, now),
            now,
        )
    files = certificate_folder.Folder(folder)
    if as_json:
        output.print_json(_described(files, ca, agent))
        return
    output.say(f"{files.certificate} and {files.key}: new, under the same CA")
    output.print_fields(_summary(ca, agent))
    output.say("An agent that runs takes both up within a second, for connections that come after.")
    output.say(f"Take {files.ca_key} offline again: whoever has it can pass for your agent.")


@contextmanager
def _one_line(ca_key: Path | None = None) -> Iterator[None]:
    """What cannot be made, as a command's error. ca_key: for a hint, where it is there already."""
    from ota_agent.issuing import IssuingError, RequestError

    try:
        yield
    except IssuingError as error:
        code = EXIT_USAGE if isinstance(error, RequestError) else EXIT_REFUSED
        is_there = ca_key is not None and ca_key.exists()
        hint = " (a new certificate under the same CA: agent renew)" if is_there else ""
        raise CommandError(f"{error}{hint}", code) from None


def _summary(ca: "Issued", agent: "Issued") -> dict[str, object]:
    from ota_agent.issuing import fingerprint

    return {
        "agent for": ", ".join(_names(agent)),
        "expires": f"{agent.certificate.not_valid_after_utc:%Y-%m-%d}",
        "CA expires": f"{ca.certificate.not_valid_after_utc:%Y-%m-%d}",
        "CA SHA-256": fingerprint(ca.certificate),
    }


def _names(agent: "Issued") -> list[str]:
    from ota_agent.issuing import names_of

    return [str(name.value) for name in names_of(agent.certificate)]


def _what_goes_where(files: "Folder") -> Iterator[str]:
    ca, certificate, key = (
        shlex.quote(str(path)) for path in (files.ca_pem, files.certificate, files.key)
    )
    yield ""
    yield f"On every board: {files.ca_der}, as the setting agent_ca. On a virtual board:"
    yield f"  ota-service board run FLASH --agent-ca {ca}"
    yield "Start the agent:"
    yield (
        f"  ota-service agent --cert {certificate} --key {key} --firmware IMAGE --dice-auth-url URL"
    )
    yield f"Keep {files.ca_key} offline: whoever has it can pass for your agent."


def _described(files: "Folder", ca: "Issued", agent: "Issued") -> dict[str, Any]:
    from ota_agent.issuing import fingerprint

    return {
        "certificate": str(files.certificate),
        "key": str(files.key),
        "names": _names(agent),
        **_validity(agent.certificate),
        "ca": {
            "pem": str(files.ca_pem),
            "der": str(files.ca_der),
            "key": str(files.ca_key),
            "sha256": fingerprint(ca.certificate),
            **_validity(ca.certificate),
        },
    }


def _validity(certificate: "x509.Certificate") -> dict[str, str]:
    return {
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }
