"""Who may speak to whom in the cluster: every pair there is, by the rules of NetworkPolicy."""

import ipaddress
from itertools import product
from typing import Any, NamedTuple

from tests.deploy.manifests import Manifests, Object


class End(NamedTuple):
    """A pod, or with no namespace something outside of the cluster."""

    name: str
    namespace: str | None
    labels: dict[str, str] = {}  # noqa: RUF012  # never changed
    address: str = "10.0.0.1"


def _ours(name: str) -> End:
    return End(name, "ota", {"app.kubernetes.io/name": name})


AGENT, AUTH, REDIS = map(_ours, ("ota-agent", "dice-auth", "redis"))
NEIGHBOUR = End("neighbour", "ota", {"app": "other"})
STRANGER = End("stranger", "default", {"app.kubernetes.io/name": "ota-agent"})
PROMETHEUS = End("prometheus", "monitoring")
NAMES = End("names", "kube-system", {"k8s-app": "kube-dns"})
BOARD = End("board", None, {}, "192.0.2.1")
ENDS = (AGENT, AUTH, REDIS, NEIGHBOUR, STRANGER, PROMETHEUS, NAMES, BOARD)
PORTS = [("TCP", 4433), ("TCP", 4434), ("TCP", 8000), ("TCP", 6379), ("UDP", 53), ("TCP", 53),
         ("TCP", 443), ("TCP", 22)]  # fmt: skip


def test_just_the_pairs_that_are_needed_may_speak(manifests: Manifests) -> None:
    needed = {(each.name, "ota-agent", "TCP", 4433) for each in ENDS if each.namespace != "ota"}
    needed |= {
        ("ota-agent", "dice-auth", "TCP", 8000),
        ("dice-auth", "redis", "TCP", 6379),
        ("prometheus", "ota-agent", "TCP", 4434),
        ("prometheus", "dice-auth", "TCP", 8000),
    }
    needed |= {
        (name, "names", protocol, 53) for name in ("ota-agent", "dice-auth")
        for protocol in ("UDP", "TCP")
    }  # fmt: skip
    policies = manifests.of_kind("NetworkPolicy")
    names = {each["metadata"]["name"] for each in policies}
    if "firmware-registry" in names:
        needed |= {("ota-agent", each.name, "TCP", 443) for each in ENDS if each.namespace != "ota"}
    allowed = {
        (source.name, target.name, *port)
        for source, target, port in product(ENDS, ENDS, PORTS)
        if source != target
        and "ota" in (source.namespace, target.namespace)
        and _passes(policies, "Egress", source, target, port)
        and _passes(policies, "Ingress", target, source, port)
    }
    assert allowed == needed


def _passes(
    policies: list[Object], direction: str, of: End, peer: End, port: tuple[str, int]
) -> bool:
    """Whether policies on one end let it speak with the other."""
    its_own = [
        each["spec"]
        for each in policies
        if of.namespace == each["metadata"]["namespace"]
        and direction in each["spec"]["policyTypes"]
        and _selects(each["spec"]["podSelector"], of.labels)
    ]
    if not its_own:
        return True
    key = {"Ingress": "from", "Egress": "to"}[direction]
    return any(
        _is_among(rule.get(key), of, peer) and _has_port(rule.get("ports"), port)
        for spec in its_own
        for rule in spec.get(direction.lower()) or ()
    )


def _is_among(peers: list[Any] | None, of: End, peer: End) -> bool:
    return not peers or any(_is_peer(each, of, peer) for each in peers)


def _is_peer(rule: Object, of: End, peer: End) -> bool:
    if "ipBlock" in rule:
        network = ipaddress.ip_network(rule["ipBlock"]["cidr"])
        return ipaddress.ip_address(peer.address) in network
    if peer.namespace is None:
        return False
    if "namespaceSelector" in rule:
        labels = {"kubernetes.io/metadata.name": peer.namespace}
        if not _selects(rule["namespaceSelector"], labels):
            return False
    elif peer.namespace != of.namespace:
        return False
    return _selects(rule.get("podSelector", {}), peer.labels)


def _has_port(ports: list[Object] | None, port: tuple[str, int]) -> bool:
    return not ports or any((each.get("protocol", "TCP"), each["port"]) == port for each in ports)


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "In"
        if labels.get(each["key"]) not in each["values"]:
            return False
    return True
