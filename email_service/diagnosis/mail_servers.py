"""Whether each mail server lets this service in, and which setting to look at when it does not. Sends no mail."""

from datetime import datetime, timedelta
from functools import partial

from email_service.delivery.transport import Outcome, Phase, Report
from email_service.engine import make_smtp_transport
from email_service.kernel import clock
from email_service.settings import MailRoute, Settings, mail_routes
from email_service.web.checks import Finding, Level

# What renews by itself does so with a month left; time enough for a person, and no alarm in between.
_CERTIFICATE_WARNING = timedelta(days=21)
# Replies that are about the login wherever they come (RFC 4954 6).
_LOGIN_CODES = frozenset({530, 534, 535, 538})


def check_route(settings: Settings, route: MailRoute) -> Finding:
    """Connect, encrypt and log in as for a message."""
    report, certificate_ends_at = make_smtp_transport(settings, route).knock()
    place = f"{route.server}:{route.port}"
    if report.outcome is not Outcome.ACCEPTED:
        detail = f"{place}: {_tell_failure(settings, route, report)}"
        return Finding("mail_server", Level.FAILURE, detail, report.phase.value, route.name)
    how = "over TLS" if route.use_tls or route.use_ssl else "in the clear"
    let_in = f"took the login of {route.username}" if route.username else "lets this service in"
    level, remark = _judge_certificate(certificate_ends_at)
    return Finding("mail_server", level, f"{place} {let_in}, {how}.{remark}", about=route.name)


def _judge_certificate(ends_at: datetime | None) -> tuple[Level, str]:
    if ends_at is None or ends_at - clock.now() > _CERTIFICATE_WARNING:
        return Level.OK, ""
    remark = f" Its certificate ends on {ends_at:%Y-%m-%d}, and mail waits from then on: see that it is renewed."
    return Level.WARNING, remark


def _tell_failure(settings: Settings, route: MailRoute, report: Report) -> str:
    said = " ".join(filter(None, [str(report.code or ""), report.reply])).rstrip(".")
    name = partial(_variable, settings, route)
    if report.code in _LOGIN_CODES or report.phase is Phase.AUTH:
        wanted = [name("username"), name("password")]
        what = f"check {' and '.join(wanted)}" if route.username else f"set {' and '.join(wanted)}"
        return f"the login is refused ({said}): {what}."
    if report.phase is Phase.TLS or "certificate" in said.lower() or "ssl" in said.lower():
        return (
            f"there is no trusted connection ({said}): {_advise_on_tls(route, said, name('use_ssl'), name('ca_file'))}"
        )
    return f"no connection ({said}): check {name('server')} and {name('port')}, and that a firewall lets it out."


def _advise_on_tls(route: MailRoute, said: str, use_ssl: str, ca_file: str) -> str:
    if "certificate" in said.lower():
        return f"if the server is right, name the authority of its certificate in {ca_file}."
    if route.use_ssl:
        return f"where the server wants STARTTLS, as on port 587, take {use_ssl} away."
    return f"where the server speaks TLS from the start, as on port 465, set {use_ssl} to true."


def _variable(settings: Settings, route: MailRoute, suffix: str) -> str:
    """What the setting is called: without MAIL_ROUTES there is one route, and its settings have plain names."""
    is_plain = settings.mail_server is not None
    return f"MAIL_{suffix.upper()}" if is_plain else mail_routes.variable(route.name, suffix)
