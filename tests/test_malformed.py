"""Responses byte for byte: malformed ones are refused, unusual ones are accepted."""

import gzip
import random

import pytest
from test_download import BODY, URL, raw_server, settings_with

from pipeline.errors import SourceError
from pipeline.http.client import Client
from pipeline.settings import Settings

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture
def get(here: Settings, monkeypatch, tmp_path):
    def get(reply: bytes) -> bytes:
        with raw_server(reply) as url:
            client = Client(settings_with(monkeypatch, url, FETCH_PATIENCE="0"))
            client.get(URL, tmp_path / "file")
            return (tmp_path / "file").read_bytes()

    return get


REFUSED = {
    "negative length": OK + b"Content-Length: -12\r\n\r\n" + BODY,
    "negative length of zero": OK + b"Content-Length: -0\r\n\r\n" + BODY,
    "signed length": OK + b"Content-Length: +12\r\n\r\n" + BODY,
    "rubbish for a length": OK + b"Content-Length: twelve\r\n\r\n" + BODY,
    "letters behind the length": OK + b"Content-Length: 12a\r\n\r\n" + BODY,
    "a length too long to be one": OK + b"Content-Length: " + b"1" * 40 + b"\r\n\r\n" + BODY,
    "no length in the length": OK + b"Content-Length:\r\n\r\n" + BODY,
    "two lengths": OK + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY,
    "two lengths in one": OK + b"Content-Length: 12, 5\r\n\r\n" + BODY,
    "length too large": OK + b"Content-Length: 13\r\n\r\n" + BODY,
    "NUL in a header": OK + LENGTH + b"Server: a\0b\r\n\r\n" + BODY,
    "NUL in a name": OK + LENGTH + b"Ser\0ver: ab\r\n\r\n" + BODY,
    "carriage return in a header": OK + LENGTH + b"Server: a\rb\r\n\r\n" + BODY,
    "a header smuggled by a return": OK + LENGTH + b"A: a\rB: b\r\n\r\n" + BODY,
    "a header without a colon": OK + b"Server ab\r\n" + LENGTH + b"\r\n" + BODY,
    "a last header without a colon": OK + LENGTH + b"Server ab\r\n\r\n" + BODY,
    "gzip transfer": OK + b"Transfer-Encoding: gzip\r\n\r\n" + gzip.compress(BODY),
    "chunked before gzip": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKS,
    "gzip before chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "gzip and chunked apart": OK + b"Transfer-Encoding: gzip\r\n" + CHUNKED + b"\r\n" + CHUNKS,
    "chunked twice": OK + CHUNKED + CHUNKED + b"\r\n" + CHUNKS,
    "identity transfer": OK + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY,
    "chunks and a length": OK + CHUNKED + LENGTH + b"\r\n" + CHUNKS,
    "no last chunk": OK + CHUNKED + b"\r\n" + CHUNKS[:-5],
    "no number for a chunk": OK + CHUNKED + b"\r\nxyz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a blank before the colon": OK + b"Content-Length : 12\r\n\r\n" + BODY,
    "a head that begins with a blank": OK + b" Server: a\r\n" + LENGTH + b"\r\n" + BODY,
    "200 with a range": OK + LENGTH + b"Content-Range: bytes 0-11/20\r\n\r\n" + BODY,
    "200 with the range of all": OK + LENGTH + b"Content-Range: bytes 0-11/12\r\n\r\n" + BODY,
    "200 with no range at all": OK + LENGTH + b"Content-Range: bytes */12\r\n\r\n" + BODY,
    "200 in parts": OK + LENGTH + b"Content-Type: Multipart/ByteRanges; boundary=x\r\n\r\n" + BODY,
    "negative chunk": OK + CHUNKED + b"\r\n-5\r\n" + BODY + b"\r\n0\r\n\r\n",
    "two places": b"HTTP/1.1 302 Found\r\nLocation: https://data.example.gov/a\r\n"
    b"Location: https://data.example.gov/b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.2": OK.replace(b"1.1", b"1.2") + LENGTH + b"\r\n" + BODY,
    "HTTP/1.1000": OK.replace(b"1.1", b"1.1" + b"0" * 97) + LENGTH + b"\r\n" + BODY,
    "HTTP/0.9": BODY,
    "HTTP/2": OK.replace(b"1.1", b"2") + LENGTH + b"\r\n" + BODY,
    "no status": b"HTTP/1.1 OK\r\n" + LENGTH + b"\r\n" + BODY,
    "status of two digits": b"HTTP/1.1 20 OK\r\n" + LENGTH + b"\r\n" + BODY,
    "400": b"HTTP/1.1 400 Bad Request\r\n" + LENGTH + b"\r\n" + BODY,
    "401": b"HTTP/1.1 401 Unauthorized\r\n" + LENGTH + b"\r\n" + BODY,
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "206": b"HTTP/1.1 206 Partial Content\r\n" + LENGTH + b"\r\n" + BODY,
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "an unfinished head": OK + LENGTH,
    "nothing": b"",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_answer_is_refused(get, name):
    with pytest.raises(SourceError) as caught:
        get(REFUSED[name])
    assert "data.example.gov" in caught.value.what
    assert caught.value.what.isprintable()


TAKEN = {
    "plain": OK + LENGTH + b"\r\n" + BODY,
    "HTTP/1.0": OK.replace(b"1.1", b"1.0") + LENGTH + b"\r\n" + BODY,
    "HTTP/1.0 until the end": OK.replace(b"1.1", b"1.0") + b"\r\n" + BODY,
    "HTTP/1.1 until the end": OK + b"Connection: close\r\n\r\n" + BODY,
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n" + BODY,
    "an empty reason": b"HTTP/1.1 200 \r\n" + LENGTH + b"\r\n" + BODY,
    "a long reason": b"HTTP/1.1 200 It Is All Very Well: Indeed\r\n" + LENGTH + b"\r\n" + BODY,
    "names in lower case": OK + LENGTH.lower() + b"\r\n" + BODY,
    "names in upper case": OK + LENGTH.upper() + b"\r\n" + BODY,
    "no space behind the colon": OK + b"Content-Length:12\r\n\r\n" + BODY,
    "many spaces": OK + b"Content-Length: \t  12  \r\n\r\n" + BODY,
    "zeros before the length": OK + b"Content-Length: 0012\r\n\r\n" + BODY,
    "bare line feeds": (OK + LENGTH + b"Server: x\r\n\r\n").replace(b"\r", b"") + BODY,
    "a folded header": OK + b"Server: a\r\n  b\r\n" + LENGTH + b"\r\n" + BODY,
    "an empty header": OK + b"Server:\r\n" + LENGTH + b"\r\n" + BODY,
    "colons in a header": OK + b"X-Time: 10:20:30\r\n" + LENGTH + b"\r\n" + BODY,
    "latin-1 in a header": OK + b"Server: caf\xe9\r\n" + LENGTH + b"\r\n" + BODY,
    "UTF-8 in a header": OK + "Server: café\r\n".encode() + LENGTH + b"\r\n" + BODY,
    "a tab in a header": OK + b"Server: a\tb\r\n" + LENGTH + b"\r\n" + BODY,
    "a long header": OK + b"Server: " + b"x" * 20_000 + b"\r\n" + LENGTH + b"\r\n" + BODY,
    "many headers": OK + b"".join(b"X-%d: y\r\n" % n for n in range(60)) + LENGTH + b"\r\n" + BODY,
    "several cookies": OK + b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" + LENGTH + b"\r\n" + BODY,
    "a broken cookie": OK + b"Set-Cookie: ;;=;a\r\n" + LENGTH + b"\r\n" + BODY,
    "an impossible date": OK + b"Date: never\r\nExpires: 0\r\n" + LENGTH + b"\r\n" + BODY,
    "a weak ETag": OK + b'ETag: W/"a"\r\n' + LENGTH + b"\r\n" + BODY,
    "no range": OK + b"Accept-Ranges: none\r\n" + LENGTH + b"\r\n" + BODY,
    "kept alive": OK + b"Connection: keep-alive\r\n" + LENGTH + b"\r\n" + BODY,
    "continue before": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + b"\r\n" + BODY,
    "chunks": OK + CHUNKED + b"\r\n" + CHUNKS,
    "Chunked": OK + b"Transfer-Encoding: Chunked\r\n\r\n" + CHUNKS,
    "chunks of one byte": OK
    + CHUNKED
    + b"\r\n"
    + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
    + b"0\r\n\r\n",
    "chunks with zeros before": OK + CHUNKED + b"\r\n000" + CHUNKS,
    "chunks in upper case": OK + CHUNKED + b"\r\n" + CHUNKS.replace(b"c\r", b"C\r", 1),
    "an extension of a chunk": OK + CHUNKED + b"\r\n" + CHUNKS.replace(b"c\r", b"c;a=b\r", 1),
    "a trailer": OK + CHUNKED + b"Trailer: X\r\n\r\n" + CHUNKS[:-2] + b"X: y\r\n\r\n",
    "more than was announced": OK + LENGTH + b"\r\n" + BODY + b"more",
    "gzip": OK
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(BODY))
    + gzip.compress(BODY),
    "identity": OK + b"Content-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY,
    "any media type": OK + b"Content-Type: text/csv; charset=utf-8\r\n" + LENGTH + b"\r\n" + BODY,
}


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_answer_is_taken_whole(get, name):
    assert get(TAKEN[name]) == BODY


