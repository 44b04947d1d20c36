from .errors import ImageError as ImageError
from .errors import Refused as Refused
from .parser import ImageParser as ImageParser

__all__ = ["ImageError", "ImageParser", "Refused"]
