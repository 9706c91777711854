"""Compares what mxray reads of rspamd's files with what rspamd makes of them, on one configuration after the other.

The judge is `rspamadm configdump --json`, which mxray itself never runs. Every difference is printed, and is exit code 1.
"""
import json
import os
import shutil
import subprocess
import sys

ETC = "/etc/rspamd"
SIGN, SIGN_OVER = "local.d/dkim_signing.conf", "override.d/dkim_signing.conf"
PROXY, PROXY_OVER = "local.d/worker-proxy.inc", "override.d/worker-proxy.inc"
LOCAL, OVER = "rspamd.conf.local", "rspamd.conf.local.override"
DOMAIN = 'domain { example.org { selector = "a"; path = "/k/a.key"; } }\n'
# Files of each configuration, below /etc/rspamd.
CONFIGURATIONS = {
    "as the package has it": {},
    "a path and a selector": {SIGN: 'path = "/k/$domain.$selector.key";\nselector = "s2026";\n'},
    "a path with a variable": {SIGN: 'path = "${DBDIR}/keys/$domain.key"; selector = x\n'},
    "single quotes keep variables": {SIGN: "path = '/k/${DBDIR}/$domain.key';\n"},
    "one domain": {SIGN: DOMAIN},
    "domains twice are merged": {SIGN: DOMAIN + 'domain { example.net { selector: b; path: /k/b.key } }\n'},
    "several selectors": {SIGN: 'domain { example.org { selectors [ { selector = "x"; path = "/k/x" }, '
                                '{ selector = y, path = /k/y } ] } }\n'},
    "override takes the domains' place": {SIGN: DOMAIN, SIGN_OVER: 'domain { example.com { path = "/k/c"; } }\n'},
    "a value twice": {SIGN: 'selector = "one";\nselector = "two";\n'},
    "truth values": {SIGN: "sign_local = off;\nsign_authenticated no\nuse_esld = false; try_fallback: yes\n"},
    "switched off": {SIGN: "enabled = false;\n"},
    "comments and a heredoc": {SIGN: 'selector = "a" # = "b"\n/* selector = "c" /* d */ */\npath = <<EOD\n/k/h.key\nEOD\n'
                                     'use_domain = "envelope"; # last\n'},
    "a section in the local file": {LOCAL: "dkim_signing { use_esld = false; selector = early; }\n"},
    "a section in the overriding file": {OVER: 'dkim_signing { selector = "only"; }\n', SIGN: DOMAIN},
    "an include of one's own": {SIGN: '.include(try=true) "$LOCAL_CONFDIR/more.inc"\n.include "/etc/rspamd/less.inc"\n',
                                "more.inc": 'selector = "more";\n', "less.inc": DOMAIN},
    "another socket": {PROXY: 'bind_socket = "127.0.0.1:11999";\n'},
    "two sockets, one of them a file": {PROXY: 'bind_socket = "*:11999";\nbind_socket = "/run/rspamd/m.sock mode=0660";\n'},
    "a list of sockets": {PROXY: 'bind_socket = ["localhost:12001", "[::1]:12002"];\n'},
    "no milter": {PROXY: "milter = no;\n"},
    "the milter is off": {PROXY_OVER: "enabled = false;\n"},
    "no process for it": {PROXY: "count = -1;\n"},
    "a second worker": {LOCAL: 'worker "rspamd_proxy" { bind_socket = "localhost:12001"; milter = true; count = 1; }\n'},
    "a worker in the old form": {LOCAL: 'worker {\n  type = "rspamd_proxy"; bind_socket = "localhost:12000"; milter = on\n}\n'},
    "a priority that is lower than local.d's": {
        LOCAL: '.include(priority=0; duplicate=merge) "$CONFDIR/low.inc"\n', "low.inc": "dkim_signing { selector = low }\n"},
}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def dump(section):
    """All objects of a section, one after the other; `None`: rspamd refuses the configuration."""
    done = run("rspamadm", "configdump", "-j", section)
    if done.returncode != 0:
        return None
    text, objects, decoder = done.stdout.strip(), [], json.JSONDecoder()
    while text.startswith(("{", "[")):
        value, end = decoder.raw_decode(text)
        objects.append(value)
        text = text[end:].strip()
    return objects


