"""What a request gets that may change something, or asks for a certificate. Loaded for that
request, and gone when it is answered: an update needs the memory.
"""

import asyncio

from .compat import const
from .errors import BadRequest, OtaError

_ACCEPTED = const("Received update request: About to update (%s)\n")


def start_update(service, req):
    """The answer to POST /update; what it starts begins when the answer is out."""
    try:
        host, port = _admit(service, req)
    except BadRequest as error:
        return _refusal(service, error)
    answered = asyncio.Event()
    service.start_after(answered, host, port)
    text = _ACCEPTED % ("Insecure" if service.config.insecure else "Secure")
    headers = _text()
    headers["Content-Length"] = str(len(text))
    return _then(text, answered.set), 200, headers


def cancel_update(service, req):
    """The answer to DELETE /update."""
    try:
        service.gate.require_key(req, "DELETE")
    except BadRequest as error:
        return _refusal(service, error)
    if not service.is_updating:
        return "no update is running\n", 404, _text()
    service.cancel()
    return "update cancelled\n", 200, _text()


async def certificate(service, req):
    """The answer to GET /onboard."""
    try:
        if getattr(req, "args", None):
            from . import root_certificate

            certificate = await root_certificate.certificate(service, req.args)
        else:
            certificate = await service.device_certificate()
    except BadRequest as error:
        return _refusal(service, error)
    except Exception as error:
        code = error.code if isinstance(error, OtaError) else type(error).__name__
        service.event("error", "DICE certificate: %s" % code)
        return "Could not generate the certificate", 500, _text()
    if "application/x-pem-file" in (req.headers.get("Accept") or ""):
        from dice.pem import to_pem

        return to_pem(certificate), 200, {"Content-Type": "application/x-pem-file"}
    return certificate, 200, {"Content-Type": "application/pkix-cert"}


def _admit(service, req):
    """(host, port) of a request that may start an update. Raises BadRequest."""
    gate = service.gate
    gate.require_key(req, "POST")
    from .request import parse_update_request

    content_type = req.headers.get("Content-Type")
    host, port = parse_update_request(req.body, content_type, service.config.agent_port)
    gate.require_allowed(host)
    service.refuse_second()
    gate.require_no_pause()
    return host, port


def _refusal(service, error):
    headers = _text()
    if error.status == 429:
        headers["Retry-After"] = str(service.gate.pause_left_s())
    return error.message + "\n", error.status, headers


def _then(text, call):
    """A response body after which `call` is called: microdot asks for the next piece when the
    one before is written."""
    yield text
    call()


def _text():
    return {"Content-Type": "text/plain; charset=UTF-8"}
