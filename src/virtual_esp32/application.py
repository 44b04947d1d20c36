"""The example application: the endpoints of esp32_akri with the handlers of ota_service.

What a user's own firmware would do in its main.py, on a virtual board. It confirms itself once
its own endpoints answer.
"""

import esp32_akri
from ota_service import OtaService, compat, self_test

from .compat import error_text

_DEMO_TEMPERATURE = "25.0"


def read_settings(path):
    """The settings in a JSON file, checked; its CA certificates have been read.

    Raises OSError for a file that cannot be read, ValueError naming what is wrong in it.
    """
    from ota_service.config import Config, read_json

    with open(path, "rb"):
        pass  # told apart from a certificate that cannot be read
    try:
        settings = read_json(path)
    except OSError as error:
        raise ValueError("agent_ca: %s" % error_text(error))
    config = Config(settings)
    try:
        compat.tls().client_context(config.agent_ca)  # reads them as the update will
    except (OSError, ValueError):
        raise ValueError("agent_ca: not a certificate")
    return settings


class Application:
    """The example application for `power_on`; one object serves every boot of a board.

    host, port: where the endpoints listen; port 0 picks a free one, kept over reboots.
    settings: ota_service's settings. on_event(name, detail), on_ready(host, port): for logs.
    """

    def __init__(self, host="127.0.0.1", port=8032, settings=None, on_event=None, on_ready=None):
        self._host = host
        self._port = port
        self._settings = settings
        self._on_event = on_event
        self._on_ready = on_ready
        self.service = None

    async def __call__(self, board):
        """Serve until cancelled, which is what a reset does."""
        server = esp32_akri.AkriServer()
        self.service = service = OtaService(
            board,
            self._all_settings(board),
            self_test=lambda: self._self_test(board),
            on_event=self._on_event,
        )
        server.set_update_handler(
            service.ota_request_handler, service.ota_status_handler, service.ota_cancel_handler
        )
        server.set_handler_generic("/info", "GET", service.info_handler)
        server.set_handler_generic("/onboard", "GET", service.onboard_request_handler)
        server.set_handler_generic("/temp", "GET", lambda req: _DEMO_TEMPERATURE)
        task = server.start(self._host, self._port)
        try:
            await server.started()
            if self._port == 0:
                self._port = server.port
            info = service.info()
            self._event(
                "running",
                "%s %s in %s"
                % (
                    info["application"] or "application",
                    info["version"] or "without a version",
                    info["slot"],
                ),
            )
            if self._on_ready is not None:
                self._on_ready(self._host, self._port)
            await service.confirm()
            await task
        finally:
            await service.end()
            await server.end()

    def _all_settings(self, board):
        settings = dict(self._settings or {})
        settings.setdefault("trusted_keys", board.efuse.trusted_keys)
        return settings

    async def _self_test(self, board):
        """The board's own endpoints, on the port that turned out to be theirs."""
        host = "127.0.0.1" if self._host == "0.0.0.0" else self._host
        return await self_test.standard(board, self._port, host)()

    def _event(self, name, detail):
        if self._on_event is not None:
            self._on_event(name, detail)
