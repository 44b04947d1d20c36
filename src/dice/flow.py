"""The DICE main flow: from one layer's secrets and the next one's measurements to the next
layer's secrets and its certificate (Open Profile for DICE, "DICE Main Flow").
"""

from ota_crypto import hkdf, p256, sha512, steps

from . import keys


def main_flow(cdi_attest, cdi_seal, inputs):
    """(next_cdi_attest, next_cdi_seal, certificate) of the next layer.

    cdi_attest, cdi_seal: 32 bytes each; for the first layer both are the UDS. inputs: an
    InputValues. The CDIs returned are secrets, 32 bytes; the certificate is DER. Raises
    ValueError for CDIs of another size.
    """
    return steps.run(main_flow_steps(cdi_attest, cdi_seal, inputs))


def main_flow_steps(cdi_attest, cdi_seal, inputs):
    """`main_flow` as a generator that yields at least every 100 modular products."""
    next_attest, next_seal = derive_cdis(cdi_attest, cdi_seal, inputs)
    yield
    _, certificate = yield from certificate_steps(cdi_attest, next_attest, inputs)
    return next_attest, next_seal, certificate


def derive_cdis(cdi_attest, cdi_seal, inputs):
    """The next layer's CDIs (Open Profile for DICE, "CDI derivation")."""
    for name, cdi in (("cdi_attest", cdi_attest), ("cdi_seal", cdi_seal)):
        if len(cdi) != 32:
            raise ValueError("%s is 32 bytes, not %d" % (name, len(cdi)))
    kept = inputs.authority_hash + bytes([inputs.mode]) + inputs.hidden
    attest = sha512(inputs.code_hash + inputs.configuration() + kept).digest()
    seal = sha512(kept).digest()
    return (
        hkdf.derive(cdi_attest, attest, b"CDI_Attest", 32),
        hkdf.derive(cdi_seal, seal, b"CDI_Seal", 32),
    )


def certificate_steps(authority_cdi, subject_cdi, inputs):
    """(public key that signs, certificate): for the key of one CDI by the key of the CDI before
    it. The public key is 65 bytes."""
    # Evidence needs the keys without it.
    from . import certificate_writer

    authority_key = keys.private_key_from_cdi(authority_cdi)
    authority_public = yield from p256.public_key_steps(authority_key)
    if subject_cdi is authority_cdi:
        subject_public = authority_public
    else:
        subject_key = keys.private_key_from_cdi(subject_cdi)
        subject_public = yield from p256.public_key_steps(subject_key)
    to_be_signed = certificate_writer.to_be_signed(
        keys.key_id(authority_public), keys.key_id(subject_public), subject_public, inputs
    )
    yield
    signature = yield from p256.sign_steps(authority_key, sha512(to_be_signed).digest())
    return authority_public, certificate_writer.certificate(to_be_signed, signature)


def self_signed_steps(cdi, inputs):
    """The certificate of a CDI's (or UDS's) key, signed by itself."""
    return (yield from certificate_steps(cdi, cdi, inputs))[1]
