"""Codes about firmware files: what they are, and whether they fit a board."""

from ota_cli.doctor.catalogue.entry import Entry, fine, problem, warning

_STAMP = (
    "stamp it, then sign it: `ota-service image stamp FILE --version V --project NAME -o NEW`"
    " (MicroPython's builds leave both empty)"
)
_AGAIN = "copy or build it again, and compare `sha256sum` with where it came from"
_SIGN = "`ota-service image sign FILE --key KEY -o NEW`"

FIRMWARE: dict[str, Entry] = {
    "firmware-ok": fine("one whole, signed application image"),
    "firmware-unreadable": problem(
        "the file cannot be read", "correct the path; make it readable for who runs the agent"
    ),
    "firmware-none": problem(
        "the folder holds no firmware (*.bin)", "put signed images into it, named *.bin"
    ),
    "firmware-not-an-image": problem(
        "the file is no ESP32 image",
        "give the application alone: micropython.bin or NAME.bin of the build, no ELF, no archive",
    ),
    "firmware-whole-flash": problem(
        "a bootloader, or an image of the whole flash, for the cable",
        "give the application alone: micropython.bin of the build, *.app-bin of MicroPython's"
        " downloads, or what lies from 0x10000 on",
    ),
    "firmware-no-descriptor": problem(
        "an image without an app descriptor: no version, no project", "build it with ESP-IDF 4 or 5"
    ),
    "firmware-truncated": problem("the file ends before the image does", _AGAIN),
    "firmware-damaged": problem("checksum, SHA-256 or structure of the image are wrong", _AGAIN),
    "firmware-trailing-data": problem(
        "bytes follow the image's end, and boards refuse them",
        "cut them off, or give the file as the build made it: an image read back from a slot has"
        " the slot's length",
    ),
    "firmware-unsigned": problem("the image has no signature (Secure Boot V2)", _SIGN),
    "firmware-signature-invalid": problem(
        "a signature does not fit the image", f"sign the unsigned build again: {_SIGN}"
    ),
    "firmware-scheme-unsupported": problem(
        "signed with a scheme that boards do not verify", "sign with RSA-3072 or ECDSA P-256"
    ),
    "firmware-scheme-not-of-chip": warning(
        "the chip's bootloader does not know the signature's scheme: it will not boot with Secure"
        " Boot on",
        "RSA-3072 for esp32, s2, s3 and c3; ECDSA P-256 for c2 and c61",
    ),
    "firmware-key-untrusted": problem(
        "signed, but by no key that is trusted",
        "sign with the key that boards know, or give its public half with --trust",
    ),
    "firmware-key-revoked": problem(
        "signed by a key that is revoked in the board's eFuse", "sign with one of the other keys"
    ),
    "firmware-extra-block": problem(
        "several signatures, and a board that goes by its running firmware's takes exactly one",
        f"sign the unsigned build with one key: {_SIGN}",
    ),
    "firmware-no-version": warning("the firmware has no version", _STAMP),
    "firmware-no-project": warning("the firmware has no project name", _STAMP),
    "firmware-duplicate": warning(
        "two files hold the same chip, project and version", "keep one, or give it its own version"
    ),
    "firmware-built-in-future": warning(
        "the build date is after this machine's clock: boards would set theirs forward to it",
        "set the clock of this machine, or of the one that built it, and build again",
    ),
}

FITTING: dict[str, Entry] = {
    "firmware-fits": fine("the board would take this firmware, as far as can be seen"),
    "firmware-chip-mismatch": problem(
        "the firmware is for another chip", "build it for the board's chip, or name another board"
    ),
    "firmware-chip-revision": problem(
        "the firmware is for other revisions of the chip",
        "build with a lower CONFIG_ESP32..._REV_MIN, or use a newer chip",
    ),
    "firmware-too-large": problem(
        "the firmware is larger than the slot it would be written to",
        "make it smaller (CONFIG_COMPILER_OPTIMIZATION_SIZE), or flash a table with larger slots"
        " by cable",
    ),
    "firmware-secure-version": problem(
        "the secure version is lower than the board takes",
        "build with CONFIG_BOOTLOADER_APP_SECURE_VERSION of the board's at least, or `image stamp"
        " --secure-version`",
    ),
    "firmware-other-project": warning(
        "the board runs another application", "is it the right file, or the right board?"
    ),
    "firmware-project-mismatch": problem(
        "the board's settings allow another project only",
        "build or stamp it with that project name, or change the setting `project`",
    ),
    "firmware-runs-already": warning(
        "the board runs this version already: with the policy `different` or `newer` there is"
        " nothing to do",
        "give the new build its own version",
    ),
    "firmware-older": warning(
        "the board runs a newer version", "is it the right file? The policy `newer` refuses it"
    ),
    "firmware-not-newer": problem(
        "not newer than what the board runs, which its policy asks for",
        "raise the version, or set the board's policy to `different`",
    ),
    "firmware-version-unknown": problem(
        "the policy `newer` cannot compare the versions",
        "versions are numbers with dots, as 1.4.0: `ota-service image stamp`",
    ),
}
