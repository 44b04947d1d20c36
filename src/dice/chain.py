"""Whether a board's certificate chains to the root it was enrolled with (protocol.md, section D).

Not here: how the root is found, and what the certificate's measurements should be.
"""

from ota_crypto import p256, sha512

# KeyUsage keyCertSign and nothing else: two unused bits, bit 5
_KEY_CERT_SIGN_ALONE = b"\x02\x04"


# What `verify_chain` looks at, in this order. `is-root`: the certificate is the root itself or
# another one of its key. `serial-number`: zero; RFC 5280, 4.1.2.2 wants a positive one.
# `subject-key-id`: absent; 4.2.1.2 wants it in the certificate of a CA.
CHECKS = (
    "is-root",
    "serial-number",
    "subject-key-id",
    "issuer",
    "authority-key-id",
    "signature",
    "ca",
    "key-usage",
    "dice-extension",
    "not-yet-valid",
    "expired",
    "root-not-yet-valid",
    "root-expired",
)


def verify_chain(certificate, root, now):
    """The names of the CHECKS that fail, all of them, as a list; empty means it chains.

    certificate, root: what `certificate.parse` returns; the root is trusted because it is
    enrolled. now: (year, month, day, hour, minute, second), UTC, as `time.gmtime()[:6]`.
    Not checked here: the measurements, and who sends the certificate.
    """
    passed = (
        certificate.public_key != root.public_key,
        certificate.serial > 0,
        certificate.subject_key_id is not None,
        certificate.issuer == root.subject,
        _names_key_of(certificate, root),
        _is_signed_by(certificate, root),
        certificate.is_ca,
        certificate.key_usage == _KEY_CERT_SIGN_ALONE,
        certificate.dice is not None and certificate.dice_is_critical,
        certificate.not_before <= now,
        now <= certificate.not_after,
        root.not_before <= now,
        now <= root.not_after,
    )
    return [CHECKS[at] for at in range(len(CHECKS)) if not passed[at]]


def _names_key_of(certificate, root):
    identifier = certificate.authority_key_id
    return identifier is not None and identifier == root.subject_key_id


def _is_signed_by(certificate, root):
    digest = sha512(certificate.to_be_signed).digest()
    return p256.verify(root.public_key, digest, *certificate.signature)
