"""One update: its attempts, and the eight steps of each.

What the steps do stands in the modules beside this one; which of them may follow which, in
`session`.
"""

import asyncio

from . import compat
from .compat import const
from .errors import PeerError
from .patience import Patience

# A session of protocol 2, what it reads and writes an image with, and what brings the image.
_SESSION = const(
    (
        "ota_service.resumable",
        "ota_service.session",
        "ota_service.progress",
        "ota_service.resumable_writer",
        "ota_service.slot_writer",
        "ota_service.protocol2",
        "ota_service.firmware_body",
        "esp_image.parser",
        "esp_image.segments",
        "esp_image.header",
        "esp_image.chips",
        "esp_image.chip_table",
        "esp_image.compat",
        "esp_image.checksum_viper",
    )
)


class Update:
    """One update of a board from one agent.

    service: the OtaService whose board, settings and hooks these are. host, port: the agent's.
    session: None until the board has been found fit for an update.
    """

    def __init__(self, service, host, port):
        self._service = service
        self._board = service.board
        self._config = service.config
        self._host = host
        self._port = port
        self._patience = Patience(service.config.deadline_s)
        self.session = None

    async def run(self):
        """All attempts. Ends with the board's reset, or raises OtaError."""
        await asyncio.sleep(0)  # loading this took its time
        self.session = await self._new_session()
        compat.let_go("ota_service.preparation", "ota_service.secure_version", "ota_service.trust")
        while True:
            self._service.check_cancelled()
            self._patience.check_deadline()
            compat.collect_garbage()
            try:
                self._make_way()
                self.session.begin_attempt()
                self._require_network()
                await self._attempt()
                return
            except PeerError as error:
                error = self._named(error)
                left = self._patience.deadline_left_s()
                if self.session.attempt >= self._config.attempts or error.pause_s > max(0, left):
                    raise error
                self._service.attempt_failed(error)
                delay = max(self._delay_s(self.session.attempt), error.pause_s)
            await asyncio.sleep(max(0, min(left, delay)))

    async def _attempt(self):
        """The eight steps of the architecture page; 1, the request, has been parsed."""
        service, config, patience = self._service, self._config, self._patience
        if config.insecure:
            from . import insecure

            taking = insecure.receive(self.session, config, patience, service)
            await patience.watch(taking, "nobody connected", config.first_byte_s)
        elif config.protocol == 2:
            from . import protocol2

            await protocol2.receive(self, service, patience, self._host, self._port)
            protocol2 = None  # else this frame would keep it
            compat.let_go("ota_service.protocol2", "ota_service.firmware_body")
        else:
            from . import protocol1

            certificate = await service.device_certificate()  # 2
            taking = protocol1.receive(
                self.session, certificate, service, patience, self._host, self._port
            )  # 3, 4, 5, 6
            protocol1 = None  # else this frame would keep it
            await patience.watch(taking, "no TLS connection", config.connect_s)
            taking = None
        session = self.session
        # What receives gives way to what verifies.
        compat.let_go("ota_service.protocol1", "ota_service.tls_mbedtls")
        service.event("verifying", "%d bytes in %s" % (session.received, session.slot_label))
        await service.stepped(session.verify_steps())  # 7
        service.event("switching", "boot partition %s" % session.slot_label)
        session.switch(lambda: self._boots_next(session.slot))  # 8
        service.event("rebooting", "into %s" % session.slot_label)
        self._board.reset()

    def expect_image(self):
        """Protocol 2: an image comes; the session that takes it, in the place of what kept it."""
        if hasattr(self.session, "session"):
            self.session = self.session.session()
            compat.let_go("ota_service.pending")
        return self.session

    def _make_way(self):
        """Protocol 2: the place is kept again, as long as the board has to prove itself again. What
        an attempt has loaded and left gives way to what proves."""
        if hasattr(self.session, "pending"):
            self.session = self.session.pending(self._board)
            compat.let_go(*_SESSION)

    async def _new_session(self):
        from . import preparation

        return await preparation.new_session(self._service)

    def _boots_next(self, slot):
        from . import confirmation

        return confirmation.boots_next(self._board, slot)

    def _require_network(self):
        if not self._board.network_is_up():
            raise PeerError("network-down", "the board has no network connection")

    def _named(self, error):
        """The error of an attempt; without Wi-Fi that is what they all come from."""
        if self._board.network_is_up() or error.code == "network-down":
            return error
        return PeerError("network-down", "the network connection was lost: %s" % error.message)

    def _delay_s(self, attempt):
        """Seconds before the next attempt: growing by half each time up to a minute, +- 25 %."""
        delay = min(self._config.retry_delay_s * 1.5 ** min(attempt - 1, 20), 60)
        return delay * (0.75 + self._board.random(1)[0] / 512)
