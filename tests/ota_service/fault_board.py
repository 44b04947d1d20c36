"""Virtual boards for the tests of failures, in a process of their own on CPython or MicroPython.

Reads one command a line from stdin, a JSON object whose `do` names a function below, and answers
with one line of JSON. A command gets a board with fresh flash unless it says `keep`. Beside the
update runs "the application", which counts its own ticks.
"""

import asyncio
import hashlib
import json
import os
import random
import sys
from binascii import hexlify, unhexlify

from ota_service import OtaService
from ota_service.config import Config
from ota_service.descriptor import read_descriptor
from ota_service.errors import BadRequest, OtaError
from ota_service.request import parse_update_request
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.errors import VirtualBoardError
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.flash_faults import Fault, FaultyFlash
from virtual_esp32.manufacture import flash_content

FLASH_BYTES = 0x60000
_MAC = b"\x24\x0a\xc4\x00\x00\x01"
_CHIP = "esp32c6"
_NVS = (0x9000, 0x4000)
_OTADATA = (0xD000, 0xE000)
_SECTOR = 4096
_PATIENCE_S = 20

_manufactured = {}
_identities = {}
_kept = []


class Application:
    """What runs on the board beside its update, and the hooks that hear of it.

    script: `[event, how, network_up]` in the order they have to happen; `how` is the number of
    bytes for `received`, else the how-manieth of these events.
    """

    def __init__(self, board, script=()):
        self.ticks = 0
        self.events = []
        self.received = []
        self._board = board
        self._script = list(script)

    async def run(self):
        while True:
            self.ticks += 1
            await asyncio.sleep(0.001)

    async def is_alive(self):
        """Whether it goes on ticking."""
        wanted = self.ticks + 3
        try:
            await asyncio.wait_for(self._reach(wanted), _PATIENCE_S)
        except TimeoutError:
            return False
        return True

    async def _reach(self, ticks):
        while self.ticks < ticks:
            await asyncio.sleep(0.001)

    def on_event(self, name, detail):
        self.events.append([name, detail])
        count = len([event for event in self.events if event[0] == name])
        self._play(name, count)

    def on_progress(self, received, total):
        self.received.append(received)
        self._play("received", received)

    def _play(self, name, how):
        if self._script and self._script[0][0] == name and self._script[0][1] <= how:
            self._board.network_up = self._script.pop(0)[2]


def _new_board(command):
    """A board as it comes from the factory, its application started once."""
    if command.get("keep") and _kept:
        return _kept[0]
    path, uds = command["image"], command.get("uds")
    efuse = EFuse(_MAC, chip=_CHIP, **command.get("efuse", {}))
    if (path, uds) not in _manufactured:
        with open(path, "rb") as file:
            content = flash_content(FLASH_BYTES, file.read())
        first = VirtualBoard(NorFlash(MemoryStorage(content)), efuse)
        first.boot()
        if uds is not None:
            first.nvs("dice").set_blob("uds", unhexlify(uds))
        OtaService(first, {"identity": "provisioned"} if uds else None)
        _manufactured[path, uds] = first.flash.snapshot()
    board = VirtualBoard(FaultyFlash.from_snapshot(_manufactured[path, uds]), efuse)
    board.boot()
    _kept[:] = [board]
    return board


def _digest(*pieces):
    whole = hashlib.sha256()
    for piece in pieces:
        whole.update(piece)
    return hexlify(whole.digest()).decode()


def _look(board):
    """Digests of the flash: of the spare slot, each sector of otadata, and all the rest."""
    flash = board.flash
    _, _, start, size, _, _ = board.running_partition().get_next_update().info()
    after_otadata = _OTADATA[1] + _SECTOR
    return {
        "outside": _digest(
            flash.read(0, _NVS[0]),
            flash.read(after_otadata, start - after_otadata),
            flash.read(start + size, FLASH_BYTES - start - size),
        ),
        "nvs": _digest(flash.read(*_NVS)),
        "otadata": [_digest(flash.read(sector, _SECTOR)) for sector in _OTADATA],
        "spare": _digest(flash.read(start, size)),
        "first": hexlify(flash.read(start, 16)).decode(),
    }


