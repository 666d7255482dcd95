"""A client's wait for a server that has fallen silent is over at once, and any other wait has all the time there is.

So a test of silence takes no time, and no slow moment of the machine is taken for silence. That real waits end in time
is what test_smtp_hostility shows.
"""

import select
import socket
from time import monotonic

from tests.wire.server import SmtpServer

# Said before the server fell silent, it may still be on its way.
GRACE_MILLISECONDS = 100
LONGEST_MILLISECONDS = 40_000


class Silence:
    """Makes the polls of a client, which know whether its server says nothing any more."""

    def __init__(self) -> None:
        self.servers: list[SmtpServer] = []
        self.waits: list[int] = []  # the milliseconds that the client was prepared to wait for a silent server

    def poll_for(self, sock: socket.socket, event: int) -> "Poll":
        """In place of the client's own."""
        poll = select.poll()
        poll.register(sock, event)
        return Poll(self, poll, sock.getsockname()[1])

    def has_fallen(self, port: int) -> bool:
        """Whether the server has nothing more to say to the client at this port."""
        return any(server.is_silent_to(port) for server in self.servers)


class Poll:
    """As much of select.poll as the client uses."""

    def __init__(self, silence: Silence, poll: select.poll, port: int) -> None:
        self._silence, self._poll, self._port = silence, poll, port

    def poll(self, milliseconds: int) -> list[tuple[int, int]]:
        """What select.poll says; nothing, as after so many milliseconds, when the server has fallen silent."""
        assert 0 <= milliseconds <= LONGEST_MILLISECONDS
        ends_at = monotonic() + milliseconds / 1000
        while not (events := self._poll.poll(min(milliseconds, 5))) and monotonic() < ends_at:
            if self._silence.has_fallen(self._port):
                self._silence.waits.append(milliseconds)
                return self._poll.poll(GRACE_MILLISECONDS)
        return events
