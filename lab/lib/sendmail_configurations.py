"""Compares what mxray reads from sendmail.cf with what sendmail does with it, on one configuration after the other.

The judges are sendmail's own classes (`$=w` and `$=R` in its test mode), the sockets that the running daemon listens on,
and what it offers there (SIZE, STARTTLS). Every difference is printed, and is exit code 1.
"""
import json
import os
import re
import smtplib
import subprocess
import sys
import time

SENDMAIL = "/usr/libexec/sendmail/sendmail"
PID_FILE = "/run/sendmail/mta/sendmail.pid"
OWN = {"mail", "mail.harbour.example", "localhost"}
CERTIFICATE = ("define(`confSERVER_CERT', `/etc/ssl/mail/cert.pem')dnl\ndefine(`confSERVER_KEY', `/etc/ssl/mail/key.pem')dnl\n"
               "define(`confCACERT_PATH', `/etc/ssl/certs')dnl\ndefine(`confCACERT', `/etc/ssl/mail/cert.pem')dnl\n"
               "define(`confTLS_SRV_OPTIONS', `V')dnl\n")


def daemon(text):
    return f"DAEMON_OPTIONS(`{text}')dnl\n"


ONE = daemon("Name=MTA, Addr=127.0.0.1")
# m4 in front of the mailers, the contents of local-host-names, or the lines of sendmail.cf as they are.
CONFIGURATIONS = {
    "no daemon options": ("", ""),
    "all IPv4 addresses": (daemon("Name=MTA"), ""),
    "one address": (daemon("Name=MTA, Addr=203.0.113.25"), ""),
    "a name of /etc/hosts": (daemon("Name=MTA, Addr=mail.harbour.example"), ""),
    "two addresses": (daemon("Name=A, Addr=127.0.0.1") + daemon("Name=B, Addr=203.0.113.25"), ""),
    "IPv6": (daemon("Name=six, Family=inet6, Addr=2001:db8:113::25"), ""),
    "both families on loopback": (ONE + daemon("Family=inet6, Name=six, Addr=::1, Port=smtp"), ""),
    "ports by name and by number": (ONE + daemon("Name=S, Port=submission, M=E") + daemon("Name=X, Port=2525"), ""),
    "keys by their first letter": (daemon("N=MTA, A=127.0.0.1, P=26, F=inet"), ""),
    "no name": (daemon("Port=26") + daemon("Port=27, Addr=127.0.0.1"), ""),
    "an optional address": (ONE + daemon("Name=O, Addr=::1, Family=inet6, M=O"), ""),
    "a certificate without authorities": (
        "define(`confSERVER_CERT', `/etc/ssl/mail/cert.pem')dnl\ndefine(`confSERVER_KEY', `/etc/ssl/mail/key.pem')dnl\n" + ONE, ""),
    "STARTTLS": (CERTIFICATE + ONE, ""),
    "STARTTLS, not on every port": (CERTIFICATE + ONE + daemon("Name=n, Port=26, Addr=127.0.0.1, M=S"), ""),
    "TLS from the first byte": (CERTIFICATE + ONE + daemon("Name=TLSMTA, Port=smtps, M=s"), ""),
    "a largest size": (ONE + "define(`confMAX_MESSAGE_SIZE', `5000000')dnl\n", ""),
    "children": (ONE + "define(`confMAX_DAEMON_CHILDREN', `20')dnl\n" + daemon("Name=few, Port=26, children=3"), ""),
    "domains in a file": (ONE, "a.example # ours\n\n#no.example\nB.example\n"),
    "domains in the line": (ONE + "LOCAL_DOMAIN(`c.example d.example')dnl\n", "a.example\n"),
    "domains to relay for": (ONE + "RELAY_DOMAIN(`r.example 192.0.2')dnl\n", ""),
    "lines that go on": (ONE + "LOCAL_CONFIG\nCwe.example\n\tf.example\n# Cwno.example\nC{Mine}x.example\n", ""),
    "a smart host and a source": (ONE + "define(`SMART_HOST', `esmtp:[198.51.100.25]')dnl\n"
                                  "CLIENT_OPTIONS(`Family=inet, Addr=203.0.113.25')dnl\n", ""),
    "a socket in the file system": (ONE + daemon("Name=unix, Family=local, Addr=/run/sendmail/mta/smtp.sock"), ""),
}


def run(*command, text=None):
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def until(what, condition):
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.05)


