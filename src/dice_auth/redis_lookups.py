"""Looking up roots in Redis, many at once: what is asked for while an answer is on its way goes
out together with the next question. One round trip costs the client 0.1 ms, whatever it carries.
"""

import asyncio

from dice_auth import redis_scripts
from dice_auth.redis_connection import RedisConnection

_MOST_AT_ONCE = 64
# Two, so that Redis has work while an answer is read here.
_MOST_QUESTIONS = 2

# known?, id, PEM, revoked?
Found = tuple[bool, bytes, bytes, bool]


class RedisLookups:
    """connection: where to ask. A lookup that is cancelled leaves the others alone."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._waiting: list[tuple[bytes, asyncio.Future[Found]]] = []
        self._questions: set[asyncio.Task[None]] = set()

    async def find(self, key_id: bytes) -> Found:
        """See `redis_scripts.FIND`. Raises what the client library raises."""
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((key_id, answer))
        if len(self._questions) < _MOST_QUESTIONS:
            question = asyncio.create_task(self._ask())
            self._questions.add(question)
            question.add_done_callback(self._questions.discard)
        return await answer

    async def _ask(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            try:
                found = await self._connection.run(
                    redis_scripts.FIND, *(key_id.hex() for key_id, _ in asked)
                )
            except BaseException as error:
                _settle_all(asked, error)
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, answer), (known, board_id, pem, revoked) in zip(asked, found, strict=True):
                if not answer.done():
                    answer.set_result((known == 1, board_id, pem, revoked == 1))


def _settle_all(asked: list[tuple[bytes, asyncio.Future[Found]]], error: BaseException) -> None:
    for _, answer in asked:
        if answer.done():
            continue
        if isinstance(error, Exception):
            answer.set_exception(error)
        else:
            answer.cancel()
