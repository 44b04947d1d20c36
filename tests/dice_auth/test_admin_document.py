"""The admin API does what its OpenAPI document says, and nothing else: Schemathesis tries."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.dice_auth.administering import Administered
from tests.dice_auth.boards import board

_REPOSITORY = Path(__file__).parents[2]


def test_schemathesis_finds_nothing(sqlite_administration: Administered, tmp_path: Path) -> None:
    """All its checks, in all its phases: wrong and missing data, schemas and headers of answers,
    undocumented statuses and methods, requests without a token, resources used after removal."""
    with sqlite_administration.operator() as operator:
        for number in range(60, 80):
            operator.enrol(f"seeded {number}", root=board(number).root_pem)
        operator.revoke("seeded 60", "stolen")
    result = subprocess.run(
        [
            Path(sys.executable).parent / "st",
            "--config-file", Path(__file__).parent / "schemathesis.toml",
            "run", f"http://127.0.0.1:{sqlite_administration.server.port}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {sqlite_administration.tokens.write}",
            "--seed", "3", "--max-examples", "15", "--generation-database", "none",
            "--checks", "all", "--no-color",
        ],
        env=os.environ | {
            "SCHEMATHESIS_HOOKS": "tests.dice_auth.schemathesis_hooks",
            "PYTHONPATH": os.pathsep.join((str(_REPOSITORY), str(_REPOSITORY / "src"))),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "8 selected / 8 total" in result.stdout
    generated = re.search(r"(\d+) generated", result.stdout)
    assert generated
    assert int(generated[1]) > 300
    events = sqlite_administration.server.events
    assert (
        len({line["action"] for line in events("admin-write") if line["status"] in (200, 201, 204)})
        == 6
    )
    assert not events("internal-error")
