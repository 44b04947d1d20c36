"""Layers of an image, good and hostile: what is under /firmware/, or one line; little memory."""

import gzip
import io
import tarfile
import time
import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from ota_agent import oci_layer
from ota_agent.errors import ContentError
from ota_agent.oci_layer import FirmwareFiles
from ota_agent.oci_manifest import Compression
from tests.ota_agent.layers import entry, layer, tar


def files_of(*layers: bytes) -> dict[str, bytes]:
    made = FirmwareFiles()
    for each in layers:
        made.apply(io.BytesIO(each), compression_of(each))
    return made.files


def compression_of(content: bytes) -> Compression:
    if content[:4] == b"\x28\xb5\x2f\xfd":
        return "zstd"
    return "gzip" if content[:2] == b"\x1f\x8b" else ""


def refusal(*layers: bytes) -> str:
    with pytest.raises(ContentError) as raised:
        files_of(*layers)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_files_under_firmware_are_found_and_others_passed_over() -> None:
    found = files_of(
        tar(
            entry("./firmware/a.bin", b"a"),
            entry("/firmware/deep/b.bin", b"b"),
            entry("etc/passwd", b"x"),
            entry("firmwares/c.bin", b"c"),
            entry("bin", type=tarfile.SYMTYPE, linkname="usr/bin"),
        )
    )
    assert found == {"firmware/a.bin": b"a", "firmware/deep/b.bin": b"b"}


def test_layers_may_be_packed() -> None:
    plain = tar(entry("firmware/a.bin", b"a" * 100_000))
    pack = zstandard.ZstdCompressor(level=19).compress
    # In several frames too, as they are written by many hands at once.
    for packed in (gzip.compress(plain), pack(plain), pack(plain[:5000]) + pack(plain[5000:])):
        assert files_of(packed) == {"firmware/a.bin": b"a" * 100_000}
    assert "layer" in refusal(pack(plain)[:-20])


def test_names_too_long_for_a_plain_header_are_read() -> None:
    name = "firmware/" + "long" * 50 + ".bin"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=form) as archive:
            member, content = entry(name, b"a")
            archive.addfile(member, io.BytesIO(content))
        assert files_of(made.getvalue()) == {name: b"a"}


def test_a_later_layer_replaces_and_hides() -> None:
    lower = layer(a=b"1", b=b"1")
    assert files_of(lower, layer(a=b"2")) == {"firmware/a.bin": b"2", "firmware/b.bin": b"1"}
    assert files_of(lower, tar(entry("firmware/.wh.a.bin"))) == {"firmware/b.bin": b"1"}
    assert files_of(lower, tar(entry(".wh.firmware"))) == {}
    assert files_of(lower, tar(entry(".wh..wh..opq"))) == {}
    assert files_of(lower, tar(entry("firmware/.wh.a"))) == files_of(lower)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_whiteout_hides_lower_layers_only_wherever_it_stands(is_first: bool) -> None:
    entries = [entry("firmware/.wh..wh..opq"), entry("firmware/c.bin", b"c")]
    upper = tar(*(entries if is_first else entries[::-1]))
    assert files_of(layer(a=b"1"), upper) == {"firmware/c.bin": b"c"}


def test_a_file_in_the_place_of_a_folder_hides_what_was_in_it() -> None:
    lower = tar(entry("firmware/x/a.bin", b"1"))
    assert files_of(lower, tar(entry("firmware/x", b"2"))) == {"firmware/x": b"2"}


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (entry("../firmware/a.bin", b"x"), "leaves its folder"),
        (entry("firmware/../../etc/passwd", b"x"), "leaves its folder"),
        (entry("etc/../../x", b"x"), "leaves its folder"),
        (entry("firmware/a.bin", type=tarfile.SYMTYPE, linkname="/etc/shadow"), "a link"),
        (entry("firmware/a.bin", type=tarfile.LNKTYPE, linkname="etc/shadow"), "a link"),
        (entry("firmware", type=tarfile.SYMTYPE, linkname="/etc"), "a link"),
        (entry("firmware", b"x"), "the folder itself"),
        (entry("firmware/a.bin", type=tarfile.CHRTYPE), "special"),
        (entry("firmware/a.bin", type=tarfile.FIFOTYPE), "special"),
    ],
)
def test_what_has_no_business_in_an_image_is_refused(hostile: Any, reason: str) -> None:
    assert reason in refusal(tar(hostile))


