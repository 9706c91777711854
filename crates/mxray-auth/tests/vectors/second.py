# dkimpy's opinion of one case a line: bytes in hexadecimal digits in, and out. Empty bytes are a dash.
#
#   canon MESSAGE                      the body, simple and relaxed, then every field in both forms
#   sign MESSAGE HEAD BODY PARTLY KEY  the signature field that dkimpy makes, over what there is of the body where PARTLY is 1
#   verify MESSAGE RECORD              1 or 0
#
# An answer that begins with ! says why there is none.
import sys

sys.path.insert(0, sys.argv[1])

import dkim  # noqa: E402
from dkim.canonicalization import Relaxed, Simple  # noqa: E402

FIELDS = [b"from", b"to", b"subject", b"x-a", b"x-again", b"x-again", b"list-id"]


def read(text):
    return b"" if text == "-" else bytes.fromhex(text)


def shown(data):
    return data.hex() or "-"


def canon(message):
    fields, body = dkim.rfc822_parse(message)
    out = [Simple.canonicalize_body(body), Relaxed.canonicalize_body(body)]
    for form in (Simple, Relaxed):
        out += [name + b":" + value for name, value in form.canonicalize_headers([tuple(field) for field in fields])]
    return " ".join(shown(data) for data in out)


def sign(message, head, body, partly, key):
    made = dkim.sign(
        message, b"a", b"example.com", key, canonicalize=(head, body), include_headers=FIELDS, length=partly == b"1"
    )
    return shown(made)


def verify(message, record):
    return "1" if dkim.verify(message, dnsfunc=lambda name, timeout=5: record) else "0"


for line in sys.stdin:
    what, *words = line.split()
    try:
        print({"canon": canon, "sign": sign, "verify": verify}[what](*[read(word) for word in words]))
    except Exception as error:
        print("!", type(error).__name__, str(error).replace("\n", " "))
