"""Accept many messages in one transaction, each as if it had come alone, or all of them or none.

Flushes, never commits; knows nothing of HTTP.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from email_service.audit.service import Actor
from email_service.kernel.errors import BatchRefusedError, Fault, InvalidInputError
from email_service.messages import service
from email_service.messages.service import Accepted, Draft, Intake
from email_service.messages.submission import Batch, Submission

MAX_ITEMS = 500


def accept(
    session: Session, intake: Intake, client_id: UUID, batch: Batch, actor: Actor | None = None
) -> list[Accepted | InvalidInputError]:
    """What became of each message, in order; an error's faults point into the whole batch (`/messages/3/to`).

    BatchRefusedError, with the faults of all, when the batch is atomic and one of them cannot be accepted.
    """
    prepared = [_prepare(intake, client_id, number, item) for number, item in enumerate(batch.items)]
    errors = [each for each in prepared if isinstance(each, InvalidInputError)]
    if errors and batch.is_atomic:
        raise BatchRefusedError(_count(errors, batch), faults=[fault for error in errors for fault in error.faults])
    drafts = [each for each in prepared if isinstance(each, Draft)]
    accepted = iter(service.accept_all(session, intake, drafts, actor) if drafts else ())
    return [each if isinstance(each, InvalidInputError) else next(accepted) for each in prepared]


def _prepare(
    intake: Intake, client_id: UUID, number: int, item: Submission | InvalidInputError
) -> Draft | InvalidInputError:
    if isinstance(item, InvalidInputError):
        return item
    try:
        return service.prepare(intake, client_id, item)
    except InvalidInputError as error:
        faults = [Fault(f"/messages/{number}{fault.pointer}", fault.message) for fault in error.faults]
        return type(error)(error.detail, faults=faults)


def _count(errors: Sequence[InvalidInputError], batch: Batch) -> str:
    return (
        f"{len(errors)} of {len(batch.items)} messages cannot be accepted, so none was; `errors` says what to change."
    )
