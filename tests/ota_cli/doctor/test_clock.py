"""This machine's clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.ota_cli.doctor.peers import answers, tcp_server
from tests.ota_cli.doctor.provoking import doctor, doctor_at, provokes


@provokes("clock-ok", "clock-differs")
def test_a_servers_date_is_held_against_this_machines() -> None:
    for ahead, complaints in ((timedelta(0), 0), (timedelta(hours=1), 1), (timedelta(days=-9), 1)):
        date = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
        with tcp_server(answers("503 Service Unavailable", b"{}", f"Date: {date}")) as address:
            report = doctor("--attestation", address)
        assert report.codes.count("clock-differs") == complaints
        assert report.codes.count("clock-ok") == 1 - complaints


def test_a_date_that_is_none_is_passed_over() -> None:
    with tcp_server(answers("503 Service Unavailable", b"{}", "Date: tomorrow")) as address:
        assert "clock-ok" in doctor("--attestation", address).codes


@provokes("clock-wrong")
def test_a_machine_whose_battery_is_empty_is_found() -> None:
    assert doctor_at(datetime(2000, 1, 1)).complaints == ["clock-wrong"]
