"""`ota-service attest serve`: run the attestation server."""

import asyncio

import click

from dice_auth.errors import DiceAuthError, RegistryUrlError
from dice_auth.server import serve as serve_attestation
from dice_auth.server import serve_with_workers
from ota_cli import output
from ota_cli.addresses import Address, listen_option
from ota_cli.errors import EXIT_REFUSED, EXIT_USAGE, CommandError
from ota_cli.registry import registry_option


@click.group()
def attest() -> None:
    """The attestation server: is this board one of ours?"""


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
def serve(registry: str, listen: Address, workers: int) -> None:
    """Serve until interrupted: POST a board's certificate as PEM, 200 means it is enrolled."""

    def ready(host: str, port: int) -> None:
        output.ready_line(f"attestation server listening on http://{host}:{port}")

    try:
        if workers == 1:
            asyncio.run(serve_attestation(registry, listen.host, listen.port, ready=ready))
        elif not serve_with_workers(registry, listen.host, listen.port, workers, ready=ready):
            raise CommandError("a worker did not end as it should")
    except DiceAuthError as error:
        code = EXIT_USAGE if isinstance(error, RegistryUrlError) else EXIT_REFUSED
        raise CommandError(str(error), code) from None
