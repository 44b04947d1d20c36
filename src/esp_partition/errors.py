"""What can be wrong with a partition table or with otadata."""


class PartitionError(Exception):
    """Root of this package's errors. `code` is stable, `message` gives expected and found."""

    def __init__(self, code, message):
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self):
        return self.message


class PartitionTableError(PartitionError):
    """A partition table, binary or CSV, that is not one."""


class OtadataError(PartitionError):
    """A change of otadata that its entries do not allow."""
