from collections.abc import Iterable
from pathlib import Path
from typing import Self

def sidecar_path(flash_path: str | Path) -> str: ...
def parse_mac(text: str) -> bytes: ...
def format_mac(mac: bytes) -> str: ...

class EFuse:
    mac: bytes
    chip: str
    chip_revision: int
    secure_boot: int
    key_digests: list[bytes]
    revoked: list[bool]
    secure_version: int
    trusted_keys: list[bytes]
    def __init__(
        self,
        mac: bytes,
        chip: str = "esp32",
        chip_revision: int | None = None,
        secure_boot: int = 0,
        key_digests: Iterable[bytes] = (),
        revoked: Iterable[bool] = (),
        secure_version: int = 0,
        trusted_keys: Iterable[bytes] = (),
    ) -> None: ...
    @property
    def chip_id(self) -> int: ...
    @property
    def revoked_digests(self) -> list[bytes]: ...
    def raise_secure_version(self, value: int) -> None: ...
    def to_json(self) -> str: ...
    @classmethod
    def from_json(cls, text: str) -> Self: ...
    @classmethod
    def load(cls, flash_path: str | Path) -> Self: ...
    def save(self, flash_path: str | Path) -> None: ...
