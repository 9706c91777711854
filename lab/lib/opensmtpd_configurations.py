"""Compares what mxray reads from smtpd.conf with what smtpd does with it, on one configuration after the other.

smtpd prints nothing of its configuration: the judges are `smtpd -n`, the sockets that the running daemon listens on, and
what it offers there (SIZE, STARTTLS). Every difference is printed, and is exit code 1.
"""
import json
import os
import re
import smtplib
import subprocess
import sys
import time

PKI = 'pki mail.harbour.example cert "/etc/ssl/mail/cert.pem" key "/etc/ssl/mail/key.pem"\n'
END = 'action "x" maildir\nmatch for local action "x"\n'
FILES = {
    "/etc/smtpd.listen.conf": "listen on lo port 2525\nsize = \"3M\"\n",
    "/etc/smtpd.domains": "# ours\nexample.org\n\n  example.net   # and this\nexample.com\n",
}
# Configuration, and the domains that it makes the server responsible for.
CONFIGURATIONS = {
    "as Debian's package has it": ("\n".join([
        "table aliases file:/etc/aliases", "listen on localhost", 'action "local" maildir alias <aliases>',
        'action "relay" relay', 'match for local action "local"', 'match from local for any action "relay"\n']), []),
    "an interface": ("listen on eth0\n" + END, []),
    "an interface, IPv4 alone": ("listen on eth0 inet4\n" + END, []),
    "an interface, IPv6 alone, a port by name": ("listen on eth0 inet6 port submission\n" + END, []),
    "all addresses": ("listen on 0.0.0.0\nlisten on ::\n" + END, []),
    "addresses, one family": ("listen on 203.0.113.25 port 25\n" + END, []),
    "a name of /etc/hosts": ("listen on mail.harbour.example port smtp\n" + END, []),
    "TLS in all ways": (PKI + "\n".join(f"listen on lo {tls} pki mail.harbour.example" for tls in [
        "port 25 tls", "port 587 tls-require auth", "smtps auth", "port 2465 smtps", "port 26 tls-require verify"])
        + "\n" + END, []),
    "TLS without a name for the pki": (PKI + "listen on lo tls\nlisten on lo smtps\n" + END, []),
    "a macro, a continuation, comments": (
        'ip = "203.0.113.25"\nport_of = "port 2526"\nlisten on $ip \\\n    $port_of # behind\n# a comment \\\nlisten on lo\n'
        + END, []),
    "an include with a macro in it": (
        'include "/etc/smtpd.listen.conf"\nsmtp max-message-size $size\n' + END, []),
    "sizes": ("smtp max-message-size 10485760\nlisten on lo\n" + END, []),
    "a size with a point": ('smtp max-message-size "1.5M"\nlisten on lo\n' + END, []),
    "domains in the line, in a table, in a file": (
        'listen on lo\ntable d { example.edu, "example.info" }\ntable f file:/etc/smtpd.domains\naction x maildir\n'
        'action r relay\nmatch from any for domain "one.example" action x\n'
        'match from any for domain { two.example, three.example } action x\n'
        'match from any for domain <d> action x\nmatch from any for domain <f> action r\nmatch for local action x\n',
        ["one.example", "two.example", "three.example", "example.edu", "example.info", "example.org", "example.net",
         "example.com"]),
    "rules that let nobody else in": (
        'listen on lo\naction x maildir\nmatch for domain one.example action x\n'
        'match from any for domain two.example reject\nmatch auth from any for domain three.example action x\n'
        'match ! from local for domain four.example action x\nmatch from any for domain regex "five" action x\n',
        ["four.example"]),
    "a list over several lines": (
        'listen on lo\ntable d { "a.example"\n  "b.example", c.example }\naction x maildir\n'
        "match from any for domain <d> action x\n", ["a.example", "b.example", "c.example"]),
    "every option of a listener": (PKI + "\n".join([
        'table creds { "u" = "$6$x$y" }', 'table names { "127.0.0.1" = "lo.example" }', 'table who { "u" = "u@x.example" }',
        'filter "f" phase connect match !rdns junk',
        "listen on lo port 2587 tls pki mail.harbour.example auth-optional <creds> tag one hostname h.example filter f "
        "mask-src no-dsn senders <who> masquerade received-auth",
        "listen on lo port 2588 hostnames <names> proxy-v2 filter { f }",
        "listen on socket tag two mask-src\n"]) + END, []),
    "every kind of action": ("\n".join([
        "listen on lo", 'srs key "s3cret-one"', 'srs key backup "s3cret-two"', 'table a { "root" = "x" }',
        'table c { "l" = "u:s3cret-three" }', 'table s { 203.0.113.25 }', 'table u { "x" = "1000:1000:/tmp" }',
        'action a1 mbox alias <a>', 'action a2 maildir "~/Mail" junk ttl 1d', 'action a3 lmtp "/run/lmtp" rcpt-to user root',
        'action a4 mda "/bin/cat" userbase <u>', "action a5 forward-only", "action a6 expand-only virtual <a>",
        'action a7 relay helo h.example src <s> mail-from "@x.example" backup mx m.example',
        'action a8 relay host "smtp+tls://l@h.example:587" auth <c> tls no-verify srs ttl 2h',
        "match for local action a1", 'match from any for domain "x.example" action a6\n']), ["x.example"]),
    "what says nothing about listeners": ("\n".join([
        'admd "x.example"', "bounce warn-interval 1h, 2d", 'ca "c" cert "/etc/ssl/mail/cert.pem"',
        'mda wrapper "w" "/bin/sh -c \'%{mda}\'"', "mta max-deferred 50", "mta limit max-conn-per-host 3",
        "queue compression", "queue ttl 2d", "scheduler limit max-inflight 100", "smtp limit max-rcpt 10",
        "smtp ciphers \"HIGH\"", 'smtp sub-addr-delim "-"', "srs ttl 2d", "listen on lo\n"]) + END, []),
    "two ports on one interface": ("listen on lo port 25\nlisten on lo port 26\nlisten on lo port 27 tag t\n" + END, []),
    "a quote, a blank, an escape": ("listen on 'lo' port \"2525\\ \"\n" + END, None),
    "smtpd refuses a port that has no name": ("listen on lo port nosuchport\n" + END, None),
    "smtpd refuses all": ("listen on all\n" + END, None),
    "smtpd refuses what is not closed": ('listen on "lo\n' + END, None),
    "smtpd refuses a macro that is not defined": ("listen on $lan\n" + END, None),
    "smtpd refuses logins without TLS": ("listen on lo auth\n" + END, None),
}
SECRET = "s3cret"


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def until(what, condition):
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.05)


