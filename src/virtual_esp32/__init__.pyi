from .errors import FlashError as FlashError
from .errors import VirtualBoardError as VirtualBoardError

__all__ = ["FlashError", "VirtualBoardError"]
