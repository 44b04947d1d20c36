"""Object identifiers and fixed parts of the certificates that DICE writes (RFC 5280, RFC 5758)."""

# ecdsa-with-SHA512, 1.2.840.10045.4.3.4
ECDSA_WITH_SHA512 = b"\x2a\x86\x48\xce\x3d\x04\x03\x04"
# id-ecPublicKey, 1.2.840.10045.2.1; prime256v1, 1.2.840.10045.3.1.7
EC_PUBLIC_KEY = b"\x2a\x86\x48\xce\x3d\x02\x01"
PRIME256V1 = b"\x2a\x86\x48\xce\x3d\x03\x01\x07"
# id-at-serialNumber, 2.5.4.5
SERIAL_NUMBER = b"\x55\x04\x05"
# id-ce-...: 2.5.29.35, .14, .15, .19
AUTHORITY_KEY_IDENTIFIER = b"\x55\x1d\x23"
SUBJECT_KEY_IDENTIFIER = b"\x55\x1d\x0e"
KEY_USAGE = b"\x55\x1d\x0f"
BASIC_CONSTRAINTS = b"\x55\x1d\x13"
# The DICE extension: 1.3.6.1.4.1.11129.2.1.24
DICE_EXTENSION = b"\x2b\x06\x01\x04\x01\xd6\x79\x02\x01\x18"
