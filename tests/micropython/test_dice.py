"""Certificates, their chains and evidence, on CPython and MicroPython."""

import binascii

import dice
from dice import cbor, certificate, certificate_writer, der, der_writer, evidence, flow, keys
from ota_crypto import p256, sha256, sha512, steps

NOW = (2026, 11, 23, 20, 0, 0)
UDS = bytes(range(32))
# MACs whose root's, or whose certificate's, id begins with 00 and a byte below 80
MAC_SHORT_ROOT_SERIAL = b"\x00\x00\x00\x00\x01\x67"
MAC_SHORT_SERIAL = b"\x00\x00\x00\x00\x01\xf3"
# ids that begin with 00 and a byte of 80 and above: minimal with the zero
MAC_ZERO_THEN_HIGH = b"\x00\x00\x00\x00\x00\x3c"


def make_certificate(uds=UDS):
    return dice.device_certificate(uds, bytes(64), bytes(range(64)))


def as_the_c_code_writes_it(data, private_key):
    """The same certificate with all 20 bytes of the id as serial number, signed again."""
    body = der.Reader(data).enter(der.SEQUENCE).enter(der.SEQUENCE)
    version = body.take_whole(der.context(0))
    body.take(der.INTEGER)
    rest = data[body.offset :][: body._end - body.offset]
    identifier = certificate.parse(data).subject_key_id
    return sign_again(der_writer.encode(der.INTEGER, identifier), version, rest, private_key)


def sign_again(serial, version, rest, private_key):
    to_be_signed = der_writer.encode(der.SEQUENCE, version, serial, rest)
    signature = p256.sign(private_key, sha512(to_be_signed).digest())
    return certificate_writer.certificate(to_be_signed, signature)


def refused(call, *arguments):
    """The text of the DiceError that a call raises."""
    try:
        call(*arguments)
    except dice.DiceError as error:
        return str(error)
    raise AssertionError("taken: %r" % (arguments,))


def raises_value_error(call, *arguments):
    try:
        call(*arguments)
    except ValueError:
        return True
    return False


def test_a_certificate_says_who_signed_what():
    parsed = certificate.parse(make_certificate())
    root = certificate.parse(dice.root_certificate(UDS))
    assert parsed.issuer == root.subject == root.issuer != parsed.subject
    assert parsed.authority_key_id == root.subject_key_id
    assert parsed.serial == int.from_bytes(parsed.subject_key_id, "big")
    assert parsed.dice.mode == 1 and root.dice.mode == 0
    assert parsed.dice.code_hash == bytes(64)
    assert parsed.dice.configuration_value == bytes(range(64))
    assert parsed.dice.profile_name == b"openssl.example.p256"
    assert parsed.not_before == (2018, 3, 22, 23, 59, 59)
    assert parsed.not_after == (9999, 12, 31, 23, 59, 59)
    assert parsed.is_ca and parsed.path_length is None
    assert parsed.to_be_signed in parsed.der


def test_only_its_own_root_signs_a_certificate():
    parsed = certificate.parse(make_certificate())
    root = certificate.parse(dice.root_certificate(UDS))
    other = certificate.parse(dice.root_certificate(bytes(32)))
    assert certificate.verify_chain(parsed, root, NOW) == []
    failed = certificate.verify_chain(parsed, other, NOW)
    assert failed == ["issuer", "authority-key-id", "signature"]


def test_a_root_is_no_evidence_of_itself():
    root = certificate.parse(dice.root_certificate(UDS))
    assert certificate.verify_chain(root, root, NOW) == ["is-root"]
    # the same key certifying itself again is no better
    steps_of_own = flow.self_signed_steps(UDS, dice.InputValues(mode=1))
    again = certificate.parse(steps.run(steps_of_own))
    assert certificate.verify_chain(again, root, NOW) == ["is-root"]


def test_a_certificate_counts_only_between_its_dates():
    parsed = certificate.parse(make_certificate())
    root = certificate.parse(dice.root_certificate(UDS))
    early = certificate.verify_chain(parsed, root, (2000, 1, 1, 0, 0, 0))
    assert early == ["not-yet-valid", "root-not-yet-valid"]
    late = certificate.verify_chain(parsed, root, (10000, 1, 1, 0, 0, 0))
    assert late == ["expired", "root-expired"]


