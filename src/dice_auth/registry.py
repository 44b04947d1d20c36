"""The registry's interface: which boards are enrolled, with which root certificate, and what is
known of each.

The two backends are `sqlite_registry` and `redis_registry`; `registry_url` picks one. What may be
enrolled is `enrolment`'s subject.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from dice_auth.enrolment import Enrolment

# A challenge that is not answered by then is worth nothing (protocol.md, C).
NONCE_LIFETIME_S = 60
# Outstanding at once: a flood of challenges fills neither disk nor memory.
MOST_NONCES = 100_000


@dataclass(frozen=True, slots=True)
class EnrolledRoot:
    """What a verdict needs of a board, and nothing more.

    board_id: as typed at enrolment, usually the MAC address. root: its DICE root certificate,
    DER. revoked: whether certificates of this root are no longer to be accepted.
    """

    board_id: str
    root: bytes
    revoked: bool


@dataclass(frozen=True, slots=True)
class Revocation:
    """reason: one line. at: seconds since 1970, UTC."""

    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class BoardRecord:
    """One enrolled board.

    board_id: as typed at enrolment, usually the MAC address. root: its DICE root certificate,
    DER. key_id: the root's subject key identifier, 20 bytes; the board's certificates name it as
    their authority key identifier. application, labels: as the operator gave them. revocation:
    None for an active board. enrolled_at (None for one that the C `submit` enrolled), first_seen
    and last_seen (accepted), all seconds since 1970, UTC. last_verdict: `accepted`, or `refused`
    and the checks that failed; None if none was ever given. last_version: of the firmware that the
    board said it runs when evidence of it was last accepted; None if none ever was.
    """

    board_id: str
    root: bytes
    key_id: bytes
    application: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    revocation: Revocation | None = None
    enrolled_at: int | None = None
    first_seen: int | None = None
    last_seen: int | None = None
    last_verdict: str | None = None
    last_version: str | None = None

    @property
    def state(self) -> str:
        return "active" if self.revocation is None else "revoked"


@dataclass(frozen=True, slots=True)
class Observation:
    """A verdict on a board. first_seen, last_seen: None if it was never accepted meanwhile.
    version: None if no evidence was."""

    board_id: str
    verdict: str
    first_seen: int | None
    last_seen: int | None
    version: str | None = None


Progress = Callable[[int], None]


class Registry(ABC):
    """Every method raises RegistryError when the registry cannot answer now."""

    async def enrol(
        self,
        board_id: str,
        root_der: bytes,
        *,
        application: str | None = None,
        labels: Mapping[str, str] | None = None,
        replace: bool = False,
    ) -> bool:
        """Enrol one board; True if the registry changed.

        Raises EnrolmentError as `enrolment.Enrolment.of`, and what `enrol_all` raises.
        """
        board = Enrolment.of(board_id, root_der, application=application, labels=labels)
        return await self.enrol_all([board], replace=replace) > 0

    @abstractmethod
    async def enrol_all(
        self,
        boards: Iterable[Enrolment],
        *,
        replace: bool = False,
        progress: Progress = lambda count: None,
    ) -> int:
        """Enrol all of these boards or, if anything goes wrong, none of them.

        Returns how many the registry did not hold just so already. boards is read once, in
        another thread with SQLite; an error raised by it is passed on. progress(count) is called
        now and then with the number of boards read so far.
        Raises AlreadyEnrolledError if an id has another root and replace is not asked for, or if
        a root is enrolled under another id (removing one would then leave the other);
        RevokedError if a root is revoked.
        """

    @abstractmethod
    async def remove(self, board_id: str) -> bool:
        """Remove a board; False if it was not enrolled. A revocation of its root stays."""

    @abstractmethod
    async def revoke(self, board_id: str, revocation: Revocation) -> bool:
        """No longer accept certificates of this board's root, also if it is enrolled again.

        False if the board is not enrolled. Of a second revocation, the first one's reason stays.
        """

    @abstractmethod
    async def reinstate(self, board_id: str) -> bool:
        """Take back the revocation of a board's root, or of the root that a board had which was
        removed since; False if there is none."""

    @abstractmethod
    def boards(self) -> AsyncIterator[BoardRecord]:
        """Every enrolled board, read in pages while it is iterated. SQLite orders by id."""

    @abstractmethod
    async def get(self, board_id: str) -> BoardRecord | None:
        """The board with this id."""

    @abstractmethod
    async def roots_by_key_ids(self, key_ids: Sequence[bytes]) -> list[EnrolledRoot | None]:
        """For each subject key identifier the board whose root has it, in time that does not grow
        with the number of boards. None: it is certain that there is none."""

    async def root_by_key_id(self, key_id: bytes) -> EnrolledRoot | None:
        """`roots_by_key_ids` of one."""
        (root,) = await self.roots_by_key_ids([key_id])
        return root

    @abstractmethod
    async def record(self, observations: Iterable[Observation]) -> None:
        """Keep what was seen of these boards; those no longer enrolled are passed over."""

    @abstractmethod
    async def issue_nonce(self, nonce: bytes) -> bool:
        """Make a nonce usable once, by whoever uses this registry, for NONCE_LIFETIME_S.

        nonce: 32 random bytes. False, and nothing is issued, if MOST_NONCES are outstanding.
        """

    @abstractmethod
    async def use_nonce(self, nonce: bytes) -> bool:
        """Use it up. False if it was never issued, has been used or is too old: of all who try, at
        most one is ever told True."""

    @abstractmethod
    async def check(self) -> None:
        """Raise RegistryError unless the registry answers."""

    @abstractmethod
    async def follow(self, caught_up: Callable[[], None]) -> None:
        """Take up what other programs write into the registry, until cancelled.

        caught_up is called once everything already there has been taken up, and may be called
        again. A registry that sees other programs' writes anyway returns at once.
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
