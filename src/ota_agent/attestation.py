"""Asking the attestation server about a board's certificate: protocol.md, section B, step 2.

Whatever is not a whole answer with status 200, in time, is a refusal.
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

# The answer's body means nothing; it is read so that the connection can be used again.
_MAX_ANSWER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """accepted, and where it is not, why: `refused`, or `attestation-unavailable`."""

    accepted: bool
    outcome: str
    reason: str


class AttestationClient:
    """url: where to POST. timeout_s: for everything from connecting to the end of the answer."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        # trust_env off: a proxy from the environment must not get to decide who is accepted.
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s),
            limits=httpx.Limits(max_connections=100),
            follow_redirects=False,
            trust_env=False,
        )

    async def ask(self, pem: str) -> Answer:
        """Is the board with this certificate (PEM) accepted? Never raises for a fault there."""
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._post(pem)
        except (TimeoutError, httpx.TimeoutException):
            return _unavailable(f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return _unavailable(str(error) or type(error).__name__)
        if status == 200:
            return Answer(True, "accepted", "")
        if status in (401, 403):
            return Answer(False, "refused", f"attestation server: status {status}")
        return _unavailable(f"status {status}")

    async def _post(self, pem: str) -> int:
        async with self._http.stream(
            "POST", self._url, content=pem.encode(), headers={"Content-Type": "text/plain"}
        ) as response:
            received = 0
            async for chunk in response.aiter_raw():
                received += len(chunk)
                if received > _MAX_ANSWER_BYTES:
                    break
            return response.status_code

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _unavailable(reason: str) -> Answer:
    return Answer(False, "attestation-unavailable", f"attestation server: {reason}")
