"""A service with templates of its product's own: what it sends, what a message records, and when it does not start."""

from pathlib import Path

import pytest
from sqlalchemy import select

from email_service.authoring import drafts
from email_service.kernel.errors import SettingsError
from email_service.messages.models import Event
from email_service.rendering.catalog import Catalog

RESET = {"action_url": "https://app.example.com/reset"}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    (folder / "password-reset").mkdir(parents=True)
    (folder / "password-reset" / "body.txt").write_text(
        '{% extends "builtin/password-reset/body.txt" %}{% block reason %}As ours says.{% endblock %}'
    )
    return folder


def test_mail_is_made_from_the_products_files_and_the_message_records_their_version(house, client_id, reopen, own):
    drafts.write(own, "order-shipped")
    service = reopen(TEMPLATES_DIR=str(own))
    known, before = service.parts.get(Catalog), house.parts.get(Catalog)
    order = known.get("order-shipped")
    sent = [
        service.accept(client_id, template="password-reset", variables=RESET),
        service.accept(client_id, template="order-shipped", variables=order.sample_variables),
    ]
    service.deliver()
    first, second = service.captured()
    assert "As ours says." in first.text
    assert "Choose a new one here" in first.text
    assert second.subject == "Your order A-1042 is on its way"
    recorded = [service.message(each).template_version for each in sent]
    assert recorded == [known.get("password-reset").version, order.version]
    assert known.get("password-reset").version != before.get("password-reset").version
    assert known.get("welcome").version == before.get("welcome").version


def test_what_a_mail_was_written_with_is_on_record_also_when_templates_changed_meanwhile(house, client_id, reopen, own):
    message_id = house.accept(client_id, template="password-reset", variables=RESET)
    service = reopen(TEMPLATES_DIR=str(own))
    service.deliver()
    assert "As ours says." in service.captured()[-1].text
    accepted, written = (each.parts.get(Catalog).get("password-reset").version for each in (house, service))
    assert accepted != written
    assert service.message(message_id).template_version == accepted
    facts = service.execute(select(Event.name, Event.data).where(Event.message_id == message_id).order_by(Event.id))
    assert [(name, data["template_version"]) for name, data in facts] == [
        ("message.accepted", accepted),
        ("message.sent", written),
    ]


def test_a_file_that_changes_under_a_running_service_changes_nothing(client_id, reopen, own):
    service = reopen(TEMPLATES_DIR=str(own))
    (own / "password-reset" / "body.txt").write_text("Changed meanwhile.")
    service.accept(client_id, template="password-reset", variables=RESET)
    service.deliver()
    assert "As ours says." in service.captured()[-1].text


def test_a_service_does_not_start_on_a_file_that_is_wrong_and_names_it(reopen, own):
    (own / "password-reset" / "manifest.toml").write_text("description = 1")
    with pytest.raises(SettingsError) as caught:
        reopen(TEMPLATES_DIR=str(own))
    assert f"{own}/password-reset/manifest.toml/description has to be a string" in caught.value.detail


def test_a_folder_that_is_not_there_is_a_mistake_of_the_setting(reopen, tmp_path):
    with pytest.raises(SettingsError, match="TEMPLATES_DIR: write the path of a folder"):
        reopen(TEMPLATES_DIR=str(tmp_path / "nowhere"))
