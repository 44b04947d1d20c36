"""The power-cut proof on both runtimes: the same cuts, the same verdicts."""

from signed_images import signed_app

from virtual_esp32.efuse import EFuse
from virtual_esp32.manufacture import flash_content
from virtual_esp32.power_cut_choice import SAMPLED, Cut
from virtual_esp32.power_cuts import Proof, with_wrong_signature

OLD = signed_app("1.0.0")
NEW = signed_app("2.0.0", secure_version=1)


def proof():
    efuse = EFuse(b"\x02\x00\x00\x00\x00\x01", chip="esp32c6")
    return Proof(bytes(flash_content(0x40000, OLD)), efuse, NEW)


def test_cuts_of_each_phase_leave_a_board_that_boots():
    whole = proof()
    cuts = [cut for cut in whole.cuts(SAMPLED) if cut.kind in ("cut-after", "cut-before")]
    taken = 0
    for cut in cuts[::9]:
        verdict = whole.judge(cut)
        if verdict is not None:
            assert not verdict.problems, (str(cut), verdict.problems)
            taken += 1
    assert taken > 10
    assert whole.bench.recorder.replayed > whole.bench.recorder.executed


def test_a_cut_is_written_as_it_is_read():
    for text in ("0:cut-before:0", "7:torn-write:8:99", "3:cut-after:1+4:cut-erase:5"):
        assert str(Cut.parse(text)) == text
    assert str(Cut.parse("3:cut-write:8")) == "3:cut-write:8:1"
    for text in ("", "3", "3:no", "x:cut-before", "3:cut-write", "3:cut-before:1:2", "3:rot:1:2:0",
                 "-1:cut-before", "3:cut-before+", "3:cut-before:4294967296"):  # fmt: skip
        try:
            Cut.parse(text)
            raise AssertionError(text)
        except ValueError as error:
            assert "expected" in str(error) or "not tried" in str(error)


def test_the_refused_image_differs_in_its_signature_only():
    bad = with_wrong_signature(NEW)
    assert bad[:-4096] == NEW[:-4096]
    assert len([i for i in range(len(NEW)) if bad[i] != NEW[i]]) <= 5
