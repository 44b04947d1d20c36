"""`make docs-check`: looks at the built site as browsers do, with Debian's Chromium, headless.

Serves site/ on loopback as a web server does (gzip), counts what each page makes a browser fetch,
asks the search something, looks for text without JavaScript, and leaves pictures in
build/docs-check: light, dark, as narrow as a phone, and without JavaScript. Exit code 0: every
page is below MOST_BYTES, unpacked and with all that it loads, and all of that works.
"""

import gzip
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
PICTURES = ROOT / "build" / "docs-check"
MOST_BYTES = 300_000
SEARCH_FOR = "key-untrusted"
# Chromium's own: no GPU, no sandbox (root in a container), no calls home.
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=5000",
)  # fmt: skip
_DARK = "--blink-settings=preferredColorScheme=0"
_LIGHT = "--blink-settings=preferredColorScheme=1"
# Asked with this the server forbids every script: Chromium makes no pictures with them turned off.
_NO_SCRIPT = "?no-script"


class Server(ThreadingHTTPServer):
    """Of site/. fetched: path -> bytes sent, and as they were before gzip."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(SITE)))
        self.fetched: dict[str, tuple[int, int]] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(SimpleHTTPRequestHandler):
    """Files with gzip, as a web server in production sends text."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        plain = path.read_bytes()
        packed = gzip.compress(plain, 6)
        body = packed if len(packed) < len(plain) else plain
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(body)))
        if body is packed:
            self.send_header("Content-Encoding", "gzip")
        if self.path.endswith(_NO_SCRIPT):
            self.send_header("Content-Security-Policy", "script-src 'none'")
        self.end_headers()
        self.wfile.write(body)
        server = self.server
        if isinstance(server, Server):
            server.fetched[self.path.partition("?")[0]] = (len(body), len(plain))

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


def main() -> int:
    """The whole check; 0 if all holds."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium here: apt-get install chromium", file=sys.stderr)
        return 1
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    server = Server()
    try:
        failures = [*_check_sizes(chromium, server), *_check_search(chromium, server)]
        failures += _check_without_script(server)
        _take_pictures(chromium, server)
    finally:
        server.shutdown()
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    print(f"pictures: {PICTURES}")
    return 1 if failures else 0


def _browse(chromium: str, url: str, *options: str) -> str:
    """What the page has become, as HTML, if `--dump-dom` is among the options."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [chromium, *_OPTIONS, f"--user-data-dir={profile}", *options, url],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    return done.stdout


def _check_sizes(chromium: str, server: Server) -> list[str]:
    """Every page opened with nothing cached: all that it fetches is counted."""
    failures, largest = [], (0, 0, "")
    for page in sorted(SITE.rglob("*.html")):
        name = page.relative_to(SITE).as_posix()
        server.fetched.clear()
        _browse(chromium, f"{server.url}/{name}", "--dump-dom")
        sent = sum(size for size, _ in server.fetched.values())
        plain = sum(size for _, size in server.fetched.values())
        print(f"{name:40} {sent:8,} bytes sent, {plain:9,} unpacked, {len(server.fetched)} files")
        largest = max(largest, (plain, sent, name))
        if plain >= MOST_BYTES:
            failures.append(f"{name}: {plain:,} bytes unpacked, expected fewer than {MOST_BYTES:,}")
    print(f"the largest: {largest[2]}, {largest[1]:,} bytes sent, {largest[0]:,} unpacked")
    for file, (size, plain) in sorted(server.fetched.items()):
        print(f"  {file:50} {size:8,} {plain:9,}")
    return failures


def _check_search(chromium: str, server: Server) -> list[str]:
    """The search page of the theme, asked by its address."""
    html = _browse(chromium, f"{server.url}/index.html?q={SEARCH_FOR}", "--dump-dom")
    links = re.findall(r'class="md-search-result__link" href="([^"]+)"', html)
    known = [link for link in links if (SITE / link.partition("#")[0]).is_file()]
    print(f"search for {SEARCH_FOR}: {len(links)} places, {', '.join(links[:3])}")
    return [] if known else [f"search for {SEARCH_FOR} finds nothing"]


def _check_without_script(server: Server) -> list[str]:
    """The text and the way to other pages are in what is sent."""
    html = (SITE / "tutorials/laptop.html").read_text()
    wanted = ("attestation server listening on", 'href="../reference/cli.html"')
    return [f"without JavaScript there is no {text}" for text in wanted if text not in html]


def _take_pictures(chromium: str, server: Server) -> None:
    desktop, phone = "1280,900", "390,844"
    for name, page, size, setting in (
        ("light", "tutorials/laptop.html", desktop, _LIGHT),
        ("dark", "tutorials/laptop.html", desktop, _DARK),
        ("phone", "reference/error-codes.html", phone, _LIGHT),
        ("phone-dark", "index.html", phone, _DARK),
        ("no-script", f"reference/error-codes.html{_NO_SCRIPT}", desktop, _LIGHT),
        ("no-script-dark", f"index.html{_NO_SCRIPT}", desktop, _DARK),
        ("search", f"index.html?q={SEARCH_FOR}", desktop, _LIGHT),
        ("api", "reference/api/ota_service.html", desktop, _LIGHT),
    ):
        picture = f"--screenshot={PICTURES / name}.png"
        _browse(chromium, f"{server.url}/{page}", picture, f"--window-size={size}", setting)


if __name__ == "__main__":
    sys.exit(main())
