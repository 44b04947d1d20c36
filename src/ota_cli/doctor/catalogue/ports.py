"""Codes about names and TCP ports; the same four for whatever is connected to."""

from ota_cli.doctor.catalogue.entry import Entry, problem

# prefix of the code -> (who, what to do where nothing listens)
_PEERS = {
    "agent": (
        "the agent",
        "start it (`ota-service agent --listen 0.0.0.0:4433 ...`), or name the port it listens on",
    ),
    "agent-admin": (
        "the agent's admin port",
        "start the agent with `--admin 127.0.0.1:4434`, or name the address that it logs",
    ),
    "board": (
        "the board",
        "start its application, or name its HTTP port (80; 8032 for `board run`)",
    ),
    "attestation": (
        "the attestation server",
        "start it (`ota-service attest serve --listen 0.0.0.0:8000`), or name its right port",
    ),
}


def _entries() -> dict[str, Entry]:
    found = {}
    for prefix, (who, start) in _PEERS.items():
        found[f"{prefix}-name-unresolved"] = problem(
            f"the name of {who} has no address",
            "correct the name, enter it in DNS, or give the address",
        )
        found[f"{prefix}-refused"] = problem(
            f"nothing listens on the port of {who}",
            start,
        )
        found[f"{prefix}-timeout"] = problem(
            f"no answer to a connection to {who}: a firewall drops it, or the host is off",
            "open the TCP port in firewalls, security groups and Wi-Fi isolation; check the host",
        )
        found[f"{prefix}-unreachable"] = problem(
            f"no way to the address of {who}",
            "correct the address; check this machine's network and routes",
        )
    return found


ENTRIES = _entries()
