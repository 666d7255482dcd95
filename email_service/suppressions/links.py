"""The links by which readers unsubscribe: each one says whose mail of which category it is about, and nothing is kept.

A link never expires, because mail is read years later, and nobody without the key can make or read one. Knows no
request and no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from email_service.kernel.crypto import SteadySealer
from email_service.kernel.errors import SealBrokenError, TokenInvalidError

_CONTEXT = "unsubscribe/1"
_SEPARATOR = "\n"  # stands in no address and in no category


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom a link was mailed to, and with which category of mail."""

    email: str
    category: str


class Links:
    """Makes and reads the links of one service; `page` is where they lead."""

    def __init__(self, page: str, secret: str, fallbacks: Sequence[str] = ()) -> None:
        self._page = page
        self._sealer = SteadySealer(secret, fallbacks)

    def write(self, reader: Reader) -> str:
        """The reader's link, the same one each time."""
        sealed = self._sealer.seal(f"{reader.category}{_SEPARATOR}{reader.email}", _CONTEXT)
        return f"{self._page}?token={sealed}"

    def read(self, token: str) -> Reader:
        """Whose token it is; TokenInvalidError unless this service made it."""
        try:
            category, _, email = self._sealer.open(token, _CONTEXT).partition(_SEPARATOR)
        except SealBrokenError:
            raise TokenInvalidError from None
        return Reader(email, category)
