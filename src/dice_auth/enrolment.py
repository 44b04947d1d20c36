"""Enrolment of a board by its MAC address, as the originals do it.

The root is derived from the public MAC (identity "mac"): such an entry labels a board, it does
not prove anything about it. What is stored is the registry's matter.
"""

import re

import dice
from dice_auth.errors import EnrolmentError

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII | re.IGNORECASE)


def parse_mac(text: str) -> bytes:
    """The 6 bytes of a MAC address written as `aa:bb:cc:dd:ee:ff`, upper or lower case.

    The bytes carry no case, but a registry keeps the id as typed (the originals' `del` and
    `list` need it so): `AA:...` and `aa:...` are two ids with one root, of which a registry
    takes only the first. Raises EnrolmentError for anything else, blanks around it included.
    """
    if _MAC.fullmatch(text) is None:
        raise EnrolmentError(
            f"MAC address {text!r:.60}: expected six pairs of hex digits, as aa:bb:cc:dd:ee:ff"
        )
    return bytes.fromhex(text.replace(":", ""))


def root_certificate_for_mac(mac: bytes) -> bytes:
    """The DICE root certificate (DER) of the board with this MAC address (6 bytes).

    Same bytes as the originals' `gen_cert` and `submit` make.
    """
    return dice.root_certificate(dice.uds_from_mac(mac))
