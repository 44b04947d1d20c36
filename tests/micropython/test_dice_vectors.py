"""Every field that the C code gives, byte for byte (see the vectors' README)."""

import binascii
import json
import os

import dice
from dice import certificate, keys
from ota_crypto import p256

try:
    from unittest import SkipTest as Skipped
except ImportError:

    class Skipped(Exception):
        pass


_unhex = binascii.unhexlify
_PATH = __file__.rsplit("/", 3)[0] + "/../shared/vectors/dice_vectors.json"


def _vectors(name):
    try:
        os.stat(_PATH)
        found = True
    except OSError:
        found = False
    if not found:
        raise Skipped("the shared vectors are not on this machine")
    with open(_PATH) as file:
        return json.load(file)[name]


def _check_key(case, role):
    private_key, public_key = dice.key_pair(_unhex(case[role + "_private_key_seed"]))
    assert private_key == int(case[role + "_private_key"], 16), case["name"]
    assert public_key == _unhex(case[role + "_public_key"]), case["name"]
    assert dice.key_id(public_key) == _unhex(case[role + "_id"]), case["name"]
    assert dice.key_id(p256.decompress(public_key)) == _unhex(case[role + "_id"])


def test_boards_get_the_certificates_that_the_c_code_gives():
    for case in _vectors("gen_dice_cert"):
        uds = dice.uds_from_mac(_unhex(case["mac"]))
        assert uds == _unhex(case["uds"])
        code_hash, config_value = _unhex(case["code_hash"]), _unhex(case["config_value"])
        inputs = dice.InputValues(
            code_hash=code_hash,
            config_value=config_value,
            mode=case["mode"],
            authority_hash=_unhex(case["authority_hash"]),
            hidden=_unhex(case["hidden"]),
        )
        attest, seal, der = dice.main_flow(uds, uds, inputs)
        assert attest == _unhex(case["cdi_attest"]), case["name"]
        assert seal == _unhex(case["cdi_seal"]), case["name"]
        assert der == _unhex(case["dice_cert_der"]), case["name"]
        assert dice.device_certificate(uds, code_hash, config_value) == der
        assert dice.root_certificate(uds) == _unhex(case["root_cert_der"]), case["name"]
        _check_key(case, "authority")
        _check_key(case, "subject")
        key = dice.device_private_key(uds, code_hash, config_value)
        assert key == int(case["subject_private_key"], 16)


def test_layers_get_the_secrets_and_certificates_that_the_c_code_gives():
    checked = 0
    for case in _vectors("dice_main_flow"):
        cdis = _unhex(case["current_cdi_attest"]), _unhex(case["current_cdi_seal"])
        for layer in case["layers"]:
            expected = layer["output"]
            if expected["result"] != 0:
                # a null descriptor, a small buffer: neither exists here
                continue
            attest, seal, der = dice.main_flow(cdis[0], cdis[1], _inputs(layer["input"]))
            assert attest == _unhex(expected["next_cdi_attest"]), case["name"]
            assert seal == _unhex(expected["next_cdi_seal"]), case["name"]
            assert der == _unhex(expected["certificate_der"]), case["name"]
            expected["name"] = case["name"]
            _check_key(expected, "subject")
            _check_key(expected, "authority")
            cdis = attest, seal
            checked += 1
    assert checked == 20


def _inputs(given):
    descriptor = given["config_descriptor"] if given["config_type"] == 1 else None
    return dice.InputValues(
        code_hash=_unhex(given["code_hash"]),
        config_value=_unhex(given["config_value"]),
        config_descriptor=None if descriptor is None else _unhex(descriptor),
        code_descriptor=_unhex(given["code_descriptor"]),
        authority_hash=_unhex(given["authority_hash"]),
        authority_descriptor=_unhex(given["authority_descriptor"]),
        mode=given["mode"],
        hidden=_unhex(given["hidden"]),
    )


def test_certificates_of_the_c_code_chain_to_their_roots():
    for case in _vectors("gen_dice_cert")[::8]:
        parsed = certificate.parse(_unhex(case["dice_cert_der"]))
        root = certificate.parse(_unhex(case["root_cert_der"]))
        assert certificate.verify_chain(parsed, root, (2026, 1, 1, 0, 0, 0)) == []
        assert parsed.subject_key_id == _unhex(case["subject_id"])
        assert parsed.authority_key_id == _unhex(case["authority_id"])
        assert p256.compress(parsed.public_key) == _unhex(case["subject_public_key"])
        assert parsed.dice.code_hash == _unhex(case["code_hash"])
        assert parsed.dice.configuration_value == _unhex(case["config_value"])
        assert parsed.dice.mode == case["mode"]
        assert keys.key_id(root.public_key) == root.subject_key_id
