"""The copy of the firmware that is served: whose it must be, and that nobody can change it."""

import ctypes
import errno
import fcntl
import gc
import hashlib
import mmap
import os
import random
import resource
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from pathlib import Path

import pytest

from esp_image import build
from esp_image.keys import key_digest_of_public_key
from ota_agent.errors import FirmwareError
from ota_agent.firmware import Trust, load_firmware
from tests.esp_image import signing
from tests.ota_agent.images import application_image, key, signed_image

OTHERS_SIGNATURE = signed_image(version="1")[:-4096] + signed_image(version="2")[-4096:]
UNSIGNED = application_image()
ANYBODYS = Trust(None, unsigned_allowed=True)


def digest_of(signer: str) -> bytes:
    return key_digest_of_public_key(signing.public_pem(key(signer)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "firmware.bin"


def refusal(file: Path, trust: Trust = ANYBODYS) -> FirmwareError:
    with pytest.raises(FirmwareError) as raised:
        load_firmware(file, trust)
    assert "\n" not in str(raised.value)
    assert str(file) in str(raised.value)
    return raised.value


def test_an_image_is_described_by_what_stands_in_it(file: Path) -> None:
    file.write_bytes(signed_image(version="2.0.0", project="thermo"))
    firmware = load_firmware(file, Trust())
    assert firmware.signer == digest_of("owner").hex()
    assert (firmware.chip, firmware.project, firmware.version) == ("esp32", "thermo", "2.0.0")
    assert firmware.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert firmware.image == file.read_bytes()


@pytest.mark.parametrize(
    ("image", "trust", "code"),
    [
        (signed_image(), Trust([digest_of("stranger")]), "key-untrusted"),
        (signed_image(), Trust([]), "key-untrusted"),
        (UNSIGNED, Trust(), "unsigned"),
        (UNSIGNED, Trust([digest_of("owner")]), "unsigned"),
        (OTHERS_SIGNATURE, Trust(), "digest-mismatch"),
        (OTHERS_SIGNATURE, Trust([digest_of("owner")]), "digest-mismatch"),
        (OTHERS_SIGNATURE, ANYBODYS, "digest-mismatch"),
        (signed_image(), Trust([digest_of("stranger")], unsigned_allowed=True), "key-untrusted"),
    ],
)
def test_firmware_is_served_only_if_somebody_trusted_signed_it(
    file: Path, image: bytes, trust: Trust, code: str
) -> None:
    file.write_bytes(image)
    assert refusal(file, trust).code == code


@pytest.mark.parametrize(
    "trust", [Trust(), Trust([digest_of("owner")]), Trust([digest_of("x"), digest_of("owner")])]
)
def test_firmware_that_somebody_trusted_signed_is_served(file: Path, trust: Trust) -> None:
    file.write_bytes(signed_image())
    assert load_firmware(file, trust).signer == digest_of("owner").hex()


def test_of_two_signatures_one_that_is_trusted_is_enough(file: Path) -> None:
    image = build.build_app("2.0.0", "thermo", chip="esp32s3")
    image = signing.sign(image, key("stranger"), key("owner"))
    file.write_bytes(image)
    assert load_firmware(file, Trust([digest_of("owner")])).signer == digest_of("owner").hex()
    assert refusal(file, Trust([digest_of("another")])).code == "key-untrusted"


def test_unsigned_firmware_is_served_where_that_is_allowed(file: Path) -> None:
    file.write_bytes(UNSIGNED)
    assert load_firmware(file, ANYBODYS).signer is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "truncated"),
        (b"\xe9", "truncated"),
        (b"\x7fELF" + bytes(500), "magic"),
        (UNSIGNED[:-1], "truncated"),
        (UNSIGNED[:1000] + bytes([UNSIGNED[1000] ^ 1]) + UNSIGNED[1001:], "checksum"),
        (UNSIGNED[:-1] + bytes([UNSIGNED[-1] ^ 1]), "hash-mismatch"),
        (UNSIGNED + b"more", "trailing-data"),
        (signed_image()[:-1], "truncated"),
        (signed_image() + b"\xff", "trailing-data"),
    ],
)
def test_what_is_no_whole_image_is_not_served(file: Path, content: bytes, code: str) -> None:
    file.write_bytes(content)
    assert refusal(file).code == code


def test_any_change_to_a_signed_image_is_noticed(file: Path) -> None:
    """Bytes and signature block changed at random, the block's CRC made right again."""
    chance = random.Random(8)
    image = signed_image(size=4000)
    block = len(image) - 4096
    for _ in range(300):
        changed = bytearray(image)
        at = chance.choice([chance.randrange(block), block + chance.randrange(1196)])
        changed[at] ^= 1 << chance.randrange(8)
        struct.pack_into("<I", changed, block + 1196, zlib.crc32(changed[block : block + 1196]))
        file.write_bytes(changed)
        refusal(file, Trust([digest_of("owner")]))


