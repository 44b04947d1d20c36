"""What servers send: answers that are whole, and what is none."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NO = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

WHOLE = {
    "content length": OK,
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "chunks": CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    "chunk extension": CHUNKED + b'2;a=b;c="d"\r\n{}\r\n0\r\n\r\n',
    "trailers": CHUNKED + b"2\r\n{}\r\n0\r\nDigest: x\r\n\r\n",
    "no reason": OK.replace(b" OK", b" "),
    "100 first": CONTINUE + OK,
    "many interim": (CONTINUE + b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n") * 20 + OK,
    "interim with length": b"HTTP/1.1 102 x\r\nContent-Length: 9\r\n\r\n" + OK,
    "60 KB": b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000),
}
WHOLE_THEN_CLOSED = {
    "Connection: close": OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "HTTP/1.0": OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "body to the end": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "nothing to the end": b"HTTP/1.0 200 OK\r\n\r\n",
    "interim, then to the end": b"HTTP/1.1 102 x\r\nContent-Length: 9\r\n\r\n"
    b"HTTP/1.1 200 OK\r\n\r\n{}",
}
NOT_AN_ANSWER = {
    "garbage": bytes(range(256)),
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "ICE": OK.replace(b"HTTP", b"ICE"),
    "RTSP": OK.replace(b"HTTP", b"RTSP"),
    "ICE after an interim answer": CONTINUE + OK.replace(b"HTTP", b"ICE"),
    "HTTP/2.0": OK.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/0.9": OK.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/3": OK.replace(b"HTTP/1.1", b"HTTP/3"),
    "empty line first": b"\r\n" + OK,
    "status of four digits": OK.replace(b"200", b"2000"),
    "status of two digits": OK.replace(b"200", b"20"),
    "status in letters": OK.replace(b"200", b"OK!"),
    "status -200": OK.replace(b"200", b"-200"),
    "101": b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "101 and nothing of it": b"HTTP/1.1 101 x\r\n\r\n" + OK,
    "header without colon": OK.replace(b"Content-Length:", b"Content-Length"),
    "space before colon": OK.replace(b"Length:", b"Length :"),
    "folded header": OK.replace(b": 2", b":\r\n 2"),
    "NUL in the reason": OK.replace(b"OK", b"\0"),
    "NUL in an interim reason": CONTINUE.replace(b"Continue", b"\0") + OK,
    "NUL in header": OK.replace(b": 2", b": \x002"),
    "bare LF": OK.replace(b"\r\n", b"\n"),
    "two lengths": OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
    "length in a list": OK.replace(b": 2", b": 2, 2"),
    "negative length": OK.replace(b": 2", b": -2"),
    "length with a sign": OK.replace(b": 2", b": +2"),
    "no length in the length": OK.replace(b": 2", b":"),
    "enormous length": OK.replace(b": 2", b": 99999999999999999999"),
    "length and chunks": CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunk size that is none": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "chunk longer than said": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "enormous chunk": CHUNKED + b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
}
CUT_SHORT = {
    "nothing": b"",
    "half a status line": OK[:12],
    "half a head": OK[:30],
    "a head without its body": OK[:-2],
    "a body shorter than said": OK[:-1],
    "only interim": CONTINUE,
    "chunks without their end": CHUNKED + b"2\r\n{}\r\n",
    "chunks without the last line": CHUNKED + b"2\r\n{}\r\n0\r\n",
    "status 99": OK.replace(b"200", b"099"),
    "head of an answer to the end": b"HTTP/1.1 200 OK\r\n",
    "unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n{}",
}
