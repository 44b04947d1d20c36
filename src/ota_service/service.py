"""OtaService: the handlers of a board's endpoints, and one update at a time.

What an update does stands in `update`, which is loaded with the first one.
"""

import asyncio
import json

from .compat import const, let_go
from .errors import BadRequest, OtaError

# Hardware with an update under way: one at a time, whichever OtaService, and whichever board
# object, it was started with. Two would write over what the other has verified.
_updating = []
# What looks at the settings, at a boot, and at the running image: of no use once that is done.
_LOOKING = const(
    (
        "ota_service.start",
        "ota_service.config",
        "ota_service.gate",
        "ota_service.confirmation",
        "ota_service.secure_version",
        "ota_service.clock",
        "ota_service.descriptor",
        "esp_partition",
        "esp_image.header",
        "esp_image.chips",
        "esp_image.chip_table",
        "esp_image.compat",
        "esp_image.checksum_viper",
    )
)
# What answers a request that is more than a look.
_ANSWERING = const(("ota_service.endpoints", "ota_service.request", "ota_service.gate"))


class OtaService:
    """Updates one board.

    board: the hardware (virtual_esp32.VirtualBoard on a laptop). settings: a dict, or a JSON
    file's name; see config.Config. self_test: see confirmation.confirm.
    on_progress(received, total): called after each chunk, total None while unknown.
    on_event(name, detail): called at each step, for logs; detail is one line.
    Raises ValueError for settings that cannot be, OSError for a file that cannot be read.
    """

    def __init__(self, board, settings=None, self_test=None, on_progress=None, on_event=None):
        from . import start

        self.board = board
        self.config = start.checked(settings)
        self._memory = start.gate_memory(self.config, board)
        self._self_test = self_test
        self._on_progress = on_progress
        self._on_event = on_event
        self._update = None
        self._task = None
        self._error = None
        self._rolled_back = False
        self._certificate = None
        self.identity = None
        self.verdict = None
        self._certificate_lock = asyncio.Lock()
        self._cancelled = False
        self._ended = False
        self.descriptor = None
        self.confirmed = False
        start.look_around(self)
        start = None  # else this frame would keep it
        let_go(*_LOOKING)

    def went_back(self, error):
        """The firmware installed last is not the one that runs: that is what the status says."""
        self._rolled_back = True
        self._error = error

    # -- endpoints ----------------------------------------------------------------------------

    def ota_request_handler(self, req):
        """POST /update: start an update from the agent that the body names. The answer goes out
        before the update starts."""
        from . import endpoints

        try:
            return endpoints.start_update(self, req)
        finally:
            endpoints = None  # else this frame would keep it
            let_go(*_ANSWERING)

    def ota_status_handler(self, req):
        """GET /update: where the update stands."""
        return json.dumps(self.status()), 200, {"Content-Type": "application/json"}

    def ota_cancel_handler(self, req):
        """DELETE /update: cancel a running update."""
        from . import endpoints

        try:
            return endpoints.cancel_update(self, req)
        finally:
            endpoints = None
            let_go(*_ANSWERING)

    async def onboard_request_handler(self, req):
        """GET /onboard: the board's DICE certificate, DER, or PEM when asked for; with `?root=1`
        its root certificate, while a window for that is open (device_identity.open_root_window)."""
        from . import endpoints

        try:
            return await endpoints.certificate(self, req)
        finally:
            endpoints = None
            let_go(*_ANSWERING)

    def info_handler(self, req):
        """GET /info: what runs here, from the running image's app descriptor."""
        return json.dumps(self.info()), 200, {"Content-Type": "application/json"}

    @property
    def gate(self):
        """The Gate that judges requests; its code comes and goes with them."""
        from .gate import Gate

        return Gate(self.config, self.board.random, self._memory)

    # -- what the endpoints say ---------------------------------------------------------------

    @property
    def is_updating(self):
        """Whether an update runs now."""
        return self._task is not None and not self._task.done()

    def status(self):
        """The answer to GET /update as a dict."""
        session = self._update.session if self._update else None
        error = self._error
        status = {
            "state": self._state(session),
            "received": session.received if session else 0,
            "total": session.total if session else None,
            "attempt": session.attempt if session else 0,
            "slot": session.slot_label if session else None,
            "running": self.board.running_partition().info()[4],
            "confirmed": self._is_confirmed(),
            "identity": self.config.identity,
            "protocol": self.config.protocol,
            "error": {"code": error.code, "message": error.message} if error else None,
        }
        if self.identity is not None:
            status["verdict"] = self.verdict
        if self._memory.nonce is not None:
            status["nonce"] = self._memory.nonce
        return status

    def _state(self, session):
        """The session's state; `connecting` before its first attempt and between attempts."""
        if session is not None:
            state = session.state
        else:
            state = "failed" if self._error is not None and not self._rolled_back else "idle"
        return "connecting" if self.is_updating and state in ("idle", "failed") else state

    def _is_confirmed(self):
        """Whether the running image needs no confirmation. Once it needs none that lasts until the
        next boot, and what tells is not loaded for it again."""
        if not self.confirmed:
            from . import confirmation

            self.confirmed = not confirmation.is_pending(self.board)
        return self.confirmed

    def info(self):
        """The answer to GET /info as a dict."""
        return {
            "device": self.board.chip,
            "application": self.descriptor.project_name if self.descriptor else "",
            "version": self.descriptor.version if self.descriptor else "",
            "slot": self.board.running_partition().info()[4],
        }

    # -- the update ---------------------------------------------------------------------------

    async def ota_service_begin(self, ip):
        """Run one whole update from the agent at `ip` (`HOST` or `HOST:PORT`).

        Ends with the board's reset. Raises OtaError; the board then keeps what it had. The
        allow-list counts; trigger key and pause are for requests.
        """
        from .request import parse_address

        host, port = parse_address(ip, self.config.agent_port)
        self.gate.require_allowed(host)
        self.refuse_second()
        await self._start(self._run(host, port))

    async def confirm(self):
        """After a boot: confirm new firmware, or go back to the old. See confirmation.confirm."""
        from . import confirmation

        ended = await confirmation.confirm(
            self.board, self._self_test, self.config.self_test_s, self.event
        )
        confirmation = None  # else this frame would keep it
        let_go(*_LOOKING)
        return ended

    async def end(self):
        """Before the application stops: take no more requests, cancel a running update and wait
        for its end."""
        self._ended = True
        if not self.is_updating:
            return
        self.cancel()
        try:
            await self._task
        except (asyncio.CancelledError, Exception):  # noqa: S110
            pass  # whoever started it hears of it; the application stops all the same

    def refuse_second(self):
        """Raises BadRequest where no update may begin now."""
        if self._ended:
            raise BadRequest("the application is stopping", 503, "stopping")
        if self.is_updating:
            raise BadRequest("an update is running", 409, "update-running")

    def start_after(self, answered, host, port):
        """Start an update when the request for it has been answered. answered: an asyncio.Event."""
        self._error = None
        self._start(self._after_answer(answered, host, port))

    def _start(self, coroutine):
        self._update = None
        self._cancelled = False
        self._task = asyncio.create_task(coroutine)
        return self._task

    async def _after_answer(self, answered, host, port):
        try:
            # A client that went away before it had its answer does not hold the update back.
            await asyncio.wait_for(answered.wait(), 1)
        except asyncio.TimeoutError:
            pass
        try:
            await self._run(host, port)
        except Exception:  # noqa: S110
            pass  # its code is at GET /update and in the log

    async def _run(self, host, port):
        """One update; the reason of a failure stays readable."""
        self._error = None
        self._rolled_back = False
        try:
            self.check_cancelled()
            hardware = self.board.hardware
            if any(other is hardware for other in _updating):
                raise OtaError("busy", "another application updates this board")
            _updating.append(hardware)
            try:
                self._update = await self._new_update(host, port)
                await self._update.run()
            finally:
                _updating.remove(hardware)
            self.gate.note_success()
        except asyncio.CancelledError:
            self._fail(OtaError("cancelled", "the update was cancelled"))
            raise
        except OtaError as error:
            self._fail(error)
            if error.code != "cancelled" and error.pause_s is not None:
                self.gate.note_failure()
            raise
        except Exception as error:
            self._fail(OtaError("internal", "%s: %s" % (type(error).__name__, error)))
            self.gate.note_failure()
            raise

    async def _new_update(self, host, port):
        """What one update takes. The certificate comes first: its code has gone again when the
        update's is loaded."""
        config = self.config
        if not (config.agent_ca or config.insecure):
            raise OtaError("no-agent-ca", "no CA certificate for the agent is configured")
        if config.require_attestation and (config.insecure or config.protocol == 1):
            raise OtaError("protocol-forbidden", "this board may not speak protocol 1, and is to")
        if not config.insecure:
            await self.device_certificate()
            await self._set_clock()
        let_go("ota_service.clock")
        from .update import Update

        return Update(self, host, port)

    def cancel(self):
        """Cancel the running update. asyncio can lose a cancellation that comes together with data:
        a flag keeps it."""
        self._cancelled = True
        session = self._update.session if self._update else None
        if session is not None:
            session.cancelled = True
        else:
            # A task that has not begun never gets to say so.
            self._error = OtaError("cancelled", "the update was cancelled")
        self._task.cancel()

    def _fail(self, error):
        self._error = error
        session = self._update.session if self._update else None
        if session is not None and session.state not in ("idle", "failed", "rebooting"):
            session.fail(error)
        name = "failed" if error.pause_s is not None else "idle"
        self.event(name, "%s: %s" % (error.code, error.message))

    # -- what an update uses ------------------------------------------------------------------

    def check_cancelled(self):
        """Raises OtaError("cancelled")."""
        if self._cancelled:
            raise OtaError("cancelled", "the update was cancelled")

    def attempt_failed(self, error):
        """An attempt failed that another one follows."""
        self._fail(error)

    async def device_certificate(self):
        """The board's DICE certificate, DER; made once a boot."""
        async with self._certificate_lock:
            if self._certificate is None:
                config = self.config
                if config.identity == "mac" and config.protocol == 1:
                    from .device_certificate import certificate_steps

                    steps = certificate_steps(self.board)
                else:
                    from . import device_identity

                    steps = device_identity.certificate_steps(self)
                self._certificate = await self.stepped(steps)
        return self._certificate

    async def _set_clock(self):
        """See clock.set_clock."""
        if self.board.keeps_time:
            return
        from . import clock

        said = await clock.set_clock(
            self.board, self.descriptor, self.config.ntp_host, self.config.ntp_s
        )
        if said:
            self.event("clock", said)

    async def stepped(self, steps):
        """Run a generator to its end, letting other tasks in between its steps, the watchdog fed;
        its return value."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            self.board.feed_watchdog()
            await asyncio.sleep(0)

    def progress(self, received, total):
        """A chunk has been written."""
        self.board.feed_watchdog()
        _call(self._on_progress, received, total)

    def event(self, name, detail):
        """Tell the application."""
        _call(self._on_event, name, detail)


def _call(hook, *arguments):
    """Call a hook of the application's; what goes wrong there does not concern the update."""
    if hook is not None:
        try:
            hook(*arguments)
        except Exception:  # noqa: S110
            pass
