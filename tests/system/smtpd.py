# A mail server for smtp_test.cc: Debian's aiosmtpd, which wants a login. Prints its port, then a line
# for each message: the recipient and the Message-ID. Exits with 77 where aiosmtpd is not installed.
import email
import socket
import sys
import time

try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult
except ImportError:
    sys.exit(77)


class Mailbox:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content)
        kinds = [part.get_content_type() for part in message.walk()]
        print(*envelope.rcpt_tos, message["Message-ID"], *kinds, flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"shop" and data.password == b"p/w d")


# It wants to know its port beforehand.
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
controller = Controller(Mailbox(), hostname="127.0.0.1", port=port, authenticator=authenticate,
                        auth_required=True, auth_require_tls=False)
controller.start()
print(port, flush=True)
while True:
    time.sleep(60)