def test_a_file_larger_than_any_firmware_is_refused_unread() -> None:
    member = tarfile.TarInfo("firmware/a.bin")
    member.size = 1 << 40
    assert "at most 16777216" in refusal(member.tobuf())


def test_all_files_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_layer, "_MOST_KEPT_BYTES", 100)
    assert "more than 100 bytes" in refusal(layer(a=b"x" * 60, b=b"x" * 60))
    assert "more than 100 bytes" in refusal(layer(a=b"x" * 60), layer(b=b"x" * 60))


def bomb(head: bytes, size: int) -> bytes:
    """So many zeros after the head, compressed a thousandfold."""
    compress = zlib.compressobj(9, wbits=31)
    pieces = [compress.compress(head)]
    pieces += [compress.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*pieces, compress.flush()])


def zstd_bomb(head: bytes, size: int) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    pieces = [packer.compress(head)]
    pieces += [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*pieces, packer.flush()])


def header(size: int, name: str = "big", **fields: Any) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    for field, value in fields.items():
        setattr(member, field, value)
    return member.tobuf(tarfile.GNU_FORMAT)


def long_header(kind: bytes, content: bytes) -> bytes:
    return header(len(content), "pax", type=kind) + content + bytes(-len(content) % 512)


SPARSE = "".join(
    f"{len(line) + 4} {line}\n"
    for line in ("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=x")
).encode()


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (bomb(header(1 << 30), 300 << 20), "when it is unpacked"),
        (zstd_bomb(header(1 << 30), 300 << 20), "when it is unpacked"),
        (bomb(header(100 << 20, type=tarfile.XHDTYPE), 100 << 20), "a header of"),
        (bomb(header(100 << 20, type=tarfile.GNUTYPE_LONGNAME), 100 << 20), "a header of"),
        (gzip.compress(b"".join(header(0, str(n)) for n in range(3000))), "more than 2000"),
        (
            gzip.compress(long_header(tarfile.XHDTYPE, b"1" * 8000) * 3000),
            "without end",
        ),
        (
            gzip.compress(
                long_header(tarfile.XHDTYPE, SPARSE)
                + header(30 << 20)
                + b"9999999\n"
                + b"1" * (30 << 20)
            ),
            "",
        ),
        (gzip.compress(b"")[:10] + b"\0" * 40, ""),
    ],
    ids=["data", "zstd", "pax", "long name", "entries", "digits", "sparse map", "no deflate"],
)
def test_a_bomb_costs_little_time_and_memory(hostile: bytes, reason: str) -> None:
    begun = time.process_time()
    tracemalloc.start()
    try:
        assert reason in refusal(hostile)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("cut", [1, 100, 513, 1000])
def test_a_layer_that_ends_early_is_refused(cut: int) -> None:
    whole = tar(entry("firmware/a.bin", bytes(range(256)) * 8))
    assert "layer" in refusal(whole[:cut])
    assert refusal(gzip.compress(whole)[: cut // 20])


TARS = st.lists(
    st.tuples(
        st.sampled_from(["firmware/a", "firmware", "../x", ".wh.firmware", "firmware/.wh.a", "x"]),
        st.binary(max_size=600),
        st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE,
                         tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME]),
    ),
    max_size=5,
)  # fmt: skip


@given(TARS, st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8))))
@example([("firmware/a", b"x" * 10, tarfile.REGTYPE)], [(124, b"\x80\0\0\0")])
def test_any_bytes_are_a_layer_or_refused(
    members: list[tuple[str, bytes, bytes]], changes: list[tuple[int, bytes]]
) -> None:
    content = bytearray(tar(*(entry(name, data, type=kind) for name, data, kind in members)))
    for at, piece in changes:
        content[at : at + len(piece)] = piece
    for start in range(0, len(content) - 511, 512):
        # Half of the changes would be found by the header's checksum alone.
        block = content[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    with suppress(ContentError):
        found = files_of(bytes(content))
        assert all(name.startswith("firmware/") and ".." not in name for name in found)


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "zstd"]))
def test_any_bytes_are_refused_as_packed_ones(content: bytes, packed: Compression) -> None:
    made = FirmwareFiles()
    try:
        made.apply(io.BytesIO(content), packed)
    except ContentError:
        return
    assert made.files == {}
