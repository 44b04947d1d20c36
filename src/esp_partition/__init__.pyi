from .errors import OtadataError as OtadataError
from .errors import PartitionError as PartitionError
from .errors import PartitionTableError as PartitionTableError

__all__ = ["OtadataError", "PartitionError", "PartitionTableError"]
