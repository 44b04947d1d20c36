"""A folder that changes in the very moment in which it is read, step by step."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ota_agent import file_stamp, shelf
from ota_agent.firmware import Trust
from ota_agent.shelf import Shelf
from tests.ota_agent.images import app

THERMO, NEWER, OLDER = app("2.0.0"), app("3.0.0"), app("1.0.0")
LAMP, OTHER_LAMP = app("1.0.0", "lamp"), app("2.0.0", "lamp")


def folder_of(path: Path, **files: bytes) -> Path:
    """NAME.bin of each."""
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / f"{name}.bin").write_bytes(content)
    return path


def point(link: Path, folder: Path) -> None:
    """Set the link to the folder, at once."""
    new = link.with_suffix(".new")
    new.symlink_to(folder)
    os.replace(new, link)


@pytest.fixture
def before_load(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Callable[[], None]]], None]:
    """What happens when a file's stamp has been taken and before it is read, once, by its name."""

    def arrange(happens: dict[str, Callable[[], None]]) -> None:
        load = shelf.load_firmware

        def late(path: Path, trust: Trust) -> Any:
            if path.stem in happens:
                happens.pop(path.stem)()
            return load(path, trust)

        monkeypatch.setattr(shelf, "load_firmware", late)

    # As if all files were old.
    monkeypatch.setattr(shelf, "is_settled", lambda stamp: True)
    return arrange


def versions(made: Shelf) -> list[str]:
    return sorted(each.name for each in made.served.values())


def test_a_link_that_is_set_to_another_folder_meanwhile_gives_all_of_that_one(
    tmp_path: Path, before_load: Callable[[dict[str, Callable[[], None]]], None]
) -> None:
    """And nothing of the first, whose files have been read already."""
    first = folder_of(tmp_path / "first", a=LAMP, b=THERMO)
    second = folder_of(tmp_path / "second", a=OTHER_LAMP, b=OLDER)
    point(tmp_path / "current", first)
    made = Shelf(tmp_path / "current", Trust())
    before_load({"b": lambda: point(tmp_path / "current", second)})
    made.look()
    assert versions(made) == ["lamp 2.0.0 esp32", "thermo 1.0.0 esp32"]


def test_what_a_file_held_while_the_link_was_elsewhere_is_not_kept_as_its_own(
    tmp_path: Path, before_load: Callable[[dict[str, Callable[[], None]]], None]
) -> None:
    """There and back between two files: the folder and all of its files are as they were."""
    first = folder_of(tmp_path / "first", a=THERMO, b=LAMP)
    second = folder_of(tmp_path / "second", a=NEWER, b=LAMP)
    point(tmp_path / "current", first)
    made = Shelf(tmp_path / "current", Trust())
    before_load(
        {
            "a": lambda: point(tmp_path / "current", second),
            "b": lambda: point(tmp_path / "current", first),
        }
    )
    made.look()
    made.look()
    assert versions(made) == ["lamp 1.0.0 esp32", "thermo 2.0.0 esp32"]


def test_a_file_that_was_read_within_a_tick_of_its_change_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written over in place, as long as before, while the clock stands."""
    monkeypatch.setattr(file_stamp, "_stamp", lambda path: (0, 0, 0, 0, 0))
    monkeypatch.setattr(shelf, "is_settled", lambda stamp: False)
    made = Shelf(folder_of(tmp_path / "fleet", a=THERMO), Trust())
    made.look()
    folder_of(tmp_path / "fleet", a=NEWER)
    made.look()
    assert versions(made) == ["thermo 3.0.0 esp32"]
