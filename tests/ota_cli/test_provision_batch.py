"""`ota-service provision --csv`: a batch gets its secrets, and is enrolled, whole or not at all."""

import random
import resource
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dice
from dice import certificate
from ota_cli import command_line
from tests.dice_auth.conftest import redis_peer, redis_process, registry_url, sqlite_url
from tests.dice_auth.redis_peer import RedisPeer
from tests.ota_cli.processes import COMMAND, done, refused, run
from tests.ota_cli.provisioned import enrolled, holders, images, redis_content, shows, uds_of

__all__ = ["redis_peer", "redis_process", "registry_url", "sqlite_url"]

MANY = 400
_DEADLINE_S = 60


def mac(number: int) -> str:
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def batch(folder: Path, count: int) -> Path:
    path = folder / "batch.csv"
    lines = [f"{mac(i)},thermo,line={i % 4};site=lab" for i in range(count)]
    path.write_text("\n".join(["mac,application,labels", *lines, ""]))
    return path


def beside_registry(folder: Path) -> list[str]:
    """Names in a folder, without SQLite's files."""
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if not name.startswith("registry.db"))


def roots_in(folder: Path) -> list[bytes]:
    """The root certificates of the secrets in a folder's images, made anew."""
    return [dice.root_certificate(uds_of(image)) for image in images(folder)]


def test_every_board_of_a_batch_gets_an_image_a_root_and_an_entry(
    registry_url: str, tmp_path: Path
) -> None:
    lot = tmp_path / "lot"
    output = done("provision", "--csv", batch(tmp_path, 5), "-o", lot, "--registry", registry_url)
    assert "boards with a secret, and enrolled: 5\n" in output
    assert len(list(lot.iterdir())) == 11
    assert len({uds_of(image) for image in images(lot)}) == 5
    boards = enrolled(registry_url)
    assert sorted(boards) == [mac(i) for i in range(5)]
    assert [boards[mac(i)].root for i in range(5)] == roots_in(lot)
    for i in range(5):
        pem = (lot / f"{mac(i).replace(':', '-')}-root.pem").read_bytes()
        assert certificate.from_pem(pem) == boards[mac(i)].root
        assert boards[mac(i)].labels == {"line": str(i % 4), "site": "lab"}
        assert boards[mac(i)].application == "thermo"
    assert stat.S_IMODE(lot.stat().st_mode) == 0o700
    assert {stat.S_IMODE(image.stat().st_mode) for image in images(lot)} == {0o600}
    assert beside_registry(tmp_path) == ["batch.csv", "lot"]


def test_the_list_of_roots_enrols_the_batch_elsewhere(registry_url: str, tmp_path: Path) -> None:
    lot = tmp_path / "lot"
    order = tmp_path / "batch.csv"
    order.write_text('id,labels\nfront door,a=1\n"with, comma","b=2;c=x y"\nüber,\n')
    output = done("provision", "--csv", order, "-o", lot, "--no-enrol")
    assert f"Not enrolled yet: ota-service submit --csv {lot}/roots.csv" in output
    done("submit", "--csv", lot / "roots.csv", "--registry", registry_url)
    boards = enrolled(registry_url)
    assert {board_id: board.labels for board_id, board in boards.items()} == {
        "front door": {"a": "1"}, "with, comma": {"b": "2", "c": "x y"}, "über": {},
    }  # fmt: skip
    assert {board.root for board in boards.values()} == set(roots_in(lot))


