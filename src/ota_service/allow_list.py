"""The agents that a request may name: addresses, networks, names."""

from .request import is_dns_name, is_ipv4


def covers(entry, host):
    """Whether an entry of the list, as `parse_entry` gives it, stands for this agent."""
    if isinstance(entry, str):
        return host.lower() == entry
    number = _ipv4_number(host)
    return number is not None and number & entry[1] == entry[0]


def _ipv4_number(text):
    """An IPv4 address as an integer; None for a name."""
    if not is_ipv4(text):
        return None
    number = 0
    for part in text.split("."):
        number = number << 8 | int(part)
    return number


def parse_entry(text):
    """An entry of the list: (network, mask) as integers of `A.B.C.D` or `A.B.C.D/BITS`, or a DNS
    name in lower case. Raises ValueError."""
    address, slash, bits = text.partition("/")
    number = _ipv4_number(address)
    if number is None and not slash and is_dns_name(text):
        return text.lower()
    digits = bits and len(bits) <= 2 and all("0" <= c <= "9" for c in bits)
    if number is None or (slash and not (digits and int(bits) <= 32)):
        raise ValueError("%r: expected A.B.C.D, A.B.C.D/BITS or a name" % (text,))
    mask = 0xFFFFFFFF << (32 - int(bits)) & 0xFFFFFFFF if slash else 0xFFFFFFFF
    if number & ~mask:
        raise ValueError("%r: the address has bits beyond /%s" % (text, bits))
    return number, mask