def in_a_list(value):
    return value if isinstance(value, list) else [value]


def milter_sockets(objects):
    found = set()
    for worker in objects:
        named = {worker["type"]: worker} if isinstance(worker.get("type"), str) else worker
        for kind, one in named.items():
            for one in in_a_list(one):
                off = one.get("enabled") is False or one.get("count", 1) < 0
                if kind == "rspamd_proxy" and one.get("milter") is True and not off:
                    found.update(in_a_list(one["bind_socket"]))
    return {socket.split()[0].replace("*", "0.0.0.0") for socket in found}


def read_sockets(signer):
    def text(socket):
        if "unix" in socket:
            return socket["unix"]["path"]
        host, port = socket["inet"]["host"], socket["inet"]["port"]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if signer["sockets"] == "absent":
        return set()
    return {text(socket) for socket in signer["sockets"]["value"]}


def plain(value):
    value = in_a_list(value)[-1]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text, text)


def keys_of(options):
    """The names of all keys of `domain`, and their files."""
    path, selector = plain(options.get("path", "/var/lib/rspamd/dkim/$domain.$selector.key")), plain(options["selector"])
    found = set()
    for domain, own in options.get("domain", {}).items():
        uses = list(in_a_list(own.get("selectors", [])))
        if not uses or "selector" in own or "path" in own:
            uses.append(own)
        for use in uses:
            name = use.get("selector", selector)
            file = use.get("path", path).replace("$domain", domain).replace("$selector", name)
            found.add((file, f"{name}._domainkey.{domain}"))
    return found


def differences():
    signer = json.loads(run("mxray", "doctor", "--json").stdout)["evidence"]["signers"]["value"]["rspamd"]
    workers, sections = dump("worker"), dump("dkim_signing")
    if workers is None or sections is None:
        if not signer["problems"]:
            yield "rspamd refuses it, and nothing is told"
        return
    if signer["problems"]:
        yield f"not understood: {signer['problems']}"
    if read_sockets(signer) != milter_sockets(workers):
        yield f"sockets: read {read_sockets(signer)}, wanted {milter_sockets(workers)}"
    options = {}
    for section in sections:
        options.update(section)
    for name, setting in signer["settings"].items():
        if name.startswith("dkim_signing."):
            wanted = plain(options.get(name.removeprefix("dkim_signing."), "not there"))
            if plain(setting["value"]) != wanted:
                yield f"{name}: read {setting['value']}, wanted {wanted}"
    told = {"sign_local", "sign_authenticated", "selector", "path", "enabled", "use_esld", "use_domain", "try_fallback"}
    for name in told & options.keys():
        if f"dkim_signing.{name}" not in signer["settings"]:
            yield f"{name} was not read"
    read = {(file, name) for file, key in signer["keys"].items() for name in key["names"]}
    wanted = set() if options.get("enabled") is False else keys_of(options)
    if read != wanted:
        yield f"keys: read {sorted(read)}, wanted {sorted(wanted)}"


def main():
    shutil.rmtree(f"{ETC}/local.d")
    shutil.copytree(ETC, "/run/lab/rspamd.package")
    wrong = 0
    for name, files in CONFIGURATIONS.items():
        shutil.rmtree(ETC)
        shutil.copytree("/run/lab/rspamd.package", ETC)
        for path, text in files.items():
            os.makedirs(os.path.dirname(f"{ETC}/{path}"), exist_ok=True)
            with open(f"{ETC}/{path}", "w", encoding="utf-8") as file:
                file.write(text)
        for difference in differences():
            wrong += 1
            print(f"{name}: {difference}")
    print(f"{len(CONFIGURATIONS)} configurations, {wrong} differences")
    sys.exit(1 if wrong else 0)


main()
