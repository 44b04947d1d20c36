"""CSV files as people and production lines write them."""

from base64 import b64encode
from pathlib import Path

import pytest

from dice_auth.batch_file import BatchFile
from dice_auth.enrolment import Enrolment
from dice_auth.errors import EnrolmentError
from tests.dice_auth.boards import board

FIRST, SECOND = board(1), board(2)
BASE64 = b64encode(FIRST.root).decode()


def read(tmp_path: Path, content: str | bytes) -> list[Enrolment]:
    path = tmp_path / "batch.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with BatchFile(path) as batch:
        boards = list(batch.boards())
        assert batch.position == batch.size
        return boards


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_macs_alone_have_their_roots_derived(tmp_path: Path, end: str, mark: str) -> None:
    boards = read(tmp_path, mark + end.join(["mac", FIRST.board_id, "", SECOND.board_id, ""]))
    assert [(each.board_id, each.root) for each in boards] == [
        (FIRST.board_id, FIRST.root),
        (SECOND.board_id, SECOND.root),
    ]
    assert boards[0].application is None
    assert boards[0].labels is None


@pytest.mark.parametrize(
    "root", [BASE64, f'"{FIRST.root_pem}"', '"' + FIRST.root_pem.replace("\n", "\r\n") + '"']
)
def test_roots_come_as_base64_or_pem(tmp_path: Path, root: str) -> None:
    (found,) = read(tmp_path, f"id,root,application,labels\ndoor,{root},thermo,a=1; b=x=y\n")
    assert (found.board_id, found.root) == ("door", FIRST.root)
    assert (found.application, found.labels) == ("thermo", {"a": "1", "b": "x=y"})


def test_a_mac_may_have_a_root_of_its_own(tmp_path: Path) -> None:
    boards = read(tmp_path, f"mac,root\n02:00:00:00:00:09,{BASE64}\n{SECOND.board_id},\n")
    assert [each.root for each in boards] == [FIRST.root, SECOND.root]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "line 1: the first line names the columns: expected mac, .* found an empty line"),
        ("02:00:00:00:00:01\n", "line 1: .* found '02:00:00:00:00:01'"),
        ("mac,colour\n", "line 1: .* found 'colour'"),
        ("mac,mac\n", "line 1: a column is named twice"),
        ("mac,id,root\n", "line 1: expected a column mac, or the columns id and root"),
        ("id\n", "line 1: expected a column mac, or the columns id and root"),
        ("application\n", "line 1: expected a column mac"),
        (f"mac\n{FIRST.board_id}\nzz:zz\n", "line 3: MAC address 'zz:zz': expected six"),
        (f"mac\n{FIRST.board_id},x\n", "line 2: expected 1 fields, found 2"),
        ("mac,root\n02:00:00:00:00:01\n", "line 2: expected 2 fields, found 1"),
        ("id,root\ndoor,\n", "line 2: no root certificate"),
        ("id,root\ndoor,x!\n", "line 2: root certificate: expected PEM or base64 of DER"),
        ("id,root\ndoor,AAAA\n", "line 2: root certificate of door: "),
        (f"id,root\ndoor,{b64encode(FIRST.certificate).decode()}\n", "line 2: .* not a root"),
        (f"id,root\n,{BASE64}\n", "line 2: board id ''"),
        (f"id,root,labels\nd,{BASE64},x\n", "line 2: label 'x': expected name=value"),
        (f"id,root,labels\nd,{BASE64},a=1;a=2\n", "line 2: label 'a' is there twice"),
        (f'id,root\nd,"{BASE64}\n', "line 2: unexpected end of data"),
        ("mac\n\x00\n", "line 2: "),
        (b"mac\n\xff\xfe\n", "line .*: expected UTF-8"),
        ("mac\n" + "0" * 200_000, "line 2: field larger than field limit"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_place(
    tmp_path: Path, content: str | bytes, text: str
) -> None:
    with pytest.raises(EnrolmentError, match=text) as raised:
        read(tmp_path, content)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_file_closed_under_who_reads_it_does_not_end_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that enrols reads on when its command is interrupted, and may meet an end of file
    where the file is being closed: 16 boards of 400 were enrolled so, the first 8 KB."""
    path = tmp_path / "batch.csv"
    path.write_text("mac\n24:0a:c4:00:00:01\n24:0a:c4:00:00:02\n")
    file = BatchFile(path)
    with monkeypatch.context() as patched:
        # What the race comes to: reading goes on, and comes to an end.
        patched.setattr(file, "_text", path.open(newline=""))
        reading = file._text
        boards = file.boards()
        next(boards)
        patched.setattr(file, "_text", file._bytes)
        with file:
            pass
    with pytest.raises(EnrolmentError, match="closed before its end"):
        list(boards)
    reading.close()
