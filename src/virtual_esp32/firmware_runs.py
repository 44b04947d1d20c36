"""From power-on to reset: the bootloader, then firmware made of what the component offers.

The firmware here is what an application of one's own comes to without its sockets: it looks back,
confirms itself or goes back, and updates from bytes at hand. All of it is the component's own code.
"""

import asyncio

from esp_image import acceptance
from esp_partition import table
from ota_crypto import sha256, steps
from ota_service import confirmation, secure_version
from ota_service.descriptor import read_descriptor
from ota_service.errors import OtaError
from ota_service.resumable import ResumableSession
from ota_service.session import Session
from ota_service.trust import find_trust_steps

from . import bootloader
from .board import VirtualBoard
from .compat import const
from .errors import VirtualBoardError
from .flash import NorFlash
from .recorded_runs import Recorder

_CLOCK = const(1717200000)  # 2024-06-01
_SELF_TEST_S = const(60)
_READ_BYTES = const(4096)

BOOT = "boot"
START = "start"
CONFIRM = "confirm"
UPDATE = "update"


class Plan:
    """What happens from power-on until the board resets, or has nothing more to do.

    name: the same for equal plans only. image: what to update to, None for no update. policy: as
    in acceptance.Expected. works: what the self-test finds. only_boots: the firmware crashes
    before it has done anything.
    """

    def __init__(self, name, image=None, policy=acceptance.DIFFERENT, works=True, only_boots=False):
        self.name = name
        self.image = image
        self.policy = policy
        self.works = works
        self.only_boots = only_boots


class Progress:
    """How far a run has come: what a power cut finds.

    stage: BOOT, START, CONFIRM or UPDATE. passed: whether the image in the spare slot has passed
    verification. strayed: what was written that nobody may write, None if nothing was.
    booted: label of the partition that runs, None if none does. confirmed: what
    confirmation.confirm said. updated: empty for done, else `code: message`; None without an
    update. crashed: the exception that ended the firmware.
    """

    def __init__(self):
        self.stage = BOOT
        self.passed = False
        self.strayed = None
        self.booted = None
        self.confirmed = None
        self.updated = None
        self.crashed = None


class Firmware:
    """What runs on the board. The proof of the proof replaces its methods by broken ones."""

    session = Session

    def start(self, board):
        """What an application does first."""
        secure_version.open_storage(board)
        confirmation.rollback_reason(board)

    def confirm(self, board, works):
        """What confirmation.confirm says."""
        if works:
            return _outcome(confirmation.confirm(board))
        return asyncio.run(confirmation.confirm(board, _fails, _SELF_TEST_S))

    def update(self, board, image, policy, progress):
        """One update, as ota_service.update does it; `image` comes from the network.

        Says in `progress` when the image has passed. Raises OtaError.
        """
        session = self.new_session(board, policy)
        try:
            self.transfer(session, image)
            steps.run(session.verify_steps())
            progress.passed = True
            session.switch(lambda: confirmation.boots_next(board, session.slot))
        except OtaError as error:
            session.fail(error)
            raise
        except OSError as error:
            failed = OtaError("internal", "%s: %s" % (type(error).__name__, error))
            session.fail(failed)
            raise failed
        board.reset()

    def new_session(self, board, policy):
        """As ota_service.update.Update makes one. Raises OtaError."""
        if confirmation.read_entries(board) is None:
            raise OtaError("no-otadata", "the partition table has no otadata")
        if confirmation.is_pending(board):
            raise OtaError("not-confirmed", "the running firmware has not confirmed itself yet")
        running = board.running_partition()
        try:
            slot = running.get_next_update()
        except OSError as error:
            raise OtaError("no-spare-slot", "the partition table has no OTA slots: %s" % error)
        if slot.info()[2] == running.info()[2]:
            raise OtaError("no-spare-slot", "the partition table has one slot only")
        trust = self.find_trust(board)
        descriptor = read_descriptor(running)
        expected = acceptance.Expected(
            chip_id=board.chip_id,
            chip_revision=board.chip_revision,
            secure_version_floor=secure_version.floor(board, descriptor),
            policy=policy,
            running=descriptor,
            max_bytes=slot.info()[3],
        )
        return self.make_session(board, slot, expected, trust)

    def find_trust(self, board):
        """A trust.Trust, found by reading the running slot."""

        def find():
            return steps.run(find_trust_steps(board, board.efuse.trusted_keys))

        recall = board.flash.recall
        return (
            find() if recall is None else recall("trust in " + board.decision.partition.label, find)
        )

    def make_session(self, board, slot, expected, trust):
        """The session of protocol 1."""
        return self.session(slot, expected, trust)

    def transfer(self, session, image):
        """One attempt, from its begin to the image's last byte."""
        session.begin_attempt()
        session.connected()
        self.receive(session, image)

    def receive(self, session, image):
        """The image as the network side hands it over."""
        view = memoryview(image)
        at = 0
        while at < len(view) and not session.is_whole:
            room = session.room()
            count = min(len(room), len(view) - at)
            room[:count] = view[at : at + count]
            session.take(count)
            at += count
        if not session.is_whole:
            session.end_of_stream()
        if at < len(view):
            raise OtaError("trailing-data", "%d bytes follow the image" % (len(view) - at))


class ResumingFirmware(Firmware):
    """Updates over protocol 2: goes on where a power cut has left it, if the image is the same.

    step_bytes: how much is written between two records of progress.
    """

    def __init__(self, step_bytes=ResumableSession.step_bytes):
        self._step_bytes = step_bytes

    def make_session(self, board, slot, expected, trust):
        session = ResumableSession(slot, expected, trust, board)
        session.step_bytes = self._step_bytes
        return session

    def transfer(self, session, image):
        session.begin_attempt()
        session.connected()
        steps.run(session.resume_steps())
        digest = sha256(image).digest()
        offset = session.received if session.digest == digest else 0
        session.announced(digest, offset, len(image))
        self.receive(session, memoryview(image)[offset:])
        session.end_of_body()


