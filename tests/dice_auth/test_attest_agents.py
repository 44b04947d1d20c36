"""Only OTA agents may ask for challenges and about evidence: with a token or a client certificate,
over HTTPS or on loopback. The compatible endpoint stays everybody's."""

import asyncio
import dataclasses
import json
import os
import ssl
import warnings
from pathlib import Path

import pytest

from dice import certificate
from dice_auth import settings as settings_module
from dice_auth.agent_access import read_tokens
from dice_auth.errors import SettingsError
from dice_auth.settings import Settings, SettingsInUse
from tests.dice_auth.asking import eventually
from tests.dice_auth.attesting import (
    BOARD,
    Agent,
    Reply,
    attestation_server,
    enrol,
    events,
    with_agents,
)
from tests.dice_auth.certificates import CertificateAuthority, Files
from tests.dice_auth.test_metrics import GET, samples
from tests.dice_auth.test_server import exchange

TOKEN, SECOND = "an-agents-token-0123456789", "another/agents+token~0123456789=="
EVERYWHERE = "0.0.0.0"
PEM = certificate.to_pem(BOARD.certificate).encode()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return write_tokens(tmp_path, f"# the lab's\n{TOKEN}\n\n  {SECOND}  \n")


def write_tokens(folder: Path, text: str) -> Path:
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path, "ca")


@pytest.fixture
def https(authority: CertificateAuthority) -> Settings:
    files = authority.issue("attestation")
    return Settings(certificate=files.certificate, key=files.key)


def trusting(authority: CertificateAuthority, own: Files | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


async def refused_everywhere(agent: Agent, status: int) -> Reply:
    """Both paths, and good evidence too; what it says."""
    replies = [await agent.ask("GET", "/challenge"), await agent.attest(BOARD.evidence(bytes(32)))]
    for reply in replies:
        assert reply.refusal == (status, "agent")
    # What is everybody's is.
    assert (await agent.ask("POST", "/", body=PEM)).status == 200
    assert (await agent.ask("GET", "/healthz")).status == 200
    return replies[0]


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
def test_an_agent_with_a_token_is_served(sqlite_url: str, tokens: Path, host: str) -> None:
    async def work(agent: Agent) -> None:
        for token in (TOKEN, SECOND):
            known = dataclasses.replace(agent, token=token)
            assert (await known.judge()).status == 200

    with_agents(
        sqlite_url, work, settings=Settings(agent_tokens=tokens, plain_http=True), host=host
    )


WRONG = [
    "", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Bearer {TOKEN.upper()}", "Bearer", "Bearer ",
    f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN} {SECOND}", "Bearer # the lab's", f"Bearer,{TOKEN}",
]  # fmt: skip


@pytest.mark.parametrize("authorization", WRONG)
def test_a_missing_or_wrong_token_is_401(sqlite_url: str, tokens: Path, authorization: str) -> None:
    async def work(agent: Agent) -> None:
        more = {"Authorization": authorization} if authorization else {}
        stranger = dataclasses.replace(agent, more=more)
        reply = await refused_everywhere(stranger, 401)
        found = reply.headers["www-authenticate"]
        assert found.startswith('Bearer realm="dice-auth"')
        assert ("invalid_token" in found) == bool(authorization)
        counted = samples((await exchange(agent.address, GET))[3])
        assert counted["dice_auth_agents_refused_total{}"] == 2
        assert counted["dice_auth_challenges_total{}"] == 0

    with_agents(sqlite_url, work, settings=Settings(agent_tokens=tokens))


def test_two_tokens_at_once_are_none(sqlite_url: str, tokens: Path) -> None:
    async def work(agent: Agent) -> None:
        line = f"Authorization: Bearer {TOKEN}\r\n"
        raw = f"GET /challenge HTTP/1.1\r\nHost: a\r\n{line * 2}\r\n"
        assert (await agent.send(raw.encode())).refusal == (401, "agent")

    with_agents(sqlite_url, work, settings=Settings(agent_tokens=tokens))


