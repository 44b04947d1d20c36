SEGMENT_HEADER_BYTES: int

class Segment:
    address: int
    size: int
    offset: int
    def __init__(self, address: int, size: int, offset: int) -> None: ...

def check_segment(segment: Segment, before: list[Segment], is_app: bool) -> None: ...
def check_mapping(
    segment: Segment, index: int, chip_id: int, page_log2: int, offset: int
) -> None: ...
