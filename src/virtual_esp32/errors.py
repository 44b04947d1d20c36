"""What can go wrong with a virtual board, apart from what the firmware on it does."""


class VirtualBoardError(Exception):
    """The flash file or its sidecar cannot be used; the text says what was expected and found."""


class FlashError(VirtualBoardError):
    """An operation real NOR flash would not do, or would do wrongly: a bug of the caller."""
