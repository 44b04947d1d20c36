"""Runs under MicroPython: reads certificates from files and connects to the server that has each.

    micropython read_server_certificates.py FOLDER

FOLDER/cases.json lists the cases in the order in which the server on the port takes them:
[certificate file, [CA files], name, port]. Prints a JSON line each: the fields, what
`failed_checks` names, what mbedTLS says of the connection ("" if it took the certificate), and
whether it handed over the bytes of the file.
"""

import binascii
import json
import socket
import sys
import time

import tls

from dice import server_certificate


def text(value):
    return None if value is None else binascii.hexlify(value).decode()


def read_file(name):
    with open(sys.argv[1] + "/" + name, "rb") as file:
        return file.read()


def fields(read):
    return {
        "issuer": text(read.issuer),
        "subject": text(read.subject),
        "not_before": read.not_before,
        "not_after": read.not_after,
        "has_alternative_names": read.has_alternative_names,
        "dns_names": read.dns_names,
        "addresses": [text(address) for address in read.addresses],
        "common_name": read.common_name,
        "authority_key_id": text(read.authority_key_id),
        "subject_key_id": text(read.subject_key_id),
    }


def connect(ca_certificates, name, port):
    """What mbedTLS says, and the server's certificate as it hands it over."""
    presented = []

    def keep(data, depth):
        if depth == 0:
            presented.append(bytes(data))  # the view is valid only during the call
        return 0

    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    for data in ca_certificates:
        context.load_verify_locations(data)
    context.verify_callback = keep
    plain = socket.socket()
    plain.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    try:
        context.wrap_socket(plain, server_hostname=name).close()
        said = ""
    except (OSError, ValueError) as error:
        said = repr(error)
    plain.close()
    return said, presented


def main():
    for file, ca_files, name, port in json.loads(read_file("cases.json").decode()):
        data = read_file(file)
        ca_certificates = [read_file(ca_file) for ca_file in ca_files]
        read = server_certificate.parse(memoryview(data))
        now = time.gmtime()[:6]
        said, presented = connect(ca_certificates, name, port)
        result = {
            "fields": fields(read),
            "failed": server_certificate.failed_checks(read, ca_certificates, name, now),
            "said": said,
            "same": presented == [data],
        }
        print(json.dumps(result))


main()
