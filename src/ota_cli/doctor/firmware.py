"""Firmware files: is each one whole, signed application image, and whose."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from esp_image import ImageError, ImageParser, chips, in_memory, readback, signature
from esp_image.header import Descriptor, Header
from ota_cli.doctor.finding import Finding, Findings, one_line
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes

_MOST_FILES = 1000
# What the component verifies on MicroPython; the others it verifies on a workstation only.
_BOARD_SCHEMES = (chips.RSA, chips.ECDSA_P256)
# __DATE__ and __TIME__ are of some time zone.
_ZONES = timedelta(hours=14)
_LOOKS_LIKE = (
    (b"\x7fELF", "an ELF file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a ZIP file"),
    (b"UF2\n", "a UF2 file"),
    (b"<", "a web page"),
    (b"-----BEGIN", "a PEM file"),
    (b":", "an Intel HEX file"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)
# What ImageError says of an image that is wrong inside -> the code here; else firmware-damaged.
_CODES = {
    "magic": "firmware-not-an-image",
    "truncated": "firmware-truncated",
    "trailing-data": "firmware-trailing-data",
    "descriptor-magic": "firmware-no-descriptor",
    "descriptor-missing": "firmware-no-descriptor",
    "signature-invalid": "firmware-signature-invalid",
    "digest-mismatch": "firmware-signature-invalid",
    "scheme-unsupported": "firmware-scheme-unsupported",
    "key-untrusted": "firmware-key-untrusted",
    "key-revoked": "firmware-key-revoked",
    "extra-block": "firmware-extra-block",
    "unsigned": "firmware-unsigned",
}


@dataclass(frozen=True)
class Image:
    """A whole image, whosoever signed it. key_digests: of its signature blocks."""

    path: Path
    content: bytes
    header: Header
    descriptor: Descriptor
    key_digests: tuple[bytes, ...]

    @property
    def chip(self) -> str:
        return chips.chip_name(self.header.chip_id)

    @property
    def name(self) -> str:
        """As the doctor names it: a stranger's texts on one line."""
        project = one_line(self.descriptor.project_name, 40) or "(no project)"
        return f"{project} {one_line(self.descriptor.version, 40) or '(no version)'} {self.chip}"


def files_of(path: Path) -> tuple[list[Path], list[Finding]]:
    """The file itself, or the *.bin of a folder."""
    if not path.is_dir():
        return [path], []
    findings = Findings(f"firmware {path}")
    try:
        found = sorted(each for each in path.iterdir() if each.suffix == ".bin")
    except OSError as error:
        findings.add("firmware-unreadable", f"{path}: {(error.strerror or '').lower()}")
        return [], findings.found
    if not found:
        findings.add("firmware-none", f"expected *.bin in {path}, found none")
    return found[:_MOST_FILES], findings.found


def look(path: Path, trusted: Sequence[bytes], now: datetime) -> tuple[list[Finding], Image | None]:
    """One file. trusted: digests of the keys that count; none: any key will do."""
    findings = Findings(f"firmware {path}")
    image = _read(path, findings)
    if image is None:
        return findings.found, None
    _judge_signature(image, trusted, findings)
    _judge_names(image.descriptor, findings)
    _judge_build(image.descriptor, now, findings)
    if findings.are_fine():
        signer = ", ".join(digest.hex()[:16] for digest in image.key_digests)
        whose = "a trusted key" if trusted else "key"
        text = f"{image.name}, {len(image.content)} bytes, signed by {whose} {signer}..."
        findings.add("firmware-ok", text)
    return findings.found, image


def look_for_duplicates(images: Iterable[Image]) -> list[Finding]:
    findings: list[Finding] = []
    seen: dict[tuple[str, str, str], Image] = {}
    for image in images:
        key = (image.chip, image.descriptor.project_name, image.descriptor.version)
        first = seen.setdefault(key, image)
        if first is not image:
            found = Findings(f"firmware {image.path}")
            same = "the same file" if first.content == image.content else "another file"
            found.add("firmware-duplicate", f"{image.name} is also {first.path.name} ({same})")
            findings += found.found
    return findings