def test_no_token_is_kept_or_logged(
    sqlite_url: str, tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    assert not any(TOKEN.encode() in each for each in read_tokens(tokens))

    async def work(agent: Agent) -> None:
        wrong = "a-wrong-token-of-somebody"
        await dataclasses.replace(agent, token=wrong).ask("GET", "/challenge")
        await dataclasses.replace(agent, token=TOKEN).judge()
        assert events(caplog.records, "agent-refused")
        assert TOKEN not in caplog.text
        assert wrong not in caplog.text

    with_agents(sqlite_url, work, settings=Settings(agent_tokens=tokens))


def test_on_loopback_nobody_else_can_ask(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.judge()).status == 200

    with_agents(sqlite_url, work)


def test_elsewhere_plain_http_is_for_protocol_1_alone_and_the_log_says_so(
    sqlite_url: str, tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dice_auth")

    async def work(agent: Agent) -> None:
        reply = await refused_everywhere(dataclasses.replace(agent, token=TOKEN), 403)
        assert "--plain-http" in reply.problem["detail"]

    with_agents(sqlite_url, work, settings=Settings(agent_tokens=tokens), host=EVERYWHERE)
    (line,) = events(caplog.records, "no-protocol-2")
    assert "--cert and --key" in line["reason"]


@pytest.mark.parametrize("plain_http", [True, False])
def test_elsewhere_agents_have_to_be_known(
    sqlite_url: str, https: Settings, authority: CertificateAuthority, plain_http: bool
) -> None:
    async def work(agent: Agent) -> None:
        if not plain_http:
            agent = dataclasses.replace(agent, tls=trusting(authority))
        reply = await refused_everywhere(agent, 403)
        assert "--agent-tokens" in reply.problem["detail"]

    settings = Settings(plain_http=True) if plain_http else https
    with_agents(sqlite_url, work, settings=settings, host=EVERYWHERE)


def test_https_serves_both_protocols_and_nothing_older_than_tls_1_2(
    sqlite_url: str, https: Settings, authority: CertificateAuthority, tokens: Path
) -> None:
    async def work(agent: Agent) -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(authority)
            context.minimum_version = context.maximum_version = version
            secure = dataclasses.replace(agent, tls=context, token=TOKEN)
            assert (await secure.judge()).status == 200
            assert (await secure.ask("POST", "/", body=PEM)).status == 200
        old = trusting(authority)
        old.set_ciphers("ALL:@SECLEVEL=0")  # else this side would not even try
        with warnings.catch_warnings(action="ignore"):
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)) as raised:
            await dataclasses.replace(agent, tls=old).ask("GET", "/healthz")
        assert "NO_PROTOCOLS" not in str(raised.value)  # it is the server that did not want
        unencrypted = dataclasses.replace(agent, token=TOKEN)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await unencrypted.ask("GET", "/challenge")

    settings = dataclasses.replace(https, agent_tokens=tokens)
    with_agents(sqlite_url, work, settings=settings, host=EVERYWHERE)


def test_a_client_certificate_by_the_named_ca_counts_as_a_token_does(
    sqlite_url: str, https: Settings, authority: CertificateAuthority, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO", "dice_auth")
    agents, others = CertificateAuthority(tmp_path, "agents"), CertificateAuthority(tmp_path, "o")

    async def work(agent: Agent) -> None:
        own = trusting(authority, agents.issue("agent-1", of_client=True))
        assert (await dataclasses.replace(agent, tls=own).judge()).status == 200
        # Without one the compatible endpoint alone is there.
        reply = await refused_everywhere(dataclasses.replace(agent, tls=trusting(authority)), 401)
        assert "a client certificate" in reply.problem["detail"]
        # One of somebody else's, or one that is a server's, is no certificate of an agent.
        for wrong in (others.issue("x", of_client=True), agents.issue("server")):
            stranger = dataclasses.replace(agent, tls=trusting(authority, wrong))
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await stranger.challenge()

    settings = dataclasses.replace(https, client_ca=agents.certificate)
    with_agents(sqlite_url, work, settings=settings, host=EVERYWHERE)
    (line,) = events(caplog.records, "attested")
    assert line["agent"] == "commonName=agent-1"


def test_a_token_or_a_client_certificate_will_do_where_both_are_set_up(
    sqlite_url: str, https: Settings, authority: CertificateAuthority, tokens: Path
) -> None:
    async def work(agent: Agent) -> None:
        plain = dataclasses.replace(agent, tls=trusting(authority))
        assert (await dataclasses.replace(plain, token=TOKEN).judge()).status == 200
        own = trusting(authority, authority.issue("agent-1", of_client=True))
        assert (await dataclasses.replace(agent, tls=own).judge()).status == 200
        reply = await refused_everywhere(plain, 401)
        assert "a bearer token or a client certificate" in reply.problem["detail"]

    settings = dataclasses.replace(https, client_ca=authority.certificate, agent_tokens=tokens)
    with_agents(sqlite_url, work, settings=settings, host=EVERYWHERE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no token"),
        ("# nothing\n\n", "no token"),
        (f"{TOKEN}\nshort\n", "line 2: expected a token of 16"),
        (f"{TOKEN} # mine\n", "line 1: expected"),
        ("x" * 513, "line 1: expected"),
        ("a token with spaces in it", "line 1: expected"),
        (f"{TOKEN}\n" * 5000, "more than 65536 bytes"),
    ],
)
def test_a_file_without_good_tokens_is_an_error_that_tells_none(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = write_tokens(tmp_path, text)
    with pytest.raises(SettingsError, match=expected) as raised:
        read_tokens(path)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    assert TOKEN not in message
    assert "spaces in it" not in message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_tokens_that_others_may_read_are_refused(tokens: Path, mode: int) -> None:
    tokens.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode {mode:04o}, expected 0600"):
        read_tokens(tokens)


def test_a_pipe_or_a_folder_holds_no_tokens_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SettingsError, match="not a regular file"):
        read_tokens(tmp_path / "pipe")
    with pytest.raises(SettingsError):
        read_tokens(tmp_path)
    with pytest.raises(SettingsError, match="No such file"):
        read_tokens(tmp_path / "missing")


