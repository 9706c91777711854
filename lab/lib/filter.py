"""A content filter in the manner of amavis: takes mail by SMTP and hands it back by SMTP.

usage: filter.py LISTEN_PORT BACK_PORT
"""
import smtplib
import socketserver
import sys

BACK = int(sys.argv[2])


class Session(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.say("220 filter.local ESMTP")
        sender, recipients = "", []
        for line in self.rfile:
            verb = line.strip().split(b" ")[0].upper()
            argument = line.decode().partition("<")[2].partition(">")[0]
            if verb == b"MAIL":
                sender, recipients = argument, []
                self.say("250 2.1.0 ok")
            elif verb == b"RCPT":
                recipients.append(argument)
                self.say("250 2.1.5 ok")
            elif verb == b"DATA":
                self.say("354 go on")
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line[1:] if line.startswith(b"..") else line)
                try:
                    with smtplib.SMTP("127.0.0.1", BACK, "filter.local", timeout=10) as back:
                        back.sendmail(sender, recipients, b"X-Filtered: lab\r\n" + b"".join(lines))
                    self.say("250 2.0.0 from MTA: 250 2.0.0 ok")
                except (OSError, smtplib.SMTPException) as error:
                    self.say(f"451 4.5.0 {type(error).__name__}")
            elif verb == b"QUIT":
                self.say("221 2.0.0 bye")
                return
            else:
                self.say("250 2.0.0 ok")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


Server(("127.0.0.1", int(sys.argv[1])), Session).serve_forever()
