from esp_image.header import Descriptor

from .service import _Partition

def read_descriptor(partition: _Partition) -> Descriptor | None: ...
