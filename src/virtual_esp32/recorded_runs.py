"""Runs of firmware, executed once, then replayed at the speed of flash.

What firmware does between power-on and reset follows from what it reads from flash and from which
of its operations are refused; nothing else reaches it here. So a run is kept as the tree of its
reads, erases and writes. A later run from another flash goes down that tree: each read is made and
compared, each erase and write is made again on that flash, with its faults; at the first difference
the run starts over and the firmware itself is executed. What the flash holds afterwards is the
same either way, byte for byte.
"""

from .compat import const
from .errors import FlashError
from .flash import SECTOR_BYTES
from .flash_faults import ERASE, WRITE, FaultyFlash, PowerCut

_READ = "read"
_END = "end"
_MOST_STEPS = const(1000000)
_DONE = const(1)
_REFUSED = const(0)


class Operation:
    """One erase or write of a run.

    what: ERASE or WRITE. offset: bytes. data: what is written, None for an erase. note: what the
    run said about itself then. before: the Snapshot before it, None where none was asked for.
    """

    def __init__(self, what, offset, data, note, before):
        self.what = what
        self.offset = offset
        self.data = data
        self.note = note
        self.before = before

    def apply(self, flash):
        """Do it to another flash."""
        if self.what == ERASE:
            flash.erase_sector(self.offset // SECTOR_BYTES)
        else:
            flash.write(self.offset, self.data)


class Outcome:
    """What a run came to: the flash as it left it, what the program returned (None after a power
    cut), whether the power was cut, and its Operations where the journal was asked for."""

    def __init__(self, flash):
        self.flash = flash
        self.result = None
        self.is_cut = False
        self.operations = []


class TapedFlash(FaultyFlash):
    """Flash that writes down what is asked of it.

    note(what, offset), set by the program that runs: what is to be known of each operation.
    """

    def __init__(self, storage):
        super().__init__(storage)
        self.tape = None
        self.note = None
        self.noted = None
        self.misused = False  # an operation that NOR flash does not do

    def read_into(self, offset, buffer):
        super().read_into(offset, buffer)
        if self.tape is not None:
            self.tape.append((_READ, offset, len(buffer), None, bytes(buffer)))

    def erase_sector(self, sector):
        self._operate(ERASE, sector * SECTOR_BYTES, None, super().erase_sector, (sector,))

    def write(self, offset, data):
        self._operate(WRITE, offset, data, super().write, (offset, data))

    def _operate(self, what, offset, data, operation, arguments):
        if self.tape is None:
            operation(*arguments)
            return
        self.noted = self.note(what, offset) if self.note is not None else None
        data = None if data is None else bytes(data)
        tape, self.tape = self.tape, None  # what a fault reads is not the firmware's reading
        outcome = _REFUSED
        try:
            operation(*arguments)
            outcome = _DONE
        except FlashError:
            self.misused = True
            raise
        finally:
            self.tape = tape
            tape.append((what, offset, data, self.noted, outcome))


class _Step:
    """One step of a run, and the steps that followed it by its outcome: the bytes of a read,
    done or refused for an operation. Nearly always there is one."""

    __slots__ = ("next", "note", "offset", "others", "outcome", "payload", "what")

    def __init__(self, what, offset, payload, note):
        self.what = what
        self.offset = offset
        self.payload = payload
        self.note = note
        self.outcome = None
        self.next = None
        self.others = None

    def after(self, outcome):
        """The step that followed this outcome, None if it has not been seen."""
        if self.outcome == outcome:
            return self.next
        if self.others is None:
            return None
        return self.others.get(bytes(outcome) if self.what == _READ else outcome)

    def follow(self, outcome, step):
        """Put `step` behind this outcome."""
        if self.outcome is None:
            self.outcome, self.next = outcome, step
        else:
            self.others = self.others or {}
            self.others[outcome] = step


class Recorder:
    """Runs programs, and remembers them. executed, replayed: how many runs were which."""

    def __init__(self, remembers=True):
        self._remembers = remembers
        self._first = {}
        self._pieces = {}
        self._steps = 0
        self.executed = 0
        self.replayed = 0

    def run(self, name, start, program, fault=None, journal=None):
        """Run `program(flash)` on a flash of its own, as it is at the Snapshot `start`.

        name: the same for the same program with the same arguments. fault: a Fault to arm.
        journal(number): whether to keep a Snapshot before this operation, counted from the run's
        first; None: keep no operations at all. Returns an Outcome.
        """
        first = self._first.get(name)
        if first is not None:
            outcome = _prepare(start, fault, journal)
            if _replay(first, outcome):
                self.replayed += 1
                return _released(outcome)
        outcome = _prepare(start, fault, journal)
        self._execute(name, program, outcome)
        return _released(outcome)

    def _execute(self, name, program, outcome):
        self.executed += 1
        flash = outcome.flash
        flash.tape = tape = []
        if self._remembers:
            flash.recall = lambda name, function: self._recall(flash, name, function)
        try:
            outcome.result = program(flash)
        except PowerCut:
            outcome.is_cut = True
        finally:
            flash.tape = None
        if self._remembers and flash.powered and not flash.misused:
            self._remember(name, tape, outcome.result)

    def _recall(self, flash, name, function):
        """A part of a program that only reads: what it found the last time it read the same."""
        found = []
        step = self._first.get(name)
        while step is not None:
            if step.what is _END:
                flash.tape.extend(found)
                return step.payload
            piece = bytes(flash.peek(step.offset, step.payload))
            found.append((_READ, step.offset, step.payload, None, piece))
            step = step.after(piece)
        before = len(flash.tape)
        result = function()
        self._remember(name, flash.tape[before:], result)
        return result

    def _remember(self, name, tape, result):
        if self._steps > _MOST_STEPS:
            self._first = {}
            self._pieces = {}
            self._steps = 0
        share = self._pieces.setdefault
        last = taken = None
        step = self._first.get(name)
        for what, offset, payload, note, outcome in tape + [(_END, 0, result, None, None)]:
            if step is None:
                if isinstance(payload, bytes):
                    payload = share(payload, payload)
                step = _Step(what, offset, payload, note)
                self._steps += 1
                if last is None:
                    self._first[name] = step
                else:
                    last.follow(taken, step)
            if what == _READ:
                outcome = share(outcome, outcome)
            last, taken = step, outcome
            step = step.after(outcome)


def _prepare(start, fault, journal):
    flash = TapedFlash.from_snapshot(start)
    outcome = Outcome(flash)
    if fault is not None:
        flash.arm(fault)
    if journal is not None:
        operations = outcome.operations

        def keep(flash, what, offset, data):
            data = None if data is None else bytes(data)
            before = flash.snapshot() if journal(len(operations)) else None
            operations.append(Operation(what, offset, data, flash.noted, before))

        flash.on_operation = keep
    return outcome


def _released(outcome):
    """The flash lets go of what only the run needed."""
    outcome.flash.on_operation = None
    outcome.flash.note = None
    outcome.flash.recall = None
    return outcome


def _replay(step, outcome):
    """Go through a run step by step; False at the first difference."""
    flash = outcome.flash
    peek = flash.peek
    while step is not None:
        what = step.what
        if what is _READ:
            found = peek(step.offset, step.payload)
            step = step.next if found == step.outcome else step.after(found)
        elif what == _END:
            outcome.result = step.payload
            return True
        else:
            flash.noted = step.note
            try:
                if what == ERASE:
                    flash.erase_sector(step.offset // SECTOR_BYTES)
                else:
                    flash.write(step.offset, step.payload)
                done = _DONE
            except OSError:
                done = _REFUSED
            except FlashError:
                return False
            except PowerCut:
                outcome.is_cut = True
                return True
            step = step.after(done)
    return False
