"""DICE key pairs and their ids: Open Profile for DICE with P-256, as open-dice derives them."""

import binascii

from ota_crypto import hkdf, p256, wipe
from ota_crypto.hmac_drbg import HmacDrbg

# Open Profile for DICE, "Cryptography": the salts for asymmetric key pairs and for key ids
ASYMMETRIC_SALT = binascii.unhexlify(
    "63b6a04d2c077fc10f639f21da793844356cc2b0b441b3a77124035c03f8e1be"
    "6035d31f282821a7450a02222ab1b3cff1679b05ab1ca5d1affb789ccd2b0b3b"
)
_ID_SALT = binascii.unhexlify(
    "dbdbaebc8020da9ff0dd5a24c83aa5a54286dfc263031e329b4da148430659fe"
    "62cdb5b7e1e00fc680306711eb444af77209359496fcff1db9520ba51c7b29ea"
)


def key_pair(seed):
    """(private key, public key) from a 32-byte seed.

    The private key is an integer: a secret. The public key is the compressed point, 33 bytes.
    Raises ValueError for a seed of another size.
    """
    private_key = private_key_from_seed(seed)
    return private_key, p256.compress(p256.public_key(private_key))


def private_key_from_seed(seed):
    """The private key: the first draw of 32 bytes from HMAC_DRBG(SHA-512) within 1..n-1.

    As mbedTLS's mbedtls_ecp_gen_privkey with the seed as its only entropy.
    """
    if len(seed) != 32:
        raise ValueError("a key seed is 32 bytes, not %d" % len(seed))
    drbg = HmacDrbg(seed)
    private_key = 0
    while not 0 < private_key < p256.ORDER:
        private_key = int.from_bytes(drbg.generate(32), "big")
    drbg.close()
    return private_key


def private_key_from_cdi(cdi):
    """The private key that belongs to a CDI (or UDS) of 32 bytes."""
    seed = bytearray(hkdf.derive(cdi, ASYMMETRIC_SALT, b"Key Pair", 32))
    try:
        return private_key_from_seed(seed)
    finally:
        wipe(seed)


def key_id(public_key):
    """The 20-byte id of a public key: serial number, name and key identifier in certificates.

    public_key: compressed, 33 bytes, or uncompressed, 65. Raises ValueError for other sizes.
    """
    if len(public_key) == 65:
        public_key = p256.compress(public_key)
    if len(public_key) != 33:
        raise ValueError("a public key is 33 or 65 bytes, not %d" % len(public_key))
    identifier = bytearray(hkdf.derive(public_key, _ID_SALT, b"ID", 20))
    # a positive serial number
    identifier[0] &= 0x7F
    return bytes(identifier)
