"""What happens to accounts: sign up, confirm, invite, accept, forget and reset; for the pages and for the API.

Knows no HTTP. Whatever the service has to hear is an errand in the same transaction.
"""

from main_app import database, errands, passwords, proofs, throttle, users
from main_app.email_service import service
from main_app.faults import FaultError
from main_app.proofs import Proof
from main_app.users import User


def register(email: str, name: str, password: str, reader: str) -> None:
    """Sign somebody up, or do nothing: whether the address has an account already, only its mailbox learns."""
    email, name = users.check_email(email), users.check_name(name)
    passwords.check(password, email=email, name=name)
    throttle.take(("sign-up by network", throttle.network(reader)))
    password_hash = passwords.make_hash(password)
    is_mailed = throttle.is_free("sign-up by address", email.lower())
    with database.transaction() as connection:
        user = users.add(connection, email, name, password_hash)
        errands.add(connection, "tell_account", user.subject)
        if is_mailed:
            errands.add(connection, "mail_verification", user.subject)
    errands.wake()


def resend_verification(email: str, reader: str) -> None:
    """Ask for another link. The service mails one if there is such an account, and does not say so."""
    service().ask_for_mail("email_verification", users.check_email(email), reader)


def verify_email(proof: Proof, password: str) -> None:
    """Confirm the address for somebody who reads its mail and knows the password.

    Mail alone is not enough: a stranger may have signed up with the address after its owner did, and the owner, who
    waits for such a mail, would confirm the stranger's password.
    """
    password_hash = proofs.look(proof).password_hash
    if not passwords.matches(password_hash, password):
        raise FaultError("password_unknown")
    user = proofs.redeem(proof)
    with database.transaction() as connection:
        users.set_verified(connection, user.subject, password_hash)
        errands.add(connection, "tell_account", user.subject)
    errands.wake()


def forgot_password(email: str, reader: str) -> None:
    """Ask for a link, as `resend_verification` does."""
    service().ask_for_mail("password_reset", users.check_email(email), reader)


def reset_password(proof: Proof, password: str) -> None:
    """A new password for whoever reads the mail. It signs nobody in, ends every session, and is told to the owner."""
    passwords.check(password, email=(user := proofs.look(proof)).email, name=user.name)
    password_hash = passwords.make_hash(password)
    user = proofs.redeem(proof)
    with database.transaction() as connection:
        users.set_password(connection, user.subject, password_hash)
        for kind in ("sign_out", "tell_account", "mail_password_changed"):
            errands.add(connection, kind, user.subject)
    throttle.forget("sign-in by address", user.email_key)
    _settle_if_possible(user)


def invite(email: str, inviter_name: str) -> None:
    """Mail an invitation to somebody who is new. Whoever has an account keeps it, and the inviter is not told."""
    email = users.check_email(email)
    with database.transaction() as connection:
        user = users.add(connection, email, "", None)
        if not user.email_verified:
            errands.add(connection, "tell_account", user.subject)
            errands.add(connection, "mail_invitation", user.subject, inviter_name=inviter_name)
    errands.wake()


def look_at_invitation(proof: Proof) -> User:
    """Who is invited; FaultError when the account is in use, because an invitation must not work like a reset."""
    user = proofs.look(proof)
    if user.email_verified:
        raise FaultError("already_member")
    return user


def accept_invitation(proof: Proof, name: str, password: str) -> None:
    """The invited person chooses a name and a password; the mail has shown that the address is theirs."""
    name = users.check_name(name)
    passwords.check(password, email=look_at_invitation(proof).email, name=name)
    password_hash = passwords.make_hash(password)
    user = proofs.redeem(proof)
    with database.transaction() as connection:
        users.set_name(connection, user.subject, name)
        users.set_password(connection, user.subject, password_hash)
        errands.add(connection, "tell_account", user.subject)
    errands.wake()


def _settle_if_possible(user: User) -> None:
    """Have the sessions ended before the answer; when the service is away, as soon as it is back."""
    try:
        errands.settle(user.subject)
    except FaultError:
        errands.wake()
