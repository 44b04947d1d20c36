from .header import Descriptor

DIFFERENT: str
NEWER: str
ANY: str

class Expected:
    chip_id: int
    chip_revision: int | None
    efuse_block_revision: int | None
    secure_version_floor: int
    project_name: str | None
    policy: str
    running: Descriptor | None
    max_bytes: int | None
    def __init__(
        self,
        chip_id: int,
        chip_revision: int | None = None,
        efuse_block_revision: int | None = None,
        secure_version_floor: int = 0,
        project_name: str | None = None,
        policy: str = ...,
        running: Descriptor | None = None,
        max_bytes: int | None = None,
    ) -> None: ...