# Sizes that only `int(…, 16)` accepts, and sizes that nobody accepts.
SIZES = [
    b"0x%x",
    b"0X%x",
    b"0_%x",
    b" %x",
    b"\t%x",
    b"+%x",
    b"-%x",
    b"0x0_%x",
    b"\x0b%x",
    b"\x0c%x",
]
SIZES += [b"%x\0", b"%x\x0b", b"%x\r", b"%x ;a\rb", b"%xh", b"%x,%x", b"", b"\xef\xbc\x97", b'"%x"']
SIZES += [b"0" * 17 + b"%x", b"%x\x85", b"%x\xa0", b"0b1%x"]
ENDS = [b"", b"\n", b"\r", b"\n\r", b"\r\r\n", b"xy", b"\r\nx", b"  "]
TRAILERS = [
    b"",
    b"\r",
    b"\n",
    b"x\r\n\r\n",
    b"X: y\r\n",
    b"X: y\n\r\n",
    b" X: y\r\n\r\n",
    b"X y\r\n\r\n",
]
TRAILERS += [b": y\r\n\r\n", b"X: a\0b\r\n\r\n", b"X: a\rb\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"]


def chunked(body: bytes, random_: random.Random) -> list[list[bytes]]:
    """A body in random chunks: for each its size, its data, and the line ends of both."""
    chunks = []
    while body:
        size = random_.randint(1, len(body))
        written = random_.choice([b"%x", b"%X", b"00%x"]) % size
        extension = random_.choice([b"", b"", b";a=b", b' ;a="b c"', b"  "])
        chunks.append([written + extension, b"\r\n", body[:size], b"\r\n"])
        body = body[size:]
    return [*chunks, [random_.choice([b"0", b"000", b"0;last"]), b"\r\n", b"", b"\r\n"]]


