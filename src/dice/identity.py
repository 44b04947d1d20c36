"""A board's two certificates: its root, made from the UDS, and the one for what it runs."""

from ota_crypto import hkdf, steps

from . import flow, keys
from .input_values import MODE_NORMAL, InputValues


def uds_from_mac(mac):
    """The UDS of identity `mac`, 32 bytes, from the 6 bytes of the MAC address.

    The MAC is public, and so is this: it labels a board and proves nothing. As the C component
    derives it. Raises ValueError for another size.
    """
    if len(mac) != 6:
        raise ValueError("a MAC address is 6 bytes, not %d" % len(mac))
    return hkdf.derive(mac, keys.ASYMMETRIC_SALT, b"UDS hkdf", 32)


def root_certificate(uds):
    """The board's root, DER: self-signed by the UDS key, all inputs zero, mode 0.

    uds: 32 bytes, else ValueError.
    """
    return steps.run(root_certificate_steps(uds))


def root_certificate_steps(uds):
    """`root_certificate` as a generator that yields at least every 100 modular products."""
    _check_uds(uds)
    return (yield from flow.self_signed_steps(uds, InputValues()))


def device_certificate(uds, code_hash, config_value):
    """The certificate for the running firmware, DER, signed by the UDS key.

    uds: 32 bytes. code_hash, config_value: 64 bytes each; mode is 1 (normal), the rest zero.
    Raises ValueError for other sizes.
    """
    return steps.run(device_certificate_steps(uds, code_hash, config_value))


def device_certificate_steps(uds, code_hash, config_value):
    """`device_certificate` as a generator that yields at least every 100 modular products."""
    return (yield from device_identity_steps(uds, code_hash, config_value))[1]


def device_identity_steps(uds, code_hash, config_value):
    """(root public key, certificate), the key 65 bytes, as a generator: evidence needs both."""
    inputs, attest = _derive(uds, code_hash, config_value)
    yield
    return (yield from flow.certificate_steps(uds, attest, inputs))


def device_private_key(uds, code_hash, config_value):
    """The private key (an integer, a secret) that `device_certificate` certifies; for evidence."""
    return steps.run(device_private_key_steps(uds, code_hash, config_value))


def device_private_key_steps(uds, code_hash, config_value):
    """`device_private_key` as a generator, for who has just loaded this module for it."""
    yield
    _, attest = _derive(uds, code_hash, config_value)
    yield
    return keys.private_key_from_cdi(attest)


def _derive(uds, code_hash, config_value):
    _check_uds(uds)
    inputs = InputValues(code_hash=code_hash, config_value=config_value, mode=MODE_NORMAL)
    return inputs, flow.derive_cdis(uds, uds, inputs)[0]


def _check_uds(uds):
    if len(uds) != 32:
        raise ValueError("a UDS is 32 bytes, not %d" % len(uds))
