"""The proof that power cuts cannot brick a board: one board's life, cut everywhere.

The life of an update is run once, uncut, and every flash operation of it is kept with a snapshot
before it. Then each operation is struck by each kind of fault, from its snapshot, and the flash
that is left is judged. Not here: telling anybody (`ota-service board powercut`).
"""

from binascii import crc32

from esp_image import ImageError, ImageParser, signature_block

from .errors import VirtualBoardError
from .firmware_runs import CONFIRM, UPDATE, Bench, Plan
from .flash import SECTOR_BYTES
from .flash_faults import Fault, FaultyFlash, PowerCut
from .power_cut_choice import QUIET, Choice, second_kind
from .power_cut_verdict import Expectation, Judge


class ProofError(VirtualBoardError):
    """There is nothing to prove: the update does not even work with the power on."""


class Phase:
    """From one power-on to the end of its run, uncut.

    name: for people. start: Snapshot. first: number of its first operation in the whole life.
    operations: its recorded_runs.Operations. result: a firmware_runs.Progress. end: Snapshot.
    boots_afterwards: label. last_otadata: index of its last operation on otadata, -1 for none.
    strayed: index of the first operation where nobody may write, None if there is none.
    """

    def __init__(self, name, plan, start, first, outcome, roles):
        self.name = name
        self.plan = plan
        self.start = start
        self.first = first
        self.operations = outcome.operations
        self.result = outcome.result
        self.end = outcome.flash.snapshot()
        self.roles = roles
        self.boots_afterwards = None
        self.last_otadata = -1
        self.strayed = None


class Roles:
    """Who is who in an update: old and new are (label, bytes)."""

    def __init__(self, old, new):
        self.old, self.old_image = old
        self.new, self.new_image = new


