"""`ota-service agent`: run the OTA agent."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import click

from ota_agent.errors import AgentError, SettingsError
from ota_agent.server import serve
from ota_agent.settings import from_environment
from ota_cli import output
from ota_cli.addresses import Address, is_host, listen_option
from ota_cli.errors import EXIT_REFUSED, EXIT_USAGE, CommandError

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--firmware", type=_FILE, help="Signed image to serve [env: NEW_FIRMWARE_PATH].")
@click.option("--cert", type=_FILE, help="Server certificate, PEM [env: SERVER_CRT_PATH].")
@click.option("--key", type=_FILE, help="Its private key, PEM [env: SERVER_KEY_PATH].")
@click.option("--dice-auth-url", metavar="URL", help="Attestation server [env: DICE_AUTH_URL].")
@listen_option("--listen", "0.0.0.0:4433")
def agent(
    firmware: Path | None,
    cert: Path | None,
    key: Path | None,
    dice_auth_url: str | None,
    listen: Address,
) -> None:
    """Serve firmware over TLS to attested boards.

    What is not given comes from the environment the original agent reads.
    """

    def ready(host: str, port: int) -> None:
        output.ready_line(f"OTA agent listening on {host}:{port}")

    try:
        settings = from_environment(
            firmware=firmware,
            certificate=cert,
            key=key,
            dice_auth_url=dice_auth_url,
            host=listen.host,
            port=listen.port,
        )
        if not is_host(urlsplit(settings.dice_auth_url).hostname or ""):
            raise SettingsError(
                f"attestation server {settings.dice_auth_url!r}: no host can have that name"
            )
        asyncio.run(serve(settings, ready=ready))
    except AgentError as error:
        code = EXIT_USAGE if isinstance(error, SettingsError) else EXIT_REFUSED
        raise CommandError(str(error), code) from None
