"""A production batch: a CSV file (RFC 4180) with a board on each line.

The first line names the columns: `mac`, or `id` and `root`; with `mac` a `root` is optional, and
derived from the MAC where there is none. `root` is the root certificate, PEM or base64 of DER.
`application` and `labels` (`name=value;name=value`) are optional.
"""

import binascii
import csv
from base64 import b64decode
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Self

from dice import certificate
from dice_auth.enrolment import Enrolment, parse_mac, root_certificate_for_mac
from dice_auth.errors import EnrolmentError

_COLUMNS = ("mac", "id", "root", "application", "labels")


class BatchFile:
    """path: the file; opened at once. Raises OSError.

    size, position: bytes in all, and read so far; 0 of a pipe, which does not tell.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = path.open("rb")
        self._text = TextIOWrapper(self._bytes, encoding="utf-8-sig", newline="")
        self.size = path.stat().st_size
        self._is_closed = False

    @property
    def position(self) -> int:
        return self._bytes.tell() if self._bytes.seekable() else 0

    def boards(self) -> Iterator[Enrolment]:
        """The boards, in the file's order. Raises EnrolmentError that names the line, also where
        the file is closed meanwhile: a part of a batch must not pass for the whole."""
        rows = csv.reader(self._text, strict=True)
        try:
            columns = next(rows, [])
            _check_columns(columns)
            for row in rows:
                if row:
                    yield _board(columns, row)
            if self._is_closed:
                # By another thread than the one that reads here and may take that for the end.
                raise EnrolmentError("closed before its end")
        except (EnrolmentError, csv.Error, ValueError) as error:
            where = f"{self._path} line {max(rows.line_num, 1)}"
            raise EnrolmentError(f"{where}: {_text_of(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True  # before it is
        self._text.close()


def parse_labels(text: str, separator: str = ";") -> dict[str, str]:
    """Labels from `name=value;name=value`. Raises EnrolmentError."""
    labels: dict[str, str] = {}
    for pair in filter(None, (piece.strip() for piece in text.split(separator))):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise EnrolmentError(f"label {pair!r:.80}: expected name=value")
        if name in labels:
            raise EnrolmentError(f"label {name!r:.80} is there twice")
        labels[name] = value
    return labels


def parse_root(text: bytes) -> bytes:
    """The DER bytes of a root certificate given as PEM, or as base64 of DER.

    Raises EnrolmentError. Not checked here: whether the bytes are a certificate.
    """
    try:
        if b"-----BEGIN" in text:
            return certificate.from_pem(text)
        return b64decode(b"".join(text.split()), validate=True)
    except (certificate.CertificateError, binascii.Error) as error:
        raise EnrolmentError(f"root certificate: expected PEM or base64 of DER ({error})") from None


def _check_columns(columns: list[str]) -> None:
    unknown = [name for name in columns if name not in _COLUMNS]
    known = ", ".join(_COLUMNS)
    if unknown or not columns:
        found = repr(unknown[0])[:60] if unknown else "an empty line"
        raise EnrolmentError(f"the first line names the columns: expected {known}, found {found}")
    if len(set(columns)) < len(columns):
        raise EnrolmentError("a column is named twice")
    if ("mac" in columns) == ("id" in columns) or ("id" in columns and "root" not in columns):
        raise EnrolmentError("expected a column mac, or the columns id and root")


def _board(columns: list[str], row: list[str]) -> Enrolment:
    if len(row) != len(columns):
        raise EnrolmentError(f"expected {len(columns)} fields, found {len(row)}")
    values = dict(zip(columns, row, strict=True))
    mac = values.get("mac")
    derived = None if mac is None else parse_mac(mac)
    if text := values.get("root"):
        root = parse_root(text.encode())
    elif derived is not None:
        root = root_certificate_for_mac(derived)
    else:
        raise EnrolmentError("no root certificate")
    labels = values.get("labels")
    return Enrolment.of(
        values["id"] if mac is None else mac,
        root,
        application=values.get("application"),
        labels=None if labels is None else parse_labels(labels),
    )


def _text_of(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "expected UTF-8"
    return str(error)
