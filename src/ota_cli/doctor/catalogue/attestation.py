"""Codes about the attestation server, the enrolment of boards, and clocks."""

from ota_cli.doctor.catalogue.entry import Entry, fine, problem, warning

SERVER: dict[str, Entry] = {
    "attestation-ok": fine("the attestation server answers as agents need it"),
    "attestation-not-http": problem(
        "what answers there does not speak HTTP, or not in time",
        "name the attestation server's port, 8000 by default",
    ),
    "attestation-wants-https": problem(
        "the server speaks TLS there, and the URL says http",
        "https:// in the URL, here and in the agent's --dice-auth-url, with --attestation-ca",
    ),
    "attestation-wants-http": problem(
        "the URL says https, and no TLS is spoken there",
        "`attest serve --cert FILE --key FILE`, or http:// in the URL",
    ),
    "attestation-untrusted": problem(
        "the server's certificate is not by a CA that is trusted here",
        "--attestation-ca with the CA that issued it (also for the agent)",
    ),
    "attestation-wrong-name": problem(
        "the server's certificate is not for the host in the URL",
        "use a name of the certificate in the URL, or add the host to its subjectAltName",
    ),
    "attestation-cert-expired": problem(
        "the server's certificate is not valid now",
        "renew it: `attest serve` takes the new file up while it runs",
    ),
    "attestation-cert-expires-soon": warning(
        "the server's certificate expires within 30 days",
        "renew it: `attest serve` takes the new file up while it runs",
    ),
    "attestation-files": problem(
        "--attestation-ca or --attestation-token cannot be what it should be: the agent would not"
        " start",
        "correct the file that is named: CA certificates in PEM; a token by `attest token`, mode"
        " 0600",
    ),
    "attestation-unhealthy": problem(
        "the server runs, but its registry does not answer (503): every board is refused",
        "start Redis, or correct the server's --registry; its log says what fails",
    ),
    "attestation-original": warning(
        "the server knows neither /healthz nor protocol 2, as the C original",
        "run `ota-service attest serve`; boards of protocol 1 can go on",
    ),
    "attestation-not-attestation": problem(
        "an HTTP server that is no attestation server",
        "name the attestation server's port, 8000 by default; a proxy has to pass all paths on",
    ),
    "attestation-agent-refuses": warning(
        "with this URL and these files the agent would ask nothing for protocol 2",
        "https with --attestation-ca and --attestation-token, or --attestation-plain-http",
    ),
    "attestation-token-missing": problem(
        "the server asks agents for a token",
        "--attestation-token FILE, with a token of the server's --agent-tokens file",
    ),
    "attestation-token-refused": problem(
        "the token is none of the server's",
        "put it on a line of the server's --agent-tokens file (taken up while it runs)",
    ),
    "attestation-no-protocol-2": warning(
        "the server does not serve protocol 2",
        "`attest serve --cert --key --agent-tokens`: beyond loopback it needs HTTPS and tokens",
    ),
    "attestation-full": warning(
        "too many challenges are outstanding (429)",
        "wait a minute; lower --challenge-rate at the agents, or find who asks so often",
    ),
    "attestation-failed": problem(
        "the server fails with another status", "look at the attestation server's log"
    ),
}

ENROLMENT: dict[str, Entry] = {
    "board-enrolled": fine("the board is enrolled and not revoked"),
    "board-not-enrolled": problem(
        "the registry does not hold the board's root",
        "`ota-service submit ID` (identity mac) or `submit ID --root FILE` (provisioned), with the"
        " --registry of the server",
    ),
    "board-revoked": problem(
        "the board is revoked", "`ota-service revoke ID --undo`, if it is in the right hands again"
    ),
    "board-not-accepted": problem(
        "the attestation server refuses the board's certificate",
        "enrol its root: `ota-service submit ID [--root FILE]`; if it is: revoked, or another"
        " registry? The server's log names the check",
    ),
    "board-last-verdict": warning(
        "the last verdict on the board was a refusal",
        "see the check that is named; the server's log has the details",
    ),
    "board-no-certificate": problem(
        "the board gives no DICE certificate (GET /onboard)",
        "register `ota_service.onboard_request_handler`; a provisioned board needs its UDS in NVS:"
        " docs/provisioning.md",
    ),
    "board-needs-protocol-2": problem(
        "the board attests by protocol 2, which the attestation server does not serve to agents",
        "`attest serve --cert --key --agent-tokens`: beyond loopback it needs HTTPS and tokens",
    ),
    "certificate-unreadable": problem(
        "the file is no DICE certificate, DER or PEM",
        "`curl http://BOARD/onboard > board.der` fetches one",
    ),
    "certificate-is-root": problem(
        "the file is the board's root certificate, which is never accepted as evidence",
        "give the board's own: `curl http://BOARD/onboard > board.der`",
    ),
    "registry-unreachable": problem(
        "the registry cannot be opened or does not answer",
        "correct --registry (sqlite:///PATH, redis[s]://HOST:6379) or OTA_REGISTRY_FILE, or start"
        " Redis",
    ),
}

CLOCK: dict[str, Entry] = {
    "clock-ok": fine("this machine's clock agrees with what else was seen"),
    "clock-wrong": problem(
        "this machine's clock is before this program was made", "set the clock; switch NTP on"
    ),
    "clock-differs": warning(
        "the clock of this machine and that of a server differ by more than a minute",
        "switch NTP on where the clock is wrong",
    ),
}
