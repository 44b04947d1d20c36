"""The files under /firmware/ of an image's layers, read without unpacking anything.

Whatever a layer says, nothing but memory is touched, and no more is read than firmware can need: a
bomb ends the reading. Refused are links under /firmware/, and anywhere names with `..` and sparse
files.
Source: OCI Image Specification 1.1, "Image Layer Filesystem Changeset" (whiteouts).
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

from zstandard import ZstdDecompressor, ZstdError

from ota_agent.errors import ContentError
from ota_agent.oci_manifest import Compression

FOLDER = "firmware"
# As large as a bootloader takes them (firmware.py).
_MOST_FILE_BYTES = 16 * 1024 * 1024
# Of all files of one image together, and of a whole layer, unpacked.
_MOST_KEPT_BYTES = 48 * 1024 * 1024
_MOST_LAYER_BYTES = 64 * 1024 * 1024
# What zstd may look back on: what its highest level wants for a file of this size.
_MOST_WINDOW_BYTES = 64 * 1024 * 1024
# What tarfile does with headers may take the square of their length.
_MOST_HEADERS = 2_000
_MOST_EXTENSION_BYTES = 8 * 1024
_MOST_BYTES_BETWEEN = 64 * 1024
_EXTENSIONS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
# What archives that are none make of the libraries.
_UNREADABLE = (
    tarfile.TarError, zlib.error, ZstdError, EOFError, OSError, ValueError, OverflowError,
    RecursionError, IndexError, KeyError, TypeError,
)  # fmt: skip
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


class FirmwareFiles:
    """files: what an image has under /firmware/ after the layers so far, by path (without the
    first slash)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def apply(self, layer: BinaryIO, compression: Compression) -> None:
        """Lay one more layer over it. Raises ContentError, and is worth nothing then."""
        try:
            with _plain(layer, compression) as plain:
                self._apply(_Reader(plain))
        except ContentError:
            raise
        except _UNREADABLE as error:
            text = (str(error) or type(error).__name__)[:100]
            raise ContentError(f"layer: not a tar as it should be: {text!r}") from None

    def _apply(self, reader: "_Reader") -> None:
        """A whiteout hides what lower layers have, wherever in this layer it stands; so does a
        file in the place of a folder."""
        hidden: set[str] = set()
        added: dict[str, bytes] = {}
        for member in reader:
            parts = _parts(member.name)
            if parts and parts[-1].startswith(_WHITEOUT):
                hidden.add(_hidden(parts))
            elif parts[:1] == [FOLDER] and not member.isdir():
                path = "/".join(parts)
                if len(parts) == 1 or not member.isreg():
                    raise ContentError(f"/{path}: expected a regular file, not {_kind(member)}")
                added[path] = reader.content(member)
                _check_total(added.values())
        hidden.update(added)
        kept = {
            path: content
            for path, content in self.files.items()
            if not any(_covers(each, path) for each in hidden)
        }
        self.files = kept | added
        _check_total(self.files.values())


def _plain(layer: BinaryIO, compression: Compression) -> BinaryIO:
    if compression == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=layer))
    if compression == "zstd":
        unpack = ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
        return cast(BinaryIO, unpack.stream_reader(layer, read_across_frames=True))
    return layer


class _Header(tarfile.TarInfo):
    """A header whose extensions are short."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENSIONS and header.size > _MOST_EXTENSION_BYTES:
            raise ContentError(f"layer: a header of {header.size} bytes")
        return header


class _Reader:
    """The entries of a layer, one after the other."""

    def __init__(self, plain: BinaryIO) -> None:
        self._input = _Bounded(plain)
        # With nothing of its own to close.
        self._archive = tarfile.TarFile.open(
            fileobj=self._input, mode="r|", tarinfo=_Header, errorlevel=2
        )
        self._unread = 0

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        for _ in range(_MOST_HEADERS):
            self._input.allow(self._unread + _MOST_BYTES_BETWEEN)
            member = self._archive.next()
            if member is None:
                return
            if member.issparse():
                raise ContentError("layer: a sparse file")
            self._unread = member.size if member.isreg() else 0
            yield member
        raise ContentError(f"layer: more than {_MOST_HEADERS} entries")

    def content(self, member: tarfile.TarInfo) -> bytes:
        """Of the regular file that was the last entry."""
        if member.size > _MOST_FILE_BYTES:
            raise ContentError(
                f"/{member.name}: {member.size} bytes, at most {_MOST_FILE_BYTES} allowed"
            )
        self._input.allow(member.size + _MOST_BYTES_BETWEEN)
        file = self._archive.extractfile(member)
        content = file.read(member.size) if file is not None else b""
        if len(content) != member.size:
            raise ContentError(f"/{member.name}: the layer ends in the middle of it")
        self._unread = 0
        return content


class _Bounded(io.RawIOBase):
    """A layer's content: as much as is allowed each time, and up to a limit."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._left = _MOST_LAYER_BYTES
        self._allowed = _MOST_BYTES_BETWEEN

    def allow(self, count: int) -> None:
        self._allowed = count

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size if 0 <= size <= 65536 else 65536)
        self._left -= len(piece)
        self._allowed -= len(piece)
        if self._left < 0:
            raise ContentError(f"layer: more than {_MOST_LAYER_BYTES} bytes when it is unpacked")
        if self._allowed < 0:
            raise ContentError("layer: headers without end")
        return piece


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ContentError(f"layer: the name {name[:80]!r} leaves its folder")
    return parts


def _hidden(parts: list[str]) -> str:
    """The path that a whiteout hides, with / at its end where the folder itself stays; empty for
    everything."""
    *above, last = parts
    if last == _OPAQUE:
        return "/".join([*above, ""])
    return "/".join([*above, last.removeprefix(_WHITEOUT)])


def _covers(hidden: str, path: str) -> bool:
    if not hidden or hidden.endswith("/"):
        return path.startswith(hidden)
    return path == hidden or path.startswith(hidden + "/")


def _check_total(contents: Iterable[bytes]) -> None:
    if sum(map(len, contents)) > _MOST_KEPT_BYTES:
        raise ContentError(f"more than {_MOST_KEPT_BYTES} bytes under /{FOLDER}/")


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "a link"
    return "the folder itself" if member.isreg() else "a special file"
