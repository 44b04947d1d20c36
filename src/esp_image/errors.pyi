class ImageError(Exception):
    code: str
    message: str
    offset: int | None
    def __init__(self, code: str, message: str, offset: int | None = None) -> None: ...

class Refused(ImageError):
    failures: list[tuple[str, str]]
    def __init__(self, failures: list[tuple[str, str]]) -> None: ...
