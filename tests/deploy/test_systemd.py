"""The systemd units: as systemd reads them, and how much they leave open."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.deploy.command_lines import SYSTEMD
from tests.deploy.documented import blocks
from tests.deploy.unit_filter import allowed_calls, values

UNITS = ["ota-agent.service", "dice-auth.service"]
MOST_EXPOSURE = 1.1  # of 10

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
    )


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    # It looks for the program, which is not installed here.
    unit = tmp_path / name
    unit.write_text((SYSTEMD / name).read_text().replace("/opt/ota/bin/ota-service", "/bin/true"))
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_systemd_complains_of_a_line_it_does_not_understand(tmp_path: Path) -> None:
    unit = tmp_path / "bad.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nProtectSytem=strict\n")
    assert "ProtectSytem" in analyze("verify", "--man=no", unit).stderr


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_little_is_left_open(name: str) -> None:
    threshold = f"--threshold={MOST_EXPOSURE * 10:.0f}"
    done = analyze("security", "--offline=true", threshold, SYSTEMD / name)
    assert done.returncode == 0, done.stdout


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_system_calls_of_administrators_are_kept_out(name: str) -> None:
    calls = allowed_calls((SYSTEMD / name).read_text())
    assert {"accept4", "memfd_create", "mmap", "prlimit64", "epoll_wait"} <= calls
    assert not {"mount", "ptrace", "setuid", "chroot", "bpf", "kexec_load", "init_module"} & calls


@pytest.mark.parametrize("name", UNITS)
def test_a_server_has_the_time_it_takes_to_end(name: str) -> None:
    unit = (SYSTEMD / name).read_text()
    found = re.search(r"--shutdown-deadline (\d+)", unit)
    deadline = int(found[1]) if found else 10
    (timeout,) = values(unit, "TimeoutStopSec")
    assert int(timeout.rstrip("s")) >= deadline + 10
    assert values(unit, "KillMode") == ["mixed"]


@pytest.mark.parametrize("name", UNITS)
def test_every_file_a_unit_reads_is_one_that_the_docs_put_there(name: str) -> None:
    unit = (SYSTEMD / name).read_text()
    commands = blocks("systemd")[0]
    for file in set(
        re.findall(r"(?:\s|:|=)(/etc/\S+)", re.sub(r"^#.*$|=-.*$", "", unit, flags=re.M))
    ):
        folder, _, base = file.rpartition("/")
        lines = [line for line in commands.splitlines() if folder in line]
        assert any(base in re.split(r"[ /]", line) for line in lines), file


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="makes users in a folder: root only")
def test_users_and_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for program, file in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        options = ["--create"] if file == "tmpfiles" else []
        subprocess.run(
            [program, f"--root={tmp_path}", *options, SYSTEMD / f"{file}.conf"],
            check=True,
            timeout=60,
        )
    groups = dict(
        line.split(":")[0:3:2] for line in (tmp_path / "etc/group").read_text().splitlines()
    )
    for name in ("ota-agent", "dice-auth"):
        status = (tmp_path / "etc" / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o750, 0)
        assert status.st_gid == int(groups[name])
        assert re.search(rf"^{name}:.*nologin$", (tmp_path / "etc/passwd").read_text(), re.M)
