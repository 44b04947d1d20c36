"""What Schemathesis sends where the admin API's document asks for a root certificate, and what it
does not send: characters of which versions of Unicode differ in whether they exist."""

import json
import unicodedata
from typing import Any

import schemathesis
from hypothesis import strategies

from dice_auth.admin_models import ROOT_FORMAT
from tests.dice_auth.boards import board

schemathesis.openapi.format(
    ROOT_FORMAT, strategies.integers(1, 50).map(lambda number: board(number).root_pem)
)


def _exists(value: Any) -> bool:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return all(unicodedata.category(character) != "Cn" for character in text)


@schemathesis.hook
def filter_body(context: schemathesis.HookContext, body: Any) -> bool:
    return _exists(body)


@schemathesis.hook
def filter_path_parameters(context: schemathesis.HookContext, path_parameters: Any) -> bool:
    return _exists(path_parameters)


@schemathesis.hook
def filter_query(context: schemathesis.HookContext, query: Any) -> bool:
    return _exists(query)
