"""Captures mail and finds it again: by recipient, by id, with the links and codes that a test of the main app needs.

Knows what a mail's bytes mean; refuses to know how they are shown. Keeps the newest mails only.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from threading import BoundedSemaphore
from time import sleep
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker, undefer

from email_service.inbox.models import CapturedMail
from email_service.kernel import clock
from email_service.kernel.errors import NotFoundError

KEPT = 500

_DROPPED_AT_ONCE = 100
_POLL_SECONDS = 0.1
# Whoever waits holds a thread of the web process, and the others are for mail that is to be accepted.
_PLACES_TO_WAIT = BoundedSemaphore(2)
_NEWEST_FIRST = (CapturedMail.created_at.desc(), CapturedMail.id.desc())
_URL = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
_PUNCTUATION = ".,;:!?*|"
_BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"))
_LONGEST_TAIL = 8  # bounds the work on hostile text
_CODE = re.compile(r"(?<![\w@#+])(?<!\w[-/])(?<![0-9][.,:])[0-9]{6}(?![\w@])(?![-/]\w)(?![.,:][0-9])")


@dataclass(frozen=True, slots=True)
class Headline:
    """What a list shows of a captured mail; cheap to read again and again."""

    id: UUID
    recipients: list[str]
    subject: str
    created_at: datetime


def capture(session: Session, parcel_content: bytes, message_id: UUID, recipients: Sequence[str]) -> CapturedMail:
    """Keep a mail, and let go of the oldest beyond KEPT. Flushes, never commits."""
    message = message_from_bytes(parcel_content, policy=policy.default)
    mail = CapturedMail(
        message_id=message_id,
        recipients=list(recipients),
        subject=_storable(str(message["subject"] or "")),
        html=_body(message, "html"),
        text=_body(message, "plain"),
        source=parcel_content,
        created_at=clock.now(),
    )
    session.add(mail)
    session.flush()
    _drop_oldest(session)
    return mail


def headlines(session: Session, to: str | None, limit: int) -> list[Headline]:
    """The newest mails first; with `to`, only those to this address, in whatever case, as `to`, cc or bcc."""
    columns = (CapturedMail.id, CapturedMail.recipients, CapturedMail.subject, CapturedMail.created_at)
    # A list in JSON is searched differently by each database; the table is short enough to search here.
    candidates = select(*columns).order_by(*_NEWEST_FIRST).limit(limit if to is None else KEPT)
    rows = [Headline(*row) for row in session.execute(candidates)]
    return [row for row in rows if _is_to(row.recipients, to)][:limit]


def recent(session: Session, to: str | None, limit: int) -> list[CapturedMail]:
    """The same mails as `headlines`, whole but for their source."""
    chosen = [headline.id for headline in headlines(session, to, limit)]
    return list(session.scalars(select(CapturedMail).where(CapturedMail.id.in_(chosen)).order_by(*_NEWEST_FIRST)))


def wait_for(sessions: sessionmaker[Session], to: str | None, limit: int, wait_seconds: float) -> list[CapturedMail]:
    """The recent mails, detached; when there are none, whatever has come after at most `wait_seconds`.

    Two callers in a process wait at once; to further ones an empty list is answered without waiting. Each look is a
    transaction of its own: one that stayed open would keep SQLite's only write lock.
    """
    ends_at = clock.monotonic_seconds() + wait_seconds
    mails = _look(sessions, to, limit)
    if mails or wait_seconds <= 0 or not _PLACES_TO_WAIT.acquire(blocking=False):
        return mails
    try:
        while not mails and (remaining_seconds := ends_at - clock.monotonic_seconds()) > 0:
            sleep(min(_POLL_SECONDS, remaining_seconds))
            mails = _look(sessions, to, limit)
    finally:
        _PLACES_TO_WAIT.release()
    return mails


def find(session: Session, mail_id: UUID | None, *, is_source_wanted: bool = False) -> CapturedMail | None:
    """The mail of this id, without its source unless that is wanted; None when there is none, or none any more."""
    options = [undefer(CapturedMail.source)] if is_source_wanted else []
    return None if mail_id is None else session.get(CapturedMail, mail_id, options=options)


def get(session: Session, mail_id: UUID, *, is_source_wanted: bool = False) -> CapturedMail:
    """As `find`, but NotFoundError when there is none."""
    mail = find(session, mail_id, is_source_wanted=is_source_wanted)
    if mail is None:
        raise NotFoundError(f"There is no captured mail with this id; only the newest {KEPT} are kept.")
    return mail


def links_of(mail: CapturedMail) -> list[str]:
    """The http and https links of the html part, then those of the text part; each once, in order."""
    written = (_without_tail(match) for match in _URL.findall(mail.text))
    return _unique([*(link for link in _hrefs(mail.html) if _URL.fullmatch(link)), *written])


def codes_of(mail: CapturedMail) -> list[str]:
    """The six-digit codes that stand alone in the text part; each once, in order."""
    return _unique(_CODE.findall(_URL.sub(" ", mail.text)))


def _look(sessions: sessionmaker[Session], to: str | None, limit: int) -> list[CapturedMail]:
    with sessions() as session:
        return recent(session, to, limit)


class _LinkReader(HTMLParser):
    """Collects where the links of a document lead."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"a", "area"}:
            self.hrefs += [value.strip() for name, value in attrs if name == "href" and value]


def _hrefs(html: str) -> list[str]:
    reader = _LinkReader()
    try:
        reader.feed(html)
        reader.close()
    except AssertionError:
        # The parser gives up on a malformed `<![...`; the links before it still count.
        return reader.hrefs
    return reader.hrefs


def _without_tail(url: str) -> str:
    """A link from running text without the punctuation and closing brackets that belong to the sentence."""
    for _ in range(_LONGEST_TAIL):
        url = url.rstrip(_PUNCTUATION)
        if not any(url.endswith(end) and url.count(end) > url.count(start) for start, end in _BRACKETS):
            return url
        url = url[:-1]
    return url


def _body(message: EmailMessage, subtype: str) -> str:
    """The part that a reader would show, with LF line ends; empty when there is none."""
    part = message.get_body(preferencelist=(subtype,))
    if part is None:
        return ""
    try:
        content = str(part.get_content())
    except LookupError:
        # A character set that Python does not know; the source still has it as it came.
        payload = part.get_payload(decode=True)
        content = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return _storable(content.replace("\r\n", "\n"))


def _storable(text: str) -> str:
    """The text without what PostgreSQL cannot store: NUL and lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _is_to(recipients: Iterable[str], to: str | None) -> bool:
    return to is None or to.casefold() in {recipient.casefold() for recipient in recipients}


def _drop_oldest(session: Session) -> None:
    surplus = select(CapturedMail.id).order_by(*_NEWEST_FIRST).offset(KEPT).limit(_DROPPED_AT_ONCE)
    statement = delete(CapturedMail).where(CapturedMail.id.in_(surplus))
    session.execute(statement, execution_options={"synchronize_session": False})


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
