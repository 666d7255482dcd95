"""Whatever happens to messages, in whatever order: statuses move as they may, and nothing goes out that is over.

Hypothesis makes up lives out of what callers, workers, mail servers, operators and time can do. `make fuzz` makes up
many more.
"""

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from sqlalchemy import case, select, update

from email_service.delivery import circumstances, opening, outbox
from email_service.delivery.circumstances import Ways
from email_service.delivery.opening import Opened
from email_service.kernel import clock
from email_service.kernel.errors import BatchRefusedError, InvalidInputError, StatusConflictError
from email_service.kernel.lanes import LANES
from email_service.kernel.orm import database_now
from email_service.messages import batch, life, requeue, state
from email_service.messages.life import Terms
from email_service.messages.models import Message
from email_service.messages.requeue import Wanted
from email_service.messages.state import CLAIMABLE, FINAL, RETRYABLE, WAITING, Status
from email_service.messages.submission import Batch
from email_service.retention.policy import Policy
from email_service.retention.purge import Purge
from email_service.suppressions import preferences
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason
from tests import fuzzing
from tests.applications import CATALOG, House
from tests.fates import DAY, NOBODYS, READERS, REPORTS, after, submission, wishes
from tests.token_mail import SHOP

TERMS = Terms(catalog=CATALOG)


