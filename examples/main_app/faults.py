"""What a person may be told when something does not work: a code for programs, a status, a sentence for people."""

from http import HTTPStatus

FAULTS = {
    "bad_request": (HTTPStatus.BAD_REQUEST, "This request cannot be understood."),
    "not_found": (HTTPStatus.NOT_FOUND, "There is no such page."),
    "too_large": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is more than anybody needs to send here."),
    "foreign_form": (HTTPStatus.FORBIDDEN, "This form came from another site. Open the page again and repeat it here."),
    "not_signed_in": (HTTPStatus.UNAUTHORIZED, "Sign in first."),
    "wrong_credentials": (
        HTTPStatus.UNAUTHORIZED,
        "The address or the password is wrong, or the address is not confirmed yet.",
    ),
    "password_unknown": (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This is not the password of the latest sign-up with your address. Nothing is confirmed.",
    ),
    "session_over": (HTTPStatus.UNAUTHORIZED, "You have been signed out. Sign in again."),
    "email_malformed": (HTTPStatus.UNPROCESSABLE_ENTITY, "Write an address such as ada@example.com."),
    "name_malformed": (HTTPStatus.UNPROCESSABLE_ENTITY, "Write a name of 1 to 60 characters on one line."),
    "password_short": (HTTPStatus.UNPROCESSABLE_ENTITY, "Choose a password of 12 characters or more."),
    "password_long": (HTTPStatus.UNPROCESSABLE_ENTITY, "Choose a password of at most 200 characters."),
    "password_common": (HTTPStatus.UNPROCESSABLE_ENTITY, "This password is among the first that are guessed."),
    "password_personal": (HTTPStatus.UNPROCESSABLE_ENTITY, "The password must not contain your address or your name."),
    "already_member": (HTTPStatus.CONFLICT, "You have an account already. Sign in."),
    "token_invalid": (HTTPStatus.BAD_REQUEST, "This link is not complete, or not for this page."),
    "token_expired": (HTTPStatus.BAD_REQUEST, "This link has expired."),
    "token_used": (HTTPStatus.BAD_REQUEST, "This link was used already, or a newer one was sent."),
    "rate_limited": (HTTPStatus.TOO_MANY_REQUESTS, "Too many tries. Wait a little, and try again."),
    "unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "This does not work at the moment. Try again in a minute."),
}


class FaultError(Exception):
    """Something that a person is told. A code that nobody should be told of counts as `unavailable`."""

    def __init__(self, code: str, retry_after: str | None = None) -> None:
        super().__init__(code)
        self.code = code if code in FAULTS else "unavailable"
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        return FAULTS[self.code][0]

    @property
    def sentence(self) -> str:
        return FAULTS[self.code][1]
