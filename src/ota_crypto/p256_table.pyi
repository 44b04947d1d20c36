TEETH: int
SPACING: int
POINTS: tuple[bytes, ...]
