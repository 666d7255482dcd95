"""Text records of DNS, from this machine's resolver or from one that somebody names. Knows no record's meaning."""

from collections.abc import Sequence

import dns.exception
import dns.resolver

from email_service.kernel.errors import UnavailableError

ANSWER_SECONDS = 5.0


class Lookup:
    """Asks one resolver."""

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        try:
            self._resolver = dns.resolver.Resolver(configure=server is None)
        except dns.exception.DNSException:
            raise UnavailableError("No DNS server is configured on this machine; name one with --dns-server.") from None
        if server is not None:
            self._resolver.nameservers, self._resolver.port = [server[0]], server[1]
        self._resolver.lifetime = ANSWER_SECONDS

    def find_texts(self, name: str) -> Sequence[str]:
        """The TXT records of this name, each as one string; none where there are none. UnavailableError."""
        try:
            answer = self._resolver.resolve(name, "TXT", search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except dns.exception.DNSException as error:
            raise UnavailableError(f"DNS does not answer for {name} ({type(error).__name__}).") from None
        return tuple(b"".join(record.strings).decode("utf-8", "replace") for record in answer)
