"""Sends a message and says how it went; a refusal is printed and is exit code 1."""
import argparse
import smtplib
import ssl
import sys

options = argparse.ArgumentParser()
options.add_argument("--host", required=True)
options.add_argument("--port", type=int, default=25)
options.add_argument("--from", dest="sender", required=True)
options.add_argument("--to", required=True)
options.add_argument("--token", default="lab")
options.add_argument("--user")
options.add_argument("--password")
options.add_argument("--until", choices=["ehlo", "mail", "rcpt", "data"], default="data", help="stop after this step")
options.add_argument("--count", type=int, default=1, help="so many messages in one session")
options.add_argument("--timeout", type=float, default=10)
o = options.parse_args()
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def need(answer):
    code, text = answer
    if code >= 400 or code < 0:
        print(code, text.decode(errors="replace"))
        sys.exit(1)


try:
    name = "client.elsewhere.example"
    if o.port == 465:
        session = smtplib.SMTP_SSL(o.host, o.port, name, timeout=o.timeout, context=context)
    else:
        session = smtplib.SMTP(o.host, o.port, name, timeout=o.timeout)
    need(session.ehlo())
    if o.user:
        if o.port != 465:
            session.starttls(context=context)
        session.login(o.user, o.password)
    if o.until == "ehlo":
        sys.exit(0)
    for number in range(o.count):
        need(session.mail(o.sender))
        if o.until == "mail":
            sys.exit(0)
        need(session.rcpt(o.to))
        if o.until == "rcpt":
            sys.exit(0)
        token = o.token if o.count == 1 else f"{o.token}-{number}"
        text = (
            f"From: <{o.sender}>\r\nTo: <{o.to}>\r\nSubject: {token}\r\n"
            f"Date: Mon, 06 Jan 2025 10:00:00 +0000\r\nMessage-ID: <{token}@elsewhere.example>\r\n\r\nlab {token}\r\n"
        )
        need(session.data(text))
    session.quit()
except (OSError, smtplib.SMTPException) as error:
    print(type(error).__name__, error)
    sys.exit(1)
