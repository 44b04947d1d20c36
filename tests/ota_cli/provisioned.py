"""What `ota-service provision` leaves behind: files, their secrets, and where else those are."""

import asyncio
from pathlib import Path

from dice_auth.registry import BoardRecord
from dice_auth.registry_url import open_registry
from tests.dice_auth.redis_peer import RedisPeer
from tests.ota_service.test_secrets_in_output import forms
from tests.virtual_esp32.test_nvs_images import parse_image


def uds_of(image: Path) -> bytes:
    """The secret in an NVS image, read by the tests' own parser."""
    kind, uds = parse_image(image.read_bytes())["dice", "uds"]
    assert kind == "blob" and isinstance(uds, bytes) and len(uds) == 32
    return uds


def images(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*-nvs.bin"))


def holders(uds: bytes, *folders: Path) -> list[Path]:
    """Files in which the secret is, in whatever form, or whose names have it."""
    found = []
    for path in (each for folder in folders for each in folder.rglob("*")):
        content = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        if shows(uds, content):
            found.append(path)
    return found


def shows(uds: bytes, output: bytes | str) -> bool:
    """Whether the secret is in an output, in whatever form."""
    content = output.encode() if isinstance(output, str) else output
    return any(form in content for form in forms(uds))


def redis_content(peer: RedisPeer) -> bytes:
    """All that a Redis holds, uncompressed."""
    peer.run("CONFIG", "SET", "rdbcompression", "no")
    found = []
    for database in range(3):
        keys = peer.run("KEYS", "*", database=database)
        assert isinstance(keys, list)
        found += [key + bytes(peer.run("DUMP", key, database=database)) for key in keys]
    return b"".join(found)


def enrolled(url: str) -> dict[str, BoardRecord]:
    """The boards of a registry by id."""

    async def read() -> dict[str, BoardRecord]:
        async with open_registry(url) as registry:
            return {record.board_id: record async for record in registry.boards()}

    return asyncio.run(read())