def test_any_changed_byte_breaks_a_certificate():
    data = make_certificate()
    root = certificate.parse(dice.root_certificate(UDS))
    for at in range(0, len(data), 7):
        changed = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        try:
            parsed = certificate.parse(changed)
        except dice.CertificateError:
            continue
        assert certificate.verify_chain(parsed, root, NOW), at


def test_serial_numbers_are_minimal_where_the_c_code_writes_them_longer():
    uds = dice.uds_from_mac(MAC_SHORT_SERIAL)
    data = dice.device_certificate(uds, bytes(64), bytes(64))
    parsed = certificate.parse(data)
    assert parsed.subject_key_id[0] == 0 and parsed.subject_key_id[1] < 0x80
    root_data = dice.root_certificate(dice.uds_from_mac(MAC_SHORT_ROOT_SERIAL))
    for each in (data, root_data):
        identifier = certificate.parse(each).subject_key_id
        assert der_writer.encode(der.INTEGER, identifier[1:]) in each
    high = dice.device_certificate(dice.uds_from_mac(MAC_ZERO_THEN_HIGH), bytes(64), bytes(64))
    identifier = certificate.parse(high).subject_key_id
    assert identifier[0] == 0 and der_writer.encode(der.INTEGER, identifier) in high


def test_boards_whose_c_certificate_openssl_refuses_are_accepted():
    uds = dice.uds_from_mac(MAC_SHORT_SERIAL)
    key = keys.private_key_from_cdi(uds)
    ours = dice.device_certificate(uds, bytes(64), bytes(64))
    c_form = as_the_c_code_writes_it(ours, key)
    assert len(c_form) >= len(ours) and c_form != ours
    parsed = certificate.parse(c_form)
    root = certificate.parse(dice.root_certificate(uds))
    assert parsed.serial == certificate.parse(ours).serial
    assert certificate.verify_chain(parsed, root, NOW) == []
    root_uds = dice.uds_from_mac(MAC_SHORT_ROOT_SERIAL)
    root_key = keys.private_key_from_cdi(root_uds)
    c_root = as_the_c_code_writes_it(dice.root_certificate(root_uds), root_key)
    below = certificate.parse(dice.device_certificate(root_uds, bytes(64), bytes(64)))
    assert certificate.verify_chain(below, certificate.parse(c_root), NOW) == []


def test_no_other_number_may_have_leading_zeros():
    data = make_certificate()
    body = der.Reader(data).enter(der.SEQUENCE).enter(der.SEQUENCE)
    version = body.take_whole(der.context(0))
    body.take(der.INTEGER)
    rest = data[body.offset :][: body._end - body.offset]
    for contents in (bytes(2) + b"\x01", b"\x00" * 20 + b"\x01", b"\x00\x01", b"", b"\xff"):
        serial = der_writer.encode(der.INTEGER, contents)
        assert "INTEGER" in refused(certificate.parse, sign_again(serial, version, rest, 1))
    long_version = der_writer.encode(der.context(0), der_writer.encode(der.INTEGER, b"\x00\x02"))
    serial = der_writer.encode(der.INTEGER, b"\x01")
    assert "INTEGER" in refused(certificate.parse, sign_again(serial, long_version, rest, 1))


def test_trailing_bytes_and_large_certificates_are_refused():
    data = make_certificate()
    assert "1 bytes more" in refused(certificate.parse, data + b"\x00")
    refused(certificate.parse, data[:-1])
    assert "at most 4096" in refused(certificate.parse, bytes(4097))
    refused(certificate.parse, b"")


def test_an_unknown_critical_extension_is_refused():
    known = der_writer.encode(der.OBJECT_IDENTIFIER, b"\x55\x1d\x13")
    unknown = der_writer.encode(der.OBJECT_IDENTIFIER, b"\x55\x1d\x24")
    data = make_certificate()
    assert data.count(known) == 1
    assert "551d24 is unknown" in refused(certificate.parse, data.replace(known, unknown))


def test_the_length_of_a_certificate_shows_in_its_first_bytes():
    data = make_certificate()
    for count in range(4):
        assert certificate.total_length(data[:count]) is None
    for count in (4, 5, 6, 100):
        assert certificate.total_length(data[:count]) == len(data)
    assert certificate.total_length(b"\x30\x05") == 7
    for bad in (
        b"GET /",
        b"\x00",
        b"\x31\x05",
        b"\x30\x80",
        b"\x30\x83\x01",
        b"\x30\x84",
        b"\x30\xff",
        b"\x30\x81\x7f",
        b"\x30\x82\x00\xff",
        b"\x30\x82\x0f\xfd",
        b"\x30\x82\xff\xff",
    ):
        refused(certificate.total_length, bad)
    assert certificate.total_length(b"\x30\x82\x0f\xfc") == 4096