def test_certificates_that_are_none_are_one_line(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    files, others = authority.issue("a"), authority.issue("b")
    junk, missing = tmp_path / "junk", tmp_path / "missing"
    junk.write_text("no certificate")
    good = {"certificate": files.certificate, "key": files.key}
    for changes, expected in (
        ({"key": None}, "--cert and --key belong together"),
        ({"certificate": None}, "--cert and --key belong together"),
        ({"key": others.key}, "--key .*KEY_VALUES_MISMATCH"),
        ({"certificate": junk}, "--cert .*junk"),
        ({"key": missing}, "--key .*No such file"),
        ({"client_ca": junk}, "--client-ca .*junk: expected certificates"),
        ({"client_ca": missing}, "--client-ca .*No such file"),
        ({"certificate": None, "key": None, "client_ca": files.certificate}, "--client-ca needs"),
        ({"certificate": tmp_path}, "--cert .*directory"),
    ):
        with pytest.raises(SettingsError, match=expected) as raised:
            SettingsInUse(Settings(**good | changes))  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_what_cannot_be_reached_from_elsewhere(host: str) -> None:
    assert SettingsInUse(Settings()).closed(host) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"])
def test_everything_else_is_not_loopback(host: str) -> None:
    assert "HTTPS" in SettingsInUse(Settings()).closed(host)


# Files that change while the server runs


def test_policy_tokens_and_certificate_are_taken_up_while_the_server_runs(
    sqlite_url: str, tmp_path: Path, tokens: Path, https: Settings,
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO", "dice_auth")
    monkeypatch.setattr(settings_module, "LOOK_EVERY_S", 0.01)
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    settings = dataclasses.replace(https, agent_tokens=tokens, policy=policy)

    async def run() -> None:
        await enrol(sqlite_url, BOARD)
        async with asyncio.timeout(30), attestation_server(sqlite_url, settings) as address:
            agent = Agent(address, TOKEN, trusting(authority))
            assert (await agent.judge()).status == 200

            policy.write_text("unknown_applications = 'refuse'")

            async def is_refused() -> bool:
                return (await agent.judge()).status == 403

            await eventually(is_refused, 10)

            # A mistake changes nothing, and is said once.
            policy.write_text("unknown_applications = 'allow'\nmodus = 1")

            async def is_said() -> bool:
                return bool(events(caplog.records, "not-reloaded"))

            await eventually(is_said, 10)
            assert (await agent.judge()).status == 403
            policy.unlink()
            assert (await agent.judge()).status == 403
            policy.write_text("unknown_applications = 'allow'")

            async def is_affirmed() -> bool:
                return (await agent.judge()).status == 200

            await eventually(is_affirmed, 10)

            write_tokens(tmp_path, f"{SECOND}\n")

            async def is_unknown() -> bool:
                return (await agent.ask("GET", "/challenge")).status == 401

            await eventually(is_unknown, 10)
            agent = dataclasses.replace(agent, token=SECOND)

            files = authority.issue("attestation")  # the same files, anew
            wanted = ssl.PEM_cert_to_DER_cert(files.certificate.read_text())

            async def is_renewed() -> bool:
                _, writer = await asyncio.open_connection(*address, ssl=trusting(authority))
                shown = writer.get_extra_info("ssl_object").getpeercert(True)
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)
                return bool(shown == wanted)

            await eventually(is_renewed, 10)
            assert (await agent.judge()).status == 200

    asyncio.run(run())
    lines = events(caplog.records, "not-reloaded")
    assert "line 2: modus: unknown" in lines[0]["reason"]
    reasons = [line["reason"] for line in lines if "modus" in line["reason"]]
    assert len(reasons) == 1, json.dumps(lines)
