"""Signs a message with DKIM (RFC 6376), relaxed for the header and simple for the body, by openssl alone: a signer that shares nothing with what is tested.

usage: sign.py DOMAIN SELECTOR KEY [--sha1] [--expired] <message >signed
Line ends become CRLF. With --expired the signature ended an hour ago.
"""
import base64
import hashlib
import re
import subprocess
import sys
import time

domain, selector, key = sys.argv[1:4]
name = "sha1" if "--sha1" in sys.argv else "sha256"
message = sys.stdin.buffer.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
head, _, body = message.partition(b"\r\n\r\n")


def relaxed(field):
    """Section 3.4.2."""
    field_name, _, value = field.partition(b":")
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" \t")
    return field_name.strip().lower() + b":" + value


# Section 3.4.3: empty lines at the end count as one line end.
canonical = body.rstrip(b"\r\n") + b"\r\n"
digest = base64.b64encode(hashlib.new(name, canonical).digest()).decode()
fields = re.split(rb"\r\n(?![ \t])", head)
signed = [field for field in fields if field.split(b":")[0].lower() in (b"from", b"to", b"subject", b"date")]
names = ":".join(field.split(b":")[0].decode() for field in signed)
now = int(time.time())
times = f" t={now - 7200}; x={now - 3600};" if "--expired" in sys.argv else f" t={now};"
own = f"DKIM-Signature: v=1; a=rsa-{name}; c=relaxed/simple; d={domain}; s={selector};{times} h={names}; bh={digest}; b="
# Signed from the bottom up (section 5.4.2); no name stands twice here.
text = b"".join(relaxed(field) + b"\r\n" for field in signed) + relaxed(own.encode())
value = subprocess.run(["openssl", "dgst", f"-{name}", "-sign", key], input=text, stdout=subprocess.PIPE, check=True).stdout
sys.stdout.buffer.write(own.encode() + base64.b64encode(value) + b"\r\n" + message)