def test_any_header_and_descriptor_is_described_or_refused_with_a_code(file: Path) -> None:
    """Changed at random, checksum and SHA-256 made right again: never another exception."""
    chance = random.Random(8)
    image = application_image(size=400)
    served = 0
    for _ in range(1000):
        changed = bytearray(image)
        for _ in range(chance.randint(1, 3)):
            changed[chance.choice([chance.randrange(32), chance.randrange(288)])] = (
                chance.randrange(256)
            )
        end = len(changed) - 32
        changed[end - 1] = reduce(int.__xor__, changed[32 : len(image) - 48], 0xEF)
        changed[end:] = hashlib.sha256(changed[:end]).digest()
        file.write_bytes(changed)
        with suppress(FirmwareError):
            served += bool(load_firmware(file, ANYBODYS).name)
    assert served > 100


@pytest.mark.parametrize(
    "change",
    [Path.unlink, lambda file: os.truncate(file, 100), lambda file: file.write_bytes(b"")],
    ids=["removed", "truncated", "emptied"],
)
def test_what_happens_to_the_file_does_not_change_the_copy(
    file: Path, change: Callable[[Path], object]
) -> None:
    image = signed_image()
    file.write_bytes(image)
    firmware = load_firmware(file, Trust())
    change(file)
    assert firmware.image == image


def copies_in_memory() -> set[str]:
    """Where /proc shows firmware of this process."""
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            if "memfd:firmware" in os.readlink(f"/proc/self/fd/{entry}"):
                found.add(f"/proc/self/fd/{entry}")
    return found


def mappings() -> set[str]:
    """The lines of /proc/self/maps that are firmware."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line for line in lines if "memfd:firmware" in line}


def test_nobody_can_change_the_copy(file: Path) -> None:
    """Not through the memory, and not through its descriptor, which is sealed for good."""
    image = signed_image()
    file.write_bytes(image)
    before = copies_in_memory()
    firmware = load_firmware(file, Trust())
    assert firmware.image.readonly
    with pytest.raises(TypeError):
        firmware.image[0] = 0
    (copy,) = copies_in_memory() - before
    with open(copy, "r+b", buffering=0) as memory:
        for attempt in (
            lambda: memory.write(b"x"),
            lambda: memory.truncate(10),
            lambda: memory.truncate(10**6),
            lambda: mmap.mmap(memory.fileno(), 10, mmap.MAP_SHARED, mmap.PROT_WRITE),
            lambda: fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW),
        ):
            with pytest.raises(PermissionError):
                attempt()
    assert firmware.image == image


def test_the_memory_cannot_be_made_writable(file: Path) -> None:
    file.write_bytes(signed_image())
    before = mappings()
    firmware = load_firmware(file, Trust())
    (mapping,) = mappings() - before
    addresses, permissions = mapping.split()[:2]
    assert permissions == "r--s"
    start, end = (int(each, 16) for each in addresses.split("-"))
    libc = ctypes.CDLL(None, use_errno=True)
    read_and_write = mmap.PROT_READ | mmap.PROT_WRITE
    size = ctypes.c_size_t(end - start)
    assert libc.mprotect(ctypes.c_void_p(start), size, read_and_write) == -1
    assert firmware.image.readonly


def test_a_copy_that_nobody_serves_any_more_is_freed(file: Path) -> None:
    file.write_bytes(signed_image())
    before = len(copies_in_memory()), len(mappings())
    firmware = load_firmware(file, Trust())
    assert (len(copies_in_memory()), len(mappings())) == (before[0] + 1, before[1] + 1)
    del firmware
    assert (len(copies_in_memory()), len(mappings())) == before


def image_of(part_bytes: int) -> bytes:
    """Signed, of two segments of so many bytes: one may not have 16 MiB."""
    descriptor = build.build_descriptor("2.0.0", "thermo", 0, bytes(32), "v5.2.2")
    zeros = bytes(part_bytes)
    segments = build.app_segments("esp32", descriptor + zeros, bytes(64), zeros)
    return signing.sign(build.build_image(segments, "esp32"), key("owner"))


def test_the_largest_image_that_a_bootloader_takes_is_served_and_no_larger_one(file: Path) -> None:
    """16 MiB: ESP-IDF esp_image_format.c, SIXTEEN_MB."""
    image = image_of(8 * 1024 * 1024 - 32 * 1024)
    assert 0 < 16 * 1024 * 1024 - len(image) <= 128 * 1024
    file.write_bytes(image)
    firmware = load_firmware(file, Trust())
    assert firmware.image == image
    file.write_bytes(image_of(8 * 1024 * 1024))
    assert refusal(file).code == "too-large"


@pytest.mark.parametrize("size", [16 * 1024 * 1024 + 1, 1 << 40])
def test_what_no_bootloader_takes_is_not_read_to_its_end(file: Path, size: int) -> None:
    """Of its content, which is no image, not a byte is looked at."""
    with file.open("wb") as sparse:
        sparse.truncate(size)
    assert refusal(file).code == "too-large"
    os.truncate(file, 16 * 1024 * 1024)
    assert refusal(file).code == "magic"


def test_an_endless_file_is_refused() -> None:
    assert refusal(Path("/dev/zero")).code in {"too-large", "unreadable"}


def put_directory(file: Path) -> None:
    file.mkdir()


def open_descriptors() -> list[str]:
    """Without those that other tests have left to the garbage collector."""
    gc.collect()
    return os.listdir("/proc/self/fd")


def put_pipe(file: Path) -> None:
    os.mkfifo(file)


def put_device(file: Path) -> None:
    file.symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (put_directory, "Is a directory"),
        (put_pipe, "not a regular file"),
        (put_device, "not a regular file"),
    ],
)
def test_what_is_no_file_is_no_firmware_and_costs_no_descriptor(
    file: Path, put: Callable[[Path], None], reason: str
) -> None:
    """It is tried every second while it is there."""
    put(file)
    before = open_descriptors()
    error = refusal(file)
    assert open_descriptors() == before
    assert error.code == "unreadable"
    assert reason in str(error)


@contextmanager
def limited(what: int, soft: int) -> Iterator[None]:
    """This process may have no more of that (resource.RLIMIT_...)."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def test_a_copy_that_cannot_be_written_is_an_error_of_one_line(file: Path) -> None:
    """The kernel takes a part of it; nothing of that is left."""
    file.write_bytes(signed_image())
    before = open_descriptors()
    with limited(resource.RLIMIT_FSIZE, 4096):
        error = refusal(file)
    assert open_descriptors() == before
    assert error.code == "not-copied"
    assert str(error) == f"firmware {file}: no copy in memory: File too large"