def _read(path: Path, findings: Findings) -> Image | None:
    try:
        if path.exists() and not path.is_file():
            raise CommandError(f"image {path}: not a regular file")
        content = read_bytes(path, "image")
    except CommandError as error:
        findings.add("firmware-unreadable", str(error))
        return None
    if not content:
        findings.add("firmware-truncated", "the file is empty")
        return None
    parser = ImageParser(signed=None)
    try:
        parser.feed(content)
        parser.close()
        if parser.header is None or parser.descriptor is None:
            raise ImageError("descriptor-missing", "no app descriptor")
    except ImageError as error:
        _explain(content, error, findings)
        return None
    sector = parser.signature_sector
    try:
        blocks = signature.parse_sector(sector) if sector is not None else []
    except ImageError as error:
        findings.add("firmware-signature-invalid", f"{error.code}: {error}")
        return None
    digests = tuple(block.key_digest for block in blocks)
    _judge_schemes(parser.header, [block.scheme for block in blocks], findings)
    return Image(path, content, parser.header, parser.descriptor, digests)


def _explain(content: bytes, error: ImageError, findings: Findings) -> None:
    """Why a file is no application image."""
    if _is_bootloader(content):
        text = "expected an application, found a bootloader, or an image of the whole flash"
        findings.add("firmware-whole-flash", text)
        return
    code = _CODES.get(error.code, "firmware-damaged")
    text = f"{error.code}: {error}"
    if code == "firmware-not-an-image":
        found = [name for begin, name in _LOOKS_LIKE if content.startswith(begin)]
        text = f"expected an ESP32 image (0xe9), found {found[0]}" if found else text
    findings.add(code, text)


def _is_bootloader(content: bytes) -> bool:
    """Where the chips have it: at 0, or at 0x1000 and 0x2000 behind 0xff."""
    for offset in (0, 0x1000, 0x2000):
        if content[:offset].strip(b"\xff"):
            return False
        parser = ImageParser(signed=False, bootloader=True, ignore_rest=True)
        try:
            parser.feed(content[offset : offset + 0x20000])
            parser.close()
        except ImageError:
            continue
        descriptor = content[offset + 32 : offset + 36]
        return descriptor != b"\x32\x54\xcd\xab"  # ESP_APP_DESC_MAGIC_WORD: an application
    return False


def _judge_schemes(header: Header, schemes: Sequence[str], findings: Findings) -> None:
    chip = chips.by_id(header.chip_id)
    for scheme in schemes:
        if scheme not in _BOARD_SCHEMES:
            text = f"expected {' or '.join(_BOARD_SCHEMES)}, found {scheme}"
            findings.add("firmware-scheme-unsupported", text)
        elif chip is not None and scheme not in chip.schemes:
            known = ", ".join(each for each in chip.schemes if each != chips.V1)
            text = f"expected {known} for {chip.name}, found {scheme}"
            findings.add("firmware-scheme-not-of-chip", text)


def _judge_signature(image: Image, trusted: Sequence[bytes], findings: Findings) -> None:
    if not image.key_digests:
        findings.add("firmware-unsigned", "expected a signature sector, found none")
        return
    try:
        verify(image, trusted or None)
    except ImageError as error:
        text = str(error)
        if error.code == "key-untrusted":
            found = ", ".join(digest.hex() for digest in image.key_digests)
            text = f"signed by the key with digest {found}"
        findings.add(_CODES.get(error.code, "firmware-signature-invalid"), text)


def verify(image: Image, trusted: Sequence[bytes] | None, **rules: bool | Sequence[bytes]) -> None:
    """As a board does after the transfer. Raises ImageError. rules: of readback.verify_slot."""
    content = image.content
    readback.verify_slot(in_memory.reader(content), len(content), trusted=trusted, **rules)  # type: ignore[arg-type]


def code_of(error: ImageError) -> str:
    """The code here for an error of a signature."""
    return _CODES.get(error.code, "firmware-signature-invalid")


def _judge_names(descriptor: Descriptor, findings: Findings) -> None:
    if not descriptor.version:
        findings.add("firmware-no-version", "expected a version in the app descriptor, found none")
    if not descriptor.project_name:
        text = "expected a project name in the app descriptor, found none"
        findings.add("firmware-no-project", text)


def _judge_build(descriptor: Descriptor, now: datetime, findings: Findings) -> None:
    built = build_time(descriptor)
    if built is not None and built - _ZONES > now:
        text = f"built {built:%Y-%m-%d %H:%M}, this clock says {now:%Y-%m-%d %H:%M}"
        findings.add("firmware-built-in-future", text)


def build_time(descriptor: Descriptor) -> datetime | None:
    """Of C's __DATE__ and __TIME__; None for other texts."""
    try:
        found = datetime.strptime(f"{descriptor.date} {descriptor.time}", "%b %d %Y %H:%M:%S")
    except ValueError:
        return None
    return found.replace(tzinfo=UTC)
