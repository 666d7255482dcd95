"""What one message costs before it is sent: its subject, html and text, its styles and its MIME, and its unsealing.

The reference renders the same three files with plain Jinja (autoescape for html and nothing else: no sandbox, no
bounds, no cleaning, no styles); the other columns are what css-inline and the standard library's EmailMessage take.

.venv/bin/python bench/render.py [--rounds 40]
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import figures
from css_inline import CSSInliner
from plain_jinja import PlainJinja

from email_service.delivery import mime
from email_service.kernel.addresses import Mailbox
from email_service.kernel.crypto import Sealer
from email_service.rendering import catalog
from email_service.rendering.catalog import Template
from email_service.rendering.renderer import Rendered, Renderer
from email_service.rendering.variables import Brand
from email_service.settings import resource

LIMIT_MILLISECONDS = 1.0
TURNS = 50  # of one way in a row: a cold start of each would be measured otherwise
OURS, PLAIN = "render and MIME", "plain Jinja"
BRAND = Brand(name="Example App", color="#1f4fd8", frontend_url="http://localhost:3000")
SENDER, RECIPIENT = Mailbox("no-reply@example.com", "Example App"), Mailbox("ada@example.org", "Ada Lovelace")
CONTEXT = "messages.variables:0190b3c8"


@dataclass
class Case:
    """The ways to do the parts of one template's message, and the milliseconds that each has taken."""

    ways: dict[str, Callable[[], Any]]
    taken: dict[str, list[float]] = field(default_factory=dict)

    def measure(self) -> None:
        """A few turns of each, one after another, so that a noisy minute weighs on all alike."""
        for name, way in self.ways.items():
            gc.collect()  # what the one before has left behind is not this one's
            begun_at = time.perf_counter()
            for _ in range(TURNS):
                way()
            self.taken.setdefault(name, []).append((time.perf_counter() - begun_at) * 1000 / TURNS)


def letter(rendered: Rendered) -> mime.Letter:
    return mime.Letter(
        message_id_header="<0190b3c8-4c5d-7e6f-8a9b-0c1d2e3f4a5b@mail.example.com>",
        date=datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
        sender=SENDER,
        to=RECIPIENT,
        subject=rendered.subject,
        html=rendered.html,
        text=rendered.text,
    )


def build_with_the_standard_library(rendered: Rendered) -> bytes:
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = f"{SENDER.name} <{SENDER.email}>"
    message["To"] = f"{RECIPIENT.name} <{RECIPIENT.email}>"
    message["Subject"] = rendered.subject
    message.set_content(rendered.text)
    message.add_alternative(rendered.html, subtype="html")
    return message.as_bytes()


def prepare(folder: Path, renderer: Renderer, plain: PlainJinja, template: Template) -> Case:
    variables = template.sample_variables
    rendered = renderer.render(template.name, variables)
    values = {**variables, "subject": rendered.subject}
    parts = template.parts("en")
    page = plain.get_template(parts[1]).render(values)
    style = (folder / catalog.LAYOUT / "style.css").read_text(encoding="utf-8")
    inliner = CSSInliner(load_remote_stylesheets=False, extra_css=style)
    sealer = Sealer("a key for benchmarks, never for anything else")
    sealed = sealer.seal(json.dumps(variables).encode(), CONTEXT)
    print(f"{template.name}: {len(mime.build(letter(rendered)))} octets")
    return Case(
        {
            OURS: lambda: mime.build(letter(renderer.render(template.name, variables))),
            PLAIN: lambda: [plain.get_template(part).render(values) for part in parts],
            "render": lambda: renderer.render(template.name, variables),
            "MIME": lambda: mime.build(letter(rendered)),
            "unseal": lambda: json.loads(sealer.open(sealed, CONTEXT)),
            "css-inline": partial(inliner.inline, page),
            "EmailMessage": partial(build_with_the_standard_library, rendered),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    figures.introduce("One message of each template, milliseconds on one core (medians)")
    folder = resource("templates") / "email"
    templates = catalog.load(folder)
    renderer = Renderer(folder, templates, BRAND)
    plain = PlainJinja(folder, templates.words.speak("en"), BRAND.as_variables())
    cases = {each.name: prepare(folder, renderer, plain, each) for each in templates}
    gc.freeze()
    for number in range(rounds):
        for case in cases.values():
            case.measure()
        if number % 5 == 0:
            figures.tell(f"round {number} of {rounds}")
    figures.clear()
    columns = list(next(iter(cases.values())).ways)
    print(f"\n{'':20}" + "".join(f"{name:>17}" for name in columns) + "   ours / plain Jinja")
    for name, case in cases.items():
        medians = {column: figures.median(case.taken[column]) for column in columns}
        print(f"{name:20}" + "".join(f"{each:17.3f}" for each in medians.values()), end="")
        print(f"   {medians[OURS] / medians[PLAIN]:.2f}", end="")
        print("" if medians[OURS] < LIMIT_MILLISECONDS else f"   over {LIMIT_MILLISECONDS} ms")


if __name__ == "__main__":
    main()
