"""The component's settings: a plain dict, checked. Defaults are the safe ones."""

from binascii import unhexlify

_POLICIES = ("different", "newer", "any")


class Config:
    """Settings of an OtaService, from a dict; unknown names are an error.

    agent_ca: CA certificate(s) of the agent, DER; bytes or a list of bytes. Without one no update.
    agent_name: the name the agent's certificate must carry. agent_port: TCP port.
    trusted_keys: key digests (32 bytes, or 64 hex digits each); empty: see trust.py.
    project: the only project name that is installed; None: any.
    policy: `different`, `newer` or `any` (acceptance.Expected).
    allow_unsigned: take unsigned images where no key is trusted at all. Insecure.
    attempts, retry_delay_s: connection attempts, seconds before the second.
    connect_s, first_byte_s, read_s: seconds for connecting with TLS, for the agent's decision,
    and without a byte during the transfer. self_test_s: deadline of the self-test.

    Raises ValueError naming the setting.
    """

    def __init__(self, settings=None):
        values = dict(settings or {})
        self.agent_ca = _certificates(values.pop("agent_ca", ()))
        self.agent_name = values.pop("agent_name", "ota-agent")
        self.agent_port = values.pop("agent_port", 4433)
        self.trusted_keys = [_digest(key) for key in values.pop("trusted_keys", ())]
        self.project = values.pop("project", None)
        self.policy = values.pop("policy", "different")
        self.allow_unsigned = values.pop("allow_unsigned", False)
        self.attempts = values.pop("attempts", 20)
        self.retry_delay_s = values.pop("retry_delay_s", 4)
        self.connect_s = values.pop("connect_s", 10)
        self.first_byte_s = values.pop("first_byte_s", 30)
        self.read_s = values.pop("read_s", 10)
        self.self_test_s = values.pop("self_test_s", 60)
        if values:
            raise ValueError("unknown setting: %s" % sorted(values)[0])
        if self.policy not in _POLICIES:
            raise ValueError("policy %r: expected one of %s" % (self.policy, ", ".join(_POLICIES)))
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise ValueError("attempts %r: expected a number from 1 on" % (self.attempts,))
        if self.allow_unsigned not in (True, False):
            raise ValueError("allow_unsigned %r: expected true or false" % (self.allow_unsigned,))


def _certificates(value):
    return [bytes(value)] if isinstance(value, (bytes, bytearray)) else [bytes(v) for v in value]


def _digest(key):
    try:
        digest = unhexlify(key) if isinstance(key, str) else bytes(key)
    except (ValueError, TypeError):
        digest = b""
    if len(digest) != 32:
        raise ValueError("trusted_keys: expected digests of 32 bytes, found %r" % (key,))
    return digest
