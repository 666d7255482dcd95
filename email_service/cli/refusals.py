"""What is answered to bytes that never became a request: the same problem document (RFC 9457) as everywhere else.

Knows which of gunicorn's errors is which status; repeats nothing of what was sent.
"""

from http import HTTPStatus

import structlog
from gunicorn.http import errors

from email_service.kernel.errors import BadRequestError, ServiceError
from email_service.kernel.orm import new_id
from email_service.web import problems

_log = structlog.get_logger(__name__)
_STATUSES: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (errors.LimitRequestLine, HTTPStatus(414)),
    (errors.ExpectationFailed, HTTPStatus(417)),
    (errors.LimitRequestHeaders, HTTPStatus(431)),
    (errors.UnsupportedTransferCoding, HTTPStatus(501)),
    # An answer of ours that cannot be sent, although gunicorn derives these from what a caller does wrong.
    (errors.InvalidResponseHeader, HTTPStatus(500)),
    (errors.InvalidResponseHeaderName, HTTPStatus(500)),
    (errors.ConfigurationProblem, HTTPStatus(500)),
    (errors.ParseException, HTTPStatus(400)),
)
# Code and detail. The codes are written out, because Python has renamed some of these words.
_WORDS = {
    400: (BadRequestError.code, BadRequestError().detail),
    414: ("request_uri_too_long", "The request line is too long."),
    417: ("expectation_failed", "The only expectation that can be met is 100-continue."),
    431: ("request_header_fields_too_large", "The head of the request is too large, or has no end."),
    500: (ServiceError.code, ServiceError().detail),
    501: ("not_implemented", "The only transfer coding that is understood is chunked."),
}
HEAD_TOO_LARGE = errors.LimitRequestHeaders("the head has no end in sight")


def answer(error: Exception) -> bytes:
    """The whole answer to what could not be read, or to what went wrong outside of the application; it is logged."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus(500))
    request_id = str(new_id())
    # This thread may have served somebody else's request before.
    structlog.contextvars.clear_contextvars()
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request.failed", request_id=request_id, exc_info=error)
    else:
        _log.info("request.refused", request_id=request_id, status=int(status), reason=type(error).__name__)
    return _written(status, request_id)


def _written(status: HTTPStatus, request_id: str) -> bytes:
    code, detail = _WORDS[status]
    content = problems.document(status, code, status.phrase, detail, request_id=request_id).encode()
    lines = (
        f"HTTP/1.1 {int(status)} {status.phrase}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"X-Request-ID: {request_id}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + content
