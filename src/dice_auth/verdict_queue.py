"""Verdicts on many requests at once.

Requests that arrive in one turn of the event loop are judged together, step by step: all are
read, all roots looked up in one go, all signatures verified one after the other. Each step then
finds its code and tables in the processor's caches, which takes a quarter off the time of a
verdict, and one look at the registry serves all.
"""

import asyncio
from datetime import datetime

from dice_auth.errors import RegistryError
from dice_auth.registry import Registry
from dice_auth.verification import Question, Verdict, judge, read_request

# More would let the last of them wait for too long: 32 take some 5 ms.
_MOST_AT_ONCE = 32
# Two, so that a registry elsewhere has work while an answer of its is being judged here.
_MOST_BATCHES = 2

_Waiting = tuple[Question, datetime, asyncio.Future[Verdict]]


class VerdictQueue:
    """registry: where boards are looked up. A request that is given up leaves the others alone."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._arrived: list[tuple[bytes, datetime, asyncio.Future[Verdict]]] = []
        self._batches: set[asyncio.Task[None]] = set()

    async def verify(self, body: bytes, now: datetime) -> Verdict:
        """The verdict on the first PEM certificate in a body; text before it is skipped.

        now: the time, with its zone. Raises RegistryError if the registry cannot answer: then there
        is no verdict.
        """
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._arrived.append((body, now, verdict))
        if len(self._batches) < _MOST_BATCHES:
            batch = asyncio.create_task(self._work())
            self._batches.add(batch)
            batch.add_done_callback(self._batches.discard)
        return await verdict

    async def _work(self) -> None:
        while self._arrived:
            taken = self._arrived[:_MOST_AT_ONCE]
            del self._arrived[:_MOST_AT_ONCE]
            try:
                await self._judge_all(_read_all(taken))
            except BaseException as error:
                if isinstance(error, RegistryError):
                    # Who came meanwhile has waited for the same registry. A try for each few of
                    # them would have the last of a crowd wait for minutes.
                    taken += self._arrived
                    self._arrived.clear()
                _fail_all([verdict for _, _, verdict in taken], error)
                if not isinstance(error, Exception):
                    raise
            # Others have a turn: answers go out, requests come in.
            await asyncio.sleep(0)

    async def _judge_all(self, waiting: list[_Waiting]) -> None:
        if not waiting:
            return
        roots = await self._registry.roots_by_key_ids([each.key_id for each, _, _ in waiting])
        for (question, now, verdict), root in zip(waiting, roots, strict=True):
            if verdict.done():
                continue
            try:
                verdict.set_result(judge(question, root, now))
            except Exception as error:
                # One root is damaged, or one certificate meets a bug: nobody else's.
                verdict.set_exception(error)


def _read_all(arrived: list[tuple[bytes, datetime, asyncio.Future[Verdict]]]) -> list[_Waiting]:
    """Those that have a question to the registry; the others have their verdict now."""
    waiting: list[_Waiting] = []
    for body, now, verdict in arrived:
        if verdict.done():
            continue
        try:
            read = read_request(body)
        except Exception as error:
            verdict.set_exception(error)
            continue
        if isinstance(read, Verdict):
            verdict.set_result(read)
        else:
            waiting.append((read, now, verdict))
    return waiting


def _fail_all(verdicts: list[asyncio.Future[Verdict]], error: BaseException) -> None:
    for verdict in verdicts:
        if verdict.done():
            continue
        if isinstance(error, RegistryError):
            verdict.set_exception(RegistryError(str(error)))
        elif isinstance(error, Exception):
            verdict.set_exception(error)
        else:
            verdict.cancel()
