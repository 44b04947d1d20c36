"""Who he is is not all: what a board says it runs has to be within the policy."""

from pathlib import Path

import pytest

from dice_auth.settings import Settings
from tests.dice_auth.attesting import (
    BOARD,
    CODE_HASH,
    CONFIGURATION,
    IMAGE_DIGEST,
    Agent,
    Reply,
    mac_board,
    proved_board,
    with_agents,
)

ANOTHER = "ee" * 32
DEBUG, RECOVERY, NOT_INITIALIZED = (proved_board(1, mode) for mode in (2, 3, 0))


@pytest.fixture
def judge(sqlite_url: str, tmp_path: Path):  # type: ignore[no-untyped-def]
    """What comes of a board's evidence under a policy."""

    def run(policy: str, board=BOARD, **changes) -> Reply:  # type: ignore[no-untyped-def]
        path = tmp_path / "policy.toml"
        path.write_text(policy)
        replies = []

        async def work(agent: Agent) -> None:
            replies.append(await agent.judge(board, **changes))

        with_agents(sqlite_url, work, settings=Settings(policy=path), boards=(board,))
        return replies[0]

    return run


THERMO = "[applications.thermo]\n"


@pytest.mark.parametrize(
    ("policy", "check"),
    [
        (f"image_digests = ['{ANOTHER}', '{IMAGE_DIGEST.hex()}']", ""),
        (f"image_digests = ['{IMAGE_DIGEST.hex().upper()}']", ""),
        (f"image_digests = ['{ANOTHER}']", "policy-image-digest"),
        (f"code_hashes = ['{CODE_HASH.hex()}']", ""),
        (f"code_hashes = ['{CODE_HASH[:32].hex()}']", ""),
        (f"code_hashes = ['{ANOTHER}']", "policy-code-hash"),
        (f"configurations = ['{CONFIGURATION.hex()}']", ""),
        (f"configurations = ['{CONFIGURATION[:33].hex()}']", ""),
        (f"configurations = ['{CONFIGURATION[:32].hex()}']", "policy-configuration"),
        (f"configurations = ['{ANOTHER}']", "policy-configuration"),
        ("image_digests = 'any'\ncode_hashes = 'any'\nconfigurations = 'any'", ""),
        ("modes = ['normal', 'debug']", ""),
        ("modes = ['debug']", "policy-mode"),
    ],
)
def test_each_reference_value_lets_in_or_keeps_out(judge, policy: str, check: str) -> None:  # type: ignore[no-untyped-def]
    reply = judge(THERMO + policy)
    assert reply.status == (403 if check else 200)
    assert not check or reply.refusal == (403, check)


def test_all_that_the_policy_refuses_stands_in_the_log(  # type: ignore[no-untyped-def]
    judge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dice_auth")
    values = "\n".join(
        f"{name} = ['{ANOTHER}']" for name in ("image_digests", "code_hashes", "configurations")
    )
    judge(f"{THERMO}{values}\nmodes = ['recovery']")
    checks = ("image-digest", "code-hash", "configuration", "mode")
    assert ", ".join(f'"policy-{check}"' for check in checks) in caplog.text


def test_a_forger_is_told_that_before_the_policy(judge) -> None:  # type: ignore[no-untyped-def]
    stolen = {"private_key": proved_board(2).private_key}
    reply = judge(f"{THERMO}image_digests = ['{ANOTHER}']", **stolen)
    assert reply.refusal == (401, "evidence-signature")


def test_an_application_that_has_no_table_is_let_in_or_not(judge) -> None:  # type: ignore[no-untyped-def]
    other = "[applications.other]\n"
    assert judge(other).status == 200
    assert judge(f"unknown_applications = 'allow'\n{other}").status == 200
    refused = judge(f"unknown_applications = 'refuse'\n{other}")
    assert refused.refusal == (403, "policy-application")
    assert judge(f"unknown_applications = 'refuse'\n{THERMO}").status == 200
    assert judge(f"unknown_applications = 'refuse'\n{THERMO}", application="Thermo").status == 403


def test_reference_values_of_one_application_are_not_those_of_another(judge) -> None:  # type: ignore[no-untyped-def]
    policy = f"[applications.other]\nimage_digests = ['{IMAGE_DIGEST.hex()}']\n"
    assert judge(f"{policy}{THERMO}image_digests = ['{ANOTHER}']").status == 403


@pytest.mark.parametrize(
    ("board", "name"), [(DEBUG, "debug"), (RECOVERY, "recovery"), (NOT_INITIALIZED, "")]
)
def test_another_mode_than_normal_has_to_be_listed(judge, board, name: str) -> None:  # type: ignore[no-untyped-def]
    assert judge("", board).refusal == (403, "policy-mode")
    assert judge("modes = ['normal', 'debug', 'recovery']", board).status == (200 if name else 403)
    if name:
        assert judge(f"modes = ['{name}']", board).status == 200
        assert judge(f"{THERMO}modes = ['{name}']", board).status == 200
        assert judge(f"modes = ['{name}']\n{THERMO}modes = ['normal']", board).status == 403


def test_a_secret_made_from_the_mac_may_be_allowed(judge) -> None:  # type: ignore[no-untyped-def]
    board = mac_board("24:0a:c4:12:34:56")
    assert judge("", board).refusal == (403, "identity-mac")
    assert judge("allow_mac_identity = false", board).refusal == (403, "identity-mac")
    assert judge("allow_mac_identity = true", board).status == 200