class Proof:
    """Every power cut of one board's updates.

    content: the flash, bytes; it is not changed. efuse, rollback: as VirtualBoard. image: the new
    firmware. firmware: a firmware_runs.Firmware, to prove that a broken one is found out. seed:
    for what is left to chance. remembers: False executes every run of firmware anew.
    Raises ProofError where the update does not work uncut, VirtualBoardError for a flash that
    nothing boots from.
    """

    def __init__(self, content, efuse, image, rollback=True, firmware=None, seed=1, remembers=True):
        self.seed = seed
        self.bench = Bench(content, efuse, rollback, firmware, remembers)
        self.phases = []
        self._judge = Judge(self.bench, image)
        self._image = image
        self._last_first = (None, None)
        after = self._add_life("", self.bench.start, "different", refused=True)
        # Once more from there: the firmware runs in another slot, and the spare one is not empty.
        self._add_life("second ", after, "any", refused=False)

    @property
    def operations(self):
        """Flash operations of the whole life."""
        last = self.phases[-1]
        return last.first + len(last.operations)

    def _add_life(self, name, start, policy, refused):
        """The phases of one update: itself, its confirmation, its rollbacks, its refusal."""
        bench, image = self.bench, self._image
        roles = self._roles(start)
        update = self._add(
            name + "update", Plan("update, %s" % policy, image, policy), start, roles
        )
        self._require_done(update, roles)
        stay = Plan("stay")
        confirmed = self._add(name + "confirmation", stay, update.end, roles)
        if bench.rollback:
            crash = self._add(name + "crash", Plan("boot", only_boots=True), update.end, roles)
            self._add(name + "rollback", stay, crash.end, roles)
            failing = Plan("self-test fails", works=False)
            failed = self._add(name + "failing self-test", failing, update.end, roles)
            self._add(name + "rollback after it", stay, failed.end, roles)
        if refused:
            bad = with_wrong_signature(image)
            self._add(name + "refused update", Plan("refused", bad, "any"), start, roles)
        return confirmed.end

    def _roles(self, start):
        bench = self.bench
        booted = bench.boot(start).result
        if booted.booted is None:
            raise VirtualBoardError(booted.crashed)
        spare = bench.spare(booted.booted)
        if spare is None:
            raise ProofError("the partition table has no slot beside the running one")
        old = self._image_in(start, bench.partition(booted.booted))
        return Roles((booted.booted, old), (spare, self._image))

    def _image_in(self, state, partition):
        """The bytes of the image that a partition holds, its signature included."""
        flash = FaultyFlash.from_snapshot(state)
        for signed in (True, False):
            parser = ImageParser(signed, partition.size, ignore_rest=True)
            try:
                for offset in range(0, partition.size, SECTOR_BYTES):
                    parser.feed(flash.read(partition.offset + offset, SECTOR_BYTES))
                    if parser.is_complete:
                        break
                parser.close()
            except ImageError:
                continue
            return bytes(flash.read(partition.offset, parser.total_bytes))
        raise VirtualBoardError("%s holds no image" % partition.label)

    def _add(self, name, plan, start, roles):
        first = self.operations if self.phases else 0
        outcome = self.bench.run(plan, start, journal=_each)
        phase = Phase(name, plan, start, first, outcome, roles)
        for index, operation in enumerate(phase.operations):
            if self._is_otadata(operation.offset):
                phase.last_otadata = index
            if operation.note[2] and phase.strayed is None:
                phase.strayed = index
        phase.boots_afterwards = self.bench.boot(phase.end).result.booted
        self.phases.append(phase)
        return phase

    def _require_done(self, phase, roles):
        result = phase.result
        if result.crashed or result.updated != "":
            raise ProofError(result.crashed or result.updated)
        if phase.boots_afterwards != roles.new:
            raise ProofError("after the update %s boots" % phase.boots_afterwards)

    def cuts(self, depth):
        """Every Cut of this Depth, one after the other."""
        choice = Choice(depth, self.seed, self._is_app)
        longest = len(self.phases[0].operations) + len(self.phases[1].operations)
        for phase in self.phases:
            for index, operation in enumerate(phase.operations):
                for cut in choice.cuts(phase.first + index, operation, longest):
                    yield cut

    def _is_app(self, offset):
        return any(app.offset <= offset < app.end for app in self.bench.apps)

    def phase_of(self, operation):
        """The Phase of an operation's number. Raises ValueError if there is none."""
        for phase in self.phases:
            if 0 <= operation - phase.first < len(phase.operations):
                return phase
        raise ValueError("operation %d: there are %d" % (operation, self.operations))

    def judge(self, cut):
        """The Verdict after a Cut; None if there is no such second operation.

        Raises ValueError for an operation that there is not, or a kind that does not fit it.
        """
        state, expected = self._first_cut(cut)
        if cut.second is not None:
            found = self._second_cut(cut, state, expected)
            if found is None:
                return None
            state, expected = found
        return self._judge.judge(state, expected)

    def replay(self, cut):
        """The flash after a single Cut as a Snapshot, from the start of its phase and with the
        fault armed: what `judge` finds without running everything before it."""
        phase = self.phase_of(cut.operation)
        operation = phase.operations[cut.operation - phase.first]
        fault = Fault(cut.seed, operation.before.operations, cut.kind)
        outcome = self.bench.run(phase.plan, phase.start, fault)
        outcome.flash.power_on()
        return outcome.flash.snapshot()

    def flash_of(self, state):
        """The whole content of a Snapshot, bytes."""
        return bytes(FaultyFlash.from_snapshot(state).read(0, state.size))

    def _first_cut(self, cut):
        phase = self.phase_of(cut.operation)
        index = cut.operation - phase.first
        operation = phase.operations[index]
        fault = Fault(cut.seed, operation.before.operations, cut.kind)
        expected = self._expectation(phase, index, fault)
        if fault.name in QUIET:
            return self._quiet(phase, fault, expected)
        return struck(operation, fault), expected

    def _expectation(self, phase, index, fault):
        """What may be after this operation of a phase is struck."""
        roles = phase.roles
        operation = phase.operations[index]
        stage, passed, _ = operation.note
        expected = Expectation(
            {roles.old: roles.old_image, roles.new: roles.new_image}, roles.new, roles.old
        )
        if phase.plan.image is not None and not passed:
            expected.images = {roles.old: roles.old_image}
            expected.unverified = roles.new if stage == UPDATE else None
            expected.resident = not self._has_slot_operations(phase, index, fault)
        expected.confirming = stage == CONFIRM
        expected.torn = self._is_otadata(operation.offset)
        after = fault.name == "cut-after"
        if fault.name not in QUIET:
            last = phase.last_otadata
            if index > last or (index == last and after):
                expected.must = phase.boots_afterwards
        if phase.strayed is not None and index + (fault.name != "cut-before") > phase.strayed:
            expected.strayed = phase.operations[phase.strayed].note[2]
        return expected

    def _has_slot_operations(self, phase, index, fault):
        """Whether an operation on the spare slot is over."""
        for at in range(index + (fault.name == "cut-after")):
            if self._is_app(phase.operations[at].offset):
                return True
        return False

    def _quiet(self, phase, fault, expected):
        """A fault that cuts nothing: the firmware goes on, and the power goes when it is done."""
        outcome = self.bench.run(phase.plan, phase.start, fault)
        result = outcome.result
        if phase.plan.image is not None:
            roles = phase.roles
            expected.images = {roles.old: roles.old_image}
            if result.passed:
                expected.images[roles.new] = roles.new_image
            expected.unverified = None if result.passed or result.updated is None else roles.new
            expected.resident = False
        expected.confirming = result.confirmed == "confirmed"
        expected.strayed = result.strayed
        return outcome.flash.snapshot(), expected

    def _second_cut(self, cut, state, expected):
        """(state, expectation) of a second cut in the run that follows the first."""
        again = self._after_first(cut, state, expected)
        if cut.second.operation >= len(again.operations):
            return None
        operation = again.operations[cut.second.operation]
        second = cut.second
        if second.kind == "cut":
            second.kind = second_kind(operation, second.seed)
        fault = Fault(second.seed, operation.before.operations, second.kind)
        stage, passed, _ = operation.note
        running = again.result.booted
        later = expected.copy()
        later.must = None
        later.torn = expected.torn or self._is_otadata(operation.offset)
        if stage == CONFIRM:
            later.confirming = True
        if stage == UPDATE:
            other = self.bench.spare(running)
            later.images = {running: expected.images[running]}
            later.fresh, later.back = other, running
            later.confirming = False
            later.unverified = None if passed else other
            if passed:
                later.images[other] = self._image
            later.resident = not _has_updates(again.operations, second, fault)
        return struck(operation, fault), later

    def _after_first(self, cut, state, expected):
        """What follows the first cut, with a snapshot before each second one; the last is kept."""
        key = (cut.operation, cut.kind, cut.seed, cut.seconds)
        if self._last_first[0] != key:
            seconds = cut.seconds
            booted = self.bench.boot(state).result.booted
            plan = self._judge.plan_again(booted, expected)
            again = self.bench.run(plan, state, journal=lambda number: number in seconds)
            self._last_first = (key, again)
        return self._last_first[1]

    def _is_otadata(self, offset):
        return self.bench.otadata.offset <= offset < self.bench.otadata.end


def _each(number):
    return True


def struck(operation, fault):
    """The flash after an operation was struck by a fault that cuts the power: a Snapshot."""
    flash = FaultyFlash.from_snapshot(operation.before)
    flash.arm(fault)
    try:
        operation.apply(flash)
    except PowerCut:
        flash.power_on()
    return flash.snapshot()


def with_wrong_signature(image):
    """The image with a signature that is wrong, and nothing else: a bootloader that looks at no
    signature would boot it. Raises ImageError if there is none to make wrong."""
    sector = bytearray(image[-SECTOR_BYTES:])
    block = signature_block.parse_sector(sector)[0]
    # Where its first number stands, little endian: RSA's only one, ECDSA's r.
    number = block.signature if block.version == 2 else block.signature[: len(block.signature) // 2]
    at = bytes(sector[: signature_block.BLOCK_BYTES]).find(bytes(reversed(number)))
    sector[at] ^= 1
    sector[1196:1200] = crc32(sector[:1196]).to_bytes(4, "little")
    return image[:-SECTOR_BYTES] + bytes(sector)


def _has_updates(operations, second, fault):
    for at in range(second.operation + (fault.name == "cut-after")):
        if operations[at].note[0] == UPDATE:
            return True
    return False
