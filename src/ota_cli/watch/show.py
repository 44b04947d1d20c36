"""Asks an agent's admin port again and again, and shows the answers until it is enough."""

import asyncio
import locale
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from rich.console import Console

from ota_cli.watch.admin_port import AdminPort, NoSessions
from ota_cli.watch.full_screen import FullScreen, terminal_size
from ota_cli.watch.lines import summary_line
from ota_cli.watch.screen import Screen
from ota_cli.watch.view import View

_REDRAW_S = 1.0
_MOST_LISTED = 1000  # where the agent does not say of all boards what lines need


def show(url: str, interval_s: float) -> None:
    """Until q, Ctrl-C or SIGTERM; in lines, also until whoever reads them is gone.

    Raises CommandError if there is no agent at first; later it is waited for.
    """
    try:
        asyncio.run(_until_enough(url, interval_s))
    except BrokenPipeError:
        # Python must not complain about it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Watch(NamedTuple):
    """leave: ends it. interval_s: from one question to the next."""

    port: AdminPort
    interval_s: float
    leave: Callable[[], object]


async def _until_enough(url: str, interval_s: float) -> None:
    loop = asyncio.get_running_loop()
    async with AdminPort(url) as port:
        watch = _Watch(port, interval_s, lambda: watching.cancel())
        console = Console(highlight=False, markup=False, emoji=False)
        has_screen = sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal
        watching = asyncio.create_task(_draw(watch, console) if has_screen else _print(watch))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, watch.leave)
        with suppress(asyncio.CancelledError):
            await watching


async def _draw(watch: _Watch, console: Console) -> None:
    view = await _first_view(watch.port, _listed())
    is_ascii = not _is_utf8(console)
    news, resized = asyncio.Event(), asyncio.Event()

    def redraw() -> None:
        resized.set()
        news.set()

    asking = asyncio.create_task(_keep_asking(watch, view, news, resized))
    asking.add_done_callback(lambda _: news.set())
    try:
        with FullScreen(console, watch.leave, redraw) as screen:
            while not asking.done():
                news.clear()
                picture = Screen(
                    view, *terminal_size(), is_ascii=is_ascii, interval_s=watch.interval_s
                )
                screen.draw(picture.picture(time.monotonic()))
                await _wait(news, _REDRAW_S)
        asking.result()
    finally:
        asking.cancel()


async def _keep_asking(
    watch: _Watch, view: View, news: asyncio.Event, resized: asyncio.Event
) -> None:
    """A larger terminal asks for more at once."""
    while True:
        await _wait(resized, watch.interval_s)
        resized.clear()
        await _ask(watch.port, view, _listed())
        news.set()


async def _print(watch: _Watch) -> None:
    """A line for each answer, and for each that there was not."""
    view = await _first_view(watch.port, _MOST_LISTED)
    with _reader_gone(watch.leave):
        while True:
            print(summary_line(view, time.monotonic()), flush=True)
            await asyncio.sleep(watch.interval_s)
            await _ask(watch.port, view, _MOST_LISTED if view.sessions.sending is None else 1)


async def _first_view(port: AdminPort, limit: int) -> View:
    sessions = await port.sessions(limit)
    return View(port.url, sessions, time.monotonic())


async def _ask(port: AdminPort, view: View, limit: int) -> None:
    try:
        view.take(await port.sessions(limit), time.monotonic())
    except NoSessions as error:
        view.fail(error.reason)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _listed() -> int:
    return min(_MOST_LISTED, Screen.most_rows(terminal_size()[1]))


def _is_utf8(console: Console) -> bool:
    """LC_ALL=C has Python write UTF-8 all the same (PEP 540), which such a terminal cannot show."""
    return locale.getencoding().lower() in ("utf-8", "utf8") and console.encoding == "utf-8"


@contextmanager
def _reader_gone(leave: Callable[[], object]) -> Iterator[None]:
    """Leaves when the other end of a pipe is closed, which else shows at the next line only."""
    descriptor = sys.stdout.fileno()
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, leave)  # of a pipe's writing end, epoll reports an error alone
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
