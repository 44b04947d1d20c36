"""`ota-service attest`: run the attestation server."""

import asyncio
import secrets
from pathlib import Path

import click

from dice_auth.admin_tokens import SCOPES, new_token
from dice_auth.errors import DiceAuthError, PolicyError, RegistryUrlError, SettingsError
from dice_auth.server import serve as serve_attestation
from dice_auth.server import serve_with_workers
from dice_auth.settings import DEFAULT_ADMIN_RATE, Settings
from ota_cli import output
from ota_cli.addresses import Address, listen_option
from ota_cli.errors import EXIT_REFUSED, EXIT_USAGE, CommandError
from ota_cli.registry import registry_option

_FILE = click.Path(path_type=Path)
_TOKEN_BYTES = 32


@click.group()
def attest() -> None:
    """The attestation server: is this board one of ours?

    \b
    Example:
      ota-service attest serve --listen 127.0.0.1:8000
    """


@attest.command()
@registry_option
@listen_option("--listen", "0.0.0.0:8000")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share the address; one that dies is replaced.",
)
@click.option(
    "--policy",
    type=_FILE,
    metavar="FILE",
    help="TOML: reference values for what boards say of their firmware (protocol 2). Read again"
    " when it changes, and on SIGHUP.",
)
@click.option(
    "--agent-tokens",
    type=_FILE,
    metavar="FILE",
    help="Bearer tokens of OTA agents, one a line; a file that only its owner may read. For"
    " protocol 2.",
)
@click.option(
    "--cert", "certificate", type=_FILE, metavar="FILE", help="Certificate for HTTPS, PEM."
)
@click.option("--key", type=_FILE, metavar="FILE", help="Its key, PEM, unencrypted.")
@click.option(
    "--client-ca",
    type=_FILE,
    metavar="FILE",
    help="CAs of OTA agents' client certificates, PEM: one by them counts as a token does.",
)
@click.option(
    "--plain-http",
    is_flag=True,
    help="Serve protocol 2 and the admin API without HTTPS also to others than this machine.",
)
@click.option(
    "--admin-tokens",
    type=_FILE,
    metavar="FILE",
    help="Serve the admin API, /api/v1, to the tokens whose hashes stand here (`attest token"
    " --scope`); a file that only its owner may read. Read again when it changes, and on SIGHUP.",
)
@click.option(
    "--admin-rate",
    type=click.FloatRange(0.1, 10_000),
    show_default=f"{DEFAULT_ADMIN_RATE:.0f}",
    metavar="N",
    help="Requests a second for each token, half of them writes; twice as many at once.",
)
def serve(
    registry: str,
    listen: Address,
    workers: int,
    policy: Path | None,
    agent_tokens: Path | None,
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    plain_http: bool,
    admin_tokens: Path | None,
    admin_rate: float | None,
) -> None:
    """Serve until interrupted.

    Protocol 1: POST a board's certificate as PEM, 200 means it is enrolled. Protocol 2, for OTA
    agents: GET /challenge, POST /attest; on loopback for everybody, elsewhere over HTTPS
    (--cert, --key) and with --agent-tokens or --client-ca. With --admin-tokens: the registry over
    HTTP; GET /api/v1/openapi.json describes it.

    \b
    Example:
      ota-service attest serve --listen 127.0.0.1:8000
      ota-service attest serve --cert server.pem --key server.key \\
        --agent-tokens agents.txt
    """
    if admin_rate is not None and admin_tokens is None:
        raise CommandError("--admin-rate needs --admin-tokens", EXIT_USAGE)
    settings = Settings(
        policy, agent_tokens, certificate, key, client_ca, plain_http, admin_tokens,
        DEFAULT_ADMIN_RATE if admin_rate is None else admin_rate,
    )  # fmt: skip
    scheme = "http" if certificate is None else "https"

    def ready(host: str, port: int) -> None:
        output.ready_line(f"attestation server listening on {scheme}://{host}:{port}")

    where = (registry, listen.host, listen.port)
    try:
        if workers == 1:
            asyncio.run(serve_attestation(*where, settings=settings, ready=ready))
        elif not serve_with_workers(*where, workers, settings=settings, ready=ready):
            raise CommandError("a worker did not end as it should")
    except DiceAuthError as error:
        is_usage = isinstance(error, (RegistryUrlError, SettingsError, PolicyError))
        raise CommandError(str(error), EXIT_USAGE if is_usage else EXIT_REFUSED) from None


@attest.command()
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    help="For the admin API: what it may do; write includes read.",
)
@click.option("--name", metavar="NAME", help="Whose it is, for the log; with --scope.")
def token(scope: str | None, name: str | None) -> None:
    """Print a new random token.

    Without options for an OTA agent: for `attest serve --agent-tokens`, and the agent's
    `--attestation-token`.

    With --scope and --name for the admin API: the first line is the token, which is shown this
    once, and the second is for the file of `attest serve --admin-tokens`.

    \b
    Example:
      (umask 077; ota-service attest token > agent.token)
      ota-service attest token --scope write --name alice
    """
    if scope is None and name is None:
        click.echo(secrets.token_urlsafe(_TOKEN_BYTES))
        return
    if scope is None or name is None:
        raise CommandError("--scope and --name belong together", EXIT_USAGE)
    try:
        text, stored = new_token(name, scope)
    except SettingsError as error:
        raise CommandError(f"--name: {error}", EXIT_USAGE) from None
    click.echo(text)
    click.echo(stored.line)
