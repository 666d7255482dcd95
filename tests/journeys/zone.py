"""A DNS server on loopback with text records. Knows nothing of what they mean."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from dnslib import QTYPE, RCODE, RR, TXT, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

_STRING_OCTETS = 255


class _Records(BaseResolver):
    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        self.texts = texts
        self.asked: list[str] = []

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply, name = request.reply(), str(request.q.qname).rstrip(".")
        self.asked.append(name)
        if name not in self.texts:
            reply.header.rcode = RCODE.NXDOMAIN
        for text in self.texts.get(name, ()):
            octets = text.encode()
            strings = [octets[start : start + _STRING_OCTETS] for start in range(0, len(octets), _STRING_OCTETS)]
            reply.add_answer(RR(request.q.qname, QTYPE.TXT, rdata=TXT(strings), ttl=60))
        return reply


class Zone:
    """Where it listens, and what it was asked for."""

    def __init__(self, records: _Records, port: int) -> None:
        self.asked = records.asked
        self.place = f"127.0.0.1:{port}"


@contextmanager
def serving(texts: Mapping[str, Sequence[str]]) -> Iterator[Zone]:
    """A server that knows these names, and says of others that there is no such name."""
    records = _Records(texts)
    server = DNSServer(records, address="127.0.0.1", port=0, logger=DNSLogger("-request,-reply,-truncated,-error"))
    thread = threading.Thread(target=server.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Zone(records, server.server.server_address[1])
    finally:
        server.server.shutdown()
        server.server.server_close()
        thread.join(10)
