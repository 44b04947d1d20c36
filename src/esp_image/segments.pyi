SEGMENT_HEADER_BYTES: int
DESCRIPTOR_BYTES: int

class Segment:
    address: int
    size: int
    offset: int
    def __init__(self, address: int, size: int, offset: int) -> None: ...

def check_segment(segment: Segment, before: list[Segment], is_app: bool) -> None: ...
def check_mapping(
    segment: Segment, index: int, mapping: tuple[tuple[int, int], tuple[int, int], int], offset: int
) -> None: ...