def damage(chunks: list[list[bytes]], random_: random.Random) -> None:
    """Damage one size, one line end or the trailer."""
    chunk = random_.choice(chunks)
    what = random_.choice(["size", "end of the size", "end of the data"])
    if what == "size":
        wrong = random_.choice(SIZES)
        size = int(chunk[0].split(b";")[0], 16)
        chunk[0] = wrong % ((size,) * wrong.count(b"%x"))
    elif what == "end of the size":
        chunk[1] = random_.choice([b"\n", b"\r", b"", b"\r\r\n"])
    else:
        chunk[3] = random_.choice(TRAILERS if chunk is chunks[-1] else ENDS)


def test_random_chunks_are_put_together_and_one_damage_is_refused(get, is_long):
    random_ = random.Random(34)
    for _ in range(2000 if is_long else 120):
        chunks = chunked(BODY, random_)
        head = OK + CHUNKED + b"\r\n"
        assert get(head + b"".join(b"".join(chunk) for chunk in chunks)) == BODY
        damage(chunks, random_)
        reply = b"".join(b"".join(chunk) for chunk in chunks)
        with pytest.raises(SourceError):
            pytest.fail(f"{get(head + reply)} of {reply}")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [len(BODY), 0])
def test_a_size_that_is_none_is_refused(get, size, number):
    size = size % ((number,) * size.count(b"%x"))
    last = b"" if number == 0 else b"0\r\n\r\n"
    chunk = b"%b\r\n%b\r\n" % (size, BODY[:number])
    whole = b"" if number else b"%x\r\n%b\r\n" % (len(BODY), BODY)
    with pytest.raises(SourceError):
        get(OK + CHUNKED + b"\r\n" + whole + chunk + last)


def test_there_are_enough_of_both():
    assert len(REFUSED) >= 14
    assert len(TAKEN) >= 36
