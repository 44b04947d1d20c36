"""Is the board as it has to be? Asked of a flash after the power was cut, whatever cut it.

Left to others: making such flashes (`power_cuts`).
"""

from esp_image import acceptance
from esp_partition import otadata, table

from . import bootloader
from .firmware_runs import Plan
from .flash import SECTOR_BYTES, NorFlash

# boot.md, "Consequences": otadata torn so that seq and CRC fit, its state erased or garbled. The
# image it names boots and is never rolled back.
STATE_ERASED = "otadata-state-erased"
STATE_GARBLED = "otadata-state-garbled"

_STATES = (otadata.NEW, otadata.PENDING_VERIFY, otadata.VALID, otadata.INVALID, otadata.ABORTED)
_STAY = Plan("stay")


class Expectation:
    """What a cut may have left.

    images: what may boot: {label: its bytes}. must: the label that has to boot, None for any of
    them. unverified: label of the slot whose image has not passed verification, so that nothing
    may boot it; None if there is no such image. resident: nothing has been done to that slot yet,
    which may hold an image that passed in its time. fresh: label of the new firmware, which goes
    back to `back` unless it is confirmed. confirming: it may have been confirmed. torn: otadata was
    hit. strayed: what was written before the cut that nobody may write.
    """

    def __init__(self, images, fresh, back):
        self.images = images
        self.fresh = fresh
        self.back = back
        self.must = None
        self.unverified = None
        self.resident = False
        self.confirming = False
        self.torn = False
        self.strayed = None

    def copy(self):
        """Another one that says the same."""
        other = Expectation(self.images, self.fresh, self.back)
        for name, value in self.__dict__.items():
            setattr(other, name, value)
        return other


class Verdict:
    """problems: one line each, none if the board is as it has to be. known: name of the known
    outcome, or None. state: Snapshot of the flash that was judged."""

    def __init__(self, state):
        self.state = state
        self.problems = []
        self.known = None


class Judge:
    """Judges flashes of one board.

    bench: a Bench. image: the new firmware, which an update tried again installs.
    """

    def __init__(self, bench, image):
        self._bench = bench
        self._image = image
        self._again = {
            policy: Plan("again, %s" % policy, image, policy)
            for policy in (acceptance.DIFFERENT, acceptance.ANY)
        }

    def judge(self, state, expected):
        """Verdict on the Snapshot `state`."""
        verdict = Verdict(state)
        if expected.strayed:
            verdict.problems.append(expected.strayed)
        first = self._bench.boot(state)
        label = first.result.booted
        self._judge_boot(first, expected, verdict)
        if not self._holds(first.flash, expected.back, expected.images[expected.back]):
            verdict.problems.append("%s does not hold its image any more" % expected.back)
        if expected.unverified is not None and not expected.resident:
            self._judge_search(state, expected, verdict)
        if verdict.problems:
            return verdict
        if label == expected.fresh and self._bench.rollback:
            self._judge_crash(first, expected, verdict)
        self._judge_retry(first, expected, verdict)
        return verdict

    def plan_again(self, label, expected):
        """The Plan of an update tried again by what runs in `label`."""
        is_new = expected.images.get(label) == self._image
        return self._again[acceptance.ANY if is_new else acceptance.DIFFERENT]

    def _judge_boot(self, outcome, expected, verdict):
        label = outcome.result.booted
        if label is None:
            verdict.problems.append("nothing boots: %s" % outcome.result.crashed)
        elif label not in expected.images:
            verdict.problems.append("%s boots, which may not boot here" % label)
        elif not self._holds(outcome.flash, label, expected.images[label]):
            verdict.problems.append("%s boots, and its bytes are not its image's" % label)
        elif expected.must not in (None, label):
            verdict.problems.append("%s boots, it has to be %s" % (label, expected.must))

    def _judge_search(self, state, expected, verdict):
        """The worst case: otadata gone and every other image too, so that the bootloader tries
        all there is."""
        bench = self._bench
        flash = NorFlash.from_snapshot(state)
        first = bench.otadata.offset // SECTOR_BYTES
        for sector in (first, first + 1):
            flash.erase_sector(sector)
        for app in bench.apps:
            if app.label != expected.unverified:
                flash.erase_sector(app.offset // SECTOR_BYTES)
        outcome = bench.boot(flash.snapshot())
        if outcome.result.booted is not None:
            verdict.problems.append("%s can boot before its image has passed" % expected.unverified)

    def _judge_crash(self, first, expected, verdict):
        """The new firmware boots for the first time, and crashes."""
        bench = self._bench
        state = self._state_of(first.flash, expected.fresh)
        if state == otadata.VALID and expected.confirming:
            return
        after = bench.boot(first.flash.snapshot())
        label = after.result.booted
        if label == expected.back:
            if not self._holds(after.flash, label, expected.images[label]):
                verdict.problems.append("after a rollback %s boots damaged" % label)
        elif label == expected.fresh and expected.torn and state not in _STATES:
            verdict.known = STATE_ERASED if state == otadata.UNDEFINED else STATE_GARBLED
        else:
            verdict.problems.append(
                "a crash before confirmation is not rolled back: %s boots, its state %s"
                % (label, state)
            )

    def _judge_retry(self, first, expected, verdict):
        """The update is tried again from there, and confirmed."""
        bench = self._bench
        label = first.result.booted
        again = bench.run_on(self.plan_again(label, expected), first)
        found = again.result
        if found.strayed:
            verdict.problems.append("in the update tried again %s" % found.strayed)
        if found.crashed or found.updated != "":
            verdict.problems.append(
                "an update tried again fails: %s" % (found.crashed or found.updated)
            )
            return
        settled = bench.run(_STAY, again.flash.snapshot())
        new = settled.result.booted
        if new in (None, label) or not self._holds(settled.flash, new, self._image):
            verdict.problems.append("after an update tried again %s boots" % new)
        elif settled.result.crashed or settled.result.strayed:
            verdict.problems.append(
                "after an update tried again: %s"
                % (settled.result.crashed or settled.result.strayed)
            )
        elif settled.result.confirmed != ("confirmed" if bench.rollback else "valid"):
            verdict.problems.append("the update tried again is not confirmed")
        elif bench.boot(settled.flash.snapshot()).result.booted != new:
            verdict.problems.append("the update tried again does not stay")

    def _holds(self, flash, label, image):
        """Whether an app partition holds exactly this image at its start."""
        return flash.peek(self._bench.partition(label).offset, len(image)) == image

    def _state_of(self, flash, label):
        """The state of the otadata entry that names this slot; None if none does."""
        bench = self._bench
        entries = bootloader.read_otadata(flash, bench.otadata)
        active = otadata.active_index(entries[0], entries[1])
        if active is None:
            return None
        slots = table.ota_slots(bench.partitions)
        named = slots[otadata.slot_of(entries[active].seq, len(slots))]
        return entries[active].state if named.label == label else None
