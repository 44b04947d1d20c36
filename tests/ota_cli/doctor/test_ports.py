"""Names and ports: refused, filtered, no way, no such name, told apart for every peer."""

import pytest

from ota_cli.doctor.examination import _agent_address
from tests.ota_cli.doctor.peers import full_port
from tests.ota_cli.doctor.provoking import doctor, each_provokes, provokes
from tests.ports import free_port

PREFIXES = {"agent": "--agent", "agent-admin": "--agent-admin", "board": "--board",
            "attestation": "--attestation"}  # fmt: skip


def of_each(kind: str) -> dict[str, str]:
    return {f"{prefix}-{kind}": option for prefix, option in PREFIXES.items()}


@each_provokes("option", of_each("refused"))
def test_a_port_that_nobody_listens_on_is_refused(code: str, option: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    report = doctor(option, address)
    assert report.complaints == [code]
    assert "refused" in report.message(code)
    assert address.rpartition(":")[2] in report.message(code)


@each_provokes("option", of_each("unreachable"))
def test_an_address_without_a_way_is_unreachable(code: str, option: str) -> None:
    # No TCP to a multicast address, whatever network there is (tcp_v4_connect).
    assert doctor(option, "224.0.0.1:4433").complaints == [code]


@each_provokes("option", of_each("name-unresolved"))
def test_a_name_without_an_address_is_named(code: str, option: str) -> None:
    report = doctor(option, "no-such-host.invalid:4433")
    assert report.complaints == [code]
    assert "no-such-host.invalid" in report.message(code)


@provokes(*of_each("timeout"))
def test_ports_that_do_not_answer_are_found_side_by_side() -> None:
    with full_port() as address:
        options = [text for option in PREFIXES.values() for text in (option, address)]
        report = doctor(*options)
    assert sorted(report.complaints) == sorted(of_each("timeout"))


@provokes("agent-no-ipv4")
@pytest.mark.parametrize("address", ["::1", "[::1]:4433"])
def test_boards_have_no_ipv6(address: str) -> None:
    report = doctor("--agent", address)
    assert report.complaints == ["agent-no-ipv4"]
    assert "::1" in report.message("agent-no-ipv4")


def test_an_agents_address_is_read_as_boards_read_it() -> None:
    assert _agent_address("192.0.2.1", None) == ("192.0.2.1", 4433)
    assert _agent_address("agent.example:1", None) == ("agent.example", 1)
    assert _agent_address("[2001:db8::1]:1", None) == ("2001:db8::1", 1)
