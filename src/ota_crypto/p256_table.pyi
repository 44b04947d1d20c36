TEETH: int
SPACING: int
POINTS: bytes
