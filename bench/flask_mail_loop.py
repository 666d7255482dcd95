"""The naive way to send many messages: render with plain Jinja, then `mail.send`, which connects for each message.

A process of its own, so that it has an interpreter to itself as the service does. Needs no database, and could lose
whatever it has not sent: it is here for its speed.
"""

import argparse
import json
import time

import stage
from css_inline import CSSInliner
from flask import Flask
from flask_mail import Mail, Message
from plain_jinja import PlainJinja

from email_service.rendering import catalog
from email_service.rendering.files import Files
from email_service.rendering.variables import Brand
from email_service.settings import resource

FOLDER = resource("templates") / "email"


def send(count: int, port: int) -> dict[str, float]:
    app = Flask("loop")
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port, MAIL_DEFAULT_SENDER=stage.SENDER)
    mail = Mail(app)
    brand = Brand(name="Example App", frontend_url="http://localhost:3000").as_variables()
    templates = PlainJinja(FOLDER, catalog.load(Files(FOLDER)).words.speak("en"), brand)
    subject, html, text = (
        templates.get_template(f"welcome/{part}") for part in ("subject.txt", "body.html", "body.txt")
    )
    inliner = CSSInliner(extra_css=(FOLDER / "_layout" / "style.css").read_text(), load_remote_stylesheets=False)
    begun_at, cpu_before = time.perf_counter(), time.process_time()
    with app.app_context():
        for number in range(count):
            words = {**stage.VARIABLES, "subject": "Welcome"}
            message = Message(
                subject=subject.render(words),
                recipients=[f"reader{number}@example.com"],
                html=inliner.inline(html.render(words)),
                body=text.render(words),
            )
            mail.send(message)
    return {"seconds": time.perf_counter() - begun_at, "cpu_seconds": time.process_time() - cpu_before}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    print(json.dumps(send(**vars(arguments))))
