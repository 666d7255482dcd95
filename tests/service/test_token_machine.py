"""Whatever happens to tokens, in whatever order: one is live, each redeems once, in time, in five tries at most.

A small model says what has to come of every step; the service and its database are held against it. `make fuzz` makes
up many more lives.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from sqlalchemy import func, select, update

from email_service.accounts import service as accounts
from email_service.accounts.models import Account
from email_service.accounts.service import Followers, Profile
from email_service.audit.models import AuditEvent
from email_service.kernel import derivation
from email_service.kernel.errors import (
    AccountDisabledError,
    AccountUnknownError,
    BadRequestError,
    EmailTakenError,
    TokenExpiredError,
    TokenInvalidError,
    TokenUsedError,
)
from email_service.kernel.orm import database_now
from email_service.messages.models import Message
from email_service.messages.state import WAITING
from email_service.tokens import requests
from email_service.tokens import service as tokens
from email_service.tokens.models import Token
from email_service.tokens.purposes import RULES, Purpose
from email_service.tokens.redemption import MAX_CODE_TRIES
from email_service.tokens.requests import Wish
from tests import fuzzing
from tests.applications import House
from tests.crowd import CHEAP_SCRYPT_COST
from tests.strangers import answer_requests
from tests.token_mail import SHOP, by_code, by_link, consume, issue, look, secrets_of

SUBJECTS = st.sampled_from(["u-1", "u-2"])
ADDRESSES = st.sampled_from(["ada@example.com", "eve@example.com"])
PURPOSES = st.sampled_from(list(Purpose))
PUBLIC = st.sampled_from([purpose for purpose, known in RULES.items() if known.is_public])
CODED = st.sampled_from([purpose for purpose, known in RULES.items() if known.has_code])


@dataclass
class Issued:
    """A token as the model knows it."""

    id: UUID
    subject: str
    purpose: Purpose
    email: str
    token: str | None
    code: str | None
    tries: int = 0
    state: str = "live"  # consumed, revoked, forgotten
    is_expired: bool = False
    redeemer: str | None = None

    @property
    def refusal(self) -> type[BadRequestError] | None:
        """What is said to whoever presents it, if it cannot be redeemed."""
        ended = {"forgotten": TokenInvalidError, "consumed": TokenUsedError, "revoked": TokenUsedError}.get(self.state)
        return ended or (TokenExpiredError if self.is_expired else None)


class Lives(RuleBasedStateMachine):
    """Two people, who may have an account each, and everybody who has their tokens or guesses at their codes."""

    issued = Bundle("issued")

    def __init__(self, house: House, client_id: UUID) -> None:
        super().__init__()
        self.house, self.client_id = house, client_id
        self.known: list[Issued] = []
        self.accounts: dict[str, Profile] = {}
        self.redeemed = 0

    @initialize(target=issued, purpose=PURPOSES)
    def begin(self, purpose):
        self.put_account("u-1", "ada@example.com", is_disabled=False)
        return self.issue("u-1", purpose, None, is_delivered=True)

    @rule(subject=SUBJECTS, email=ADDRESSES, is_disabled=st.booleans())
    def put_account(self, subject, email, is_disabled):
        profile, before = Profile(email=email, is_disabled=is_disabled), self.accounts.get(subject)
        is_taken = any(each.email == email for other, each in self.accounts.items() if other != subject)
        try:
            with self.house.sessions.begin() as session:
                accounts.put(session, self.house.parts.get(Followers), subject, profile, SHOP)
        except EmailTakenError:
            assert is_taken
            return
        assert not is_taken
        self.accounts[subject] = profile
        is_changed = before is None or before.is_disabled != is_disabled
        if (is_disabled and is_changed) or (before and before.email != email):
            self.revoked(subject, None)

    @rule(subject=SUBJECTS)
    def erase_account(self, subject):
        if self.accounts.pop(subject, None) is not None:
            with self.house.sessions.begin() as session:
                accounts.erase(session, self.house.parts.get(Followers), subject, SHOP)
            for each in self.of(subject):
                each.state = "forgotten"

    @rule(target=issued, subject=SUBJECTS, purpose=PURPOSES, email=st.none() | ADDRESSES, is_delivered=st.booleans())
    def issue(self, subject, purpose, email, is_delivered):
        account = self.accounts.get(subject)
        expected = AccountDisabledError if account and account.is_disabled else None
        if account is None and email is None:
            expected = AccountUnknownError
        order = {"subject": subject, "email": email, "is_delivered": is_delivered}
        if expected is not None:
            with pytest.raises(expected):
                issue(self.house, self.client_id, purpose, **order)
            return multiple()
        row = issue(self.house, self.client_id, purpose, **order)
        assert row.email == (email or account.email)
        assert (row.message_id is not None) == is_delivered
        return self.remember(row)

    @rule(target=issued, email=ADDRESSES, purpose=PUBLIC)
    def ask_publicly(self, email, purpose):
        wish = Wish(purpose=purpose, email=email, locale=None, ip=None, request_id="r-1")
        with self.house.sessions.begin() as session:
            requests.record(session.connection(), wish)
            subjects = select(Account.subject).where(Account.email == email, Account.is_disabled.is_(False))
            if purpose is Purpose.EMAIL_VERIFICATION:
                subjects = subjects.where(Account.email_verified.is_(False))
            whose = session.scalar(subjects)
        assert answer_requests(self.house) == 1
        with self.house.parts.glances() as session:
            is_new = Token.id.not_in([each.id for each in self.known])
            rows = list(session.scalars(select(Token).where(is_new)))
        assert [(row.subject, row.email, row.purpose) for row in rows] == ([(whose, email, purpose)] if whose else [])
        return self.remember(rows[0]) if rows else multiple()

    @rule(target=issued, of=issued)
    def issue_anew(self, of):
        return self.issue(of.subject, of.purpose, of.email, is_delivered=False)

    @rule(of=issued, is_all=st.booleans())
    def revoke(self, of, is_all):
        subject, purpose = of.subject, None if is_all else of.purpose
        with self.house.sessions.begin() as session:
            count = tokens.revoke(session, subject, purpose, SHOP)
        assert count == self.revoked(subject, purpose)

    @rule(of=issued)
    def expire(self, of):
        if of.state == "live":
            of.is_expired = True
            past = database_now(timedelta(seconds=-1))
            self.house.execute(update(Token).where(Token.id == of.id).values(expires_at=past))

    @rule(of=issued, purpose=st.none() | PURPOSES)
    def verify(self, of, purpose):
        if of.token:
            wanted = purpose or of.purpose
            expected = of.refusal if wanted is of.purpose else TokenInvalidError
            assert self.refused(look, self.house, wanted, of.token) is expected

    @rule(of=issued, purpose=st.none() | PURPOSES, key=st.sampled_from([None, "one", "two"]))
    def redeem(self, of, purpose, key):
        if of.token:
            wanted = purpose or of.purpose
            expected = of.refusal if wanted is of.purpose else TokenInvalidError
            if of.state == "consumed" and wanted is of.purpose and key and of.redeemer == key:
                expected = None  # the answer was lost on its way, and is given again
            assert self.refused(consume, self.house, by_link(wanted, of.token), key) is expected
            if expected is None and of.state == "live":
                self.consumed(of, key)

    @rule(of=issued, times=st.integers(1, MAX_CODE_TRIES + 1))
    def guess_again_and_again(self, of, times):
        if of.code:
            for _ in range(times):
                self.guess(of.email, of.purpose, of, is_wrong=True)
            self.guess(of.email, of.purpose, of, is_wrong=False)

    @rule(email=ADDRESSES, purpose=CODED, of=issued, is_wrong=st.booleans())
    def guess(self, email, purpose, of, is_wrong):
        code = f"{(int(of.code or 0) + 1) % 10**6:06}" if is_wrong else of.code or "000000"
        live = [each for each in self.known if each.refusal is None and each.email == email]
        meant = next((each for each in reversed(live) if each.purpose is purpose and each.code), None)
        is_right = meant is not None and meant.tries < MAX_CODE_TRIES and meant.code == code
        if meant is not None:
            meant.tries = min(meant.tries + 1, MAX_CODE_TRIES)
        refused = self.refused(consume, self.house, by_code(purpose, code, email))
        assert refused is (None if is_right else TokenInvalidError)
        if is_right:
            self.consumed(meant, None)

    @invariant()
    def the_database_says_what_the_model_says(self):
        with self.house.parts.glances() as session:
            rows = {row.id: row for row in session.scalars(select(Token))}
            messages = {message.id: message.status for message in session.scalars(select(Message))}
            count = session.scalar(select(func.count()).where(AuditEvent.name == "token.consumed"))
        assert count == self.redeemed
        assert rows.keys() == {each.id for each in self.known if each.state != "forgotten"}
        live = [(row.subject, row.purpose) for row in rows.values() if not (row.consumed_at or row.revoked_at)]
        assert len(live) == len(set(live))
        for each in self.known:
            if row := rows.get(each.id):
                ended = (row.consumed_at is not None, row.revoked_at is not None)
                assert ended == (each.state == "consumed", each.state == "revoked")
                assert row.code_try_count == each.tries
                # What carries a token that another one replaced, or somebody revoked, is not sent any more.
                assert each.state != "revoked" or messages.get(row.message_id) not in WAITING

    def remember(self, row: Token) -> Issued:
        self.revoked(row.subject, row.purpose)
        token, code = secrets_of(self.house, row)
        made = Issued(row.id, row.subject, Purpose(row.purpose), row.email, token, code)
        self.known.append(made)
        return made

    def of(self, subject: str) -> list[Issued]:
        return [each for each in self.known if each.subject == subject]

    def revoked(self, subject: str, purpose: str | None) -> int:
        ended = [each for each in self.of(subject) if each.state == "live" and purpose in {None, each.purpose}]
        for each in ended:
            each.state = "revoked"
        return len(ended)

    def consumed(self, of: Issued, key: str | None) -> None:
        of.state, of.redeemer = "consumed", key
        self.redeemed += 1

    def refused(self, act, *arguments) -> type[BadRequestError] | None:
        try:
            act(*arguments)
        except BadRequestError as error:
            return type(error)
        return None


def test_no_life_of_a_token_breaks_the_rules(either, add_client, monkeypatch):
    """T4, T6, T7, T8"""
    monkeypatch.setitem(derivation._SCRYPT, "n", CHEAP_SCRYPT_COST)
    fuzzing.live(either, lambda: Lives(either, add_client(either)))
