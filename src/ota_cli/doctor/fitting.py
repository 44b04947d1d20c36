"""Would a board take this firmware? By what is known of it: its endpoints, settings, flash."""

from esp_image import ImageError, acceptance, chips, versions
from ota_cli.doctor import firmware
from ota_cli.doctor.board import SeenBoard
from ota_cli.doctor.finding import Finding, Findings
from ota_cli.doctor.firmware import Image
from ota_cli.doctor.target import Target
from ota_service.config import Config

# Of acceptance.check -> the code here
_CODES = {
    "chip-mismatch": "firmware-chip-mismatch",
    "chip-revision": "firmware-chip-revision",
    "efuse-revision": "firmware-chip-revision",
    "secure-version": "firmware-secure-version",
    "project-mismatch": "firmware-project-mismatch",
    "same-image": "firmware-runs-already",
    "version-unknown": "firmware-version-unknown",
    "not-newer": "firmware-not-newer",
    "too-large": "firmware-too-large",
}


def look(
    image: Image, board: SeenBoard | None, target: Target | None, config: Config | None
) -> list[Finding]:
    """One image and whatever of the board is known; nothing where nothing is."""
    findings = Findings(f"firmware {image.path}")
    if target is not None:
        _judge_by_target(image, target, config, findings)
    if board is not None:
        _judge_by_board(image, board, target, findings)
    if config is not None and (target is None or target.chip_id is None):
        _judge_by_settings(image, board, config, findings)
    if findings.are_fine() and (board is not None or target is not None):
        findings.add("firmware-fits", _what_fits(image, board, target))
    return findings.found


def _judge_by_target(
    image: Image, target: Target, config: Config | None, findings: Findings
) -> None:
    expected = acceptance.Expected(
        chip_id=image.header.chip_id if target.chip_id is None else target.chip_id,
        chip_revision=target.chip_revision,
        secure_version_floor=target.floor,
        project_name=config.project if config is not None and target.chip_id is not None else None,
        policy=_policy(target, config),
        running=target.running,
        max_bytes=target.slot_bytes,
    )
    size = len(image.content)
    for code, message in acceptance.check(image.header, image.descriptor, expected, size):
        findings.add(_CODES[code], message)
    trust = target.trust
    if trust is None or not trust.digests or not image.key_digests:
        return
    try:
        firmware.verify(
            image, trust.digests, revoked=trust.revoked, only_first_block=trust.only_first_block
        )
    except ImageError as error:
        # What is wrong without a board has been said.
        if error.code in ("key-untrusted", "key-revoked", "extra-block"):
            text = f"{error} (trusted: the key of the board's {trust.source})"
            findings.add(firmware.code_of(error), text)


def _policy(target: Target, config: Config | None) -> str:
    if target.chip_id is None:
        return acceptance.ANY
    return config.policy if config is not None else acceptance.DIFFERENT


def _judge_by_board(
    image: Image, board: SeenBoard, target: Target | None, findings: Findings
) -> None:
    has_flash = target is not None and target.chip_id is not None
    if board.chip and not has_flash and board.chip != image.chip:
        text = f"expected {board.chip}, which the board is, found {image.chip}"
        findings.add("firmware-chip-mismatch", text)
    project, version = image.descriptor.project_name, image.descriptor.version
    if board.application and project and board.application != project:
        text = f"the board runs {board.application}, the firmware is {project}"
        findings.add("firmware-other-project", text)
        return
    if not version or not board.version or has_flash:
        return
    if version == board.version:
        findings.add("firmware-runs-already", f"the board runs version {version} already")
    elif _is_older(version, board.version):
        text = f"the board runs {board.version}, the firmware is {version}"
        findings.add("firmware-older", text)


def _judge_by_settings(
    image: Image, board: SeenBoard | None, config: Config, findings: Findings
) -> None:
    """Without a flash file: project, policy and keys of the settings."""
    project, version = image.descriptor.project_name, image.descriptor.version
    if config.project not in (None, project):
        text = f"expected project {config.project} (the board's settings), found {project!r}"
        findings.add("firmware-project-mismatch", text)
    if config.policy == acceptance.NEWER and board is not None:
        try:
            is_newer = versions.compare(version, board.version) > 0
        except ValueError:
            text = f"version {version!r} cannot be compared with {board.version!r}"
            findings.add("firmware-version-unknown", text)
        else:
            if not is_newer:
                text = f"expected newer than {board.version}, found {version}"
                findings.add("firmware-not-newer", text)
    if config.trusted_keys and image.key_digests:
        try:
            firmware.verify(image, config.trusted_keys)
        except ImageError as error:
            if error.code == "key-untrusted":
                findings.add("firmware-key-untrusted", f"{error} (trusted: `trusted_keys`)")


def _is_older(a: str, b: str) -> bool:
    try:
        return versions.compare(a, b) < 0
    except ValueError:
        return False


def _what_fits(image: Image, board: SeenBoard | None, target: Target | None) -> str:
    parts = []
    chip = target.chip if target is not None and target.chip else board.chip if board else ""
    if chip:
        parts.append(f"{chips.describe(image.header.chip_id)} fits")
    if target is not None and target.slot_bytes is not None:
        parts.append(f"{len(image.content)} of {target.slot_bytes} bytes of the slot")
    if board is not None and board.version:
        parts.append(f"the board runs {board.version}")
    return f"{image.name}: " + (", ".join(parts) or "nothing speaks against it")
