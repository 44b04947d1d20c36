_Buffer = bytes | bytearray | memoryview

MODE_NOT_INITIALIZED: int
MODE_NORMAL: int
MODE_DEBUG: int
MODE_RECOVERY: int

class InputValues:
    code_hash: bytes
    config_value: bytes
    config_descriptor: bytes | None
    code_descriptor: bytes
    authority_hash: bytes
    authority_descriptor: bytes
    mode: int
    hidden: bytes
    def __init__(
        self,
        code_hash: _Buffer = ...,
        config_value: _Buffer = ...,
        config_descriptor: _Buffer | None = None,
        code_descriptor: _Buffer = b"",
        authority_hash: _Buffer = ...,
        authority_descriptor: _Buffer = b"",
        mode: int = 0,
        hidden: _Buffer = ...,
    ) -> None: ...
    def configuration(self) -> bytes: ...
