"""`ota-service agent`: run the OTA agent."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from ota_agent.default_firmware import parse_default
from ota_agent.errors import AgentError, SettingsError
from ota_agent.firmware import Trust
from ota_agent.server import serve
from ota_agent.settings import (
    LEAST_BANDWIDTH,
    LEAST_SEND_BUFFER_BYTES,
    MOST_SEND_BUFFER_BYTES,
    MOST_WORKERS,
    Settings,
    from_environment,
)
from ota_cli import output
from ota_cli.addresses import Address, admin_option, is_host, listen_option
from ota_cli.agent_init import init, renew
from ota_cli.errors import EXIT_REFUSED, EXIT_USAGE, CommandError
from ota_cli.file_completion import files
from ota_cli.trusted_key import digest_of
from ota_cli.watch.options import watch_options, watched

_FILE = click.Path(path_type=Path)
_DEFAULTS = {name: field.default for name, field in Settings.__dataclass_fields__.items()}


class _Number(click.FloatRange):
    """No nan either: it is neither too small nor too large."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


# The ranges are those of Settings, whose errors would name the setting and not the option.
_SECONDS = _Number(min=0, min_open=True)
_COUNT = click.IntRange(min=1)
_BANDWIDTH = click.IntRange(min=LEAST_BANDWIDTH)

# (option, setting, type, help)
_LIMITS: tuple[tuple[str, str, Any, str], ...] = (
    ("--handshake-timeout", "handshake_timeout_s", _SECONDS, "Seconds for the TLS handshake."),
    (
        "--certificate-timeout",
        "certificate_timeout_s",
        _SECONDS,
        "Seconds for a board's certificate.",
    ),
    (
        "--attestation-timeout",
        "attestation_timeout_s",
        _SECONDS,
        "Seconds for the attestation server's verdict, retries included.",
    ),
    (
        "--idle-timeout",
        "idle_timeout_s",
        _SECONDS,
        "Seconds a board may take nothing while firmware is sent.",
    ),
    (
        "--closing-timeout",
        "closing_timeout_s",
        _SECONDS,
        "Seconds for a board to close at the end.",
    ),
    (
        "--shutdown-deadline",
        "shutdown_deadline_s",
        _SECONDS,
        "Seconds for running transfers to finish after SIGTERM.",
    ),
    (
        "--min-rate",
        "least_bytes_per_s",
        _Number(min=0),
        "Bytes a second; a board slower than this for an idle timeout is let go.",
    ),
    ("--max-connections", "max_connections", _COUNT, "Connections at once."),
    (
        "--max-per-address",
        "max_connections_per_address",
        _COUNT,
        "Connections at once of one address (IPv6: of one /64).",
    ),
    (
        "--accept-rate",
        "accept_rate",
        _Number(min=1),
        "New connections a second of one address (IPv6: of one /64), over 5 s.",
    ),
    (
        "--challenge-rate",
        "challenge_rate",
        _Number(min=1),
        "Challenges a second of one address (IPv6: of one /64), over 10 s; protocol 2.",
    ),
    ("--bandwidth", "bandwidth", _BANDWIDTH, "Bytes a second in all; else no limit."),
    (
        "--board-bandwidth",
        "board_bandwidth",
        _BANDWIDTH,
        "Bytes a second for each board; else no limit.",
    ),
    (
        "--send-buffer",
        "send_buffer_bytes",
        click.IntRange(min=LEAST_SEND_BUFFER_BYTES, max=MOST_SEND_BUFFER_BYTES),
        "Kernel buffer for each board, bytes; else the kernel's choice.",
    ),
)


