"""The component's settings: a plain dict or a JSON file, checked. Defaults are the safe ones."""

from binascii import unhexlify

from .compat import const

# Setting: default, and what it has to be (see _check).
_SETTINGS = {
    "identity": ("mac", None),
    "protocol": (None, None),
    "require_attestation": (False, "bool"),
    "agent_ca": ((), None),
    "agent_name": ("ota-agent", "text"),
    "agent_port": (4433, "port"),
    "trusted_keys": ((), None),
    "project": (None, "text"),
    "policy": ("different", None),
    "allow_unsigned": (False, "bool"),
    "attempts": (20, "count"),
    "retry_delay_s": (4, "delay"),
    "connect_s": (10, "seconds"),
    "first_byte_s": (30, "seconds"),
    "read_s": (10, "seconds"),
    "deadline_s": (3600, "seconds"),
    "self_test_s": (60, "seconds"),
    "ntp_host": ("pool.ntp.org", "text"),
    "ntp_s": (5, "seconds"),
    "allowed_agents": ((), None),
    "trigger_key": (None, None),
    "pause_after": (5, "whole"),
    "pause_s": (30, "seconds"),
    "insecure": (False, "bool"),
    "insecure_port": (3333, "port"),
}
_MAY_BE_NONE = const(("project", "ntp_host"))
_POLICIES = const(("different", "newer", "any"))
_IDENTITIES = const(("mac", "provisioned"))
_RANGES = {
    "port": (1, 65535, "1 to 65535"),
    "count": (1, 1000000, "a number from 1 on"),
    "whole": (0, 1000000, "a number from 0 on"),
    "delay": (0, 86400, "seconds, at most a day"),
    "seconds": (0.001, 86400, "seconds, at most a day"),
}


class Config:
    """Settings of an OtaService, each an attribute; unknown names are an error.

    identity: `mac`, the originals', which proves nothing, or `provisioned` (uds.py).
    protocol: 1 or 2; None is 2 for a provisioned board, else 1. A board never speaks another.
    require_attestation: True: protocol 1 is not spoken, whatever else is configured.
    agent_ca: CA certificate(s) of the agent: DER bytes, a PEM text, a file's name, or a list of
    these. Without one no update. agent_name: the name the agent's certificate must carry.
    agent_port: TCP port where a request names none.
    trusted_keys: key digests (32 bytes, or 64 hex digits each); empty: see trust.py.
    project: the only project name that is installed; None: any.
    policy: `different`, `newer` or `any` (acceptance.Expected).
    allow_unsigned: take unsigned images where no key is trusted at all. Insecure.
    attempts, retry_delay_s: connection attempts, seconds before the second.
    connect_s, first_byte_s, read_s: seconds for connecting with TLS, for the agent's decision,
    and without a byte during the transfer. deadline_s: for the whole update, attempts and pauses
    between them included. self_test_s: deadline of the self-test.
    ntp_host: `HOST` or `HOST:PORT`; None: no NTP. ntp_s: seconds for its answer.
    allowed_agents: `A.B.C.D`, `A.B.C.D/BITS` or names; empty: any agent may be named.
    trigger_key: 32 bytes or 64 hex digits; None: whoever reaches the board may trigger.
    pause_after, pause_s: failed updates in a row before requests are refused for a while (0:
    never), and how long that is at first, in seconds.
    insecure, insecure_port: a raw image over plain TCP instead of the agent (insecure.py).

    Raises ValueError naming the setting, and OSError for a file that cannot be read.
    """

    def __init__(self, settings=None):
        if isinstance(settings, str):
            try:
                settings = read_json(settings)
            except ValueError as error:
                raise ValueError("%s: %s" % (settings, error))
        values = dict(settings or {})
        for name in _SETTINGS:
            default, kind = _SETTINGS[name]
            value = values.pop(name, default)
            if kind is not None and not (value is None and name in _MAY_BE_NONE):
                _check(name, value, kind)
            setattr(self, name, value)
        if values:
            raise ValueError("unknown setting: %s" % sorted(map(str, values))[0])
        if self.policy not in _POLICIES:
            raise ValueError("policy %r: expected one of %s" % (self.policy, ", ".join(_POLICIES)))
        if self.identity not in _IDENTITIES:
            raise ValueError("identity %r: expected mac or provisioned" % (self.identity,))
        if self.protocol is None:
            self.protocol = 2 if self.identity == "provisioned" else 1
        elif type(self.protocol) is not int or self.protocol not in (1, 2):
            raise ValueError("protocol %r: expected 1 or 2" % (self.protocol,))
        self.agent_ca = _certificates(self.agent_ca)
        self.trusted_keys = [_key("trusted_keys", key) for key in _list("trusted_keys", self)]
        if self.trigger_key is not None:
            self.trigger_key = _key("trigger_key", self.trigger_key)
        self.allowed_agents = [_agent(entry) for entry in _list("allowed_agents", self)]

    def __repr__(self):
        return "Config()"  # the trigger key is a secret


