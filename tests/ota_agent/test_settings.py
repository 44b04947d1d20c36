import pytest

from ota_agent.errors import SettingsError
from ota_agent.settings import from_environment

ENVIRONMENT = {
    "NEW_FIRMWARE_PATH": "/fw.bin",
    "SERVER_CRT_PATH": "/crt.pem",
    "SERVER_KEY_PATH": "/key.pem",
    "DICE_AUTH_URL": "http://auth:8000",
}


def test_the_originals_environment_is_enough() -> None:
    settings = from_environment(environment=ENVIRONMENT)
    assert str(settings.firmware) == "/fw.bin"
    assert str(settings.certificate) == "/crt.pem"
    assert str(settings.key) == "/key.pem"
    assert settings.dice_auth_url == "http://auth:8000"
    assert (settings.host, settings.port) == ("0.0.0.0", 4433)


def test_the_command_line_wins() -> None:
    settings = from_environment(
        firmware="/other.bin", dice_auth_url="https://b", port=1, environment=ENVIRONMENT
    )
    assert str(settings.firmware) == "/other.bin"
    assert settings.dice_auth_url == "https://b"
    assert str(settings.key) == "/key.pem"


def test_everything_missing_is_named_in_one_line_with_option_and_variable() -> None:
    with pytest.raises(SettingsError) as raised:
        from_environment(environment={})
    message = str(raised.value)
    for word in ("--firmware", "--cert", "--key", "--dice-auth-url", *ENVIRONMENT):
        assert word in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_an_empty_variable_is_a_missing_one(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment(environment={**ENVIRONMENT, name: ""})


def test_a_url_without_a_scheme_is_http_as_for_the_originals() -> None:
    settings = from_environment(dice_auth_url="auth:8000", environment=ENVIRONMENT)
    assert settings.dice_auth_url == "http://auth:8000"


@pytest.mark.parametrize("url", ["ftp://auth", "http://", "http://auth:port", "http://[::1"])
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="attestation server"):
        from_environment(dice_auth_url=url, environment=ENVIRONMENT)


def test_a_port_that_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match="port 70000"):
        from_environment(port=70000, environment=ENVIRONMENT)