def pid():
    try:
        with open(PID_FILE, encoding="utf-8") as file:
            return int(file.readline())
    except (FileNotFoundError, ValueError):
        return None


def stop():
    running = pid()
    if running and os.path.isdir(f"/proc/{running}"):
        os.kill(running, 15)
        until("sendmail ends", lambda: not os.path.isdir(f"/proc/{running}"))
    if os.path.exists(PID_FILE):
        os.unlink(PID_FILE)


def accepts():
    running = pid()
    return running and "accepting connections" in run("ps", "-o", "args=", "-p", str(running)).stdout


def listening():
    found = set()
    for line in run("ss", "-Hltnp").stdout.splitlines():
        if '"sendmail"' in line:
            address, port = line.split()[3].rsplit(":", 1)
            found.add((re.sub(r"%\w+", "", address).strip("[]"), int(port)))
    return found


def members(name):
    said = run(SENDMAIL, "-bt", text=f"$={name}\n").stdout
    words = said.split("<address>", 1)[1].replace("> ", "").split()
    return {word for word in words if re.search("[a-z]", word) and not word.startswith("[")}


def differences(m4, names):
    with open("/usr/share/sendmail/cf/debian/sendmail.mc", encoding="utf-8") as file:
        mc = [line for line in file if not re.search("conncontrol|ratecontrol|greet_pause|^DAEMON_OPTIONS", line)]
    at = next(index for index, line in enumerate(mc) if line.startswith("MAILER_DEFINITIONS"))
    # What belongs behind the mailers begins with LOCAL_CONFIG.
    head, _, tail = m4.partition("LOCAL_CONFIG\n")
    mc[at:at] = [head]
    if tail:
        mc.append("LOCAL_CONFIG\n" + tail)
    with open("/etc/mail/sendmail.mc", "w", encoding="utf-8") as file:
        file.writelines(mc)
    with open("/etc/mail/local-host-names", "w", encoding="utf-8") as file:
        file.write(names)
    cf = run("sh", "-c", "cd /etc/mail && m4 sendmail.mc >sendmail.cf")
    if cf.returncode != 0:
        yield f"m4: {cf.stdout}"
    started = run(SENDMAIL, "-bd", "-q10m", "-L", "sm-mta")
    if started.returncode != 0:
        yield f"does not start: {started.stdout}"
    until("sendmail runs", accepts)
    server = json.loads(run("mxray", "doctor", "--no-sessions", "--json").stdout)["evidence"]["servers"]["value"]["sendmail"]
    if server["problems"]:
        yield f"not understood: {server['problems']}"
    if server["master"].get("value", {}).get("pid") != pid():
        yield f"process: read {server['master']}, is {pid()}"
    wanted = {(address, listener["port"]) for listener in server["wanted"].values() for address in listener["addresses"]}
    if wanted != listening():
        yield f"read {sorted(wanted)}, listens on {sorted(listening())}"
    for name, kind in [("w", "local"), ("R", "relay")]:
        read = {domain["value"]["name"] for domain in server["domains"] if domain["value"]["kind"] == kind}
        lower = {word.lower() for word in read} - OWN
        if lower != {word.lower() for word in members(name)} - OWN:
            yield f"class {name}: read {sorted(read)}, is {sorted(members(name))}"
    for listener in server["wanted"].values():
        if not {"127.0.0.1", "0.0.0.0"} & set(listener["addresses"]) or listener["tls"] == "implicit":
            continue
        with smtplib.SMTP("127.0.0.1", listener["port"], "client.example", timeout=10) as session:
            session.ehlo()
            features = session.esmtp_features
        limit = server["size_limit"]
        size = 0 if limit == "absent" else limit["value"]["value"]
        if int(features.get("size") or 0) != size:
            yield f"size: read {limit}, offered {features.get('size')}"
        if ("starttls" in features) != (listener["tls"] != "none"):
            yield f"port {listener['port']}: read {listener['tls']}, offered {sorted(features)}"


def main():
    stop()
    wrong = 0
    for name, (m4, names) in CONFIGURATIONS.items():
        for difference in differences(m4, names):
            wrong += 1
            print(f"{name}: {difference}")
        stop()
    with open("/etc/mail/local-host-names", "w", encoding="utf-8"):
        pass
    print(f"{len(CONFIGURATIONS)} configurations, {wrong} differences")
    sys.exit(1 if wrong else 0)


main()