def _check(name, value, kind):
    if kind == "text":
        ok, expected = isinstance(value, str) and bool(value), "a text"
    elif kind == "bool":
        ok, expected = isinstance(value, bool), "true or false"
    else:
        low, high, expected = _RANGES[kind]
        types = (int,) if kind in ("port", "count", "whole") else (int, float)
        # A bool is an int on CPython; not a number compares false.
        ok = type(value) in types and low <= value <= high
    if not ok:
        raise ValueError("%s %r: expected %s" % (name, value, expected))


def read_json(path):
    """The settings in a JSON file as a dict, its CA certificates read.

    `agent_ca` in it names files beside it, or holds PEM texts. Raises OSError, ValueError.
    """
    import json

    with open(path) as file:
        try:
            settings = json.load(file)
        except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
            raise ValueError("not JSON")
    if not isinstance(settings, dict):
        raise ValueError("expected a JSON object of settings")
    if "agent_ca" in settings:
        folder = path[: path.rfind("/") + 1]
        settings["agent_ca"] = _certificates(settings["agent_ca"], folder)
    return settings


def _certificates(value, folder=""):
    """DER bytes of each; a text that is no PEM names a file, in `folder` unless it is absolute."""
    if isinstance(value, (bytes, bytearray, str)):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError("agent_ca %r: expected certificates, or files that hold them" % (value,))
    found = []
    for item in value:
        if isinstance(item, str) and "-----BEGIN" not in item:
            with open(item if item[:1] == "/" else folder + item, "rb") as file:
                item = file.read()
        if not isinstance(item, (bytes, bytearray, str)):
            raise ValueError("agent_ca %r: expected a certificate, or a file" % (item,))
        if isinstance(item, str) or item[:1] != b"\x30":
            found.extend(_from_pem(item))
        else:
            found.append(bytes(item))
    return found


def _from_pem(text):
    from dice import pem
    from dice.errors import CertificateError

    if isinstance(text, str):
        text = text.encode()
    found = []
    at = 0
    while at >= 0:
        try:
            found.append(pem.from_pem(text[at:]))
        except CertificateError as error:
            raise ValueError("agent_ca: expected certificates, DER or PEM: %s" % error)
        at = text.find(b"-----BEGIN CERTIFICATE", text.find(b"-----END CERTIFICATE", at))
    return found


def _list(name, config):
    value = getattr(config, name)
    if not isinstance(value, (list, tuple)):
        raise ValueError("%s: expected a list, found %s" % (name, type(value).__name__))
    return value


def _key(name, key):
    """32 bytes. What was found is not in the message: it may be a secret."""
    try:
        if isinstance(key, str):
            key = unhexlify(key)
    except ValueError:
        key = b""
    if not isinstance(key, (bytes, bytearray)) or len(key) != 32:
        raise ValueError("%s: expected 32 bytes, or 64 hex digits" % name)
    return bytes(key)


def _agent(entry):
    from . import allow_list

    try:
        return allow_list.parse_entry(entry)
    except (ValueError, AttributeError):
        raise ValueError("allowed_agents %r: expected A.B.C.D, A.B.C.D/BITS or a name" % (entry,))
