"""Faults of the virtual flash: what they leave behind, the same bytes on both runtimes."""

from binascii import hexlify

from ota_crypto import sha256
from virtual_esp32.errors import FlashError
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.flash_faults import ERASE, WRITE, Fault, FaultyFlash, PowerCut, kinds

OLD = bytes([i * 7 & 0xFF for i in range(256)]) * 16
NEW = bytes([i * 5 & 0xFF for i in range(256)]) * 16


def flash_of(sectors, content=b""):
    flash = FaultyFlash(MemoryStorage(content + b"\xff" * (4096 * sectors - len(content))))
    return flash


def cut(operation, *arguments):
    try:
        operation(*arguments)
    except PowerCut:
        return True
    return False


def after(kind, what=WRITE, seed=1, content=b""):
    """The first sector after one operation with a fault, which cuts the power."""
    flash = flash_of(1, content)
    flash.arm(Fault(seed, 0, kind))
    assert cut(flash.erase_sector, 0) if what == ERASE else cut(flash.write, 0, NEW)
    flash.power_on()
    assert flash.struck
    return bytes(flash.read(0, 4096))


def digest(data):
    return hexlify(sha256(data).digest()).decode()


def test_after_a_cut_every_operation_refuses_until_power_is_back():
    flash = flash_of(2)
    flash.arm(Fault(1, 1, "cut-before"))
    flash.erase_sector(0)
    assert cut(flash.write, 0, NEW)
    assert cut(flash.write, 0, NEW) and cut(flash.erase_sector, 1) and cut(flash.read, 0, 4)
    assert not flash.powered
    flash.power_on()
    assert flash.read(0, 4096) == b"\xff" * 4096
    assert flash.operations == 1
    flash.write(0, NEW)
    assert flash.read(0, 4096) == NEW


def test_no_handler_of_exceptions_swallows_a_cut():
    flash = flash_of(1)
    flash.arm(Fault(1, 0, "cut-before"))

    def firmware():
        try:
            flash.erase_sector(0)
        except Exception:
            return "swallowed"

    assert cut(firmware)
    assert not isinstance(PowerCut(None), Exception)


def test_a_write_is_cut_after_any_whole_word():
    for done in (0, 4, 8, 256, 4092, 4096):
        assert after("cut-write:%d" % done) == NEW[:done] + b"\xff" * (4096 - done)


def test_a_torn_word_has_cleared_some_of_its_bits_and_not_others():
    seen = set()
    for seed in range(1, 9):
        sector = after("torn-write:256", seed=seed)
        assert sector[:256] == NEW[:256]
        assert sector[260:] == b"\xff" * 3836
        new, torn = NEW[256:260], sector[256:260]
        assert bytes([new[i] & torn[i] for i in range(4)]) == new
        assert torn not in (new, b"\xff\xff\xff\xff")
        seen.add(torn)
    assert len(seen) > 4


def test_of_two_bits_a_torn_word_has_cleared_one():
    found = set()
    for seed in range(64):
        flash = flash_of(1)
        flash.arm(Fault(seed, 0, "torn-write:0"))
        assert cut(flash.write, 0, b"\xfe\xff\xff\x7f")
        flash.power_on()
        found.add(bytes(flash.read(0, 4)))
    assert found == {b"\xfe\xff\xff\xff", b"\xff\xff\xff\x7f"}


def test_a_cut_erase_leaves_old_bytes_ff_and_noise():
    sectors = [after("cut-erase", ERASE, seed, OLD) for seed in range(1, 17)]
    words = [(s[i : i + 4], OLD[i : i + 4]) for s in sectors for i in range(0, 64, 4)]
    old = len([1 for found, was in words if found == was])
    erased = len([1 for found, _ in words if found == b"\xff" * 4])
    assert 50 < old < 130 and 50 < erased < 130 and 50 < len(words) - old - erased < 130
    assert len(set(sectors)) == 16


def test_the_same_seed_operation_and_kind_leave_the_same_bytes_everywhere():
    content = after("cut-erase", ERASE, 7, OLD)
    assert content == after("cut-erase", ERASE, 7, OLD)
    content += after("cut-erase", ERASE, 0xFFFFFFFF, OLD)
    for seed in (0, 1, 0x80000000):
        content += after("torn-write:1024", seed=seed)
    flash = flash_of(1)
    flash.arm(Fault(9, 0, "lost-words"))
    flash.write(0, NEW)
    content += flash.read(0, 4096)
    assert digest(content) == "ab0bfe70de061625536861d018854c310ea47c8b966dcbea5e27d4f41509e4f9"


def test_an_operation_that_fails_raises_what_the_board_raises():
    flash = flash_of(1, OLD)
    for operation, arguments in ((flash.erase_sector, (0,)), (flash.write, (0, bytes(4)))):
        flash.arm(Fault(1, flash.operations, "fails"))
        try:
            operation(*arguments)
            raise AssertionError("nobody said that it failed")
        except OSError as error:
            assert error.args == (116, "ESP_ERR_TIMEOUT")
        assert flash.read(0, 4096) == OLD
    assert flash.operations == 2
    flash.erase_sector(0)
    assert flash.read(0, 4096) == b"\xff" * 4096


