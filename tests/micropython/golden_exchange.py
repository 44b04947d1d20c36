"""One exchange of protocol 2 (protocol.md, section C), byte for byte, from the board's side.

The board: UDS below, its image `build_app("1.0.0", "thermo", chip="esp32c6")`, nothing else in
flash. The firmware: `build_app("2.0.0", "thermo", chip="esp32c6", size=20000)`.
Both are the same bytes always.
"""

import binascii

UDS = bytes(range(32))
CHANNEL = b"\xc4" * 32
NONCE = bytes(range(64, 96))

CHALLENGE_REQUEST = b"GET /v2/challenge HTTP/1.1\r\nHost: ota-agent:4433\r\n\r\n"
CHALLENGE_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 32\r\n\r\n"
) + NONCE

EVIDENCE = binascii.a2b_base64(
    b"0oRDoQEmoRghWQLXMIIC0zCCAnigAwIBAgIUYPru5AqcwP3bwqKII4SrY2qw7A4wCgYIKoZIzj0EAwQwMzExMC8G"
    b"A1UEBRMoNGIwOTc1OGNiYWNmNTZjNTc0OTY1ZTBlMTUwOWZmOTYzNTllY2ViNzAgFw0xODAzMjIyMzU5NTlaGA85"
    b"OTk5MTIzMTIzNTk1OVowMzExMC8GA1UEBRMoNjBmYWVlZTQwYTljYzBmZGRiYzJhMjg4MjM4NGFiNjM2YWIwZWMw"
    b"ZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGhgMAInBUdrHxakEMgKRAcIAPVqS0sTg8IkKEQUc0fw/MbPXNmH"
    b"KvKXzOIDum2ISS2F2IFIx6oJgqiDuOwdMK2jggFmMIIBYjAfBgNVHSMEGDAWgBRLCXWMus9WxXSWXg4VCf+WNZ7O"
    b"tzAdBgNVHQ4EFgQUYPru5AqcwP3bwqKII4SrY2qw7A4wDgYDVR0PAQH/BAQDAgIEMA8GA1UdEwEB/wQFMAMBAf8w"
    b"gf4GCisGAQQB1nkCARgBAf8EgewwgemgQgRAXwM1hZnaWd2IlpNbZHWhpHd8qh/6eYagVQDczevcqzVfAzWFmdpZ"
    b"3YiWk1tkdaGkd3yqH/p5hqBVANzN69yrNaNCBEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAApEIEQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACmAwoBAacWDBRvcGVuc3NsLmV4YW1wbGUucDI1NjAKBggqhkjO"
    b"PQQDBANJADBGAiEAvIg2P/1Ig4jRepZjEdJ9gkL65FFgEUyknJ3Acxy1C3oCIQDH0mdmNdu8q2BBuHDpGlmQvt3A"
    b"tWKyoibNqWlXuP4xF1impwpYIEBBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fGQEAUQEuR/7G3cn+Q1E1"
    b"yWqsvRpgGQEDR2VzcDMyYzYZAQ5mdGhlcm1vGQEPgWUxLjAuMDoAARFwWCDExMTExMTExMTExMTExMTExMTExMTE"
    b"xMTExMTExMTExDoAARFxWCBfAzWFmdpZ3YiWk1tkdaGkd3yqH/p5hqBVANzN69yrNVhAyUJScP0kYJ0Am4aJ2Qjl"
    b"Yxk3nqYSeDrxfQG8KclCS8Blv7V+qkDFtkykR3wEGiuiiIm11OrSTonbfaXaUca5wg=="
)
ATTEST_REQUEST = (
    b"POST /v2/attest HTTP/1.1\r\n"
    b"Host: ota-agent:4433\r\n"
    b"Content-Type: application/eat+cwt\r\n"
    b"Content-Length: 973\r\n"
    b"\r\n"
) + EVIDENCE
ATTEST_ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: 66\r\n"
    b"\r\n"
    b'{"token": "q83vEjRWeJA", "expires_in": 60, "verdict": "affirming"}'
)

FIRMWARE_REQUEST = (
    b"GET /v2/firmware HTTP/1.1\r\n"
    b"Host: ota-agent:4433\r\n"
    b"Authorization: Bearer q83vEjRWeJA\r\n"
    b"\r\n"
)
FIRMWARE_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/octet-stream\r\n"
    b"Content-Length: 20000\r\n"
    b'ETag: "184bc0281a623a424cbc9153c80dee3243943a17cfd24f78f143838cf2435ba9"\r\n'
    b"Repr-Digest: sha-256=:GEvAKBpiOkJMvJFTyA3uMkOUOhfP0k948UODjPJDW6k=:\r\n"
    b"Accept-Ranges: bytes\r\n"
    b"\r\n"
)

RESUMED_FROM = 5000
RESUMED_REQUEST = (
    b"GET /v2/firmware HTTP/1.1\r\n"
    b"Host: ota-agent:4433\r\n"
    b"Authorization: Bearer q83vEjRWeJA\r\n"
    b"Range: bytes=5000-\r\n"
    b'If-Range: "184bc0281a623a424cbc9153c80dee3243943a17cfd24f78f143838cf2435ba9"\r\n'
    b"\r\n"
)
RESUMED_HEAD = (
    b"HTTP/1.1 206 Partial Content\r\n"
    b"Content-Type: application/octet-stream\r\n"
    b"Content-Range: bytes 5000-19999/20000\r\n"
    b"Content-Length: 15000\r\n"
    b'ETag: "184bc0281a623a424cbc9153c80dee3243943a17cfd24f78f143838cf2435ba9"\r\n'
    b"Repr-Digest: sha-256=:GEvAKBpiOkJMvJFTyA3uMkOUOhfP0k948UODjPJDW6k=:\r\n"
    b"\r\n"
)
UP_TO_DATE = b"HTTP/1.1 204 No Content\r\n\r\n"
