"""Settings, on both runtimes: the safe ones by default, and one line for what cannot be."""

import json
import os

from ota_service.config import Config

DER = b"\x30\x03\x02\x01\x00"
PEM = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n"


def refusal(settings):
    try:
        Config(settings)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1, error
        return str(error)
    raise AssertionError("%r was taken" % (settings,))


def test_the_defaults_are_the_safe_ones():
    config = Config()
    assert config.agent_ca == []
    assert config.agent_name == "ota-agent"
    assert config.agent_port == 4433
    assert (config.attempts, config.retry_delay_s) == (20, 4)
    assert config.policy == "different"
    assert config.allow_unsigned is config.insecure is False
    assert config.trigger_key is None
    assert (config.identity, config.protocol, config.require_attestation) == ("mac", 1, False)


def test_a_provisioned_board_speaks_protocol_2_unless_told_otherwise():
    for settings, protocol in (
        ({"identity": "mac"}, 1),
        ({"identity": "mac", "protocol": 2}, 2),
        ({"identity": "provisioned"}, 2),
        ({"identity": "provisioned", "protocol": None}, 2),
        ({"identity": "provisioned", "protocol": 1}, 1),
    ):
        assert Config(settings).protocol == protocol
    for value in (0, 3, True, "2", 2.0):
        assert refusal({"protocol": value}).startswith("protocol ")
    for value in ("MAC", "", None, 1):
        assert refusal({"identity": value}).startswith("identity ")
    assert refusal({"require_attestation": 1}).startswith("require_attestation ")


def test_each_kind_of_value_is_checked_and_named():
    for name, value in (
        ("agent_port", 0),
        ("agent_port", 65536),
        ("agent_port", True),
        ("agent_port", "4433"),
        ("agent_port", 4433.0),
        ("agent_name", ""),
        ("agent_name", None),
        ("project", 5),
        ("policy", "newest"),
        ("allow_unsigned", 1),
        ("insecure", "yes"),
        ("attempts", 0),
        ("attempts", 1.5),
        ("retry_delay_s", -1),
        ("read_s", 0),
        ("deadline_s", 86401),
        ("self_test_s", float("nan")),
        ("connect_s", float("inf")),
        ("ntp_host", 7),
        ("trusted_keys", "00" * 32),
        ("trusted_keys", [32]),
        ("trusted_keys", ["00" * 31]),
        ("trusted_keys", [None]),
        ("trigger_key", 32),
        ("trigger_key", "zz" * 32),
        ("trigger_key", b"short"),
        ("allowed_agents", ["10.0.0.1/99"]),
        ("allowed_agents", [5]),
        ("allowed_agents", "10.0.0.1"),
        ("agent_ca", 5),
        ("agent_ca", None),
        ("agent_ca", [5]),
        ("agent_ca", PEM.replace("MAMC", "!!!!")),
        ("pause_after", -1),
        ("pause_s", 0),
    ):
        assert name in refusal({name: value}), (name, value)
    assert "colour" in refusal({"colour": "red"})


def test_secrets_are_not_in_refusals():
    assert "c0ffee" not in refusal({"trigger_key": "c0ffee"})
    assert "c0ffee" not in refusal({"trigger_key": "c0ffee" * 11})


def test_certificates_come_as_der_pem_or_files():
    assert Config({"agent_ca": DER}).agent_ca == [DER]
    assert Config({"agent_ca": [DER, bytearray(DER)]}).agent_ca == [DER, DER]
    assert Config({"agent_ca": PEM}).agent_ca == [DER]
    assert Config({"agent_ca": PEM + "# two\n" + PEM}).agent_ca == [DER, DER]
    assert Config({"agent_ca": PEM.encode()}).agent_ca == [DER]


def test_a_json_file_configures_it_with_files_beside_it():
    folder = "ota_service_test_%d" % (id(object()) % 1000000)
    os.mkdir(folder)
    try:
        for name, content in (("ca.pem", PEM.encode()), ("ca.der", DER)):
            with open(folder + "/" + name, "wb") as file:
                file.write(content)
        with open(folder + "/board.json", "w") as file:
            file.write(json.dumps({"agent_ca": ["ca.pem", "ca.der"], "ntp_host": None,
                                   "trigger_key": "01" * 32}))  # fmt: skip
        config = Config(folder + "/board.json")
        assert config.agent_ca == [DER, DER]
        assert config.ntp_host is None
        assert config.trigger_key == b"\x01" * 32
        for content in ("[]", "{", "", "5", "[" * 5000):
            with open(folder + "/board.json", "w") as file:
                file.write(content)
            refusal(folder + "/board.json")
    finally:
        for name in ("ca.pem", "ca.der", "board.json"):
            os.remove(folder + "/" + name)
        os.rmdir(folder)
