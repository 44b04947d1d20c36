from collections.abc import Mapping
from typing import Any

from .errors import OtaError
from .http_response import Response

def is_problem(response: Response) -> bool: ...
def from_response(response: Response, problem: Mapping[str, Any]) -> OtaError: ...
