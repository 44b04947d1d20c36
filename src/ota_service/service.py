"""OtaService: the handlers, and one update at a time with its attempts.

The eight steps of an update are `OtaService._attempt`; what they do stands in the modules
beside this one.
"""

import asyncio
import json

from esp_image import ImageError, ImageParser, acceptance

from . import compat, confirm, measurements, protocol1, secure_version, trust
from .config import Config
from .errors import BadRequest, OtaError
from .request import parse_address, parse_update_request
from .session import CONNECTING, FAILED, IDLE, REBOOTING, Session

# Boards with an update under way: one at a time, whichever OtaService started it.
_updating = []
_ACCEPTED = "Received update request: About to update (Secure)\n"


class OtaService:
    """Updates one board.

    board: the hardware (virtual_esp32.VirtualBoard on a laptop). settings: see config.Config.
    on_progress(received, total): called after each chunk, total None while unknown.
    on_event(name, detail): called at each step, for logs; detail is one line.
    """

    def __init__(self, board, settings=None, self_test=None, on_progress=None, on_event=None):
        self.board = board
        self.config = Config(settings)
        self._self_test = self_test
        self._on_progress = on_progress
        self._on_event = on_event
        self._session = None
        self._task = None
        self._error = None
        self._certificate = None
        self._cancelled = False
        self._ended = False
        secure_version.open_storage(board)
        if _was_rolled_back(board):
            self._error = OtaError(
                "rolled-back", "the firmware installed last did not confirm itself"
            )

    # -- endpoints ----------------------------------------------------------------------------

    def ota_request_handler(self, req):
        """POST /update: start an update from the agent that the body names. The answer goes out
        before the update starts."""
        try:
            host, port = parse_update_request(
                req.body, req.headers.get("Content-Type"), self.config.agent_port
            )
            self._refuse_second()
        except BadRequest as error:
            return error.message + "\n", error.status, _text()
        self._session = None
        self._error = None
        self._cancelled = False
        answered = asyncio.Event()
        self._task = asyncio.create_task(self._after_answer(answered, host, port))
        headers = _text()
        headers["Content-Length"] = str(len(_ACCEPTED))
        return _then(_ACCEPTED, answered.set), 200, headers

    def ota_status_handler(self, req):
        """GET /update: where the update stands."""
        return json.dumps(self.status()), 200, {"Content-Type": "application/json"}

    def ota_cancel_handler(self, req):
        """DELETE /update: cancel a running update."""
        if not self.is_updating:
            return "no update is running\n", 404, _text()
        self._cancel()
        return "update cancelled\n", 200, _text()

    def onboard_request_handler(self, req):
        """GET /onboard: the board's DICE certificate, DER, or PEM when asked for."""
        try:
            certificate = self._device_certificate()
        except Exception as error:
            self._event("error", "DICE certificate: %s" % type(error).__name__)
            return "Could not generate the certificate", 500, _text()
        if "application/x-pem-file" in (req.headers.get("Accept") or ""):
            from dice.certificate import to_pem

            return to_pem(certificate), 200, {"Content-Type": "application/x-pem-file"}
        return certificate, 200, {"Content-Type": "application/pkix-cert"}

    def info_handler(self, req):
        """GET /info: what runs here, from the running image's app descriptor."""
        return json.dumps(self.info()), 200, {"Content-Type": "application/json"}

    # -- what the endpoints say ---------------------------------------------------------------

    @property
    def is_updating(self):
        """Whether an update runs now."""
        return self._task is not None and not self._task.done()

    def status(self):
        """The answer to GET /update as a dict."""
        session = self._session
        error = self._error
        return {
            "state": self._state(),
            "received": session.received if session else 0,
            "total": session.total if session else None,
            "attempt": session.attempt if session else 0,
            "slot": session.slot_label if session else None,
            "running": self.board.running_partition().info()[4],
            "confirmed": not confirm.is_pending(self.board),
            "error": {"code": error.code, "message": error.message} if error else None,
        }

    def _state(self):
        """The session's state; `connecting` before its first attempt and between attempts."""
        if self._session is not None:
            state = self._session.state
        else:
            failed = self._error is not None and self._error.code != "rolled-back"
            state = FAILED if failed else IDLE
        return CONNECTING if self.is_updating and state in (IDLE, FAILED) else state

    def info(self):
        """The answer to GET /info as a dict."""
        descriptor = read_descriptor(self.board.running_partition())
        return {
            "device": self.board.chip,
            "application": descriptor.project_name if descriptor else "",
            "version": descriptor.version if descriptor else "",
            "slot": self.board.running_partition().info()[4],
        }

    # -- the update ---------------------------------------------------------------------------

    async def ota_service_begin(self, ip):
        """Run one whole update from the agent at `ip` (`HOST` or `HOST:PORT`).

        Ends with the board's reset. Raises OtaError; the board then keeps what it had.
        """
        host, port = parse_address(ip, self.config.agent_port)
        self._refuse_second()
        self._cancelled = False
        self._task = asyncio.create_task(self._update(host, port))
        await self._task

    async def confirm(self):
        """After a boot: confirm new firmware, or go back to the old. See confirm.confirm."""
        outcome = await confirm.confirm(self.board, self._self_test, self.config.self_test_s)
        if outcome == "confirmed":
            try:
                running = read_descriptor(self.board.running_partition())
                secure_version.raise_floor(self.board, running)
            except (OSError, OtaError) as error:
                self._event("warning", "the secure version floor was not raised: %s" % error)
        if outcome != "valid":
            self._event(outcome, self.board.running_partition().info()[4])
        return outcome

    async def end(self):
        """Before the application stops: take no more requests, cancel a running update and wait
        for its end."""
        self._ended = True
        if not self.is_updating:
            return
        self._cancel()
        try:
            await self._task
        except (asyncio.CancelledError, Exception):  # noqa: S110
            pass  # whoever started it hears of it; the application stops all the same

    async def _after_answer(self, answered, host, port):
        try:
            # A client that went away before it had its answer does not hold the update back.
            await asyncio.wait_for(answered.wait(), 1)
        except asyncio.TimeoutError:
            pass
        try:
            await self._update(host, port)
        except Exception:  # noqa: S110
            pass  # its code is at GET /update and in the log

    async def _update(self, host, port):
        """All attempts of one update; the reason of a failure stays readable."""
        self._session = None
        self._error = None
        try:
            if any(board is self.board for board in _updating):
                raise OtaError("busy", "another application updates this board")
            _updating.append(self.board)
            try:
                await self._attempts(host, port)
            finally:
                _updating.remove(self.board)
        except asyncio.CancelledError:
            self._fail(OtaError("cancelled", "the update was cancelled"))
            raise
        except OtaError as error:
            self._fail(error)
            raise
        except Exception as error:
            self._fail(OtaError("internal", "%s: %s" % (type(error).__name__, error)))
            raise

    async def _attempts(self, host, port):
        self._session = session = await self._new_session()
        session.cancelled = self._cancelled
        while True:
            try:
                await self._attempt(session, host, port)
                return
            except OtaError as error:
                if not error.may_retry or session.attempt >= self.config.attempts:
                    raise
                self._fail(error)
            await asyncio.sleep(self._delay_s(session.attempt))
            if session.cancelled:
                raise OtaError("cancelled", "the update was cancelled")

    async def _attempt(self, session, host, port):
        """One update, steps 2 to 8 of the architecture page (1, the request, is parsed)."""
        config = self.config
        session.begin_attempt()
        certificate = self._device_certificate()
        self._event("connecting", "%s:%d, attempt %d" % (host, port, session.attempt))
        reader, writer = await protocol1.open_tls(
            host, port, config.agent_ca, config.agent_name, config.connect_s
        )
        try:
            session.connected()
            self._event("attesting", "DICE certificate of %d bytes" % len(certificate))
            await protocol1.send_certificate(writer, certificate, config.read_s)
            await protocol1.receive_firmware(
                reader, session, config.first_byte_s, config.read_s, self._progress
            )
        finally:
            await compat.close_stream(writer)
        self._event("verifying", "%d bytes in %s" % (session.received, session.slot_label))
        await self._stepped(session.verify_steps())
        self._event("switching", "boot partition %s" % session.slot_label)
        session.switch()
        self._event("rebooting", "into %s" % session.slot_label)
        self.board.reset()

    async def _new_session(self):
        board = self.board
        if not self.config.agent_ca:
            raise OtaError("no-agent-ca", "no CA certificate for the agent is configured")
        if confirm.read_entries(board) is None:
            raise OtaError("no-otadata", "the partition table has no otadata")
        if confirm.is_pending(board):
            raise OtaError("not-confirmed", "the running firmware has not confirmed itself yet")
        running = board.running_partition()
        try:
            slot = running.get_next_update()
        except OSError as error:
            raise OtaError("no-spare-slot", "the partition table has no OTA slots: %s" % error)
        if slot.info()[2] == running.info()[2]:
            raise OtaError(
                "no-spare-slot", "the partition table has no slot beside the running one"
            )
        steps = trust.find_trust_steps(board, self.config.trusted_keys, self.config.allow_unsigned)
        found = await self._stepped(steps)
        descriptor = read_descriptor(running)
        expected = acceptance.Expected(
            chip_id=board.chip_id,
            chip_revision=board.chip_revision,
            secure_version_floor=secure_version.floor(board, descriptor),
            project_name=self.config.project,
            policy=self.config.policy,
            running=descriptor,
            max_bytes=slot.info()[3],
        )
        return Session(slot, expected, found)

    def _refuse_second(self):
        if self._ended:
            raise BadRequest("the application is stopping", 503)
        if self.is_updating:
            raise BadRequest("an update is running", 409)

    def _cancel(self):
        """asyncio can lose a cancellation that comes together with data: the session keeps it."""
        self._cancelled = True
        if self._session is not None:
            self._session.cancelled = True
        else:
            self._error = OtaError("cancelled", "the update was cancelled")
        self._task.cancel()

    def _fail(self, error):
        self._error = error
        session = self._session
        if session is not None and session.state not in (IDLE, FAILED, REBOOTING):
            session.fail(error)
        self._event("failed", "%s: %s" % (error.code, error.message))

    def _delay_s(self, attempt):
        """Seconds before the next attempt: growing by half each time up to a minute, +- 25 %."""
        delay = min(self.config.retry_delay_s * 1.5 ** (attempt - 1), 60)
        return delay * (0.75 + self.board.random(1)[0] / 512)

    def _device_certificate(self):
        if self._certificate is None:
            import dice

            code_hash, config_value = measurements.measure(self.board)
            uds = dice.uds_from_mac(self.board.mac())
            self._certificate = dice.device_certificate(uds, code_hash, config_value)
        return self._certificate

    async def _stepped(self, steps):
        """Run a generator to its end, letting other tasks in between its steps, the watchdog fed;
        its return value."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            self.board.feed_watchdog()
            await asyncio.sleep(0)

    def _progress(self, received, total):
        self.board.feed_watchdog()
        if self._on_progress is not None:
            try:
                self._on_progress(received, total)
            except Exception:  # noqa: S110
                pass

    def _event(self, name, detail):
        """Tell the application; what goes wrong there does not concern the update."""
        if self._on_event is not None:
            try:
                self._on_event(name, detail)
            except Exception:  # noqa: S110
                pass


def _was_rolled_back(board):
    try:
        return confirm.was_rolled_back(board)
    except OSError:
        return False  # unreadable otadata must not keep the application from starting


def read_descriptor(partition):
    """The app descriptor of the image in a partition, or None."""
    head = bytearray(288)
    partition.readblocks(0, head, 0)
    parser = ImageParser(signed=False)
    try:
        parser.feed(head)
    except ImageError:
        return None
    return parser.descriptor


def _then(text, call):
    """A response body after which `call` is called: microdot asks for the next piece when the
    one before is written."""
    yield text
    call()


def _text():
    return {"Content-Type": "text/plain; charset=UTF-8"}