def stop():
    run("pkill", "-x", "smtpd")
    until("smtpd ends", lambda: run("pgrep", "-x", "smtpd").returncode != 0)


def listening():
    found = set()
    for line in run("ss", "-Hltnp").stdout.splitlines():
        if '"smtpd"' in line:
            address, port = line.split()[3].rsplit(":", 1)
            found.add((re.sub(r"%\w+", "", address).strip("[]"), int(port)))
    # The link's own address is left out on purpose: nobody sends mail to it.
    return {(address, port) for address, port in found if not address.startswith("fe80:")}


def offered(listener):
    """What a listener on loopback says of itself; nothing where TLS comes first."""
    if listener["tls"] == "implicit" or "proxy" in listener["service"] or listener["port"] == 2588:
        return None
    with smtplib.SMTP("127.0.0.1", listener["port"], "client.example", timeout=10) as session:
        session.ehlo()
        return session.esmtp_features


def differences(name, text, domains):
    with open("/etc/smtpd.conf", "w", encoding="utf-8") as file:
        file.write(text)
    valid = run("smtpd", "-n")
    if valid.returncode == 0:
        started = run("smtpd")
        if started.returncode != 0:
            yield f"does not start: {started.stdout}"
        until("smtpd runs", lambda: run("pgrep", "-f", "^smtpd: scheduler").returncode == 0 and listening())
    said = run("mxray", "doctor", "--json").stdout
    if SECRET in said:
        yield "a secret stands in the report"
    server = json.loads(said)["evidence"]["servers"]["value"]["opensmtpd"]
    problems = [f"{problem['at']['line']}: {problem['text']}" for problem in server["problems"]]
    if domains is None:
        if valid.returncode == 0:
            yield "smtpd takes it"
        if not problems:
            yield "smtpd refuses it, and nothing is told"
        return
    if valid.returncode != 0:
        yield f"smtpd refuses it: {valid.stdout}"
        return
    if problems:
        yield f"not understood: {problems}"
    wanted = {(address, listener["port"]) for listener in server["wanted"].values() for address in listener["addresses"]}
    if wanted != listening():
        yield f"read {sorted(wanted)}, listens on {sorted(listening())}"
    read = sorted(domain["value"]["name"] for domain in server["domains"])
    if [name for name in read if name != "mail.harbour.example"] != sorted(domains):
        yield f"domains: read {read}, wanted {sorted(domains)}"
    if not server["master"].get("value"):
        yield "its parent process was not found"
    for listener in server["wanted"].values():
        if "127.0.0.1" not in listener["addresses"]:
            continue
        features = offered(listener)
        if features is None:
            continue
        if int(features["size"]) != server["size_limit"]["value"]["value"]:
            yield f"size: read {server['size_limit']}, offered {features['size']}"
        if ("starttls" in features) != (listener["tls"] != "none"):
            yield f"port {listener['port']}: read {listener['tls']}, offered {sorted(features)}"


def main():
    for path, text in FILES.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    stop()
    wrong = 0
    for name, (text, domains) in CONFIGURATIONS.items():
        for difference in differences(name, text, domains):
            wrong += 1
            print(f"{name}: {difference}")
        stop()
        if os.path.exists("/run/smtpd.pid"):
            os.unlink("/run/smtpd.pid")
    print(f"{len(CONFIGURATIONS)} configurations, {wrong} differences")
    sys.exit(1 if wrong else 0)


main()
