"""One redemption over HTTP: which transactions it takes, whoever presents the token and wherever.

Knows how what is written gets committed; what is written, and when a token can be redeemed, is `redemption`'s.
"""

from uuid import UUID

from email_service.audit.service import Actor
from email_service.tokens import notices, redemption
from email_service.tokens.redemption import Evidence, Presented, Redeemed
from email_service.tokens.service import Office
from email_service.web import context


def redeem(
    presented: Presented, actor: Actor, *, repeat_key: str | None = None, key_id: UUID | None = None
) -> Redeemed:
    """Redeem a token or a code, and commit it; raises what `redemption.redeem` raises, and UnavailableError.

    With an API key that is not live there is no token.
    """
    evidence, office = weigh(presented, key_id)
    if presented.purpose in redemption.FOLLOWED:
        with context.transaction() as session:
            return redemption.redeem_and_tell(session, office, evidence, actor, repeat_key)
    with context.single_write() as connection:
        return redemption.redeem(connection, evidence, actor, repeat_key)


def weigh(presented: Presented, key_id: UUID | None = None) -> tuple[Evidence, Office]:
    """What was presented, after a code was counted, committed and compared, and the office to redeem it in."""
    office, guess = context.part(Office), None
    if presented.code is not None:
        with context.single_write() as connection:
            guess = redemption.count_guess(connection, presented, key_id)
    evidence = redemption.weigh(office.deriver, presented, guess, key_id)
    if presented.purpose in notices.PURPOSES:
        office = redemption.consult(context.parts().glances, office, evidence)
    return evidence, office
