"""A far mail server: takes everything, unless told otherwise, and writes tokens to a file. `--delay` is slow."""
import argparse
import asyncio
import base64
import binascii
import re
import ssl
import sys

options = argparse.ArgumentParser()
options.add_argument("--listen", action="append", required=True, help="ADDRESS or ADDRESS@PORT")
options.add_argument("--file", default="/run/lab/sink.mbox")
options.add_argument("--delay", type=float, default=0.0, help="seconds before the answer to end of data")
options.add_argument("--greeting", default="220 far.elsewhere.example ESMTP lab")
options.add_argument("--rcpt", default="250 2.1.5 ok", help="the answer to RCPT")
options.add_argument("--data", default="250 2.0.0 taken", help="the answer to the end of data")
options.add_argument("--login", default="", help="offer AUTH PLAIN, and answer it with this")
options.add_argument("--user", default="", help="offer AUTH PLAIN, and take this user with this password alone")
options.add_argument("--password", default="")
options.add_argument("--ehlo", action="append", default=[], help="announce this, too")
options.add_argument("--tls", metavar="FILE", help="offer STARTTLS with this certificate and key")
options.add_argument("--ready", action="store_true", help="say ready and end with standard input")
o = options.parse_args()
context = None
if o.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(o.tls)


def login(answer):
    """What is said to a login: the same to everybody, or what the password asks for."""
    if not o.user:
        return o.login
    try:
        who, user, password = base64.b64decode(answer, validate=True).decode().split("\0")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "501 5.5.2 malformed"
    if who in ("", user) and (user, password) == (o.user, o.password):
        return "235 2.7.0 ok"
    return "535 5.7.8 Error: authentication failed"


async def session(reader, writer):
    async def say(line):
        writer.write(line.encode() + b"\r\n")
        await writer.drain()

    under_tls = False
    try:
        await say(o.greeting)
        if o.greeting.startswith("421"):
            writer.close()
            return
        while line := await reader.readline():
            verb = line.strip().upper()
            if verb.startswith(b"EHLO"):
                await say("250-far.elsewhere.example")
                if context and not under_tls:
                    await say("250-STARTTLS")
                if o.login or o.user:
                    await say("250-AUTH PLAIN")
                for line in o.ehlo:
                    await say(f"250-{line}")
                await say("250 8BITMIME")
            elif verb == b"DATA":
                await say("354 go on")
                lines = []
                while (line := await reader.readline()) not in (b".\r\n", b""):
                    lines.append(line)
                body = b"".join(lines)
                await asyncio.sleep(o.delay)
                tokens = re.findall(rb"^lab (\S+)", body, re.M)
                signed = " DKIM" if re.search(rb"^DKIM-Signature:", body, re.M | re.I) else ""
                if o.data.startswith("2"):
                    with open(o.file, "a") as file:
                        for token in tokens:
                            file.write(f"{token.decode()}{signed}\n")
                await say(o.data)
            elif verb == b"STARTTLS" and context and not under_tls:
                await say("220 2.0.0 begin")
                await writer.start_tls(context)
                under_tls = True
            elif verb.startswith(b"AUTH") and (o.login or o.user):
                if verb == b"AUTH PLAIN":
                    await say("334 ")
                    answer = (await reader.readline()).strip()
                else:
                    answer = line.split()[-1]
                await say(login(answer))
            elif verb.startswith(b"RCPT"):
                await say(o.rcpt)
            elif verb == b"QUIT":
                await say("221 bye")
                break
            else:
                await say("250 2.0.0 ok")
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    writer.close()


async def until_input_ends():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main():
    for where in o.listen:
        address, _, port = where.partition("@")
        await asyncio.start_server(session, address, int(port or 25), backlog=1000)
    if o.ready:
        print("ready", flush=True)
        await until_input_ends()
    else:
        await asyncio.Event().wait()


asyncio.run(main())