def test_pem_comes_back_as_the_same_bytes():
    data = make_certificate()
    text = certificate.to_pem(data)
    lines = text.split("\n")
    assert lines[0] == "-----BEGIN CERTIFICATE-----" and lines[-2:] == [
        "-----END CERTIFICATE-----",
        "",
    ]
    assert max([len(line) for line in lines]) == 64
    for given in (
        text,
        text.encode(),
        text.replace("\n", "\r\n"),
        "subject=board\n\n" + text + "more",
        text + certificate.to_pem(dice.root_certificate(UDS)),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n" + text,
    ):
        assert certificate.from_pem(given) == data


def test_text_that_is_no_pem_certificate_is_refused():
    text = certificate.to_pem(make_certificate())
    begin = "-----BEGIN CERTIFICATE-----\n"
    for given in (
        "",
        "hello",
        b"\xff\xfe",
        text.replace("BEGIN", "BEGUN"),
        text.replace("END", "EVE"),
        begin + "-----END CERTIFICATE-----\n",
        begin + "not base64!\n-----END CERTIFICATE-----\n",
        begin + "A\n-----END CERTIFICATE-----\n",
        begin + "A" * 9000 + "\n-----END CERTIFICATE-----\n",
    ):
        assert "PEM" in refused(certificate.from_pem, given)


def test_input_values_of_another_size_are_refused():
    for name in ("code_hash", "config_value", "authority_hash", "hidden"):
        for size in (0, 32, 63, 65):
            assert raises_value_error(lambda n=name, s=size: dice.InputValues(**{n: bytes(s)}))
    assert raises_value_error(lambda: dice.InputValues(mode=4))
    assert raises_value_error(lambda: dice.InputValues(mode=-1))
    assert raises_value_error(dice.root_certificate, bytes(31))
    assert raises_value_error(dice.device_certificate, bytes(33), bytes(64), bytes(64))
    assert raises_value_error(dice.main_flow, bytes(32), bytes(31), dice.InputValues())
    assert raises_value_error(dice.key_pair, bytes(31))
    assert raises_value_error(dice.key_id, bytes(20))
    assert raises_value_error(dice.uds_from_mac, bytes(8))


def test_an_empty_configuration_descriptor_is_a_descriptor():
    inline = dice.InputValues()
    empty = dice.InputValues(config_descriptor=b"")
    attest = dice.main_flow(UDS, UDS, inline)[0]
    other, _, data = dice.main_flow(UDS, UDS, empty)
    assert attest != other
    parsed = certificate.parse(data).dice
    assert parsed.configuration_hash == sha512(b"").digest()
    assert parsed.configuration_value == b""


def test_a_certificate_can_be_made_step_by_step():
    made = dice.device_certificate_steps(UDS, bytes(64), bytes(range(64)))
    pauses = 0
    while True:
        try:
            next(made)
        except StopIteration as stop:
            assert stop.value == make_certificate()
            break
        pauses += 1
    # `cryptography` does its part at once, the board's own code pauses more often
    assert pauses >= 2


def make_claims(**changes):
    given = {
        "nonce": bytes(range(32)),
        "ueid": evidence.ueid_of(certificate.parse(dice.root_certificate(UDS)).public_key),
        "hwmodel": "esp32s3",
        "application": "thermo",
        "version": "0.2.0",
        "channel": b"\xc0" * 32,
        "image_digest": b"\x1d" * 32,
    }
    given.update(changes)
    return evidence.Claims(**given)


def make_evidence():
    key = dice.device_private_key(UDS, bytes(64), bytes(range(64)))
    return evidence.encode(key, make_certificate(), make_claims())


def test_evidence_comes_back_as_it_was_claimed():
    data = make_evidence()
    decoded = evidence.decode(data)
    claims = make_claims()
    for name in ("nonce", "ueid", "hwmodel", "application", "version", "channel", "image_digest"):
        assert getattr(decoded.claims, name) == getattr(claims, name), name
    assert decoded.certificate == make_certificate()
    assert decoded.is_signed_by(certificate.parse(decoded.certificate).public_key)
    assert not decoded.is_signed_by(certificate.parse(dice.root_certificate(UDS)).public_key)


