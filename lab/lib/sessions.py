"""`mxray probe`, `talk` and `send` with the real servers of this machine. Every difference is printed, and is exit code 1.

NAME is the server's; TARGETS and MECHANISMS are lists with commas, and what is not offered at a target is left out there.
At each target each mechanism logs in with the password, and many are refused with another one.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

options = argparse.ArgumentParser()
options.add_argument("name")
options.add_argument("user")
options.add_argument("password")
options.add_argument("targets", type=lambda text: [word for word in text.split(",") if word])
options.add_argument("mechanisms", type=lambda text: text.split(","))
options.add_argument("--talk", type=int, nargs="*", default=[], help="ports at which a conversation is held")
options.add_argument("--send", help="hand a message over for this address")
options.add_argument("--lmtp", help="HOST:PORT of an LMTP service that takes the message as well")
options.add_argument("--mailbox", help="a file, or a directory, in which it arrives")
o = options.parse_args()

WRONG = "not-the-secret-7f3"
MXRAY = ["/usr/local/bin/mxray"]
os.environ.update(LAB_GOOD=o.password, LAB_WRONG=WRONG, STATE_DIRECTORY="/proc/nonexistent")
differences = []


def differs(*words):
    differences.append(" ".join(map(str, words)))


def mxray(*argv, text=None):
    return subprocess.run([*MXRAY, *argv], input=text, capture_output=True, text=True, timeout=120)


def probe(target, *argv):
    """The report, and the logins of all addresses."""
    done = mxray("probe", target, "--json", *argv)
    for secret in (o.password, WRONG):
        if secret in done.stdout + done.stderr:
            differs(target, argv, "shows a password")
    try:
        report = json.loads(done.stdout)
    except ValueError:
        sys.exit(f"probe {target} {argv}: no report ({done.returncode}): {done.stdout[:300]} {done.stderr[:300]}")
    logins = []
    for endpoint in report["evidence"]["endpoints"].values():
        for address in endpoint["addresses"].values():
            session = address["session"].get("value", {}) if isinstance(address["session"], dict) else {}
            session = session.get("smtp") or session.get("mailbox") or {}
            login = session.get("auth") or session.get("login")
            logins.append(login.get("value") if isinstance(login, dict) else None)
    return done.returncode, report, logins


def codes(report):
    return [cause["code"] for cause in report["causes"]]


def offered(target):
    """Mechanisms by what the transcript says behind TLS."""
    text = mxray("probe", "-v", "-4", target).stdout.upper()
    return {mechanism for mechanism in o.mechanisms if mechanism in text}


def logs_in(target, mechanism):
    code, report, logins = probe(target, "--user", o.user, "--password", "env:LAB_GOOD", "--mechanism", mechanism)
    if code or report["verdict"] != "healthy" or codes(report):
        differs(target, mechanism, "with the right password:", code, report["verdict"], report["causes"])
    if not logins or any(not login or login["mechanism"] != mechanism for login in logins):
        differs(target, mechanism, "was not used:", logins)
    if mechanism.startswith("SCRAM") and any(not login or login["server_proved_itself"] is not True for login in logins):
        differs(target, mechanism, "did not have the server prove itself:", logins)


def is_refused(target, mechanism):
    # Dovecot answers an address that fails often later each time: an answer may not come in time (unknown, then), or Postfix
    # loses its patience with Dovecot and says that it does not know now.
    for _ in range(3):
        code, report, logins = probe(target, "-4", "--user", o.user, "--password", "env:LAB_WRONG", "--mechanism", mechanism)
        meanings = [cause["data"].get("meaning") for cause in report["causes"]]
        unseen = "AUTH106" in [unseen["what"] for unseen in report["unseen"]]
        if not (unseen and not meanings) and not set(meanings) & {"later", "service_down"}:
            break
    if code != 1 or codes(report) != ["AUTH106"]:
        differs(target, mechanism, "with a wrong password:", code, [cause["summary"] for cause in report["causes"]])
        return
    cause = report["causes"][0]
    said = [json.dumps(login["reply"]) for login in logins if login]
    if "server says" not in cause["summary"].lower() or not said:
        differs(target, mechanism, "does not say what the server says:", cause["summary"])
    # RFC 7628 section 3.2.2: what an OAuth server says of a failure is JSON.
    if mechanism in ("OAUTHBEARER", "XOAUTH2") and '"status"' not in cause["data"].get("detail", ""):
        differs(target, mechanism, "does not decode the refusal:", cause["summary"])


def talks(port):
    done = mxray("talk", f"{o.name}:{port}", text="EHLO client.elsewhere.example\nQUIT\n")
    if done.returncode or "250" not in done.stdout or "221" not in done.stdout:
        differs("talk", port, done.returncode, done.stdout[-300:], done.stderr[-300:])


def arrived(token):
    place = Path(o.mailbox)
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return any(token.encode() in path.read_bytes() for path in files)


def sends(target, *login):
    token = f"sent-{os.getpid()}-{target.rpartition(':')[2]}"
    argv = ["--server", target, "--from", f"{o.user if '@' in o.user else 'alice@harbour.example'}", "--to", o.send, "--text", token]
    done = mxray("send", *argv, *login)
    if done.returncode:
        differs("send", target, done.returncode, done.stdout[-400:], done.stderr[-300:])
    end = time.monotonic() + 20
    while not arrived(token):
        if time.monotonic() > end:
            differs("send", target, "did not arrive in", o.mailbox)
            return
        time.sleep(0.05)


pairs = []
for target in o.targets:
    mechanisms = offered(target)
    if not mechanisms:
        differs(target, "offers none of", o.mechanisms)
    pairs += [(target, mechanism) for mechanism in sorted(mechanisms)]
# A wrong password is answered late. Every second pair: with seven mechanisms each of them is refused at half of the targets.
with ThreadPoolExecutor(3) as pool:
    good = [pool.submit(logs_in, *pair) for pair in pairs]
    bad = [pool.submit(is_refused, *pair) for pair in pairs[::2]]
    for done in good + bad:
        done.result()
for port in o.talk:
    talks(port)
if o.send:
    sends(f"{o.name}:25")
    login = ("--user", o.user, "--password", "env:LAB_GOOD")
    for port, tls in ((587, "required"), (465, "implicit")):
        if any(target.startswith("submission") for target in o.targets):
            sends(f"{o.name}:{port}", "--tls", tls, *login)
if o.lmtp:
    code, report, _ = probe(f"lmtp://{o.lmtp}")
    if code or codes(report):
        differs("lmtp", o.lmtp, code, report["causes"])
    sends(o.lmtp, "--lmtp")
print(f"{len(pairs)} logins at {len(o.targets)} targets, {len(pairs[::2])} of them also with a wrong password, {len(o.talk)} conversations")
for line in differences:
    print(line)
sys.exit(1 if differences else 0)
