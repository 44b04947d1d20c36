from collections.abc import Mapping
from typing import Any

class Config:
    identity: str
    protocol: int
    require_attestation: bool
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
    deadline_s: float
    self_test_s: float
    ntp_host: str | None
    ntp_s: float
    allowed_agents: list[str | tuple[int, int]]
    trigger_key: bytes | None
    pause_after: int
    pause_s: float
    insecure: bool
    insecure_port: int
    def __init__(self, settings: Mapping[str, Any] | str | None = None) -> None: ...

def read_json(path: str) -> dict[str, Any]: ...
