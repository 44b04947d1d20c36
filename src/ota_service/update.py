"""One update: its attempts, and the eight steps of each.

What the steps do stands in the modules beside this one; which of them may follow which, in
`session`.
"""

import asyncio

from . import compat, confirmation, secure_version, trust
from .errors import OtaError, PeerError
from .patience import Patience
from .session import Session


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
        self.session = session = await self._new_session()
        while True:
            self._service.check_cancelled()
            self._patience.check_deadline()
            compat.collect_garbage()
            try:
                session.begin_attempt()
                self._require_network()
                await self._attempt(session)
                return
            except PeerError as error:
                error = self._named(error)
                left = self._patience.deadline_left_s()
                if session.attempt >= self._config.attempts or error.pause_s > max(0, left):
                    raise error
                self._service.attempt_failed(error)
                delay = max(self._delay_s(session.attempt), error.pause_s)
            await asyncio.sleep(max(0, min(left, delay)))

    async def _attempt(self, session):
        """The eight steps of the architecture page; 1, the request, has been parsed."""
        service, config, patience = self._service, self._config, self._patience
        if config.insecure:
            from . import insecure

            taking = insecure.receive(session, config, patience, service)
            await patience.watch(taking, "nobody connected", config.first_byte_s)
        elif config.protocol == 2:
            from . import protocol2

            await protocol2.receive(session, service, patience, self._host, self._port)
            protocol2 = None  # else this frame would keep it
            compat.let_go("ota_service.protocol2", "ota_service.firmware_body")
        else:
            certificate = await service.device_certificate()  # 2
            taking = self._receive(session, certificate)
            await patience.watch(taking, "no TLS connection", config.connect_s)
        # What connects and what judges the header give way to what verifies.
        compat.let_go(
            "ota_service.protocol1",
            "ota_service.connection",
            "ota_service.tls_mbedtls",
            "esp_image.acceptance",
        )
        service.event("verifying", "%d bytes in %s" % (session.received, session.slot_label))
        await service.stepped(session.verify_steps())  # 7
        service.event("switching", "boot partition %s" % session.slot_label)
        session.switch(lambda: confirmation.boots_next(self._board, session.slot))  # 8
        service.event("rebooting", "into %s" % session.slot_label)
        self._board.reset()

    async def _receive(self, session, certificate):
        service, config, patience = self._service, self._config, self._patience
        from . import connection, protocol1

        where = "%s:%d" % (self._host, self._port)
        service.event("connecting", "%s, attempt %d" % (where, session.attempt))
        reader, writer, _ = await connection.connect(
            self._host, self._port, config, certificate, self._board
        )  # 3, 4
        try:
            session.connected()
            service.event("attesting", "certificate of %d bytes sent" % len(certificate))
            patience.expect("no decision about this board", config.first_byte_s)
            await protocol1.receive_firmware(
                reader, session, patience, config.read_s, service.progress
            )  # 5, 6
        finally:
            await compat.close_stream(writer)

    async def _new_session(self):
        """Refuses what no attempt can help; raises OtaError."""
        from esp_image.expected import Expected

        board, config = self._board, self._config
        if confirmation.read_entries(board) is None:
            raise OtaError("no-otadata", "the partition table has no otadata")
        if confirmation.is_pending(board):
            raise OtaError("not-confirmed", "the running firmware has not confirmed itself yet")
        running = board.running_partition()
        slot = _spare_slot(running)
        steps = trust.find_trust_steps(board, config.trusted_keys, config.allow_unsigned)
        found = await self._service.stepped(steps)
        # Their turn comes again when the image is there.
        compat.let_go("ota_crypto", "esp_image.signature", "esp_image.signature_block")
        descriptor = self._service.descriptor
        expected = Expected(
            chip_id=board.chip_id,
            chip_revision=board.chip_revision,
            secure_version_floor=secure_version.floor(board, descriptor),
            project_name=config.project,
            policy=config.policy,
            running=descriptor,
            max_bytes=slot.info()[3],
        )
        if config.protocol == 2 and not config.insecure:
            from . import protocol2

            return protocol2.session(board, slot, expected, found)
        return Session(slot, expected, found)

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


def _spare_slot(running):
    try:
        slot = running.get_next_update()
    except OSError as error:
        raise OtaError("no-spare-slot", "the partition table has no OTA slots: %s" % error)
    if slot.info()[2] == running.info()[2]:
        raise OtaError("no-spare-slot", "the partition table has no slot beside the running one")
    return slot
