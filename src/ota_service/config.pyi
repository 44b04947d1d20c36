from collections.abc import Mapping
from typing import Any

class Config:
    agent_ca: list[bytes]
    agent_name: str
    agent_port: int
    trusted_keys: list[bytes]
    project: str | None
    policy: str
    allow_unsigned: bool
    attempts: int
    retry_delay_s: float
    connect_s: float
    first_byte_s: float
    read_s: float
    self_test_s: float
    def __init__(self, settings: Mapping[str, Any] | None = None) -> None: ...
