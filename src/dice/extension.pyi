from collections.abc import Sequence
from typing import Any

class DiceExtension:
    code_hash: bytes | None
    code_descriptor: bytes | None
    configuration_hash: bytes | None
    configuration_value: bytes | None
    authority_hash: bytes | None
    authority_descriptor: bytes | None
    mode: int | None
    profile_name: bytes | None
    def __init__(self, fields: Sequence[Any]) -> None: ...

def decode(value: bytes) -> DiceExtension: ...
