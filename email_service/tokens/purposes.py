"""What tokens are for, and what follows from it: which mail carries one, in which form, who may ask. Pure rules.

How long one lives and which page its link leads to are settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Purpose(StrEnum):
    """What a token is for."""

    PASSWORD_RESET = "password_reset"  # noqa: S105 - a purpose, no password
    EMAIL_VERIFICATION = "email_verification"
    INVITATION = "invitation"
    MAGIC_LINK = "magic_link"
    LOGIN_CODE = "login_code"
    EMAIL_CHANGE = "email_change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for the tokens of one purpose."""

    template: str
    has_link: bool = True  # with a token in it; False: there is only a code
    has_code: bool = False
    is_public: bool = False  # anybody may ask for one, by the address of an account


RULES: Mapping[Purpose, Rule] = MappingProxyType(
    {
        Purpose.PASSWORD_RESET: Rule(template="password-reset", is_public=True),
        Purpose.EMAIL_VERIFICATION: Rule(template="email-verification", has_code=True, is_public=True),
        Purpose.INVITATION: Rule(template="user-invitation"),
        Purpose.MAGIC_LINK: Rule(template="magic-link", has_code=True, is_public=True),
        Purpose.LOGIN_CODE: Rule(template="login-code", has_link=False, has_code=True, is_public=True),
        Purpose.EMAIL_CHANGE: Rule(template="email-change"),
    }
)
