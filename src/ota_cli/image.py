"""`ota-service image`: look at, verify, sign and build application images."""

from pathlib import Path

import click

from esp_image import ImageError
from esp_image import build as image_build
from esp_image.stamp import stamp
from ota_cli import images, output, signing
from ota_cli.chip_option import chip_option
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes, refuse_to_replace, write_bytes

_FILE = click.Path(path_type=Path)
_MOST_BYTES = 16 * 1024 * 1024  # the largest flash that an app can be mapped from
_SECURE_VERSION = click.IntRange(0, 2**32 - 1)


@click.group()
def image() -> None:
    """Look at, verify, sign and build application images.

    \b
    Example:
      ota-service image info thermo-2.0.0.bin
      ota-service image verify thermo-2.0.0.bin --key sign-public.pem
    """


@image.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(file: Path, as_json: bool) -> None:
    """Show what an image says of itself, and whether it is whole.

    Signatures are shown, not judged: that needs a key (`image verify`).

    \b
    Example:
      ota-service image info thermo-2.0.0.bin
    """
    fields = images.describe(read_bytes(file, "image"), str(file))
    if as_json:
        output.print_json(fields)
    else:
        output.print_fields(images.readable(fields))


@image.command()
@click.argument("file", type=_FILE)
@click.option("--key", required=True, type=_FILE, help="Public key, PEM.")
def verify(file: Path, key: Path) -> None:
    """Verify that a file is one signed image: whole, every signature block valid, one by this key.

    Exit code 0: it is. 1: it is not; the reason is printed. A board has further rules: one that
    trusts only its running image's own signature takes exactly one block, and policy, chip and
    secure version are its own to judge.

    \b
    Example:
      ota-service image verify thermo-2.0.0.bin --key sign-public.pem
    """
    digest = images.key_digest(key)
    content = read_bytes(file, "image")
    try:
        images.verify(content, digest)
    except ImageError as error:
        hint = " (whole, but unsigned: image sign)" if images.is_unsigned(content) else ""
        raise CommandError(f"{file}: {error.code}: {error}{hint}") from None
    output.say(f"{file}: whole, signed by {key} (key digest {digest.hex()})")


@image.command()
@click.argument("file", type=_FILE)
@click.option("--key", required=True, type=_FILE, help="Private key, PEM: RSA-3072 or ECDSA.")
@click.option("-o", "--output", "out", required=True, type=_FILE, help="File to write.")
def sign(file: Path, key: Path, out: Path) -> None:
    """Sign an unsigned image for Secure Boot V2, with Espressif's espsecure.

    Needs the extra: pip install 'esp32-ota-service[signing]'.

    \b
    Example:
      ota-service image sign app.bin --key sign.pem -o thermo-2.0.0.bin
    """
    refuse_to_replace(key, out, "key")
    content = read_bytes(file, "image")
    signing.check_unsigned(content, str(file))
    signing.check_private_key(key)
    write_bytes(out, signing.sign(content, key), "image")
    output.say(f"{out}: {file} signed with {key}")


@image.command("stamp")
@click.argument("file", type=_FILE)
@click.option("--version", required=True, help="Version, at most 32 bytes.")
@click.option("--project", required=True, help="Project name, at most 32 bytes.")
@click.option("--secure-version", type=_SECURE_VERSION, help="Anti-rollback counter.")
@click.option("-o", "--output", "out", required=True, type=_FILE, help="File to write.")
def stamp_command(
    file: Path, version: str, project: str, secure_version: int | None, out: Path
) -> None:
    """Write version and project name into an unsigned image.

    MicroPython's own builds leave both empty. Checksum and SHA-256 are made anew; a signed image
    is refused, because its signature would break.

    \b
    Example:
      ota-service image stamp micropython.bin --version 2.0.0 \\
        --project thermo -o app.bin
    """
    try:
        content = stamp(read_bytes(file, "image"), version, project, secure_version)
    except ImageError as error:
        raise CommandError(f"{file}: {error.code}: {error}") from None
    except ValueError as error:
        raise CommandError(str(error), exit_code=2) from None
    write_bytes(out, content, "image")
    output.say(f"{out}: {project} {version}")


@image.command()
@click.option("-o", "--output", "out", required=True, type=_FILE, help="File to write.")
@click.option("--version", required=True, help="Version, at most 32 bytes.")
@click.option(
    "--project", default="demo", show_default=True, help="Project name, at most 32 bytes."
)
@chip_option()
@click.option(
    "--size",
    metavar="BYTES",
    type=click.IntRange(768, _MOST_BYTES),
    help=f"Pad to this many bytes, rounded up to 16; {_MOST_BYTES} at most. [default: 4096]",
)
@click.option(
    "--secure-version",
    default=0,
    show_default=True,
    type=_SECURE_VERSION,
    help="Anti-rollback counter.",
)
def build(
    out: Path, version: str, project: str, chip: str, size: int | None, secure_version: int
) -> None:
    """Build a minimal valid image, for demonstrations and tests.

    It holds no program, only a valid structure: header, app descriptor, segments, checksum and
    SHA-256, as esptool would make them.

    \b
    Example:
      ota-service image build -o app.bin --version 2.0.0 --project thermo
    """
    for name, text in (("version", version), ("project", project)):
        if not text.isprintable():
            raise CommandError(f"{name} {text!r}: expected printable text", exit_code=2)
    try:
        content = image_build.build_app(
            version, project, chip=chip, size=size, secure_version=secure_version
        )
    except ValueError as error:
        raise CommandError(str(error), exit_code=2) from None
    write_bytes(out, content, "image")
    output.say(f"{out}: {project} {version} for {chip}, {len(content)} bytes")