def _limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, setting, kind, text in reversed(_LIMITS):
        default = _DEFAULTS[setting]
        option = click.option(
            name, setting, type=kind, default=default, show_default=default is not None, help=text
        )
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@click.option(
    "--firmware",
    metavar="FILE|DIR|oci://...",
    shell_complete=files,
    help="Signed image to serve; or a folder of them (*.bin), or oci://REGISTRY/NAME:TAG, of which"
    " each board gets the newest for its chip and application [env: NEW_FIRMWARE_PATH].",
)
@click.option(
    "--default-firmware",
    metavar="PROJECT[@CHIP]",
    help="Which firmware of a folder or registry boards of protocol 1 get; else none.",
)
@click.option(
    "--cache",
    type=_FILE,
    metavar="DIR",
    help="Where firmware from a registry is kept [else: CACHE_DIRECTORY/, the user's cache].",
)
@click.option(
    "--oci-interval",
    "oci_interval_s",
    type=_SECONDS,
    help=f"Seconds between two looks at the registry  [default: {_DEFAULTS['oci_interval_s']}].",
)
@click.option("--oci-ca", type=_FILE, help="CA certificates, PEM, to trust for the registry.")
@click.option(
    "--oci-config",
    type=_FILE,
    help="Credentials for the registry, as docker login writes them [else: DOCKER_CONFIG/,"
    " ~/.docker/, config.json].",
)
@click.option(
    "--oci-plain-http",
    is_flag=True,
    help="Speak plain HTTP to the registry beyond this machine as well.",
)
@click.option("--cert", type=_FILE, help="Server certificate, PEM [env: SERVER_CRT_PATH].")
@click.option("--key", type=_FILE, help="Its private key, PEM [env: SERVER_KEY_PATH].")
@click.option("--dice-auth-url", metavar="URL", help="Attestation server [env: DICE_AUTH_URL].")
@listen_option("--listen", "0.0.0.0:4433")
@admin_option("--admin", "127.0.0.1:4434")
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=_DEFAULTS["workers"],
    show_default=True,
    help="Processes that serve boards; limits hold for all together.",
)
@click.option(
    "--trust",
    multiple=True,
    shell_complete=files,
    metavar="KEY",
    help="Serve only firmware signed by this key: a public key (PEM file) or a key digest of"
    " 64 hex digits. May be given several times.",
)
@click.option("--allow-unsigned", is_flag=True, help="Serve firmware without a signature as well.")
@click.option(
    "--require-attestation",
    is_flag=True,
    help="Refuse protocol 1, in which a board proves nothing.",
)
@click.option(
    "--attestation-ca",
    type=_FILE,
    help="CA certificates, PEM, to trust for the attestation server alone.",
)
@click.option(
    "--attestation-token",
    type=_FILE,
    help="File (mode 0600) with the bearer token for challenges and evidence.",
)
@click.option(
    "--attestation-cert",
    "attestation_certificate",
    type=_FILE,
    help="Client certificate, PEM, for the attestation server: does as well as a token.",
)
@click.option("--attestation-key", type=_FILE, help="Its key, PEM, unencrypted.")
@click.option(
    "--attestation-plain-http",
    is_flag=True,
    help="Send challenges and evidence over plain HTTP beyond this machine as well.",
)
@_limit_options
@watch_options
@click.pass_context
def agent(
    context: click.Context,
    /,
    firmware: str | None,
    default_firmware: str | None,
    cert: Path | None,
    key: Path | None,
    dice_auth_url: str | None,
    listen: Address,
    admin: Address | None,
    trust: tuple[str, ...],
    allow_unsigned: bool,
    watch: str | None,
    interval_s: int,
    **more: Any,
) -> None:
    """Serve firmware over TLS to attested boards.

    What is not given comes from the environment the original agent reads. A new firmware file or
    certificate is taken up while the agent runs. SIGTERM lets running transfers finish.

    \b
    Example:
      ota-service agent init certs
      ota-service agent --firmware thermo-2.0.0.bin --cert certs/agent.pem \\
        --key certs/agent.key --dice-auth-url http://127.0.0.1:8000
      ota-service agent --watch http://127.0.0.1:4434
    """
    if watched(context, watch, interval_s) or context.invoked_subcommand is not None:
        return

    def ready(host: str, port: int) -> None:
        output.ready_line(f"OTA agent listening on {host}:{port}")

    is_default = context.get_parameter_source("admin") is ParameterSource.DEFAULT
    try:
        settings = from_environment(
            firmware=firmware,
            default_firmware=None if default_firmware is None else parse_default(default_firmware),
            certificate=cert,
            key=key,
            dice_auth_url=dice_auth_url,
            host=listen.host,
            port=listen.port,
            admin=admin,
            is_admin_optional=is_default,
            trust=Trust([digest_of(each) for each in trust] or None, allow_unsigned),
            **more,
        )
        if not is_host(urlsplit(settings.dice_auth_url).hostname or ""):
            raise SettingsError(
                f"attestation server {settings.dice_auth_url!r}: no host can have that name"
            )
        if settings.workers == 1:
            asyncio.run(serve(settings, ready=ready))
        else:
            from ota_agent.worker_server import serve_with_workers

            serve_with_workers(settings, ready=ready)
    except AgentError as error:
        code = EXIT_USAGE if isinstance(error, SettingsError) else EXIT_REFUSED
        raise CommandError(str(error), code) from None


agent.add_command(init)
agent.add_command(renew)
