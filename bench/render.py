"""What one message costs before it is sent: its subject, html and text, its styles and its MIME, and its unsealing.

Every template, in a few languages. The reference renders the same three files with plain Jinja (autoescape for html and
nothing else: no sandbox, no bounds, no cleaning, no styles); the other columns are what css-inline and the standard
library's EmailMessage take.

.venv/bin/python bench/render.py [--rounds 20] [--locale de]
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
from email_service.rendering.files import Files
from email_service.rendering.renderer import Rendered, Renderer
from email_service.rendering.variables import Brand
from email_service.settings import resource

LIMIT_MILLISECONDS = 1.0
LOCALES = ("en", "de", "ar", "ja")  # short and long words, from right to left, and hardly an octet of ASCII
TURNS = 20  # of one way in a row: a cold start of each would be measured otherwise
OURS, PLAIN = "render and MIME", "plain Jinja"
BRAND = Brand(name="Example App", color="#1f4fd8", frontend_url="http://localhost:3000")
SENDER, RECIPIENT = Mailbox("no-reply@example.com", "Example App"), Mailbox("ada@example.org", "Ada Lovelace")
CONTEXT = "messages.variables:0190b3c8"


@dataclass
class Case:
    """The ways to do the parts of one template's message, and the milliseconds that each has taken."""

    octets: int
    ways: dict[str, Callable[[], Any]]
    taken: dict[str, list[float]] = field(default_factory=dict)

    def warm_up(self) -> None:
        """Compile what is compiled when it is first used."""
        for way in self.ways.values():
            way()

    def measure(self) -> None:
        """A few turns of each, one after another, so that a noisy minute weighs on all alike."""
        for name, way in self.ways.items():
            gc.collect()  # what the one before has left behind is not this one's
            # All of it is work of one thread, so that its CPU time is what it takes on a core that nobody else uses.
            begun_at = time.thread_time()
            for _ in range(TURNS):
                way()
            self.taken.setdefault(name, []).append((time.thread_time() - begun_at) * 1000 / TURNS)


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


def prepare(folder: Path, renderer: Renderer, plain: PlainJinja, template: Template, locale: str) -> Case:
    variables = template.sample_variables
    rendered = renderer.render(template.name, variables, locale)
    values = {**variables, "subject": rendered.subject}
    parts = template.parts(locale)
    page = plain.get_template(parts[1]).render(values)
    style = (folder / catalog.LAYOUT / "style.css").read_text(encoding="utf-8")
    inliner = CSSInliner(load_remote_stylesheets=False, extra_css=style)
    sealer = Sealer("a key for benchmarks, never for anything else")
    sealed = sealer.seal(json.dumps(variables).encode(), CONTEXT)
    return Case(
        octets=len(mime.build(letter(rendered))),
        ways={
            OURS: lambda: mime.build(letter(renderer.render(template.name, variables, locale))),
            PLAIN: lambda: [plain.get_template(part).render(values) for part in parts],
            "render": lambda: renderer.render(template.name, variables, locale),
            "MIME": lambda: mime.build(letter(rendered)),
            "unseal": lambda: json.loads(sealer.open(sealed, CONTEXT)),
            "css-inline": partial(inliner.inline, page),
            "EmailMessage": partial(build_with_the_standard_library, rendered),
        },
    )


def show(cases: dict[str, Case]) -> None:
    """A line for each case, then whether the slowest of them is fast enough."""
    columns = list(next(iter(cases.values())).ways)
    print(f"\n{'':26}{'octets':>6}" + "".join(f"{name:>16}" for name in columns) + "   ours / plain Jinja")
    totals = {}
    for name, case in cases.items():
        medians = {column: figures.median(case.taken[column]) for column in columns}
        totals[name] = medians[OURS]
        print(f"{name:26}{case.octets:6}" + "".join(f"{each:16.3f}" for each in medians.values()), end="")
        print(f"   {figures.ratios(case.taken[OURS], case.taken[PLAIN])}")
    slowest = max(totals, key=totals.__getitem__)
    verdict = "kept" if totals[slowest] < LIMIT_MILLISECONDS else "BROKEN"
    print(f"\nthe slowest, {slowest}: {totals[slowest]:.3f} ms; under {LIMIT_MILLISECONDS} ms: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--locale", action="append", help=f"instead of {', '.join(LOCALES)}; may be repeated")
    chosen = parser.parse_args()
    figures.introduce("One message of each template, milliseconds on one core (medians)")
    folder = resource("templates") / "email"
    templates = catalog.load(Files(folder))
    renderer = Renderer(Files(folder), templates, BRAND)
    cases = {}
    for locale in chosen.locale or LOCALES:
        plain = PlainJinja(folder, templates.words.speak(locale), BRAND.as_variables())
        for each in templates:
            if locale in each.locales:
                cases[f"{each.name} {locale}"] = prepare(folder, renderer, plain, each, locale)
    for case in cases.values():
        case.warm_up()
    gc.freeze()
    for number in range(chosen.rounds):
        figures.tell(f"round {number + 1} of {chosen.rounds}")
        for case in cases.values():
            case.measure()
    figures.clear()
    show(cases)


if __name__ == "__main__":
    main()
