"""`ota-service demo`: one whole secure update on this machine, then the refusals.

Every part runs as its own process, started through the same command line a user has.
"""

import shutil
import tempfile
from pathlib import Path

import click

from ota_cli.demo import interrupts
from ota_cli.demo.scenario import Scenario
from ota_cli.errors import CommandError


@click.command()
def demo() -> None:
    """One whole secure update on this machine, and refusals.

    Starts an attestation server, an OTA agent and a virtual board, updates the board, shows what
    it refuses, and leaves nothing behind.

    \b
    Example:
      ota-service demo
    """
    interrupts.install()
    folder = Path(tempfile.mkdtemp(prefix="ota-service-demo-"))
    try:
        with Scenario(folder) as scenario:
            held = scenario.play()
    finally:
        shutil.rmtree(folder)
    if not held:
        raise CommandError("the demonstration did not go as expected (see the table)")
