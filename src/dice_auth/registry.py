"""The registry's interface: which boards are enrolled, with which root certificate, and what is
known of each.

The two backends are `sqlite_registry` and `redis_registry`; `registry_url` picks one. What may be
enrolled is `enrolment`'s subject.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
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

    @property
    def revision(self) -> str:
        """Stands for all that operators write of a board, and not for what is seen of it: two
        records of one board with the same revision differ in that at most. 32 hex digits."""
        revocation = self.revocation
        written = (
            self.board_id,
            self.root.hex(),
            self.application,
            sorted(self.labels.items()),
            None if revocation is None else (revocation.reason, revocation.at),
            self.enrolled_at,
        )
        return hashlib.sha256(json.dumps(written).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Observation:
    """A verdict on a board. first_seen, last_seen: None if it was never accepted meanwhile.
    version: None if no evidence was."""

    board_id: str
    verdict: str
    first_seen: int | None
    last_seen: int | None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the boards. next: where the following page begins; empty after the last one."""

    boards: list[BoardRecord]
    next: str


Progress = Callable[[int], None]
# The revisions, of which a board must have one for a change to be made; None: it is made anyway.
Revisions = Collection[str] | None


class Registry(ABC):
    """Every method raises RegistryError when the registry cannot answer now.

    What takes `revisions` raises StaleRevisionError if the board is enrolled and has none of them;
    it looks at them in the same step in which it writes.
    """

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
        update: bool = True,
        progress: Progress = lambda count: None,
    ) -> int:
        """Enrol all of these boards or, if anything goes wrong, none of them.

        Returns how many the registry did not hold just so already. boards is read once, in
        another thread with SQLite; an error raised by it is passed on. progress(count) is called
        now and then with the number of boards read so far.
        Raises AlreadyEnrolledError if an id has another root and replace is not asked for, if one
        has another application or other labels and update is not asked for, or if a root is
        enrolled under another id (removing one would then leave the other); RevokedError if a
        root is revoked.
        """

    @abstractmethod
    async def change(
        self,
        board_id: str,
        edit: Callable[[BoardRecord], Enrolment],
        *,
        revisions: Revisions = None,
    ) -> BoardRecord | None:
        """Give an enrolled board what `edit` makes of its record; the record it then has.

        edit may be called more than once, if others write meanwhile, and in another thread; what
        it leaves None stays. None if the board is not enrolled. Of a revoked board all but the
        root can be changed. Raises what `enrol_all` raises, and what edit raises.
        """

    @abstractmethod
    async def remove(self, board_id: str, *, revisions: Revisions = None) -> bool:
        """Remove a board; False if it was not enrolled. A revocation of its root stays."""

    @abstractmethod
    async def revoke(
        self, board_id: str, revocation: Revocation, *, revisions: Revisions = None
    ) -> Revocation | None:
        """No longer accept certificates of this board's root, also if it is enrolled again.

        Returns the revocation that now holds, None if the board is not enrolled. If it was revoked
        before, that one stays.
        """

    @abstractmethod
    async def reinstate(self, board_id: str, *, revisions: Revisions = None) -> bool:
        """Take back the revocation of a board's root; False if there is none.

        Of a board that was removed since (it has no revision): the newest of those kept under its
        id. Older ones are of roots that were replaced, as a stolen board's: they stay.
        """

    @abstractmethod
    def boards(self) -> AsyncIterator[BoardRecord]:
        """Every enrolled board, read in pages while it is iterated. SQLite orders by id."""

    @abstractmethod
    async def page(self, start: str, limit: int) -> Page:
        """At most so many boards, and perhaps fewer or none where more follow.

        start: empty, or `next` of the page before; ValueError for anything else. All pages
        together have every board that is enrolled all the while; Redis may show one twice.
        """

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