def test_a_copy_that_cannot_be_made_is_an_error_of_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memfd_create(name: str, flags: int) -> int:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "memfd_create", memfd_create)
    file.write_bytes(signed_image())
    error = refusal(file)
    assert error.code == "not-copied"
    assert str(error) == f"firmware {file}: no copy in memory: Cannot allocate memory"


def test_a_file_for_which_there_is_no_memory_is_an_error_of_one_line(file: Path) -> None:
    """In a process of its own: this one has memory that other tests have left."""
    file.write_bytes(signed_image())
    program = (
        "import resource, sys; from pathlib import Path;"
        "from ota_agent.errors import FirmwareError;"
        "from ota_agent.firmware import Trust, load_firmware;"
        "pages = int(Path('/proc/self/statm').read_text().split()[0]);"
        "most = pages * resource.getpagesize() + 2**20;"
        "resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))\n"
        "try: load_firmware(Path(sys.argv[1]), Trust())\n"
        "except FirmwareError as error: print(error.code, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, file], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == f"not-copied firmware {file}: out of memory\n"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path / "missing.bin")
    assert error.code == "unreadable"
    assert "No such file" in str(error)


def test_a_file_that_may_not_be_read_is_named(file: Path) -> None:
    file.write_bytes(UNSIGNED)
    file.chmod(0)
    is_superuser = os.geteuid() == 0
    if is_superuser:
        # Who may read everything.
        os.seteuid(65534)
    try:
        error = refusal(file)
    finally:
        if is_superuser:
            os.seteuid(0)
    assert error.code == "unreadable"
    assert "Permission denied" in str(error)


def test_a_pipe_is_refused_and_not_waited_for(file: Path) -> None:
    """Else the agent hangs at start, and one that is put in the firmware's place hangs every
    board that comes."""
    os.mkfifo(file)
    outcome: list[object] = []

    def load() -> None:
        try:
            outcome.append(load_firmware(file, ANYBODYS))
        except FirmwareError as error:
            outcome.append(error.code)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join(2)
    hung = thread.is_alive()
    if hung:
        # Opened at the other end and closed again, it is empty.
        os.close(os.open(file, os.O_RDWR | os.O_NONBLOCK))
        thread.join(2)
    assert not hung
    assert outcome == ["unreadable"]