def test_a_lost_write_leaves_the_flash_and_says_nothing():
    flash = flash_of(1)
    flash.arm(Fault(1, 0, "lost-write"))
    flash.write(0, NEW)
    assert flash.struck and flash.operations == 1
    assert flash.read(0, 4096) == b"\xff" * 4096
    flash.write(0, NEW)
    assert flash.read(0, 4096) == NEW


def test_lost_words_are_a_few_of_a_write():
    for seed in range(20):
        flash = flash_of(1)
        flash.arm(Fault(seed, 0, "lost-words"))
        flash.write(0, bytes(4096))
        found = bytes(flash.read(0, 4096))
        words = [found[i : i + 4] for i in range(0, 4096, 4)]
        lost = words.count(b"\xff" * 4)
        assert 1 <= lost <= 4 and words.count(bytes(4)) == 1024 - lost


def test_bits_rot_when_told_to():
    flash = flash_of(2, OLD)
    flash.rot(1, 0, 0)
    flash.rot(0, 7, 1)
    assert flash.read(0, 2) == b"\x80\x06"
    assert flash.operations == 0
    flash.arm(Fault(1, 0, "rot:5000:3:0"))
    flash.write(4096, bytes(4))
    assert flash.read(5000, 1) == b"\xf7"


def test_a_write_over_a_rotten_bit_goes_as_on_the_chip():
    flash = flash_of(1)
    flash.rot(9, 1, 0)
    flash.write(0, b"\xff" * 8 + b"\xaa\xaa\xaa\xaa")
    assert flash.read(8, 4) == b"\xaa\xa8\xaa\xaa"
    flash.erase_sector(0)
    flash.write(8, b"\xff\xaa\xff\xff")
    assert flash.read(8, 4) == b"\xff\xaa\xff\xff"
    try:
        flash.write(8, b"\xff" * 4)
        raise AssertionError("a bit went from 0 to 1")
    except FlashError:
        pass


def test_every_operation_is_announced_with_its_place():
    flash = flash_of(2)
    seen = []
    flash.on_operation = lambda at, what, offset, data: seen.append(
        (at.operations, what, offset, data)
    )
    flash.erase_sector(1)
    flash.write(4096, bytes(8))
    assert seen == [(0, ERASE, 4096, None), (1, WRITE, 4096, bytes(8))]


def test_a_replay_from_a_snapshot_ends_as_the_cut_did():
    flash = flash_of(2)
    snapshots = []
    flash.on_operation = lambda at, what, offset, data: snapshots.append(at.snapshot())
    flash.erase_sector(0)
    flash.write(0, OLD)
    flash.write(4096, NEW)
    for operation, kind in ((0, "cut-erase"), (1, "torn-write:512"), (2, "cut-write:8")):
        results = []
        for start in (snapshots[0], snapshots[operation]):
            again = FaultyFlash.from_snapshot(start)
            again.arm(Fault(3, operation, kind))
            for number, step in enumerate(((again.erase_sector, 0), (again.write, 0, OLD),
                                           (again.write, 4096, NEW))):  # fmt: skip
                if number >= again.operations and cut(*step):
                    break
            again.power_on()
            results.append(bytes(again.read(0, 8192)))
        assert results[0] == results[1]


def test_kinds_cover_every_prefix_of_a_write():
    assert kinds(ERASE, 4096) == ["cut-before", "cut-erase", "fails"]
    words = kinds(WRITE, 16, 4)
    assert words == [
        "cut-before", "fails", "lost-write", "lost-words",
        "cut-write:4", "cut-write:8", "cut-write:12",
        "torn-write:0", "torn-write:4", "torn-write:8", "torn-write:12",
    ]  # fmt: skip
    assert len(kinds(WRITE, 4096)) == 4 + 15 + 16
    for kind in words:
        flash = flash_of(1)
        flash.arm(Fault(1, 0, kind))
        try:
            flash.write(0, NEW[:16])
            quiet = True
        except (PowerCut, OSError):
            quiet = False
        assert flash.struck and quiet == kind.startswith("lost")


def test_a_fault_that_does_not_exist_or_does_not_fit_is_refused():
    for kind in ("cut", "cut-write", "cut-write:3", "torn-write:-4", "cut-erase:4", "rot:1:2"):
        try:
            Fault(1, 0, kind)
            raise AssertionError(kind)
        except ValueError as error:
            assert kind in str(error)
    for kind in ("cut-erase", "torn-write:4096", "cut-write:4100"):
        flash = flash_of(1)
        flash.arm(Fault(1, 0, kind))
        try:
            flash.write(0, NEW)
            raise AssertionError(kind)
        except ValueError as error:
            assert "seed 1, operation 0, " + kind in str(error)


def test_a_fault_does_not_make_the_flash_less_strict():
    flash = flash_of(1)
    flash.arm(Fault(1, 1, "cut-write:4"))
    flash.write(0, bytes(8))
    try:
        flash.write(0, b"\xff" * 8)
        raise AssertionError("a bit went from 0 to 1")
    except FlashError:
        pass
    assert isinstance(flash, NorFlash) and flash.powered
