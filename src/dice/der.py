"""DER (X.690): a strict reader.

What is not the one canonical encoding is refused. Not here: what the values mean, and writing
(`der_writer`).
"""

from ota_crypto.compat import const

from .errors import CertificateError

BOOLEAN = const(0x01)
INTEGER = const(0x02)
BIT_STRING = const(0x03)
OCTET_STRING = const(0x04)
OBJECT_IDENTIFIER = const(0x06)
ENUMERATED = const(0x0A)
UTF8_STRING = const(0x0C)
PRINTABLE_STRING = const(0x13)
UTC_TIME = const(0x17)
GENERALIZED_TIME = const(0x18)
SEQUENCE = const(0x30)
SET = const(0x31)


def context(number, constructed=True):
    """The tag of context-specific class with this number, 0..30."""
    return (0xA0 if constructed else 0x80) | number


def read_header(data, at=0):
    """(tag, offset of the contents, length of the contents) of the element that starts at `at`.

    None if the header goes on beyond the data. Raises CertificateError for multi-byte tags,
    indefinite or non-minimal lengths and lengths of 64 KiB and more. X.690, 8.1 and 10.1.
    """
    if len(data) < at + 2:
        return None
    tag, length = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise CertificateError("DER: tag %02x has more than one byte" % tag)
    if length < 0x80:
        return tag, at + 2, length
    count = length & 0x7F
    if count == 0 or count > 2:
        raise CertificateError("DER: length byte %02x, expected up to 82" % length)
    if len(data) < at + 2 + count:
        return None
    length = int.from_bytes(bytes(data[at + 2 : at + 2 + count]), "big")
    if length < 0x80 or (count == 2 and length < 0x100):
        raise CertificateError("DER: length %d is not encoded minimally" % length)
    return tag, at + 2 + count, length


class Reader:
    """Takes elements one after the other out of `data[start:end]`; copies only what it returns."""

    def __init__(self, data, start=0, end=None):
        self._data = data
        self._end = len(data) if end is None else end
        self.offset = start

    def is_at_end(self):
        return self.offset == self._end

    def peek(self):
        """Tag of the next element; None at the end."""
        return None if self.is_at_end() else self._data[self.offset]

    def _take(self, expected):
        """(start, end) of the contents of the next element, which must have this tag."""
        header = None
        if self.offset < self._end:
            header = read_header(self._data, self.offset)
        if header is None:
            raise CertificateError("DER: ends where tag %02x is expected" % expected)
        tag, start, length = header
        if tag != expected:
            raise CertificateError("DER: tag %02x, expected %02x" % (tag, expected))
        if start + length > self._end:
            raise CertificateError(
                "DER: element of %d bytes, %d are left" % (length, self._end - start)
            )
        self.offset = start + length
        return start, start + length

    def enter(self, tag):
        """A Reader of the contents of the next element."""
        start, end = self._take(tag)
        return Reader(self._data, start, end)

    def take(self, tag):
        """The contents of the next element, bytes."""
        start, end = self._take(tag)
        return bytes(self._data[start:end])

    def take_whole(self, tag):
        """The next element with its header, bytes."""
        before = self.offset
        _, end = self._take(tag)
        return bytes(self._data[before:end])

    def skip(self):
        """Pass over the next element, whatever its tag."""
        self._take(self.peek() or 0)

    def integer(self, tag=INTEGER):
        """A non-negative INTEGER (or ENUMERATED). X.690, 8.3."""
        contents = self.take(tag)
        check_integer(contents)
        return int.from_bytes(contents, "big")

    def boolean(self):
        """X.690, 8.2 and 11.1."""
        contents = self.take(BOOLEAN)
        if contents not in (b"\x00", b"\xff"):
            raise CertificateError("DER: a BOOLEAN is 00 or ff")
        return contents == b"\xff"

    def bit_string(self):
        """The bytes of a BIT STRING without unused bits. X.690, 8.6."""
        contents = self.take(BIT_STRING)
        if not contents or contents[0] != 0:
            raise CertificateError("DER: a BIT STRING with unused bits, expected whole bytes")
        return contents[1:]

    def finish(self, what):
        """Raises CertificateError if anything is left."""
        if not self.is_at_end():
            raise CertificateError(
                "%s: %d bytes more than expected" % (what, self._end - self.offset)
            )


def check_integer(contents):
    """Raises CertificateError unless these are a non-negative INTEGER's minimal contents."""
    if not contents or contents[0] & 0x80:
        raise CertificateError("DER: an INTEGER that is empty or negative")
    if len(contents) > 1 and contents[0] == 0 and contents[1] < 0x80:
        raise CertificateError("DER: INTEGER is not encoded minimally")


def decode_ecdsa_signature(data):
    """(r, s) of an Ecdsa-Sig-Value; CertificateError for other than its canonical encoding."""
    outer = Reader(data)
    pair = outer.enter(SEQUENCE)
    outer.finish("signature")
    r, s = pair.integer(), pair.integer()
    pair.finish("signature")
    return r, s


def read_time(reader):
    """(year, month, day, hour, minute, second), UTC, of a UTCTime or GeneralizedTime.

    Only the forms that RFC 5280, 4.1.2.5 allows: seconds given, `Z` at the end.
    """
    tag = reader.peek()
    text = reader.take(GENERALIZED_TIME if tag == GENERALIZED_TIME else UTC_TIME)
    digits = 14 if tag == GENERALIZED_TIME else 12
    if len(text) != digits + 1 or text[digits] != 0x5A or not text[:digits].isdigit():
        raise CertificateError("DER: a time that is not [YY]YYMMDDhhmmssZ")
    if tag == GENERALIZED_TIME:
        year = int(text[:4])
    else:
        year = int(text[:2])
        year += 1900 if year >= 50 else 2000
    fields = [int(text[at : at + 2]) for at in range(digits - 10, digits, 2)]
    month, day, hour, minute, second = fields
    if not (1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        raise CertificateError("DER: a time with a field out of range")
    if not 1 <= day <= _days_of(year, month):
        raise CertificateError("DER: a time of a day that its month has not")
    return (year, month, day, hour, minute, second)


def _days_of(year, month):
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31