class Lives(RuleBasedStateMachine):
    """A few readers, one client, and workers that may be slow, die or come back late."""

    messages = Bundle("messages")

    def __init__(self, house: House, client_id: UUID) -> None:
        super().__init__()
        self.house, self.client_id = house, client_id
        self.jobs: list[Opened] = []  # what workers hold, also those whose lease ended
        self.ended: dict[UUID, str] = {}  # what nothing but another try that is asked for may change
        self.attempts: Counter[UUID] = Counter()
        self.accepted: Counter[UUID] = Counter()
        self.excuses: Counter[UUID] = Counter()  # why one more copy may have gone out
        self.losses: Counter[UUID] = Counter()  # leases that ended in a worker's hands
        self.headers: dict[UUID, str] = {}

    def at(self, message_id: UUID) -> Message | None:
        with self.house.parts.glances() as session:
            return session.scalar(select(Message).where(Message.id == message_id))

    def tell(self, act, *arguments) -> bool:
        """Whether a caller's wish was granted."""
        try:
            with self.house.sessions.begin() as session:
                act(session, *arguments)
        except (StatusConflictError, InvalidInputError):
            return False
        return True

    @initialize(target=messages, wish=wishes)
    def begin(self, wish):
        return self.accept(wish)

    @rule(target=messages, wish=wishes)
    def accept(self, wish):
        with self.house.sessions.begin() as session:
            [accepted] = batch.accept(session, self.house.intake, self.client_id, Batch([submission(**wish)], False))
        return accepted.id

    @rule(
        target=messages,
        wanted=st.lists(st.tuples(wishes, st.booleans()), min_size=1, max_size=4),
        is_atomic=st.booleans(),
    )
    def accept_many(self, wanted, is_atomic):
        items = [submission(**wish) if is_good else NOBODYS for wish, is_good in wanted]
        are_good = [is_good for _, is_good in wanted]
        try:
            with self.house.sessions.begin() as session:
                told = batch.accept(session, self.house.intake, self.client_id, Batch(items, is_atomic))
        except BatchRefusedError:
            assert (is_atomic, all(are_good)) == (True, False)
            return multiple()
        assert [not isinstance(each, InvalidInputError) for each in told] == are_good
        assert all(are_good) or not is_atomic
        return multiple(*(each.id for each in told if not isinstance(each, InvalidInputError)))

    @rule(message_id=messages)
    def cancel(self, message_id):
        before = self.at(message_id)
        if before is not None:
            assert self.tell(life.cancel, self.client_id, message_id) == (before.status in WAITING)

    @rule(
        message_id=messages,
        send_at=st.sampled_from([None, -DAY, DAY]),
        expires_at=st.sampled_from([None, DAY / 2, 2 * DAY]),
    )
    def reschedule(self, message_id, send_at, expires_at):
        before = self.at(message_id)
        if before is not None:
            times = {"send_at": after(send_at), "expires_at": after(expires_at)}
            is_done = self.tell(life.reschedule, self.client_id, message_id, times)
            assert not is_done or (before.status in WAITING and message_id not in self.superseded())

    @rule(message_id=messages)
    def retry(self, message_id):
        before = self.at(message_id)
        if before is not None and self.tell(life.retry, self.client_id, message_id, TERMS):
            assert before.status in RETRYABLE
            assert message_id not in self.superseded()
            self.begin_again(message_id)

    @rule()
    def requeue(self):
        with self.house.parts.glances() as session:
            before = dict(session.execute(select(Message.id, Message.status)).all())
        with self.house.sessions.begin() as session:
            moved = requeue.requeue(session, TERMS, Wanted()).moved.total()
        again = [message_id for message_id, status in before.items() if status != self.at(message_id).status]
        assert len(again) == moved
        for message_id in again:
            assert before[message_id] in RETRYABLE
            self.begin_again(message_id)

    @rule(
        email=st.sampled_from(READERS), category=st.sampled_from(["*", "optional", "onboarding"]), is_over=st.booleans()
    )
    def suppress(self, email, category, is_over):
        with self.house.sessions.begin() as session:
            if is_over:
                suppressions.lift(session, email, category, SHOP)
            elif category == "*":
                suppressions.put(session, email, category, Reason.COMPLAINT, SHOP)
            else:
                preferences.unsubscribe(session, email, category, SHOP)

    @rule(message_id=messages)
    def supersede(self, message_id):
        """And whoever wants it all the same is told that there is a newer one."""
        self.tell(life.supersede, message_id)
        self.retry(message_id)

    @rule(limit=st.integers(1, 3), are_late=st.booleans())
    def claim(self, limit, are_late):
        if are_late:
            self.wait()
        with self.house.parts.glances() as session:
            leased = set(session.scalars(select(Message.id).where(Message.lease_id.is_not(None))))
        with self.house.sessions.begin() as session:
            leases = [each for lane in LANES for each in outbox.claim(session, lane, self.client_id, limit, 180)]
            assert all(lease.claimed_from in {*CLAIMABLE, Status.SENDING} for lease in leases)
            assert self.ended.keys().isdisjoint(lease.message_id for lease in leases)
            assert [lease.is_after_loss for lease in leases] == [lease.message_id in leased for lease in leases]
            self.losses.update(lease.message_id for lease in leases if lease.is_after_loss)
            opened = opening.open_claimed(session, CATALOG, leases)
        superseded = self.superseded()
        for job in opened:
            message = self.at(job.lease.message_id)
            assert message.expires_at is None or message.expires_at > clock.now() - timedelta(seconds=1)
            assert message.id not in superseded
            assert message.is_forced or not self.is_stopped(message)
            self.excuses[message.id] += job.lease.is_after_loss
        self.jobs += opened

    @rule(names=st.lists(st.sampled_from(sorted(REPORTS)), min_size=1, max_size=3), is_late=st.booleans())
    def report(self, names, is_late):
        """Workers finish, some of them after their leases ended and others took over what was due."""
        if is_late or not self.jobs:
            self.claim(3, are_late=True)
        for job, name in zip(list(self.jobs), names, strict=False):
            self.jobs.remove(job)
            self.conclude(job.lease, name)

    def conclude(self, lease, name):
        if (before := self.at(lease.message_id)) is not None:
            self.house.conclude(lease, REPORTS[name])
            assert before.lease_id == lease.lease_id or self.at(before.id).status == before.status
            self.attempts[before.id] += 1
            self.accepted[before.id] += name == "accepted"
            self.excuses[before.id] += name == "lost"

    @rule(which=st.integers(0))
    def give_back(self, which):
        if self.jobs:
            job = self.jobs.pop(which % len(self.jobs))
            with self.house.sessions.begin() as session:
                outbox.give_back(session, [job.lease])

    @rule()
    def wait(self):
        """All leases end, and all that waits is due."""
        self.house.execute(update(Message).where(Message.due_at.is_not(None)).values(due_at=database_now()))

    @rule(message_id=messages)
    def grow_old(self, message_id):
        """So long after it was first due nothing is tried again."""
        self.house.execute(update(Message).where(Message.id == message_id).values(round_began_at=after(-4 * DAY)))

    @rule(message_id=messages)
    def expire(self, message_id):
        """What waits is looked at when it expires; what is leased, when its lease ends."""
        due_at = case((Message.status == Status.SENDING, Message.due_at), else_=database_now())
        past = database_now(timedelta(seconds=-2))
        waiting = update(Message).where(Message.id == message_id, Message.due_at.is_not(None))
        self.house.execute(waiting.values(expires_at=past, due_at=due_at))
        self.claim(3, are_late=False)

    @rule(message_id=messages, status=st.sampled_from([Status.DELIVERED, Status.BOUNCED, Status.COMPLAINED]))
    def hear_back(self, message_id, status):
        def note(session):
            if message := session.get(Message, message_id):
                state.apply(message, status, reason="reported")

        if self.tell(note):
            self.ended.pop(message_id, None)

    @rule(contents_only=st.booleans())
    def purge(self, contents_only):
        kept = Policy(retention_days=9 if contents_only else 0, content_retention_days=0, audit_retention_days=9)
        with self.house.parts.glances() as session:
            unfinished = set(session.scalars(select(Message.id).where(Message.finished_at.is_(None))))
        Purge(self.house.sessions, kept).tidy()
        with self.house.parts.glances() as session:
            assert unfinished <= set(session.scalars(select(Message.id)))

    @invariant()
    def every_row_is_sound(self):
        with self.house.parts.glances() as session:
            found = list(session.scalars(select(Message)))
            for message in found:
                status, is_over = Status(message.status), Status(message.status) in FINAL
                assert (message.finished_at is not None) == is_over
                # One whose lease was lost before stays `sending` when it is given back, so that this is not forgotten.
                assert message.lease_id is None or status is Status.SENDING
                assert message.due_at is not None or status in FINAL | {Status.UNCERTAIN}
                assert message.due_at is None or not is_over
                assert message.content is None or not (is_over and message.is_sensitive)
                assert len(message.attempts) == self.attempts[message.id]
                assert self.accepted[message.id] <= 1 + self.excuses[message.id]
                assert self.headers.setdefault(message.id, message.message_id_header) == message.message_id_header
                assert self.ended.get(message.id, status) == status
                if is_over:
                    self.ended[message.id] = status
                self.check_events(session, message, status)
            ways = self.house.parts.get(Ways)
            assert all(circumstances.explain(session, ways, self.client_id, each.id).detail for each in found[-2:])

    def check_events(self, session, message, status):
        names = [each.name.removeprefix("message.") for each in session.scalars(message.events.select())]
        assert names[0] == "accepted"
        assert names.count("lease_lost") == self.losses[message.id]
        told = [Status(name) for name in names if name in set(Status)]
        for before, now in pairwise(told):
            assert state.is_allowed(before, now) or (before in CLAIMABLE and state.is_allowed(Status.SENDING, now))
        if status is not Status.SENDING:
            assert status in told[-1:] or (not told and status in {Status.SCHEDULED, Status.QUEUED})

    def superseded(self) -> frozenset[UUID]:
        with self.house.parts.glances() as session:
            return life.find_superseded(session, list(session.scalars(select(Message.id))))

    def is_stopped(self, message) -> bool:
        category = CATALOG.optional_category(message.template)
        with self.house.parts.glances() as session:
            return (
                suppressions.look_up(session, [message.recipient_email]).find(message.recipient_email, category)
                is not None
            )

    def begin_again(self, message_id):
        self.ended.pop(message_id, None)
        self.excuses[message_id] += 1


def test_no_life_of_a_message_breaks_the_rules(either, add_client):
    """F1, F2, F10, F13"""
    fuzzing.live(either, lambda: Lives(either, add_client(either)))