class Bench:
    """A board on the bench: powered again and again, from any state of its flash.

    content: the whole flash. efuse, rollback: as VirtualBoard. firmware: a Firmware.
    remembers: False executes every run anew (Recorder). Raises VirtualBoardError for a flash that
    has no partition table, or no otadata.
    """

    def __init__(self, content, efuse, rollback=True, firmware=None, remembers=True):
        self.efuse = efuse
        self.rollback = rollback
        self.recorder = Recorder(remembers)
        self._firmware = firmware or Firmware()
        flash = NorFlash(_Content(content))
        self.start = flash.snapshot()
        self.partitions = bootloader.read_partition_table(flash)
        self.otadata = bootloader.find_otadata(self.partitions)
        if self.otadata is None:
            raise VirtualBoardError("the partition table has no otadata: no updates on this board")
        self.apps = table.find(self.partitions, table.TYPE_APP)
        self._areas = [self.otadata] + table.find(
            self.partitions, table.TYPE_DATA, table.SUBTYPE_NVS
        )

    def partition(self, label):
        """The app partition of this label."""
        return next(app for app in self.apps if app.label == label)

    def spare(self, label):
        """Label of the slot that an update goes to while `label` runs; None if there is none
        (esp_ota_get_next_update_partition)."""
        labels = [slot.label for slot in table.ota_slots(self.partitions)]
        if not labels or labels == [label]:
            return None
        return labels[(labels.index(label) + 1) % len(labels) if label in labels else 0]

    def boot(self, start, fault=None, journal=None):
        """Power the board at the Snapshot `start`, and let it crash as soon as it has booted.

        Arguments and result as those of `run`.
        """
        return self.recorder.run(BOOT, start, self._boot, fault, journal)

    def run(self, plan, start, fault=None, journal=None):
        """Power the board at the Snapshot `start`.

        fault, journal: as Recorder.run. Returns a recorded_runs.Outcome: its result is a Progress,
        None after a power cut; notes of its operations are (stage, passed, strayed).
        """
        booted = self.boot(start, fault, journal)
        if plan.only_boots:
            return booted
        return self.run_on(plan, booted, fault, journal)

    def run_on(self, plan, booted, fault=None, journal=None):
        """What `run` does after `boot`, whose Outcome `booted` is."""
        if booted.is_cut or booted.result.booted is None:
            return booted
        label = booted.result.booted
        before = booted.operations

        def program(flash):
            return self._run_application(plan, label, flash)

        def later(number):
            return journal(len(before) + number)

        name = "%s in %s" % (plan.name, label)
        outcome = self.recorder.run(
            name,
            booted.flash.snapshot(),
            program,
            None if booted.flash.struck else fault,
            None if journal is None else later,
        )
        outcome.operations = before + outcome.operations
        return outcome

    def _boot(self, flash):
        progress = Progress()
        board = self._board(flash, progress)
        try:
            progress.booted = board.boot().partition.label
        except VirtualBoardError as error:
            progress.crashed = str(error)
        return progress

    def _run_application(self, plan, label, flash):
        """The bootloader hands over nothing but which partition runs."""
        progress = Progress()
        progress.booted = label
        board = self._board(flash, progress)
        board.partitions = self.partitions
        board.decision = bootloader.BootDecision(self.partition(label), "", [])
        try:
            self._run_firmware(plan, board, progress)
        except OtaError as error:
            progress.updated = "%s: %s" % (error.code, error.message)
        except Exception as error:
            progress.crashed = "%s: %s" % (type(error).__name__, error)
        return progress

    def _board(self, flash, progress):
        board = _StillBoard(flash, self.efuse, self.rollback, clock=_CLOCK)

        def note(what, offset):
            strayed = self._strayed(board, offset)
            progress.strayed = progress.strayed or strayed
            return (progress.stage, progress.passed, strayed)

        flash.note = note
        return board

    def _run_firmware(self, plan, board, progress):
        firmware = self._firmware
        progress.stage = START
        firmware.start(board)
        progress.stage = CONFIRM
        progress.confirmed = firmware.confirm(board, plan.works)
        if plan.image is None or board.reset_requested:
            return
        progress.stage = UPDATE
        firmware.update(board, plan.image, plan.policy, progress)
        progress.updated = ""

    def _strayed(self, board, offset):
        """What is wrong with an operation there, None if nothing is."""
        running = board.decision.partition if board.decision else None
        if running is not None and running.offset <= offset < running.end:
            return "the running slot was written, at 0x%x" % offset
        areas = self._areas
        if running is not None:
            areas = areas + [app for app in self.apps if app.subtype != table.SUBTYPE_FACTORY]
        for area in areas:
            if area.offset <= offset < area.end:
                return None
        return "0x%x was written, which is none of the updater's" % offset


class _Content:
    """A storage that is only read: the flash as it was given."""

    def __init__(self, content):
        self.content = content
        self.size = len(content)

    def read_into(self, offset, buffer):
        buffer[:] = self.content[offset : offset + len(buffer)]

    def write(self, offset, data):
        raise VirtualBoardError("the given flash is not written to")

    def close(self):
        pass


class _StillBoard(VirtualBoard):
    """A board whose clock stands still: nothing but flash tells one run from another."""

    def time(self):
        return _CLOCK


async def _fails():
    return False


def _outcome(coroutine):
    """What a coroutine returns that has nothing to wait for: no event loop for that."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("confirmation waits for something")
