"""Image layers for tests: tar archives with whatever in them."""

import gzip
import io
import tarfile
from typing import Any


def entry(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, content


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for member, content in entries:
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def layer(**files: bytes) -> bytes:
    """As a build makes it: /firmware/NAME.bin of each, gzip."""
    folder = entry("firmware", type=tarfile.DIRTYPE, mode=0o755)
    return gzip.compress(
        tar(folder, *(entry(f"firmware/{name}.bin", content) for name, content in files.items())),
        mtime=0,
    )
