"""The registry's interface: which boards are enrolled, and with which root certificate.

The two backends are `sqlite_registry` and `redis_registry`; `registry_url` picks one.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dice import certificate
from dice_auth.errors import EnrolmentError

_MAX_ID_CHARS = 128


@dataclass(frozen=True, slots=True)
class BoardRecord:
    """One enrolled board.

    board_id: as typed at enrolment, usually the MAC address.
    root: its DICE root certificate, DER.
    key_id: the root's subject key identifier, 20 bytes; the board's certificates name it as
    their authority key identifier.
    """

    board_id: str
    root: bytes
    key_id: bytes


def record_of(board_id: str, root_der: bytes) -> BoardRecord:
    """The record of a board with this root certificate (DER).

    Raises EnrolmentError if the id cannot be one or the bytes are not a DICE certificate.
    Not checked here: that it is a root.
    """
    if not 0 < len(board_id) <= _MAX_ID_CHARS or not board_id.isprintable():
        raise EnrolmentError(
            f"board id {board_id!r:.160}: expected 1 to {_MAX_ID_CHARS} printable characters"
        )
    try:
        root = certificate.parse(root_der)
    except certificate.CertificateError as error:
        raise EnrolmentError(f"root certificate of {board_id}: {error}") from error
    if not root.subject_key_id:
        raise EnrolmentError(f"root certificate of {board_id}: no subject key identifier")
    return BoardRecord(board_id, root.der, root.subject_key_id)


def record_to_enrol(board_id: str, root_der: bytes) -> BoardRecord:
    """As `record_of`, and the certificate must be a root: it passes every check of a chain with
    itself as its issuer, its dates aside. Raises EnrolmentError."""
    record = record_of(board_id, root_der)
    root = certificate.parse(record.root)
    failed = set(certificate.verify_chain(root, root, root.not_before)) - {"is-root"}
    if failed:
        raise EnrolmentError(
            f"root certificate of {board_id}: not a root, failed {', '.join(sorted(failed))}"
        )
    return record


class Registry(ABC):
    """Every method raises RegistryError when the registry cannot answer now."""

    @abstractmethod
    async def enrol(self, board_id: str, root_der: bytes, *, replace: bool = False) -> bool:
        """Enrol a board; True if the registry changed, False if it held just this already.

        Raises AlreadyEnrolledError if the id has another root and replace is not asked for, or
        if the root is enrolled under another id (removing one would then leave the other);
        EnrolmentError if the id or the certificate cannot be enrolled.
        """

    @abstractmethod
    async def remove(self, board_id: str) -> bool:
        """Remove a board; False if it was not enrolled."""

    @abstractmethod
    def boards(self) -> AsyncIterator[BoardRecord]:
        """Every enrolled board, read in pages while it is iterated. SQLite orders by id."""

    @abstractmethod
    async def get(self, board_id: str) -> BoardRecord | None:
        """The board with this id."""

    @abstractmethod
    async def root_by_key_id(self, key_id: bytes) -> BoardRecord | None:
        """The board whose root has this subject key identifier, in time that does not grow
        with the number of boards."""

    @abstractmethod
    async def check(self) -> None:
        """Raise RegistryError unless the registry answers."""

    @abstractmethod
    async def follow(self, caught_up: Callable[[], None]) -> None:
        """Take up what other programs write into the registry, until cancelled.

        caught_up is called once, after everything already there has been taken up. A registry
        that sees other programs' writes anyway returns at once.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release connections. Calling it twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
