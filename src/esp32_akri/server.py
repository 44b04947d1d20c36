"""An HTTP server with replaceable handlers; microdot parses and routes."""

import asyncio

from microdot import Microdot

from ota_service.compat import close_stream, listen

from . import connection
from .compat import is_awaitable, is_loopback

# lwIP on the chip has ten sockets in all; the update needs one of them, and the self-test of new
# firmware, from the board itself, must not depend on how many strangers are connected.
MAX_CONNECTIONS = 7


class AkriServer:
    """Endpoints of one board. Handlers take microdot's request, and may be coroutines.

    A handler set again for the same path and method replaces the one before, also while the
    server runs. An endpoint without a handler answers 404.
    """

    def __init__(self):
        self._handlers = {}
        self._app = None
        self._task = None
        self._server = None
        self._settled = None
        self._connections = set()

    def set_handler_generic(self, uri, method, h):
        """Call h(req) for `method` on `uri`. Raises ValueError."""
        if not callable(h):
            raise ValueError("handler for %s %s is not callable" % (method, uri))
        if not uri.startswith("/"):
            raise ValueError("uri %r: expected a path that starts with /" % (uri,))
        self._handlers[uri, method.upper()] = h

    def set_handler_generic_with_context(self, uri, method, h, context):
        """Call h(req, context) for `method` on `uri`."""
        if not callable(h):
            raise ValueError("handler for %s %s is not callable" % (method, uri))
        self.set_handler_generic(uri, method, lambda req: h(req, context))

    def set_update_handler(self, h, status=None, cancel=None):
        """POST /update; with `status` also GET, with `cancel` also DELETE."""
        for method, handler in (("POST", h), ("GET", status), ("DELETE", cancel)):
            if handler is not None:
                self.set_handler_generic("/update", method, handler)

    def start(self, host="0.0.0.0", port=80):
        """Start serving as a task on the running loop; returns the task, which ends with the
        server. OSError (a port in use) comes out of the task, and of `started`."""
        if self._task is not None and not self._task.done():
            raise RuntimeError("the server runs already")
        self._app = Microdot()
        # Paths without variable parts need no pattern each, and no function: half a KB an endpoint.
        self._app.find_route = self._find_route
        self._settled = asyncio.Event()
        self._task = asyncio.create_task(self._run(host, port))
        return self._task

    async def started(self):
        """Wait until the port is open. Raises what kept the server from starting."""
        await self._settled.wait()
        if self._server is None:
            await self._task

    @property
    def port(self):
        """The port served (useful after starting on port 0; CPython only)."""
        return self._server.sockets[0].getsockname()[1]

    @property
    def connections(self):
        """How many connections are open now."""
        return len(self._connections)

    async def end(self):
        """Stop serving, free the port, and end what connections there are. Does nothing when no
        server runs."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        try:
            await task
        except (asyncio.CancelledError, OSError):
            pass
        self._app = None

    async def _run(self, host, port):
        try:
            self._server = await listen(self._serve, host, port)
            self._settled.set()
            await asyncio.Event().wait()  # until `end` cancels
        finally:
            self._settled.set()
            await self._close()

    async def _close(self):
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._connections):
            task.cancel()
        while self._connections:
            await asyncio.sleep(0)

    async def _serve(self, reader, writer):
        own = is_loopback(writer.get_extra_info("peername"))
        if len(self._connections) >= MAX_CONNECTIONS + own:
            await close_stream(writer)
            return
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            await connection.serve(self._app, reader, writer)
        except asyncio.CancelledError:
            pass  # by `_close`; asyncio would complain about it
        finally:
            self._connections.discard(task)

    def _find_route(self, req):
        """In microdot's place: what answers a request, or a status, or the headers of an answer to
        OPTIONS; and, of no use here, its prefix and application."""
        allowed = [method for uri, method in self._handlers if uri == req.path]
        method = req.method.upper()
        req.url_args = {}
        if method == "OPTIONS":
            if "GET" in allowed:
                allowed.append("HEAD")
            return {"Allow": ", ".join(allowed + ["OPTIONS"])}, "", None
        if _as_routed(method) in allowed:
            return self._handle, "", None
        return 405 if allowed else 404, "", None

    async def _handle(self, req):
        result = self._handlers[req.path, _as_routed(req.method.upper())](req)
        return await result if is_awaitable(result) else result


def _as_routed(method):
    return "GET" if method == "HEAD" else method
