"""Flash that fails on demand: power cuts, torn writes and erases, bit rot, writes that do not take.

One fault at a time is armed for one operation; (seed, operation, kind) replays it exactly, with the
same bytes on CPython and MicroPython. Left to others: which faults to try, and what has to boot
afterwards.
"""

from .compat import const
from .flash import SECTOR_BYTES, NorFlash

ERASE = "erase"
WRITE = "write"

_WORD_BYTES = const(4)

# What esp_flash_write gives when the chip stays busy, through MicroPython's check_esp_err
# (ports/esp32/mphalport.c), whose ETIMEDOUT is newlib's.
_WRITE_ERROR = (116, "ESP_ERR_TIMEOUT")

# Kind: operation it belongs to (None: any), and how many numbers follow its name
_KINDS = {
    "cut-before": (None, 0),
    "cut-after": (None, 0),
    "cut-write": (WRITE, 1),
    "torn-write": (WRITE, 1),
    "cut-erase": (ERASE, 0),
    "fails": (None, 0),
    "lost-write": (WRITE, 0),
    "lost-words": (WRITE, 0),
    "rot": (None, 3),
}

# Pieces in which a cut erase leaves its sector: fine where otadata and NVS have their headers
_ERASE_PIECES = (4,) * 16 + (32,) * 30 + (256,) * 12
_NOISE_BYTES = const(8192)
_noise = []


class PowerCut(BaseException):
    """The power went. No `except Exception` of the firmware swallows it.

    fault: what cut it, as Fault's text.
    """

    def __init__(self, fault):
        super().__init__("power cut: %s" % fault)
        self.fault = fault


class Fault:
    """One fault: what happens at one operation.

    seed: u32, decides what is left to chance. operation: number of the operation that it strikes,
    counted from 0 as NorFlash.operations does: the one that finds that many done.
    kind, numbers in decimal:
      `cut-before`: the power goes before the operation.
      `cut-after`: it goes when the operation is over, before the next instruction.
      `cut-write:N`: it goes after N bytes of a write, a multiple of 4.
      `torn-write:N`: as before, and of the next word some bits that should clear have cleared.
      `cut-erase`: it goes in the middle of an erase: a mix of old bytes, FF and noise.
      `fails`: nothing happens to the flash, the operation raises OSError.
      `lost-write`: nothing happens to the flash, and nobody says so.
      `lost-words`: the same for some words of a write.
      `rot:OFFSET:BIT:VALUE`: before the operation bit BIT of the byte at OFFSET becomes VALUE.
    Raises ValueError for another kind.
    """

    def __init__(self, seed, operation, kind):
        self.seed = seed
        self.operation = operation
        self.kind = kind
        name, numbers = _parse_kind(kind)
        self.name = name
        self.numbers = numbers
        self.target = _KINDS[name][0]

    def __str__(self):
        return "seed %d, operation %d, %s" % (self.seed, self.operation, self.kind)


def kinds(what, size, step=256):
    """Every kind of fault for one operation, `rot` and `cut-after` excepted: a list of texts.

    what: ERASE or WRITE. size: bytes of the write. step: bytes between the cuts of a write, a
    multiple of 4.
    """
    if what == ERASE:
        return ["cut-before", "cut-erase", "fails"]
    found = ["cut-before", "fails", "lost-write", "lost-words"]
    found += ["cut-write:%d" % done for done in range(step, size, step)]
    found += ["torn-write:%d" % done for done in range(0, size, step)]
    return found


