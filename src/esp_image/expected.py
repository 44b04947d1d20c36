"""What a board takes, for `acceptance` to judge by: all that is held of it until an image comes."""

DIFFERENT = "different"
NEWER = "newer"
ANY = "any"


class Expected:
    """What a board takes.

    chip_id: as in image headers. chip_revision, efuse_block_revision: of this chip, major * 100 +
    minor, None leaves the range unchecked. secure_version_floor: no image below is taken under
    any policy. project_name: None takes every one. running: the running image's Descriptor, or
    None. max_bytes: the slot's size, None leaves the length unchecked.

    policy: `any`; `different`: another image than the running one, older allowed: its version,
    project name or ELF hash differs; `newer`: a higher version (`versions`), an unknown one on
    either side is refused. Without a running descriptor `different` takes everything.
    """

    def __init__(self, chip_id, chip_revision=None, efuse_block_revision=None,
                 secure_version_floor=0, project_name=None, policy=DIFFERENT, running=None,
                 max_bytes=None):  # fmt: skip
        if policy not in (DIFFERENT, NEWER, ANY):
            raise ValueError("policy %r: expected different, newer or any" % policy)
        self.chip_id = chip_id
        self.chip_revision = chip_revision
        self.efuse_block_revision = efuse_block_revision
        self.secure_version_floor = secure_version_floor
        self.project_name = project_name
        self.policy = policy
        self.running = running
        self.max_bytes = max_bytes
