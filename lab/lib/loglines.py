"""Lines of the mail log, written with a time of so many seconds ago."""
import time


def line(ago, program, pid, text):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - ago))
    with open("/var/log/mail.log", "a") as log:
        log.write(f"{stamp}.000000+00:00 mail {program}[{pid}]: {text}\n")
