from collections.abc import Mapping
from typing import Any

def attribute(package: str, name: str, where: Mapping[str, str]) -> Any: ...
