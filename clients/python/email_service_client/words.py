"""The words that the service uses. A newer service may use others, so none of them is checked at run time.

Made by `generate.py` from the description of the API; a change belongs there.
"""

from typing import Literal

Status = Literal[
    "scheduled",
    "queued",
    "sending",
    "deferred",
    "uncertain",
    "sent",
    "delivered",
    "bounced",
    "complained",
    "suppressed",
    "failed",
    "expired",
    "cancelled",
]
Lane = Literal["token", "transactional", "bulk"]
Reason = Literal[
    "scheduled",
    "waiting",
    "mail_disabled",
    "sending",
    "route_down",
    "no_route",
    "route_rate",
    "domain_rate",
    "greylisted",
    "deferred",
    "uncertain",
    "sent",
    "delivered",
    "bounced",
    "complained",
    "suppressed",
    "failed",
    "expired",
    "cancelled",
]
SuppressionReason = Literal["hard_bounce", "complaint", "unsubscribe", "manual"]
Purpose = Literal["password_reset", "email_verification", "invitation", "magic_link", "login_code", "email_change"]
PublicPurpose = Literal["password_reset", "email_verification", "magic_link", "login_code"]
