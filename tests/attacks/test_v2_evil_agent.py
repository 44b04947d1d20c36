"""The agent itself is evil, or was taken over: over protocol 2 it lies about what it sends, or
sends what must not be installed, from the start or from where a transfer was lost."""

from typing import Any

import pytest

from tests import world
from tests.esp_image import signing
from tests.ota_service.attested_agents import (
    Reply,
    attest,
    attesting,
    digests,
    ranged,
    response,
    whole,
)
from tests.ota_service.board_process import BoardProcess, require_refused, require_updated

OLD = world.app("1.0.0")
NEW = world.app("2.0.0")
EVIL = world.app("6.6.6", "stranger")
UNSIGNED = world.app("6.6.6", None)
LOST_AT = 30_000
SLOT_BYTES = 0x20000


def says(status: str, body: bytes, length: int | None = None, **headers: str) -> Reply:
    return lambda request: response(status, body, length, **headers)


def ok(body: bytes, length: int | None = None, **headers: str) -> Reply:
    return says("200 OK", body, length, **headers)


NAMES = digests(NEW)
LIES: dict[str, tuple[Reply, str]] = {
    "a digest that is not the image's": (ok(NEW, **digests(EVIL)), "wrong-digest"),
    "an ETag and a digest that differ": (
        ok(NEW, ETag=NAMES["ETag"], Repr_Digest=digests(EVIL)["Repr_Digest"]),
        "bad-answer",
    ),
    "no digest": (ok(NEW, ETag=NAMES["ETag"]), "bad-answer"),
    "no ETag": (ok(NEW, Repr_Digest=NAMES["Repr_Digest"]), "bad-answer"),
    "a weak ETag": (
        ok(NEW, ETag="W/" + NAMES["ETag"], Repr_Digest=NAMES["Repr_Digest"]),
        "bad-answer",
    ),
    "a digest of another kind": (
        ok(NEW, ETag=NAMES["ETag"], Repr_Digest=NAMES["Repr_Digest"].replace("256", "512")),
        "bad-answer",
    ),
    "a digest that is no base64": (
        ok(NEW, ETag=NAMES["ETag"], Repr_Digest="sha-256=:!!!!:"),
        "bad-answer",
    ),
    "a length that is too short": (ok(NEW[:-4096], **NAMES), "wrong-length"),
    "a length that is too long": (ok(NEW + NEW[:4096], **NAMES), "trailing-data"),
    "a length beyond the slot": (ok(NEW, SLOT_BYTES + 1, **NAMES), "too-large"),
    "a length of nothing": (ok(b"", **NAMES), "wrong-length"),
    "half an image, well named": (whole(NEW[: len(NEW) // 2]), "wrong-length"),
    "a range that was not asked for": (
        says("206 Partial Content", NEW[5:], Content_Range=f"bytes 5-{len(NEW) - 1}/{len(NEW)}",
             **NAMES),
        "bad-answer",
    ),
    "a range from 0 that was not asked for": (
        says("206 Partial Content", NEW, Content_Range=f"bytes 0-{len(NEW) - 1}/{len(NEW)}",
             **NAMES),
        "bad-answer",
    ),
}  # fmt: skip
MUST_NOT_BE_INSTALLED: dict[str, tuple[bytes, str]] = {
    "signed by himself": (EVIL, "key-untrusted"),
    "not signed": (signing.pad(UNSIGNED) + b"\xff" * 4096, "unsigned"),
    "with a signature taken from other firmware": (
        signing.pad(UNSIGNED) + NEW[-4096:],
        "digest-mismatch",
    ),
    "that plants a key behind the owner's": (
        signing.sign(UNSIGNED, world.key("owner"), world.key("stranger")),
        "extra-block",
    ),
    "for another chip": (world.app("2.0.0", chip="esp32h2"), "chip-mismatch"),
    "that runs already": (OLD, "same-image"),
}


def require_nothing_won(board: BoardProcess, script: list[Reply], code: str, **options: Any) -> Any:
    """The update is refused with this code, the old firmware boots whatever is asked of the
    bootloader, and the next update, from a good agent, takes the whole image."""
    with attesting(script) as (_, agent), attesting(ranged(NEW)) as (good_script, good):
        answer = attest(board, OLD, agent.address, good=(good.address, NEW), **options)
        assert agent.connections == len(script)
    require_refused(answer, code)
    assert answer["boots"] == "ota_0"
    require_updated(answer, NEW)
    return answer, good_script


@pytest.mark.parametrize("what", LIES)
def test_with(what: str, board: BoardProcess) -> None:
    reply, code = LIES[what]
    answer, good = require_nothing_won(board, [reply], code)
    if code == "bad-answer":
        assert answer["after"] == answer["before"]
    assert good.ranges == [None]


@pytest.mark.parametrize("what", MUST_NOT_BE_INSTALLED)
def test_with_firmware(what: str, board: BoardProcess) -> None:
    image, code = MUST_NOT_BE_INSTALLED[what]
    _, good = require_nothing_won(board, [whole(image)], code)
    assert good.ranges == [None]


def rest(start: int = LOST_AT, image: bytes = NEW, total: int | None = None, **names: str) -> Reply:
    """206 from `start`, as it calls itself."""
    end = len(image) if total is None else total
    fields = {**NAMES, "Content_Range": f"bytes {start}-{end - 1}/{end}", **names}
    return says("206 Partial Content", image[start:end], **fields)


def swapped(image: bytes) -> bytes:
    """The same bytes in another order, so that every checksum that only adds is the same."""
    at = next(at for at in range(LOST_AT, len(image)) if image[at] != image[at + 1])
    return image[:at] + image[at + 1 : at + 2] + image[at : at + 1] + image[at + 2 :]


RESUMED_LIES: dict[str, tuple[Reply, str]] = {
    "bytes in another order": (rest(image=swapped(NEW)), "wrong-digest"),
    "bytes of other firmware": (rest(image=world.app("3.0.0")), "checksum"),
    "bytes of his own firmware": (rest(image=EVIL), "checksum"),
    "the signature of another": (rest(image=NEW[:-4096] + EVIL[-4096:]), "wrong-digest"),
    "a later range": (rest(start=LOST_AT + 1), "bad-answer"),
    "an earlier range": (rest(start=LOST_AT - 1), "bad-answer"),
    "a range of another length": (
        rest(Content_Range=f"bytes {LOST_AT}-{len(NEW)}/{len(NEW) + 1}"),
        "bad-answer",
    ),
    "a range that ends early": (
        rest(Content_Range=f"bytes {LOST_AT}-{len(NEW) - 2}/{len(NEW)}"),
        "bad-answer",
    ),
    "a shorter rest": (rest(total=len(NEW) - 4096), "wrong-length"),
    "a range of unknown length": (
        rest(Content_Range=f"bytes {LOST_AT}-{len(NEW) - 1}/*"),
        "bad-answer",
    ),
    "no range": (rest(Content_Range=""), "bad-answer"),
    "another image's name": (rest(**digests(EVIL)), "bad-answer"),
}


@pytest.mark.parametrize("what", RESUMED_LIES)
def test_from_where_a_transfer_was_lost_with(what: str, board: BoardProcess) -> None:
    reply, code = RESUMED_LIES[what]
    script = [ranged(NEW, LOST_AT), reply]
    answer, good = require_nothing_won(board, script, code, attempts=2)
    assert answer["status"]["attempt"] == 2
    assert good.ranges == [None]


def test_with_the_rest_of_his_own_firmware_behind_a_genuine_beginning(
    board: BoardProcess,
) -> None:
    """Named from the start as what it is; digest and length are right, the signature is not."""
    mixed = NEW[:LOST_AT] + EVIL[LOST_AT:]
    script = [ranged(mixed, LOST_AT), ranged(mixed)]
    require_nothing_won(board, script, "checksum", attempts=2)
