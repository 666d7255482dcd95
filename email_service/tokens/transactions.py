"""Which transactions it takes to redeem a token and to ask for one over HTTP, whoever does it and wherever.

Knows how what is written gets committed; what is written, and when a token can be redeemed, is the services' business.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.kernel.errors import BadRequestError, ServiceError
from email_service.kernel.tallies import TokenIssue, TokenRedemption
from email_service.tokens import notices, redemption, requests
from email_service.tokens.redemption import Evidence, Presented, Redeemed
from email_service.tokens.requests import Wish
from email_service.tokens.service import Office
from email_service.web import auth, context

_NOBODYS = "unknown"


def redeem(
    presented: Presented, actor: Actor, *, repeat_key: str | None = None, key_id: UUID | None = None
) -> Redeemed:
    """Redeem a token or a code, and commit it; raises what `redemption.redeem` raises, and UnavailableError.

    With an API key that is not live there is no token.
    """
    evidence, office = weigh(presented, actor, key_id)
    with refusals_noted(evidence, actor):
        if presented.purpose in redemption.FOLLOWED:
            with context.transaction() as session:
                return redemption.redeem_and_tell(session, office, evidence, actor, repeat_key)
        with context.single_write() as connection:
            redeemed = redemption.redeem(connection, evidence, actor, repeat_key)
        context.count(redeemed.tally)
        return redeemed


def weigh(presented: Presented, actor: Actor, key_id: UUID | None = None) -> tuple[Evidence, Office]:
    """What was presented, after a code was counted, committed and compared, and the office to redeem it in.

    UnauthenticatedError when a code is presented with an API key that is not live: nothing is counted for it.
    """
    office, guess = context.part(Office), None
    if presented.code is not None:
        if key_id is not None:
            auth.make_sure()
        with context.single_write() as connection:
            guess = redemption.count_guess(connection, presented, actor)
    evidence = redemption.weigh(office.deriver, presented, guess, key_id)
    if presented.purpose in notices.PURPOSES:
        office = redemption.consult(context.parts().glances, office, evidence)
    return evidence, office


@contextmanager
def refusals_noted(evidence: Evidence, actor: Actor) -> Iterator[None]:
    """Write down that what was presented could not be redeemed. UnauthenticatedError when its API key is not live."""
    try:
        yield
    except BadRequestError as error:
        if evidence.key_id is not None:
            auth.make_sure()
        presented = evidence.presented
        with context.look() as connection:
            subject = presented.email or redemption.find_subject(connection, evidence) or _NOBODYS
        told = {"purpose": presented.purpose, "reason": error.code}
        context.write_apart([audit.row(actor, "token.refused", subject, **told)])
        context.count(TokenRedemption(presented.purpose, error.code))
        raise


@contextmanager
def refused_issues_counted(purpose: str) -> Iterator[None]:
    """Count a token that cannot be issued, by the reason."""
    try:
        yield
    except ServiceError as error:
        context.count(TokenIssue(purpose, error.code))
        raise


def ask(wish: Wish, *, has_place: bool) -> None:
    """Write down what a stranger asked for, or that the address has been asked for too often, and wake a worker."""
    write = requests.record if has_place else requests.note_limited
    with context.single_write() as connection:
        write(connection, wish)
    if not has_place:
        context.count(TokenIssue(wish.purpose, "limited"))
    context.parts().wake({requests.LANE})