def test_the_bytes_of_evidence_are_fixed():
    # tag 18, array of 4, protected header {1: -7}, unprotected {33: certificate}, payload
    data = make_evidence()
    head = binascii.unhexlify("d28443a10126a1182159") + len(make_certificate()).to_bytes(2, "big")
    assert data.startswith(head + make_certificate())
    payload = (
        binascii.unhexlify("a70a5820")
        + bytes(range(32))
        + binascii.unhexlify("19010051")
        + make_claims().ueid
        + binascii.unhexlify("19010347")
        + b"esp32s3"
        + binascii.unhexlify("19010e66")
        + b"thermo"
        + binascii.unhexlify("19010f8165")
        + b"0.2.0"
        + binascii.unhexlify("3a000111705820")
        + b"\xc0" * 32
        + binascii.unhexlify("3a000111715820")
        + b"\x1d" * 32
    )
    assert payload in data


def test_a_ueid_is_made_from_the_root_key():
    public = certificate.parse(dice.root_certificate(UDS)).public_key
    expected = b"\x01" + sha256(p256.compress(public)).digest()[:16]
    assert evidence.ueid_of(public) == evidence.ueid_of(p256.compress(public)) == expected
    assert raises_value_error(evidence.ueid_of, bytes(20))


def test_any_changed_byte_breaks_evidence():
    data = make_evidence()
    public = certificate.parse(make_certificate()).public_key
    start = len(make_certificate()) + 12
    for at in list(range(12)) + list(range(start, len(data), 5)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            decoded = evidence.decode(changed)
        except dice.EvidenceError:
            continue
        assert not decoded.is_signed_by(public), at


def test_evidence_of_another_shape_is_refused():
    nonce = {10: bytes(32)}
    for value in (
        1,
        [b"\xa1\x01\x26", {33: b"c"}, b"", bytes(64)],
        cbor.Tagged(17, [b"\xa1\x01\x26", {33: b"c"}, b"", bytes(64)]),
        cbor.Tagged(18, {}),
        cbor.Tagged(18, [b"\xa1\x01\x26", {33: b"c"}, b""]),
        cbor.Tagged(18, [b"\xa1\x01\x27", {33: b"c"}, cbor.encode(nonce), bytes(64)]),
        cbor.Tagged(18, [b"\xa1\x01\x26", {34: b"c"}, cbor.encode(nonce), bytes(64)]),
        cbor.Tagged(18, [b"\xa1\x01\x26", {33: "c"}, cbor.encode(nonce), bytes(64)]),
        cbor.Tagged(18, [b"\xa1\x01\x26", {33: b"c"}, cbor.encode(nonce), bytes(63)]),
        cbor.Tagged(18, [b"\xa1\x01\x26", {33: b"c"}, cbor.encode(nonce), bytes(64)]),
        cbor.Tagged(18, [b"\xa1\x01\x26", {33: b"c"}, cbor.encode([]), bytes(64)]),
    ):
        refused(evidence.decode, cbor.encode(value))
    assert "at most 4096" in refused(evidence.decode, bytes(4097))
    assert raises_value_error(lambda: make_claims(nonce=bytes(31)))
    assert raises_value_error(lambda: evidence.encode(1, bytes(4096), make_claims()))


def test_cbor_that_is_not_deterministic_is_refused():
    for text in (
        "",
        "1817",  # 23 in two bytes
        "190017",
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff",
        "5f4100ff",  # indefinite length
        "9fff",
        "a20a000a00",  # a key twice
        "a20b000a00",  # keys out of order
        "a1a00000",  # a map as key
        "4200",  # string cut short
        "61ff",  # text that is not UTF-8
        "f4",  # false
        "f90000",  # float
        "0000",  # trailing byte
        "818181818181" + "00",  # too deep
    ):
        refused(cbor.decode, binascii.unhexlify(text))


def test_cbor_numbers_take_the_shortest_form():
    for value, text in (
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65536, "1a00010000"),
        (1 << 32, "1b0000000100000000"),
        (-1, "20"),
        (-70001, "3a00011170"),
    ):
        assert cbor.encode(value) == binascii.unhexlify(text)
        assert cbor.decode(binascii.unhexlify(text)) == value
