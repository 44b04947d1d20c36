"""Whether a board's certificate chains to the root it was enrolled with (protocol.md, section D).

Not here: how the root is found, and what the certificate's measurements should be.
"""

from ota_crypto import p256, sha512

# KeyUsage keyCertSign and nothing else: two unused bits, bit 5
_KEY_CERT_SIGN_ALONE = b"\x02\x04"


def verify_chain(certificate, root, now):
    """The names of the checks that fail, all of them, as a list; empty means it chains.

    certificate, root: what `certificate.parse` returns; the root is trusted because it is
    enrolled. now: (year, month, day, hour, minute, second), UTC, as `time.gmtime()[:6]`.
    Names: `is-root` (the root itself, or another certificate of its key), `issuer`,
    `authority-key-id`, `signature`, `ca`, `key-usage`, `dice-extension`, `not-yet-valid`,
    `expired`, `root-not-yet-valid`, `root-expired`. Not checked here: the measurements, and who
    sends the certificate.
    """
    checks = (
        ("is-root", certificate.public_key != root.public_key),
        ("issuer", certificate.issuer == root.subject),
        ("authority-key-id", _names_key_of(certificate, root)),
        ("signature", _is_signed_by(certificate, root)),
        ("ca", certificate.is_ca),
        ("key-usage", certificate.key_usage == _KEY_CERT_SIGN_ALONE),
        ("dice-extension", certificate.dice is not None and certificate.dice_is_critical),
        ("not-yet-valid", certificate.not_before <= now),
        ("expired", now <= certificate.not_after),
        ("root-not-yet-valid", root.not_before <= now),
        ("root-expired", now <= root.not_after),
    )
    return [name for name, passed in checks if not passed]


def _names_key_of(certificate, root):
    identifier = certificate.authority_key_id
    return identifier is not None and identifier == root.subject_key_id


def _is_signed_by(certificate, root):
    digest = sha512(certificate.to_be_signed).digest()
    return p256.verify(root.public_key, digest, *certificate.signature)
