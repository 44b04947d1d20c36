"""What tests with a real registry share: firmware, a puller that is filled, an agent that pulls."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ota_agent.errors import PullError
from ota_agent.oci_puller import Puller
from ota_agent.oci_reference import parse_reference
from tests.ota_agent.attested_scene import AttestedScene, attested_scene
from tests.ota_agent.images import app
from tests.ota_agent.pulling import contents

THERMO, LAMP = app("2.0.0", "thermo"), app("1.0.0", "lamp", "esp32s3")
NEWER, OLDER = app("3.0.0"), app("1.0.0")


def agent_of(tmp_path: Path, reference: str, **changes: Any) -> Any:
    settings = {"cache": tmp_path / "cache", "oci_interval_s": 600.0, **changes}
    return attested_scene(tmp_path, firmware=parse_reference(reference), **settings)


def filled(puller: Puller) -> list[bytes]:
    try:
        asyncio.run(puller.fill())
    finally:
        puller.close()
    return contents(puller)


def refusal(puller: Puller) -> str:
    with pytest.raises(PullError) as raised:
        filled(puller)
    assert "\n" not in str(raised.value)
    return str(raised.value)


async def next_pull(here: AttestedScene, event: str = "firmware-pulled") -> dict[str, Any]:
    while True:
        line = await here.agent.next_event()
        if line["event"] == event:
            return line
