"""Requests that a proxy and a server could read differently (row D02), and some that look so and are plain."""
# ruff: noqa: E501

from __future__ import annotations

HIDDEN = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def put(headers: str, body: str = "") -> str:
    return f"PUT /first HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}"


def chunked(body: str) -> str:
    return put("Transfer-Encoding: chunked", body)


LENGTH = len(HIDDEN)
REFUSED = [
    # two framings
    put(f"Content-Length: {LENGTH}\r\nTransfer-Encoding: chunked", "0\r\n\r\n" + HIDDEN),
    put(f"Transfer-Encoding: chunked\r\nContent-Length: {LENGTH}", "0\r\n\r\n" + HIDDEN),
    put(f"Content-Length: {LENGTH}\r\nContent-Length: 0", HIDDEN),
    put(f"Content-Length: 0\r\nContent-Length: {LENGTH}", HIDDEN),
    put(f"Content-Length: {LENGTH}\r\nContent-Length: {LENGTH}", HIDDEN),
    put(f"Content-Length: {LENGTH}\r\ncontent-length: {LENGTH}", HIDDEN),
    put("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n" + HIDDEN),
    put("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n" + HIDDEN),
    put(f"Transfer-Encoding: identity\r\nContent-Length: {LENGTH}", HIDDEN),
    # lengths that are none
    *[
        put(f"Content-Length: {length}", HIDDEN)
        for length in (
            f"{LENGTH}, {LENGTH}", f"0, {LENGTH}", f"+{LENGTH}", f"-{LENGTH}", "-0", f"0x{LENGTH:x}", f"{LENGTH}.0",
            f"{LENGTH};", f"{LENGTH} 0", "", "\x0b0", "0\x0c", "0_0", "١", "²", "1e1", "9" * 20, "9" * 5000, "0\x00",
            "0\r0", '"0"', "NaN", "0\n",
        )
    ],
    # codings that are not the one
    *[
        put(f"Transfer-Encoding: {coding}", "0\r\n\r\n" + HIDDEN)
        for coding in (
            "chunked, chunked", "identity", "identity, chunked", "gzip, chunked", "chunked, gzip", "xchunked",
            "chunkedx", '"chunked"', "chunked;q=1", "\x0bchunked", "chunked\x0b", "chunked\x00", "chun ked", "",
            "\xa0chunked", "chunked,", ",chunked", "deflate", "chunked\n",
        )
    ],
    # header lines that are read differently by others
    *[
        f"PUT /first HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n0\r\n\r\n{HIDDEN}"
        for line in (
            "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked",
            "X: y\r\n Transfer-Encoding: chunked", "X: y\r\n\tTransfer-Encoding: chunked", "Transfer-Encoding",
            "Transfer-Encoding\x00: chunked", "Transfer\x0bEncoding: chunked", "Transfer-Encoding\xa0: chunked",
            ": chunked", "Transfer-Encoding: chunked\rX: y", "X: y\nTransfer-Encoding: chunked", "X: \x00",
            "X: \x7f", "X(): y", "X@: y", "Content-Length\x00: 5", "[X]: y", "X{}: y", "Host: b",
            "Authorization: Bearer a\r\nAuthorization: Bearer b", "Content-Type: a\r\nContent-Type: b",
        )
    ],
    # first lines
    *[
        f"{line}\r\nHost: a\r\n\r\n{HIDDEN}"
        for line in (
            "GET /first", "GET  /first HTTP/1.1", "GET /first  HTTP/1.1", "GET\t/first\tHTTP/1.1", "GET /first HTTP/1.2",
            "GET /first HTTP/2.0", "GET /first HTTP/0.9", "GET /first http/1.1", "GET /first HTTP/1.1 ",
            " GET /first HTTP/1.1", "GET /fi rst HTTP/1.1", "GET /fi\x00rst HTTP/1.1", "G(T /first HTTP/1.1",
            "GET /first HTTP/11", "GET /first HTTP/1.10", "GET /first HTTPS/1.1", "/first", "GET", "GET /fi\x7f\xffrst HTTP/1.1",
            "GET /first HTTP/1.1\rX: y", "GET HTTP/1.1",
        )
    ],
    "GET /first HTTP/1.1\r\n\r\n" + HIDDEN,
    "GET /first HTTP/1.1\nHost: a\n\n" + HIDDEN + "\r\n\r\n",
    "PUT /first HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "\r\n\r\nGET /first HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    # chunks
    *[
        chunked(body + HIDDEN)
        for body in (
            "0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n", "G\r\nhello\r\n0\r\n\r\n", "\r\nhello\r\n0\r\n\r\n", "5\r\nhelloworld\r\n0\r\n\r\n",
            "5\r\nhell\r\n0\r\n\r\n", "5_0\r\nhello\r\n0\r\n\r\n", "5;\x00\r\nhello\r\n0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "\uff15\r\nhello\r\n0\r\n\r\n".encode().decode("latin-1"),
            "5" + ";" + "x" * 2000 + "\r\nhello\r\n0\r\n\r\n", "5,5\r\nhello\r\n0\r\n\r\n",
            "5\thello\r\n0\r\n\r\n",
        )
    ],
]  # fmt: skip

ACCEPTED: list[tuple[str, list[tuple[str, str]]]] = [
    (put(f"Content-Length: {LENGTH}", HIDDEN), [("/first", HIDDEN)]),
    (put(f"content-LENGTH:\t{LENGTH} ", HIDDEN), [("/first", HIDDEN)]),
    (put("Content-Length: 00000000"), [("/first", "")]),
    (chunked(f"{LENGTH:x}\r\n{HIDDEN}\r\n0\r\n\r\n"), [("/first", HIDDEN)]),
    (chunked(f"{LENGTH:X};a=b\r\n{HIDDEN}\r\n000\r\nX: y\r\nContent-Length: 5\r\n\r\n"), [("/first", HIDDEN)]),
    (chunked("1\r\nG\r\n4\r\nET /\r\n0\r\n\r\n"), [("/first", "GET /")]),
    (put("Transfer-Encoding: CHUNKED", "3\r\nabc\r\n0\r\n\r\n"), [("/first", "abc")]),
    (put("Content-Length: 3", "abc") + "\r\n", [("/first", "abc")]),
    (put("Content-Length: 3", "abc") * 3, [("/first", "abc")] * 3),
    (put("Content-Length: 0") + chunked("0\r\n\r\n") + put("Content-Length: 1", "x"),
     [("/first", ""), ("/first", ""), ("/first", "x")]),
    ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n" "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" * 5, [("/a", ""), ("/b", "")] * 5),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX:\r\nX: \t\r\n\r\n", [("/a", "")]),
    ("GET http://a/abs HTTP/1.1\r\nHost: a\r\n\r\n", [("/abs", "")]),
]  # fmt: skip
