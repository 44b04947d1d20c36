"""Codes about the agent: its port, its certificate, its CA on the board, its admin port."""

from ota_cli.doctor.catalogue.entry import Entry, fine, problem, warning

_NEW = "`ota-service agent renew FOLDER`, or `agent init FOLDER` for a new CA and certificate"

SERVICE: dict[str, Entry] = {
    "agent-ok": fine("the agent speaks TLS as boards need it"),
    "agent-no-ipv4": problem(
        "the agent's host has no IPv4 address, and boards connect by IPv4 only",
        "give an IPv4 address, or a name with an A record; let the agent listen on 0.0.0.0",
    ),
    "agent-http": problem(
        "a plain HTTP server answers on that port",
        "name the agent's port for boards, 4433 by default; 4434 is its admin port, 8000 the"
        " attestation server's",
    ),
    "agent-not-tls": problem(
        "another service, without TLS, answers on that port",
        "name the agent's port, 4433 by default, or move the other service",
    ),
    "agent-silent": problem(
        "the port is open and nothing is said there",
        "look at the agent's log; restart it, or name the right port",
    ),
    "agent-closes": problem(
        "the connection is closed at once",
        "see the agent's log: too many connections (--max-connections, --max-per-address), a stop"
        " under way, or a proxy before it without an agent behind",
    ),
    "agent-tls-version": problem(
        "no TLS 1.2: MicroPython's mbedTLS on the ESP32 speaks it, and often nothing else",
        "allow TLS 1.2 at what ends TLS there (`ota-service agent` does)",
    ),
    "agent-tls-cipher": problem(
        "no cipher suite or curve that boards have",
        "allow ECDHE with AES-GCM or ChaCha20 on P-256 (`ota-service agent` does)",
    ),
    "agent-tls-failed": problem(
        "the TLS handshake failed otherwise",
        "see the agent's log; a client certificate must not be asked for",
    ),
}

CERTIFICATE: dict[str, Entry] = {
    "agent-cert-ok": fine("the agent's certificate is good for boards"),
    "agent-cert-expired": problem("the certificate has expired", _NEW),
    "agent-cert-expires-soon": warning("the certificate expires within 30 days", _NEW),
    "agent-cert-not-yet-valid": problem(
        "the certificate is not valid yet by this machine's clock",
        f"set the clock, or make a certificate dated from 2000-01-01: {_NEW}",
    ),
    "agent-cert-not-from-2000": warning(
        "the certificate is not valid from 2000-01-01, where a board's clock starts when no NTP"
        " server answers",
        f"make one dated from then: {_NEW}; or give boards an NTP server (`ntp_host`)",
    ),
    "agent-cert-wrong-name": problem(
        "the certificate is not for the name that boards ask for, whatever the agent's host is",
        f"a subjectAltName DNS:ota-agent: {_NEW}; or set `agent_name` on the boards",
    ),
    "agent-cert-no-san": warning(
        "the certificate names the agent in its common name alone, which not every TLS takes",
        f"a subjectAltName DNS:ota-agent: {_NEW}",
    ),
    "agent-cert-key-type": problem(
        "the certificate's key is of a kind that boards do not verify",
        f"ECDSA P-256, or RSA of 2048 to 4096 bits: {_NEW}",
    ),
    "agent-cert-weak-hash": problem(
        "the certificate is signed over MD5 or SHA-1, which mbedTLS refuses", _NEW
    ),
    "agent-cert-purpose": problem(
        "the certificate is not for a TLS server (extended key usage)",
        f"extended key usage serverAuth: {_NEW}",
    ),
    "agent-self-signed": problem(
        "the certificate is self-signed, and is not the one on the board",
        "`ota-service agent init FOLDER`, ca.der on the board; or give the board this certificate",
    ),
    "agent-unknown-issuer": problem(
        "the CA on the board did not issue the agent's certificate",
        "put the CA that issued it (ca.der beside agent.pem) on the board as `agent_ca`, or let the"
        " agent serve a certificate by this CA; one between them goes into the --cert file",
    ),
    "agent-chain-incomplete": problem(
        "certificates come along with the agent's, but none that leads from it to the CA",
        "in the agent's --cert file: its own certificate first, then the one that issued it, and"
        " so on; the CA itself is not needed",
    ),
    "agent-not-trusted": problem(
        "TLS with the CA on the board fails for another reason",
        f"see the reason; a new certificate helps in most cases: {_NEW}",
    ),
    "agent-other-certificate": warning(
        "the running agent shows another certificate than the file holds",
        "is it the same agent? It takes a new file up within a second if key and certificate fit;"
        " its log says why not (certificate-not-loaded)",
    ),
    "agent-cert-unreadable": problem(
        "the certificate file cannot be read as PEM", "give the agent's agent.pem (PEM)"
    ),
    "agent-key-unreadable": problem(
        "the key file cannot be read as an unencrypted private key, PEM",
        "give agent.key; `openssl pkey -in KEY -out PLAIN.key` takes a password off",
    ),
    "agent-key-mismatch": problem(
        "the key is not the certificate's",
        f"give the two files that were made together: {_NEW}",
    ),
    "agent-key-open": warning(
        "others on this machine can read the agent's private key", "`chmod 600` the key file"
    ),
    "agent-key-ok": fine("the key is the certificate's"),
    "agent-ca-ok": fine("the CA for the board can be read and is one"),
    "agent-ca-unreadable": problem(
        "the CA for the board cannot be read as a certificate, DER or PEM",
        "give ca.der (or ca.pem) as `agent init` made it",
    ),
    "agent-ca-is-key": problem(
        "a private key stands where the CA's certificate is expected",
        "put ca.der on the board, never ca.key; if it has been there, make a new CA: `agent init`",
    ),
    "agent-ca-not-ca": problem(
        "the certificate for the board is no CA's",
        "put the CA's certificate on the board (ca.der), not the agent's own",
    ),
    "agent-ca-expired": problem(
        "the CA's certificate is not valid now",
        "`ota-service agent init NEWFOLDER`, and its ca.der on every board, beside the old one"
        " while agents change over",
    ),
    "agent-ca-expires-soon": warning(
        "the CA's certificate expires within 180 days",
        "`ota-service agent init NEWFOLDER`, and its ca.der on every board beside the old one",
    ),
    "agent-ca-not-from-2000": warning(
        "the CA's certificate is not valid from 2000-01-01, where a board's clock starts",
        "`ota-service agent init NEWFOLDER` makes one that is; or give boards an NTP server",
    ),
}

ADMIN: dict[str, Entry] = {
    "agent-admin-ok": fine("the agent says that it serves boards"),
    "agent-admin-not-agent": problem(
        "what answers there is not an agent's admin port",
        "name the port of `ota-service agent --admin`, 4434 by default",
    ),
    "agent-finishing": problem(
        "the agent takes no more boards, or is not serving yet",
        "wait for its end and start it again; its log says who stopped it",
    ),
    "agent-workers-missing": warning(
        "not all of the agent's workers run",
        "they are replaced by themselves; if not, the agent's log says what ends them",
    ),
    "agent-serves-nothing": problem(
        "the agent has no firmware to serve",
        "put signed images where --firmware points; its log says which were left out and why",
    ),
    "agent-lacks-firmware": problem(
        "the agent has no firmware for the chip and application of this board",
        "add an image for them to --firmware: `ota-service image info FILE` shows what it is for",
    ),
    "agent-turned-away": warning(
        "the agent has turned connections away",
        "raise --max-connections, --max-per-address or --accept-rate, or find out who"
        " connects so often",
    ),
}
