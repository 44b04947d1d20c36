"""What the image and board commands know of an application image, as plain values."""

from pathlib import Path
from typing import Any

from esp_image import ImageError, ImageParser, chips, in_memory, keys, readback, signature
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes


def describe(content: bytes, name: str) -> dict[str, Any]:
    """Fields of a whole image file. Raises CommandError when it is not one."""
    parser = ImageParser(signed=None)
    try:
        parser.feed(content)
        parser.close()
    except ImageError as error:
        raise CommandError(f"{name}: {error.code}: {error}") from None
    return fields_of(parser)


def fields_of(parser: ImageParser) -> dict[str, Any]:
    """Fields of a wholly parsed image."""
    header, descriptor = parser.header, parser.descriptor
    if header is None:
        raise ValueError("fields of an image that is not parsed")
    return {
        "chip": chips.chip_name(header.chip_id),
        "project": descriptor.project_name if descriptor else None,
        "version": descriptor.version if descriptor else None,
        "secure_version": descriptor.secure_version if descriptor else None,
        "idf_version": descriptor.idf_version if descriptor else None,
        "built": f"{descriptor.date} {descriptor.time}".strip() if descriptor else None,
        "segments": len(parser.segments),
        "image_bytes": parser.image_bytes,
        "total_bytes": parser.total_bytes,
        "sha256": parser.sha256.hex() if parser.sha256 else None,
        "signatures": signatures(parser.signature_sector),
    }


def signatures(sector: bytes | bytearray | None) -> list[dict[str, str]]:
    """The signature blocks of a signature sector; none when there is no sector."""
    if sector is None:
        return []
    return [
        {"scheme": block.scheme, "key_digest": block.key_digest.hex()}
        for block in signature.parse_sector(sector)
    ]


def readable(fields: dict[str, Any]) -> dict[str, object]:
    """The same fields as a person reads them."""
    shown = dict(fields)
    blocks = [f"{b['scheme']}, key digest {b['key_digest']}" for b in fields["signatures"]]
    shown["signatures"] = "\n".join(blocks) or "none"
    return shown


def key_digest(path: Path) -> bytes:
    """The 32-byte key digest of a public key file (PEM). Raises CommandError."""
    try:
        return keys.key_digest_of_public_key(read_bytes(path, "key"))
    except ValueError as error:
        raise CommandError(
            f"key {path}: {error} (of a private key: openssl pkey -in KEY -pubout)"
        ) from None


def is_unsigned(content: bytes) -> bool:
    """Whether this is one whole image without a signature."""
    parser = ImageParser(signed=False)
    try:
        parser.feed(content)
        parser.close()
    except ImageError:
        return False
    return True


def verify(content: bytes, digest: bytes) -> None:
    """Raise ImageError unless these bytes are one whole image and nothing else, every signature
    block is valid, and one of them is by the key with this digest."""
    parser = ImageParser(signed=True)
    parser.feed(content)
    parser.close()
    readback.verify_slot(in_memory.reader(content), len(content), trusted=[digest])
