"""A service that readers can unsubscribe from: reached over https, and with a second category of optional mail."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from email_service import app, extensions
from email_service.settings import resource
from email_service.suppressions.links import Links, Reader
from tests.applications import SECRET_KEY, House, opened
from tests.strangers import ADA

HOST = "https://mail.acme.example"
PAGE, PREFERENCES = "/pages/unsubscribe", "/pages/preferences"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
NEWS: dict[str, Any] = {"template": "product-news", "variables": {"name": "Ada"}}  # of the category news
CHANGED: dict[str, Any] = {"template": "password-changed", "variables": {}}  # security, though no token mail


def path_of(email: str = ADA, category: str = "onboarding", key: str = SECRET_KEY, page: str = PAGE) -> str:
    """Path and query of this reader's link."""
    return Links(page, key).write(Reader(email, category))


def copy_templates(folder: Path) -> Path:
    """The built-in templates, and one that is like `welcome` but of the category news."""
    shutil.copytree(resource("templates"), folder)
    home = shutil.copytree(folder / "email" / "welcome", folder / "email" / "product-news")
    manifest = (home / "manifest.toml").read_text()
    (home / "manifest.toml").write_text(manifest.replace('category = "onboarding"', 'category = "news"'))
    for path in (folder / "email" / "_words").iterdir():
        [said] = re.findall(r"^\[welcome\]\n(.*?)^\[", path.read_text(), re.DOTALL | re.MULTILINE)
        path.write_text(f"{path.read_text()}\n[product-news]\n{said}")
    return folder


@contextmanager
def opened_with_news(house: House, templates: Path, **variables: str) -> Iterator[House]:
    """Another application on the house's database, with these templates."""
    with house.app.app_context():
        url = extensions.db.engine.url.render_as_string(hide_password=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "resource", lambda name: templates if name == "templates" else resource(name))
        with opened(url, **{"PUBLIC_URL": HOST, **variables}) as found:
            yield found


def read(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def link_in(content: bytes) -> str:
    """The link of the header, of which there is one."""
    [field] = read(content).get_all("List-Unsubscribe")
    return re.fullmatch(r"<(\S+)>", field)[1]