def _boots(board, erased=()):
    """What boots if power is cut now, and these sectors are gone too; None if nothing does."""
    flash = NorFlash.from_snapshot(board.flash.snapshot())
    for offset in erased:
        flash.erase_sector(offset // _SECTOR)
    try:
        return VirtualBoard(flash, board.efuse).boot().partition.label
    except VirtualBoardError:
        return None


def _open_files():
    return len(os.listdir("/proc/self/fd"))


async def _run_update(service, agent):
    """One update to its end; how it ended."""
    raised, is_ota_error, may_retry = None, False, False
    try:
        await service.ota_service_begin(agent)
    except OtaError as error:
        raised, is_ota_error, may_retry = error.code, True, error.may_retry
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
    await asyncio.sleep(0)
    return {
        "raised": raised,
        "is_ota_error": is_ota_error,
        "may_retry": may_retry,
        "status": json.loads(service.ota_status_handler(None)[0]),
        "reset": service.board.reset_requested,
    }


async def update(command):
    """One update.

    image: the old firmware's file. agent, settings: as for OtaService. efuse: of EFuse. network:
    Application's script; `start` comes before the update. fault: `[operation, kind]`, counted from
    the update's first. trace: tell each flash operation. then: `agent`, `settings` and `bytes` of
    an update that follows on the same board and service, whose firmware is booted and confirmed.
    uds: hex; the board was provisioned with it. cut: the power goes before this operation of the
    update: whatever came after it is undone, and a command that says `keep` finds the board booted
    from there.
    """
    board = _new_board(command)
    application = Application(board, command.get("network", ()))
    alive = asyncio.create_task(application.run())
    service = OtaService(
        board,
        command["settings"],
        on_progress=application.on_progress,
        on_event=application.on_event,
    )
    # Every board of this firmware has the same one, and it takes longer than all the rest.
    who = command["image"], command.get("uds"), service.config.protocol
    service._certificate, service.identity = _identities.get(who, (None, None))
    before, files = _look(board), _open_files()
    flash = board.flash
    operations = []
    cut = []
    if command.get("trace") or "cut" in command:

        def note(flash, what, offset, data):
            if len(operations) == command.get("cut"):
                cut.append(flash.snapshot())
            operations.append([what, offset, len(data or "")])

        flash.on_operation = note
    if "fault" in command:
        operation, kind = command["fault"]
        flash.arm(Fault(command.get("seed", 1), flash.operations + operation, kind))
    application.on_event("start", "")
    ticks = application.ticks
    answer = await _run_update(service, command["agent"])
    answer["ticks"] = application.ticks - ticks
    _identities[who] = service._certificate, service.identity
    answer["alive"] = await application.is_alive()
    answer["left_open"] = _open_files() - files
    answer["before"], answer["after"] = before, _look(board)
    running = board.running_partition().info()[2]
    answer["boots"] = _boots(board)
    answer["spare_boots"] = _boots(board, (_OTADATA[0], _OTADATA[1], running)) is not None
    answer["events"] = list(application.events)
    answer["received"] = list(application.received)
    answer["struck"] = flash.struck
    answer["operations"] = operations
    flash.on_operation = None
    flash.arm(None)
    if "then" in command:
        answer["then"] = await _update_again(service, command["then"])
    await service.end()
    if cut:
        board = _kept[0] = VirtualBoard(FaultyFlash.from_snapshot(cut[0]), board.efuse)
        answer["cut"] = {"boots": board.boot().partition.label, "found": _look(board)}
    elif "cut" in command:
        answer["cut"] = None
    alive.cancel()
    return answer


async def _update_again(service, command):
    board = service.board
    board.network_up = True
    service.config = Config(command["settings"])
    answer = await _run_update(service, command["agent"])
    _, _, start, _, _, _ = board.running_partition().get_next_update().info()
    answer["spare"] = _digest(board.flash.read(start, command["bytes"]))
    answer["boots"] = board.boot().partition.label
    answer["version"] = read_descriptor(board.running_partition()).version
    answer["confirmed"] = await OtaService(board).confirm()
    answer["boots_again"] = board.boot().partition.label
    return answer


async def serve(command):
    """Serve the endpoints on `port` until POST /stop; says `ready` first, on a line of its own.

    GET /ticks: how often the application has ticked.
    """
    import esp32_akri

    board = _new_board(command)
    application = Application(board)
    alive = asyncio.create_task(application.run())
    service = OtaService(board, command["settings"], on_event=application.on_event)
    before = _look(board)
    stopped = asyncio.Event()

    def stop(req):
        yield "stopping"
        stopped.set()  # asked for when the text has gone out

    server = esp32_akri.AkriServer()
    server.set_update_handler(
        service.ota_request_handler, service.ota_status_handler, service.ota_cancel_handler
    )
    server.set_handler_generic("/ticks", "GET", lambda req: str(application.ticks))
    server.set_handler_generic("/stop", "POST", lambda req: (stop(req), 200))
    server.start("127.0.0.1", command["port"])
    await server.started()
    _say({"ready": True})
    await stopped.wait()
    answer = {
        "before": before,
        "after": _look(board),
        "boots": _boots(board),
        "events": application.events,
    }
    await service.end()
    await server.end()
    alive.cancel()
    return answer


class _Request:
    def __init__(self, body, content_type):
        self.body = body
        self.headers = {"Content-Type": content_type} if content_type else {}


async def bodies(command):
    """What the handler answers to each of `bodies`, `[hex, content type or null]`."""
    service = OtaService(_new_board(command), command["settings"])
    answers = []
    for body, content_type in command["bodies"]:
        answers.append(await _post(service, unhexlify(body), content_type))
    return {"answers": answers, "status": json.loads(service.ota_status_handler(None)[0])}


async def _post(service, body, content_type):
    """[status, text] of the handler's answer; an update that it starts is cancelled."""
    text, status, _ = service.ota_request_handler(_Request(body, content_type))
    if status != 200:
        return [status, text]
    # The first piece only: the update starts behind the last.
    text = next(text)
    service.ota_cancel_handler(_Request(b"", None))
    while service.is_updating:
        await asyncio.sleep(0)
    return [status, text]


async def random_bodies(command):
    """Post `count` random bodies from `seed` on: how many had which status, and the first that
    came out otherwise than it may."""
    service = OtaService(_new_board(command), command["settings"])
    random.seed(command["seed"])
    counts = {}
    for _ in range(command["count"]):
        body, content_type = _random_body()
        try:
            parsed, refused = parse_update_request(body, content_type), None
        except BadRequest as error:
            parsed, refused = None, error
        status, text = await _post(service, body, content_type)
        counts[str(status)] = counts.get(str(status), 0) + 1
        expected = refused.status if refused else 200
        one_line = text.endswith("\n") and len(text.split("\n")) == 2 and len(text) > 10
        if status != expected or not one_line or bool(parsed) != (status == 200):
            return {"wrong": [hexlify(body).decode(), content_type, status, text]}
    return {"wrong": None, "counts": counts}


_STARTS = (
    b"ip: 192.168.1.2",
    b"ip: 10.0.0.1:4433\n",
    b"ip: 1.2.3.4\r\n",
    b'{"agent": "agent.example.org:4433"}',
    b'{"agent": "10.0.0.1"}',
    b'{"agent": [[{"a": 1}], null]}',
)
_TYPES = (None, "text/plain", "application/json", "application/json; charset=utf-8", "\xff;;")


def _random_body():
    """Nothing but noise, or what is right with up to four bytes changed, added or gone."""
    content_type = _TYPES[random.getrandbits(8) % len(_TYPES)]
    if random.getrandbits(2) == 0:
        size = random.getrandbits(9)
        return bytes([random.getrandbits(8) for _ in range(size)]), content_type
    body = bytearray(_STARTS[random.getrandbits(8) % len(_STARTS)])
    for _ in range(random.getrandbits(8) % 5):
        at = random.getrandbits(8) % (len(body) or 1)
        what = random.getrandbits(2)
        if what == 0:
            body[at : at + 1] = b""
        elif what == 1:
            body[at:at] = b'0123456789.:- \n\x00{}"['[random.getrandbits(4) :][:1]
        elif body:
            body[at] = random.getrandbits(8)
    return bytes(body), content_type


def _say(answer):
    sys.stdout.write(json.dumps(answer) + "\n")


def main():
    commands = {
        "update": update,
        "serve": serve,
        "bodies": bodies,
        "random_bodies": random_bodies,
    }
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        command = json.loads(line)
        _say(asyncio.run(commands[command["do"]](command)))
        if hasattr(asyncio, "new_event_loop") and sys.implementation.name == "micropython":
            asyncio.new_event_loop()


main()
