"""What all sessions of an agent share."""

from dataclasses import InitVar, dataclass, field

from ota_agent.address_rate import AddressRate, Rate
from ota_agent.attestation import AttestationClient
from ota_agent.certificate_files import CertificateFiles
from ota_agent.counts import Row
from ota_agent.offer import FirmwareSource
from ota_agent.pacing import Pace, Pacer
from ota_agent.readiness import Readiness
from ota_agent.settings import Settings

# How many seconds' worth of challenges may be asked for at once: a building whose power returns.
CHALLENGE_BURST_S = 10.0


@dataclass(slots=True)
class Service:
    """settings: as the agent was started with; certificate: the files, the last that were valid;
    firmware: what is served, its `served` for whoever wants to list it; attestation: who says
    whether a board is one of ours; readiness: the sockets that are waited for; is_finishing: the
    agent is about to end, nobody is kept. Besides these the bandwidth of all boards together,
    which their pacers take from. counts: what happens. shared_challenges, shared_pace: where
    limits hold for several processes; None: for this one. Its owner closes attestation and
    readiness."""

    settings: Settings
    certificate: CertificateFiles
    firmware: FirmwareSource
    attestation: AttestationClient
    readiness: Readiness
    counts: Row = field(default_factory=Row)
    is_finishing: bool = False
    challenges: Rate = field(init=False)
    _total: Pace | None = field(init=False)
    shared_challenges: InitVar[Rate | None] = None
    shared_pace: InitVar[Pace | None] = None

    def __post_init__(self, shared_challenges: Rate | None, shared_pace: Pace | None) -> None:
        rate, bandwidth = self.settings.challenge_rate, self.settings.bandwidth
        self.challenges = shared_challenges or AddressRate(rate, CHALLENGE_BURST_S)
        self._total = shared_pace or (Pace(bandwidth) if bandwidth is not None else None)

    @property
    def has_room(self) -> bool:
        """Whether the bandwidth limit leaves enough for one more board."""
        return self._total is None or self._total.has_room

    def pacer(self) -> Pacer | None:
        """For one more board; None where no bandwidth limit holds."""
        paces = []
        if self._total is not None:
            paces.append(self._total)
        if self.settings.board_bandwidth is not None:
            paces.append(Pace(self.settings.board_bandwidth))
        return Pacer(tuple(paces)) if paces else None
