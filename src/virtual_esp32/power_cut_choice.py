"""Which cuts are tried: for each operation of a life its faults, and second cuts behind them.

Left to others: what happens then (`power_cuts`). All chance comes from the seed.
"""

from binascii import crc32

from .compat import const
from .flash_faults import ERASE, Fault

TWO_CUTS = "two-cuts"
QUIET = ("fails", "lost-write", "lost-words")  # the firmware goes on

_WORD_BYTES = const(4)
_SMALL_WRITE_BYTES = const(64)
_CUTS = ("cut-before", "cut-after", "cut-erase", "cut-write", "torn-write")


class Depth:
    """How many faults each operation gets.

    places: where a write is cut, and torn; None for every word. Writes of up to 64 bytes are cut
    at every word always. seeds: torn erases; eight times as many where otadata or NVS is hit.
    quiet: of the faults that cut nothing. pairs: second cuts for each operation, None for each
    operation of what follows the first. every: in the slots, quiet faults and pairs only for each
    such operation.
    """

    def __init__(self, places, seeds, quiet, pairs, every=1):
        self.places = places
        self.seeds = seeds
        self.quiet = quiet
        self.pairs = pairs
        self.every = every


SAMPLED = Depth(1, 1, 1, 1, 16)
THOROUGH = Depth(8, 2, 3, 6)
EXHAUSTIVE = Depth(None, 4, 3, None)


class Cut:
    """One fault, or two in a row.

    operation: its number in the whole life; of a second cut, in what follows the first: boot,
    confirmation, the update tried again. kind: as in Fault. seed: u32. seconds: operations of all
    second cuts that share this first one, a tuple.
    """

    def __init__(self, operation, kind, seed, second=None, seconds=()):
        self.operation = operation
        self.kind = kind
        self.seed = seed
        self.second = second
        self.seconds = seconds or (second and (second.operation,))

    @property
    def name(self):
        """What it counts as."""
        return TWO_CUTS if self.second else self.kind.split(":")[0]

    def __str__(self):
        text = "%d:%s:%d" % (self.operation, self.kind, self.seed)
        return "%s+%s" % (text, self.second) if self.second else text

    @classmethod
    def parse(cls, text):
        """What `str` gives; the seed may be missing. Raises ValueError."""
        first, plus, second = text.partition("+")
        parts = first.split(":")
        numbers = 1 if parts[1:2] in (["cut-write"], ["torn-write"]) else 0
        try:
            operation = int(parts[0])
            seed = int(parts[2 + numbers]) if len(parts) == 3 + numbers else 1
            kind = ":".join(parts[1 : 2 + numbers])
            if (
                operation < 0
                or not 0 <= seed < 1 << 32
                or not 2 + numbers <= len(parts) <= 3 + numbers
            ):
                raise ValueError
            Fault(seed, operation, kind)
        except (ValueError, IndexError):
            raise ValueError("cut %r: expected OPERATION:KIND[:SEED]" % first)
        if kind.split(":")[0] not in _CUTS + QUIET:
            raise ValueError("cut %r: %s is not tried here" % (first, kind))
        return cls(operation, kind, seed, cls.parse(second) if plus else None)


class Choice:
    """The cuts of one Depth. seed: u32. is_app(offset): whether an offset is in a slot."""

    def __init__(self, depth, seed, is_app):
        self._depth = depth
        self._seed = seed
        self._is_app = is_app

    def cuts(self, number, operation, longest):
        """Every Cut that begins with this operation, a recorded_runs.Operation.

        number: the operation's, in the whole life. longest: operations there may be after it.
        """
        for kind, seed in self._faults(number, operation):
            yield Cut(number, kind, seed)
        if self._is_passed_over(number, operation):
            return
        for cut in self._pairs(number, operation, longest):
            yield cut

    def _faults(self, number, operation):
        """(kind, seed) of each fault of an operation."""
        depth = self._depth
        found = [("cut-before", 0), ("cut-after", 0)]
        if operation.what == ERASE:
            for i in range(depth.seeds * (1 if self._is_app(operation.offset) else 8)):
                found.append(("cut-erase", self._chance("cut-erase", number, i)))
            quiet = QUIET[:1]
        else:
            for at in self._places(number, len(operation.data)):
                if at:
                    found.append(("cut-write:%d" % at, 0))
                found.append(("torn-write:%d" % at, self._chance("torn-write", number, at)))
            quiet = QUIET
        if self._is_passed_over(number, operation):
            return found
        for i in range(min(depth.quiet, len(quiet))):
            kind = quiet[(number + i) % len(quiet)]
            found.append((kind, self._chance(kind, number, i)))
        return found

    def _is_passed_over(self, number, operation):
        if not self._is_app(operation.offset):
            return False
        return self._chance("every", number, 0) % self._depth.every != 0

    def _places(self, number, size):
        words = size // _WORD_BYTES
        if self._depth.places is None or size <= _SMALL_WRITE_BYTES:
            return range(0, size, _WORD_BYTES)
        chosen = [self._chance("place", number, i) % words for i in range(self._depth.places)]
        return [word * _WORD_BYTES for word in sorted(set(chosen))]

    def _pairs(self, number, operation, longest):
        """Second cuts behind one way to cut this operation."""
        kind = "cut-after"
        if self._chance("first", number, 0) % 2:
            kind = "cut-erase" if operation.what == ERASE else "torn-write:0"
        seed = self._chance("first", number, 1)
        pairs = self._depth.pairs
        if pairs is None or pairs >= longest:
            chosen = range(longest)
        else:
            # The first ones are the boot's and the confirmation's: there each counts.
            chosen = set(range(pairs // 2))
            for i in range(pairs - len(chosen)):
                chosen.add(self._chance("second", number, i) % longest)
        chosen = tuple(sorted(chosen))
        for second in chosen:
            then = Cut(second, "cut", self._chance("kind", number, second))
            yield Cut(number, kind, seed, then, chosen)

    def _chance(self, what, number, index):
        """A u32 that is the same for the same seed."""
        return crc32(("%d %s %d %d" % (self._seed, what, number, index)).encode())


def second_kind(operation, seed):
    """How a second cut hits an operation: a kind of Fault."""
    if operation.what == ERASE:
        return ("cut-before", "cut-erase", "cut-after")[seed % 3]
    at = (seed >> 8) % (len(operation.data) // _WORD_BYTES) * _WORD_BYTES
    return ("cut-before", "torn-write:%d" % at, "cut-write:%d" % at, "cut-after")[seed % 4]
