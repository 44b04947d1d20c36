"""Keeps firmware that is published in a registry in a folder on disk, which a catalogue serves.

The reference is looked at again and again; when it names something else, that is fetched, checked
and put in the old one's place at once. While the registry does not answer, or what it holds is
not good, the folder stays as it is. Of several processes with one cache, one does this; when it
ends, another takes over.
"""

import asyncio
import logging
import random
import shutil
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from ota_agent.catalogue import listed
from ota_agent.errors import ContentError, FirmwareError, PullError
from ota_agent.firmware import Trust, load_firmware
from ota_agent.oci_cache import Cache
from ota_agent.oci_image import Published, firmware_of
from ota_agent.oci_manifest import Descriptor, is_index, read_index, read_manifest
from ota_agent.oci_reference import Reference
from ota_agent.oci_registry import Registry, RegistryAccess
from ota_agent.structured_log import log_event, note_event

# However slowly a registry sends: later it is tried anew.
_MOST_PULL_S = 600.0
_NOT_PULLED = "firmware-not-pulled"
# While another process fills the cache.
_POLL_S = 0.1


class Puller:
    """interval_s: how often the reference is looked at, about. trust: whose firmware takes the
    place of what is there."""

    def __init__(
        self,
        reference: Reference,
        cache: Path,
        access: RegistryAccess,
        interval_s: float,
        trust: Trust,
    ) -> None:
        self._reference = reference
        self._cache = Cache(cache, reference)
        self._access = access
        self._interval_s = interval_s
        self._trust = trust
        self._hurry = asyncio.Event()
        self._complaint = ""
        # What was fetched and is no good, and why.
        self._bad = ("", "")

    @property
    def folder(self) -> Path:
        """What is to be served; it is there after `fill`."""
        return self._cache.current

    async def fill(self) -> None:
        """Return when there is firmware to serve: at once if there is some from before. Raises
        PullError where there is none and the registry does not give any."""
        told = None
        while not self._cache.is_filled:
            is_own = self._cache.lock()
            if is_own != told:
                told = is_own
                self._tell_pulling(by="this process" if is_own else "another process")
            if is_own:
                await self._pull_in_time()
            else:
                await asyncio.sleep(_POLL_S)

    async def run(self) -> None:
        """Keep the folder as the registry has it, until cancelled."""
        try:
            while True:
                await self._look()
                # Not all agents of a fleet in the same moment.
                pause_s = self._interval_s * random.uniform(0.9, 1.1)  # noqa: S311
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._hurry.wait()
                self._hurry.clear()
        finally:
            self.close()

    def close(self) -> None:
        """Leave the pulling to another process."""
        self._cache.close()

    def look_now(self) -> None:
        """Do not wait for the next time."""
        self._hurry.set()

    async def _look(self) -> None:
        try:
            if self._cache.lock():
                await self._pull_in_time()
        # RuntimeError: no thread can be started, which passes as well.
        except (PullError, OSError, MemoryError, RuntimeError) as error:
            reason = str(error) or "out of memory"
            if reason != self._complaint:
                self._complaint = reason
                self._complain(reason, "what was pulled before")
            else:
                note_event(_NOT_PULLED)
        else:
            if self._complaint:
                self._complaint = ""
                log_event("registry-answers", firmware=str(self._reference))

    def _tell_pulling(self, **what: Any) -> None:
        log_event("firmware-pulling", firmware=str(self._reference), **what)

    def _complain(self, reason: str, still: str | None) -> None:
        log_event(
            _NOT_PULLED, level=logging.ERROR, firmware=str(self._reference),
            reason=reason, still=still,
        )  # fmt: skip

    async def _pull_in_time(self) -> None:
        try:
            async with asyncio.timeout(_MOST_PULL_S):
                await self._pull()
        except TimeoutError:
            raise PullError(f"{self._reference}: not done within {_MOST_PULL_S:g} s") from None

    async def _pull(self) -> None:
        """Fetch what the reference names if it is not here, or no longer as it was written."""
        there = await asyncio.to_thread(self._cache.digest)
        if there is not None and there == self._reference.digest:
            return
        async with Registry(self._reference, self._access) as registry:
            named = await registry.digest()
            if named is None or not self._is_known(named, there):
                content, named, kind = await registry.root()
                if not self._is_known(named, there):
                    await self._replace(registry, content, named, kind)

    def _is_known(self, digest: str, there: str | None) -> bool:
        """Raises ContentError if it is known for no good: it is not worth fetching again."""
        bad, reason = self._bad
        if digest == bad:
            raise ContentError(reason)
        return digest == there

    async def _replace(self, registry: Registry, content: bytes, digest: str, kind: str) -> None:
        scratch = await asyncio.to_thread(self._cache.scratch)
        began = time.monotonic()
        try:
            files, fetched = await self._fetch(registry, content, kind, scratch)
            names = [each["file"] for each in files]
            await _to_its_end(asyncio.to_thread(self._cache.replace, scratch, digest, names))
        except ContentError as error:
            self._bad = (digest, str(error))
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        log_event(
            "firmware-pulled", firmware=str(self._reference), digest=digest, files=files,
            bytes=fetched, seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip

    async def _fetch(
        self, registry: Registry, content: bytes, kind: str, scratch: Path
    ) -> tuple[list[dict[str, str]], int]:
        """Put the firmware of every platform into this folder, one that is no good left out; which
        files there are, and how many bytes were fetched for them."""
        images: list[tuple[str | None, Descriptor | None]] = [(None, None)]
        if is_index(content, kind):
            images = [(each.architecture, each.manifest) for each in read_index(content)]
        files, left_out, fetched = [], [], 0
        for architecture, descriptor in images:
            manifest = content if descriptor is None else await registry.manifest(descriptor)
            try:
                image = read_manifest(manifest)
                platform = f"custom/{architecture}" if architecture else None
                self._tell_pulling(platform=platform, bytes=image.size)
                fetched += image.size
                published = await firmware_of(registry, image, architecture, scratch)
                for each in published:
                    name = await asyncio.to_thread(self._put, scratch, each)
                    files.append({"chip": each.chip, "path": f"/{each.path}", "file": name})
            except ContentError as error:
                left_out.append(f"custom/{architecture}: {error}" if architecture else str(error))
        if not files:
            raise ContentError(f"{self._reference}: {'; '.join(left_out)}")
        for reason in left_out:
            self._complain(f"{self._reference}: {reason}", None)
        return files, fetched

    def _put(self, scratch: Path, published: Published) -> str:
        """Its file's name, where the catalogue will serve it. Raises ContentError where it would
        not: what is served so far must not give way to what nobody gets."""
        name = self._cache.put(scratch, published.chip, published.content)
        path = scratch / name
        try:
            listed(name, load_firmware(path, self._trust))
        except FirmwareError as error:
            path.unlink()
            said = str(error).removeprefix(f"firmware {path}: ").removeprefix(f"firmware {name}: ")
            raise ContentError(f"/{published.path}: {said}") from None
        return name


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Not left under way by who is cancelled: the next to have the lock must not meet it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
