"""Accounts: who exists in the main app, by its own `subject` of each."""

from typing import Unpack

from email_service_client.answers import Account, Erased
from email_service_client.bodies import AccountIn
from email_service_client.calls import Call
from email_service_client.rooms import Room, TransportT, asks

_ONE = "/v1/accounts/{subject}"


class Accounts(Room[TransportT]):
    @asks
    def put(self, subject: str, **account: Unpack[AccountIn]) -> Call[Account]:
        """Tell of an account or its changes; what is left out has its default, whatever it was."""
        return Call("PUT", _ONE, Account, names={"subject": subject}, body=account)

    @asks
    def get(self, subject: str) -> Call[Account]:
        """One account."""
        return Call("GET", _ONE, Account, names={"subject": subject})

    @asks
    def delete(self, subject: str) -> Call[Erased]:
        """Forget the account and all that points to it."""
        return Call("DELETE", _ONE, Erased, names={"subject": subject})
