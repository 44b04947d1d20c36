"""An agent's admin port, as its client: every failure is one line.

Whoever answers there need not be an agent, or a friendly one: each question has a deadline as a
whole, each answer a largest size, and every field a type (`sessions`).
"""

import asyncio
import json
import socket
from types import TracebackType
from typing import Self

import httpx

from ota_cli.errors import CommandError
from ota_cli.watch.sessions import Sessions, WrongField, parse_sessions

_DEADLINE_S = 5.0
_MOST_BYTES = 2 * 1024 * 1024


class NoSessions(CommandError):
    """There was no answer, or one that no agent gives. reason: why, in a few words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class AdminPort:
    """url: `http://HOST:PORT`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            timeout=_DEADLINE_S,
            trust_env=False,
            verify=False,  # noqa: S501 - plain HTTP: spares loading the system's CA certificates
            # One that is kept could be closed by the agent just when it is used again.
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
        )

    async def sessions(self, limit: int) -> Sessions:
        """GET /sessions, with at most so many of them. Raises NoSessions."""
        try:
            async with asyncio.timeout(_DEADLINE_S):
                return parse_sessions(json.loads(await self._body(limit)))
        except (httpx.TimeoutException, TimeoutError):
            raise self._silent(f"no answer within {_DEADLINE_S:.0f} s") from None
        except httpx.ConnectError as error:
            raise self._silent(
                "no such host" if _is_unknown_host(error) else "nothing answers there"
            ) from None
        except httpx.HTTPError:
            raise self._strange("what came is no HTTP answer, or broke off") from None
        except WrongField as error:
            raise self._strange(str(error)) from None
        except (ValueError, RecursionError):
            raise self._strange("expected JSON, found something else") from None

    async def _body(self, limit: int) -> bytes:
        query = {"limit": limit}
        async with self._client.stream("GET", f"{self.url}/sessions", params=query) as response:
            if response.status_code != 200:
                raise self._strange(f"status {response.status_code} at /sessions")
            body = b""
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > _MOST_BYTES:
                    raise self._strange(f"an answer of over {_MOST_BYTES} bytes")
            return body

    def _silent(self, reason: str) -> NoSessions:
        return NoSessions(
            reason,
            f"{self.url}: {reason}; is the agent running, and is this the address of its --admin?",
        )

    def _strange(self, reason: str) -> NoSessions:
        return NoSessions(
            reason,
            f"{self.url}: not the admin port of an agent (its --admin, not its --listen): {reason}",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()


def _is_unknown_host(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False
