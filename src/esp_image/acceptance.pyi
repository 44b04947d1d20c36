from .expected import ANY as ANY
from .expected import DIFFERENT as DIFFERENT
from .expected import NEWER as NEWER
from .expected import Expected as Expected
from .header import Descriptor, Header

def check(
    header: Header, descriptor: Descriptor, expected: Expected, content_length: int | None = None
) -> list[tuple[str, str]]: ...
def require(
    header: Header, descriptor: Descriptor, expected: Expected, content_length: int | None = None
) -> None: ...
def check_chip(
    header: Header, expected: Expected, bootloader: bool = False
) -> list[tuple[str, str]]: ...
def require_chip(header: Header, expected: Expected, bootloader: bool = False) -> None: ...