class FaultyFlash(NorFlash):
    """NorFlash with at most one fault armed.

    powered: False after a cut, when every operation raises PowerCut until `power_on`.
    struck: whether the fault armed last has struck.
    on_operation(flash, what, offset, data), if not None, is called before each erase (data None)
    and write (data the caller's buffer: copy it to keep it): the place to take snapshots, and to
    learn what there is to cut. A snapshot and the operation are enough to repeat it with any fault,
    without running the firmware again.
    """

    def __init__(self, storage):
        super().__init__(storage)
        self.powered = True
        self.struck = False
        self.on_operation = None
        self._fault = None
        self._strike_at = -1
        self._rotten = set()

    def arm(self, fault):
        """Make `fault` strike; it takes the place of one armed before. None disarms."""
        self._fault = fault
        self._strike_at = -1 if fault is None else fault.operation
        self.struck = False

    def power_on(self):
        """Power is back; the content is what the cut left."""
        self.powered = True

    def rot(self, offset, bit, value):
        """Bit `bit` (0..7) of the byte at `offset` becomes `value` (0 or 1); no operation.

        A write over a bit that rotted to 0 does not set it and is no FlashError: the caller could
        not know. A flash made from a snapshot taken since has forgotten that.
        """
        self._check_range("rot", offset, 1)
        if not 0 <= bit <= 7 or value not in (0, 1):
            raise ValueError("rot: expected bit 0..7 and value 0 or 1, got %r, %r" % (bit, value))
        byte = bytearray(1)
        self._storage.read_into(offset, byte)
        if value:
            byte[0] |= 1 << bit
        else:
            byte[0] &= 0xFF ^ 1 << bit
            self._rotten.add(offset)
        self._put(offset, byte)

    def read_into(self, offset, buffer):
        """As NorFlash; raises PowerCut without power."""
        if not self.powered:
            raise PowerCut(self._fault)
        super().read_into(offset, buffer)

    def erase_sector(self, sector):
        """As NorFlash, unless a fault strikes: PowerCut, OSError."""
        offset = sector * SECTOR_BYTES
        if self._proceeds(ERASE, offset, None):
            self._erase(sector)
            return
        self._check_range("erase", offset, SECTOR_BYTES)
        self._strike(ERASE, sector, offset, None)

    def write(self, offset, data):
        """As NorFlash, unless a fault strikes: PowerCut, OSError, or silence."""
        if self._proceeds(WRITE, offset, data):
            super().write(offset, self._as_taken(offset, data))
            return
        data = self._as_taken(offset, data)
        self._check_write(offset, data)
        self._strike(WRITE, None, offset, data)

    def _proceeds(self, what, offset, data):
        """Whether the operation takes its usual course."""
        if not self.powered:
            raise PowerCut(self._fault)
        if self.on_operation is not None:
            self.on_operation(self, what, offset, data)
        return self.operations != self._strike_at

    def _strike(self, what, sector, offset, data):
        fault = self._fault
        if fault.target not in (None, what):
            raise ValueError("%s: operation %d is a %s" % (fault, self.operations, what))
        self._strike_at = -1
        self.struck = True
        if fault.name == "cut-before":
            self._cut()
        elif fault.name in ("rot", "cut-after"):
            if fault.name == "rot":
                self.rot(*fault.numbers)
            if what == ERASE:
                self._erase(sector)
            else:
                super().write(offset, self._as_taken(offset, data))
            if fault.name == "cut-after":
                self._cut()
        elif fault.name == "fails":
            self.operations += 1
            raise OSError(*_WRITE_ERROR)
        elif what == ERASE:
            self._count_erase(sector)
            old = self.read(offset, SECTOR_BYTES)
            self._put(offset, half_erased(old, _Random(fault.seed, fault.operation)))
            self._cut()
        else:
            self._strike_write(fault, offset, data)

    def _strike_write(self, fault, offset, data):
        random = _Random(fault.seed, fault.operation)
        if fault.name == "lost-write":
            self.operations += 1
        elif fault.name == "lost-words":
            old = self.read(offset, len(data))
            self.operations += 1
            self._put(offset, with_lost_words(old, data, random))
        else:
            done = fault.numbers[0]
            if done + _WORD_BYTES * (fault.name == "torn-write") > len(data):
                raise ValueError("%s: the write has %d bytes" % (fault, len(data)))
            self.operations += 1
            self._put(offset, memoryview(data)[:done])
            if fault.name == "torn-write":
                old = self.read(offset + done, _WORD_BYTES)
                self._put(offset + done, torn_word(old, data[done : done + _WORD_BYTES], random))
            self._cut()

    def _erase(self, sector):
        super().erase_sector(sector)
        for offset in list(self._rotten):
            if offset // SECTOR_BYTES == sector:
                self._rotten.remove(offset)

    def _as_taken(self, offset, data):
        """`data` without the bits that rot keeps at 0."""
        rotten = [at for at in self._rotten if offset <= at < offset + len(data)]
        if not rotten:
            return data
        taken = bytearray(data)
        for at in rotten:
            taken[at - offset] &= self.read(at, 1)[0]
        return taken

    def _cut(self):
        self.powered = False
        raise PowerCut(self._fault)


def half_erased(old, random):
    """A sector whose erase was cut: old bytes, FF and noise, piece by piece."""
    result = bytearray(old)
    noise = _noise_bytes()
    start = 0
    for size in _ERASE_PIECES:
        number = random.next()
        choice = number % 3
        if choice == 1:
            result[start : start + size] = b"\xff" * size
        elif choice == 2:
            at = (number >> 8) % (_NOISE_BYTES - size)
            result[start : start + size] = noise[at : at + size]
        start += size
    return result


def torn_word(old, new, random):
    """A word in the middle of being written: of the bits that should clear some have, some not
    (where there is only one, it is left to chance)."""
    before = int.from_bytes(old, "little")
    clearing = before & ~int.from_bytes(new, "little")
    cleared = clearing & random.next()
    lowest = clearing & -clearing
    if clearing != lowest and cleared in (0, clearing):
        cleared = lowest
    return (before & ~cleared).to_bytes(_WORD_BYTES, "little")


def with_lost_words(old, new, random):
    """What flash holds after a write of which some words, at least one, did not take."""
    result = bytearray(new)
    words = len(result) // _WORD_BYTES
    if not words:
        return result
    lost = 1 + random.next() % 4
    for _ in range(lost):
        at = random.next() % words * _WORD_BYTES
        result[at : at + _WORD_BYTES] = old[at : at + _WORD_BYTES]
    return result


class _Random:
    """xorshift32 (Marsaglia, "Xorshift RNGs", 2003; shifts 13, 17, 5), one per fault."""

    def __init__(self, seed, operation):
        self._state = (seed ^ operation * 0x9E3779B1) + 0x6D2B79F5 & 0xFFFFFFFF or 1
        for _ in range(4):  # neighbouring seeds part ways
            self.next()

    def next(self):
        """The next u32."""
        x = self._state
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._state = x
        return x


def _noise_bytes():
    """Noise made once: what is random about it later is where it is cut."""
    if not _noise:
        random = _Random(0x0F1A5, 0)
        noise = bytearray(_NOISE_BYTES)
        for start in range(0, _NOISE_BYTES, 4):
            noise[start : start + 4] = random.next().to_bytes(4, "little")
        _noise.append(bytes(noise))
    return _noise[0]


def _parse_kind(kind):
    parts = kind.split(":")
    name = parts[0]
    if name not in _KINDS or len(parts) - 1 != _KINDS[name][1]:
        raise ValueError("fault %r: expected one of %s" % (kind, ", ".join(sorted(_KINDS))))
    try:
        numbers = tuple([int(part) for part in parts[1:]])
    except ValueError:
        raise ValueError("fault %r: expected decimal numbers after the name" % kind)
    if name in ("cut-write", "torn-write") and (numbers[0] < 0 or numbers[0] % _WORD_BYTES):
        raise ValueError("fault %r: expected a multiple of 4" % kind)
    return name, numbers