def test_the_secrets_of_a_batch_are_in_its_images_and_nowhere_else(
    registry_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    lot = tmp_path / "lot"
    order = batch(tmp_path, 3)
    result = run("provision", "--csv", order, "-o", lot, "--registry", registry_url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    content = b""
    if registry_url.startswith("redis"):
        peer: RedisPeer = request.getfixturevalue("redis_peer")
        content = redis_content(peer)
    for image in images(lot):
        assert holders(uds_of(image), tmp_path) == [image]
        assert not shows(uds_of(image), (result.stdout + result.stderr).encode() + content)


def test_a_folder_that_is_there_is_refused_and_not_touched(tmp_path: Path, sqlite_url: str) -> None:
    lot = tmp_path / "lot"
    lot.mkdir()
    arguments = ("provision", "--csv", batch(tmp_path, 2), "-o", lot, "--registry", sqlite_url)
    line = refused(*arguments)
    assert f"{lot} is there already" in line
    assert f"ota-service submit --csv {lot}/roots.csv" in line
    assert list(lot.iterdir()) == []
    lot.rmdir()
    (tmp_path / "lot.partial").mkdir()
    assert "lot.partial is there" in refused(*arguments)
    assert enrolled(sqlite_url) == {}


def test_one_board_that_is_enrolled_already_stops_its_whole_batch(
    registry_url: str, tmp_path: Path
) -> None:
    done("submit", mac(3), "--registry", registry_url)
    order = batch(tmp_path, 5)
    line = refused("provision", "--csv", order, "-o", tmp_path / "lot", "--registry", registry_url)
    assert f"{mac(3)} is already enrolled" in line
    assert list(enrolled(registry_url)) == [mac(3)]
    assert images(tmp_path) == []
    assert not (tmp_path / "lot").exists() and not (tmp_path / "lot.partial").exists()


def test_without_a_registry_no_batch_is_made(tmp_path: Path) -> None:
    order = batch(tmp_path, 2)
    where = ("-o", tmp_path / "lot", "--registry", "redis://127.0.0.1:1")
    assert "Redis at 127.0.0.1:1" in refused("provision", "--csv", order, *where)
    assert list(tmp_path.iterdir()) == [order]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "line 1: the first line names the columns"),
        (b"\n", "line 1: the first line names the columns"),
        (b"mac,colour\n", "line 1: the first line names the columns"),
        (b"id,root\nx,y\n", "found 'root'"),
        (b"mac,mac\n", "line 1: a column is named twice"),
        (b"mac,id\n", "line 1: expected a column id, or a column mac"),
        (b"labels\na=1\n", "line 1: expected a column id, or a column mac"),
        (b"id\n", "no board in it"),
        (b"mac\n02:00:00:00:00:01\nzz\n", "line 3: MAC address 'zz'"),
        (b"mac\n02:00:00:00:00:0A\n02:00:00:00:00:0a\n", "line 3: 02:00:00:00:00:0a is the board"),
        (b"id\nx\ny\nx\n", "line 4: x is the board of line 2"),
        (b"id\nx,1\n", "line 2: expected 1 fields, found 2"),
        (b"id,labels\nx,a\n", "line 2: label 'a': expected name=value"),
        (b"id,labels\nx,a=1;a=2\n", "line 2: label 'a' is there twice"),
        (b"id,application\nx," + b"a" * 65 + b"\n", "line 2: '"),
        (b"id,application\nx,\x1b[31m\n", "line 2: '"),
        (b'id\n"x\n', "line 2: unexpected end of data"),
        (b'id\n""\n', "line 2: board id ''"),
        (b"id\na\0b\n", "line 2: "),
        (b"id\nx\n\xff\n", "line 3: expected UTF-8"),
        (b"id\n" + b"x" * 129 + b"\n", "line 2: board id"),
    ],
)
def test_a_mistake_in_a_batch_is_named_with_its_line_and_nothing_is_made(
    content: bytes, complaint: str, tmp_path: Path, sqlite_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    order = tmp_path / "batch.csv"
    order.write_bytes(content)
    arguments = ["provision", "--csv", str(order), "-o", str(tmp_path / "lot")]
    assert command_line.run([*arguments, "--registry", sqlite_url]) == 2
    error = capsys.readouterr().err
    assert f"{order}" in error and complaint in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [order]


def test_a_batch_of_paths_stays_in_its_folder(tmp_path: Path, sqlite_url: str) -> None:
    order = tmp_path / "batch.csv"
    order.write_text("id\n../x\n/etc/x\n..\n../../x\n")
    done("provision", "--csv", order, "-o", tmp_path / "lot", "--registry", sqlite_url)
    assert len(images(tmp_path / "lot")) == 4 == len(enrolled(sqlite_url))
    assert beside_registry(tmp_path) == ["batch.csv", "lot"]


# -- processes that end too early -----------------------------------------------------------------


def wait(for_what: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + _DEADLINE_S
    while not for_what() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.001)


def count(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.exists() else 0


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "before the first file": lambda lot: lot.with_name("lot.partial").exists(),
    "while files are made": lambda lot: count(lot.with_name("lot.partial")) > MANY // 2,
    "while files are saved": lambda lot: count(lot.with_name("lot.partial")) > 2 * MANY,
    "when the folder is there": lambda lot: lot.exists(),
}


def provision_until(
    moment: Callable[[Path], bool], ending: signal.Signals, order: Path, lot: Path, url: str,
    *, delay_s: float = 0,
) -> tuple[int, str, str]:  # fmt: skip
    """Start a batch with umask 000, and send it the signal at the moment; code and outputs."""
    process = subprocess.Popen(
        [COMMAND, "provision", "--csv", order, "-o", lot, "--registry", url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, umask=0,
    )  # fmt: skip
    wait(lambda: moment(lot), process)
    time.sleep(delay_s)  # a moment of its own, not something waited for
    process.send_signal(ending)
    output, error = process.communicate(timeout=_DEADLINE_S)
    return process.returncode, output, error


def check_nothing_is_half_done(lot: Path, url: str, output: str) -> None:
    """All or none enrolled; each that is with its image; no image for others to read."""
    boards = enrolled(url)
    assert len(boards) in (0, MANY)
    if boards:
        assert {board.root for board in boards.values()} == set(roots_in(lot))
    else:
        assert output == ""
    if lot.exists():
        assert len(images(lot)) == MANY
    for image in images(lot.parent):
        assert stat.S_IMODE(image.stat().st_mode) == 0o600
        assert stat.S_IMODE(image.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_batch_killed_at_any_moment_is_not_half_enrolled(
    moment: str, registry_url: str, tmp_path: Path
) -> None:
    order, lot = batch(tmp_path, MANY), tmp_path / "lot"
    _, output, _ = provision_until(MOMENTS[moment], signal.SIGKILL, order, lot, registry_url)
    check_nothing_is_half_done(lot, registry_url, output)
    if lot.exists():  # the way on that the next run names
        done("submit", "--csv", lot / "roots.csv", "--registry", registry_url)
        assert {b.root for b in enrolled(registry_url).values()} == set(roots_in(lot))
    else:
        assert "remove it" in refused(
            "provision", "--csv", order, "-o", lot, "--registry", registry_url
        )


@pytest.mark.parametrize("attempt", range(3))
def test_a_batch_killed_while_it_is_enrolled_is_not_half_enrolled(
    attempt: int, registry_url: str, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    order, lot = batch(tmp_path, MANY), tmp_path / "lot"
    _, output, _ = provision_until(
        MOMENTS["when the folder is there"], signal.SIGKILL, order, lot, registry_url,
        delay_s=random.Random(seed).uniform(0, 0.15),
    )  # fmt: skip
    check_nothing_is_half_done(lot, registry_url, output)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_batch_that_is_interrupted_leaves_nothing_or_says_what(
    moment: str, ending: signal.Signals, sqlite_url: str, tmp_path: Path
) -> None:
    order, lot = batch(tmp_path, MANY), tmp_path / "lot"
    code, output, error = provision_until(MOMENTS[moment], ending, order, lot, sqlite_url)
    check_nothing_is_half_done(lot, sqlite_url, output)
    assert not lot.with_name("lot.partial").exists()
    if code == 130:
        assert error.strip().count("\n") == 0, error
    else:  # it was done: with luck, the signal still met Python on its way out
        assert code in (0, -ending)
        assert f"boards with a secret, and enrolled: {MANY}" in output
    if code == 130 and lot.exists():
        assert f"enrol it: ota-service submit --csv {lot}/roots.csv" in error
        done("submit", "--csv", lot / "roots.csv", "--registry", sqlite_url)
        assert len(enrolled(sqlite_url)) == MANY


def test_a_batch_that_a_full_disk_stops_leaves_nothing(tmp_path: Path, sqlite_url: str) -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (128 * 1024, 128 * 1024))

    # roots.csv comes last, and is the first file that is too large.
    arguments = ("provision", "--csv", batch(tmp_path, MANY), "-o", tmp_path / "lot")
    line = refused(*arguments, "--registry", sqlite_url, preexec_fn=few_files)
    assert "roots.csv: file too large" in line
    assert images(tmp_path) == []
    assert enrolled(sqlite_url) == {}
