"""What cures each error code of a board's last update (docs/updates.md, Error codes)."""

_CA = (
    "the agent's certificate must be by the CA on the board (`agent_ca`): see --agent and"
    " --agent-ca"
)
_AGAIN = "update again; if it stays, look at the agent's log and at the Wi-Fi's strength"
_BUG = "report it, with the board's log"
_CLOCK = (
    "the board's clock is in the message: NTP for the board (`ntp_host`), or a certificate dated"
    " from 2000-01-01 (`ota-service agent renew`)"
)
_IMAGE = "look at the agent's firmware: ota-service doctor --firmware FILE"
_SIGN = "sign it with the board's key: `ota-service image sign`; see --firmware and --trust"
_UDS = "provision the board: docs/provisioning.md"
_ENROL = (
    "the attestation server refused the board: enrol it (`ota-service submit`), see --attestation"
    " and --registry"
)

# codes -> cure; an entry that ends with a dash stands for all codes that begin so
CURES = (
    (("no-agent-ca",), "put ca.der on the board and name it in its settings as `agent_ca`"),
    (("no-trusted-key",), "set `trusted_keys`, or flash signed firmware once by cable"),
    (("no-spare-slot", "no-otadata"), "flash an OTA partition table by cable: see --partitions"),
    (("busy", "update-running", "stopping"), "wait for the other update's end, then try again"),
    (("bad-request",), "give the agent as A.B.C.D[:PORT] or NAME[:PORT]"),
    (("nvs-unreadable",), "erase and provision the board's nvs partition again"),
    (("not-confirmed",), "let the running firmware confirm itself: `ota_service.confirm()`"),
    (("agent-not-allowed",), "add the agent to the board's `allowed_agents`"),
    (("network-down",), "see to the board's Wi-Fi, then update again"),
    (("name-unresolved",), "give the agent's IPv4 address, or see to the DNS the board uses"),
    (("agent-unreachable",), "start the agent, open its port 4433: see --agent"),
    (("no-tls", "tls-failed"), "another service, or another TLS, at the agent's port: see --agent"),
    (("agent-unknown-issuer", "agent-not-trusted"), _CA),
    (("agent-wrong-name",), "a certificate for `agent_name`, ota-agent: `ota-service agent renew`"),
    (("agent-not-yet-valid",), _CLOCK),
    (("agent-expired",), "`ota-service agent renew FOLDER`; if it is valid: " + _CLOCK),
    (("attestation-refused",), _ENROL),
    (("not-provisioned", "uds-lost"), _UDS),
    (("not-measured",), "flash whole firmware by cable: the running image cannot be read as one"),
    (("protocol-forbidden",), '"identity": "provisioned", or take `require_attestation` out'),
    (("up-to-date", "cancelled"), "nothing is wrong; update again when there is newer firmware"),
    (("board-not-allowed",), "revoked, or against the policy: `ota-service show ID`, --registry"),
    (("no-firmware",), "give the agent firmware for this chip and application: see --agent-admin"),
    (("token-refused", "agent-busy"), "update again later; see the agent's limits and its log"),
    (("agent-error", "agent-refused", "bad-answer"), "look at the agent's log; is it an agent?"),
    (("wrong-length", "wrong-digest"), "let the agent read its firmware again, then update again"),
    (("timeout", "connection-lost", "truncated"), _AGAIN),
    (("deadline",), "raise `deadline_s`, or better the Wi-Fi; what came is resumed (protocol 2)"),
    (("trailing-data",), _IMAGE),
    (("flash-write", "flash-mismatch"), "update again; if it stays, the flash chip is worn out"),
    (("set-boot",), "update again; if it stays, look at the board's log and partition table"),
    (("rolled-back",), "the new firmware failed its self-test: mend it, give it another version"),
    (("internal",), _BUG),
    (("chip-mismatch",), "serve firmware for the board's chip: see --firmware with --board"),
    (("chip-revision", "efuse-revision"), "build for the board's chip revision"),
    (("secure-version",), "build with a secure version that is not lower than the board's"),
    (("project-mismatch",), "serve that project's firmware, or change the setting `project`"),
    (("same-image",), "nothing is wrong; for another build give it another version"),
    (("not-newer", "version-unknown"), "give the firmware a higher version, as 1.4.0"),
    (("too-large",), "make the firmware smaller, or the slots larger: see --partitions"),
    (
        ("unsigned", "signature-invalid", "digest-mismatch", "key-untrusted", "extra-block",
         "hash-missing", "scheme-unsupported"),
        _SIGN,
    ),
    (("key-revoked",), "sign it with a key that is not revoked"),
    (
        ("magic", "checksum", "hash-mismatch", "hash-flag", "padding", "chip-unknown", "segment-",
         "descriptor-"),
        _IMAGE,
    ),
)  # fmt: skip

UNKNOWN = "look the code up in docs/updates.md, Error codes, and at the board's log"


def cure_for(code: str) -> str:
    for codes, cure in CURES:
        if any(code == each or (each.endswith("-") and code.startswith(each)) for each in codes):
            return cure
    return UNKNOWN
