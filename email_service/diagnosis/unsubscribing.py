"""Whether readers who may unsubscribe find a link to do so in their mail. Knows settings and templates only."""

from email_service.engine import can_be_reached
from email_service.rendering.catalog import Catalog
from email_service.settings import Settings
from email_service.web.checks import Finding, Level


def check_links(settings: Settings, catalog: Catalog) -> list[Finding]:
    """Nothing where no template lets a reader unsubscribe."""
    names = catalog.optional_categories()
    if not names:
        return []
    told = f"Mail of the category {names[0]}" if len(names) == 1 else f"Mail of the categories {', '.join(names)}"
    if can_be_reached(settings):
        return [Finding("unsubscribing", Level.OK, f"{told} has a link to {settings.public_url}.")]
    advice = f"set PUBLIC_URL, now {settings.public_url}, to the https address of this service"
    return [Finding("unsubscribing", Level.WARNING, f"{told} has no link to unsubscribe: {advice}.")]
