"""Tells whoever started this process how it is, where it asked for that (sd_notify(3)).

Knows no state of its own. Without a service manager, nothing is said.
"""

import os
import socket
from contextlib import suppress

READY = "READY=1"  # may be told again, which changes nothing
ALIVE = "WATCHDOG=1"


def tell(*states: str) -> None:
    """Send these states in one datagram. Whoever does not listen keeps nobody from working."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract names
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
        # A manager that is busy must not hold up a delivery.
        way.setblocking(False)
        way.connect(address)
        way.send("\n".join(states).encode())
