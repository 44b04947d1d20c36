"""Who may trigger an update, and from which agent (architecture.md, Decisions).

Open by default, as with the originals: a trigger only names an agent, which has to prove itself.
"""

from binascii import hexlify

from .compat import const, ticks_add, ticks_diff, ticks_ms
from .errors import BadRequest

_NONCE_BYTES = const(16)
_MAX_PAUSE_S = const(600)


class Memory:
    """What a Gate remembers from one request to the next. nonce: the trigger's, None without a key.

    It stays, and has no methods: they would keep the code of this module.
    """


def new_memory(config, random):
    """The Memory of a Gate to which nobody has come yet."""
    memory = Memory()
    memory.failures = 0
    memory.until = None
    memory.nonce = _new_nonce(random) if config.trigger_key is not None else None
    return memory


class Gate:
    """Judges requests: the trigger key, the allow-list, the pause after failures.

    config: `trigger_key`, `allowed_agents`, `pause_after`, `pause_s`. random(size): bytes.
    memory: of the Gate before; None: nobody has come yet.
    """

    def __init__(self, config, random, memory=None):
        self._config = config
        self._random = random
        self._memory = new_memory(config, random) if memory is None else memory

    @property
    def nonce(self):
        """The nonce that the next trigger has to be made with, None without a key."""
        return self._memory.nonce

    def require_key(self, req, method):
        """Raises BadRequest 401 unless the request proves the trigger key, where there is one.

        OTA-MAC is hex HMAC-SHA-256(key, nonce || method || body), the nonce as `GET /update` gives
        it, in ASCII; it serves once. protocol.md, section A.
        """
        key = self._config.trigger_key
        if key is None:
            return
        from ota_crypto import hmac

        nonce = (req.headers.get("OTA-Nonce") or "").lower()
        sent = (req.headers.get("OTA-MAC") or "").lower().encode()
        mac = hmac.digest(key, self.nonce.encode() + method.encode() + req.body, "sha256")
        if not (nonce == self.nonce and hmac.is_equal(hexlify(mac), sent)):
            raise BadRequest(
                "trigger key: expected OTA-Nonce from GET /update and OTA-MAC made with it", 401
            )
        self._memory.nonce = _new_nonce(self._random)

    def require_allowed(self, host):
        """Raises BadRequest 403 unless the agent is on the allow-list, where there is one."""
        if not self._config.allowed_agents:
            return
        from .allow_list import covers

        if not any(covers(entry, host) for entry in self._config.allowed_agents):
            text = "agent %s is not on this board's allow-list" % host
            raise BadRequest(text, 403, "agent-not-allowed")

    def require_no_pause(self):
        """Raises BadRequest 429 in the pause after failures."""
        left = self.pause_left_s()
        if left:
            text = "%d updates failed in a row, the next is taken in %d s"
            text %= self._memory.failures, left
            raise BadRequest(text, 429)

    def pause_left_s(self):
        """Seconds until updates are taken again, rounded up; 0 when they are."""
        if self._memory.until is None:
            return 0
        left = ticks_diff(self._memory.until, ticks_ms())
        # Ticks wrap: looked at days later, a pause long past seems to lie ahead.
        if not 0 < left <= _MAX_PAUSE_S * 1000:
            self._memory.until = None
            return 0
        return (left + 999) // 1000

    def note_failure(self):
        """An update failed. From the `pause_after`th in a row on each is followed by a pause, twice
        as long each time, ten minutes at most."""
        self._memory.failures += 1
        over = self._memory.failures - self._config.pause_after
        if self._config.pause_after and over >= 0:
            pause_s = min(self._config.pause_s * 2 ** min(over, 16), _MAX_PAUSE_S)
            self._memory.until = ticks_add(ticks_ms(), int(pause_s * 1000))

    def note_success(self):
        """An update succeeded."""
        self._memory.failures = 0
        self._memory.until = None


def _new_nonce(random):
    return hexlify(random(_NONCE_BYTES)).decode()
