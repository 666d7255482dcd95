"""The service's own templates as plain Jinja renders them: autoescape for html and nothing else.

Only the words are put in place as the service does it; there is no sandbox, no bound, no cleaning and no style.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, nodes

from email_service.rendering import formats, sentences
from email_service.rendering.words import Language


class PlainJinja(Environment):
    """One language's templates."""

    def __init__(self, folder: Path, language: Language, brand: dict[str, Any]) -> None:
        super().__init__(
            loader=FileSystemLoader(folder),
            autoescape=lambda name: name is not None and name.endswith(".html"),
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.filters |= formats.filters(language.known)
        self.globals |= {"brand": brand, "locale": language.locale, "direction": language.direction}
        self._language = language

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        is_html = name is not None and name.endswith(".html")
        return sentences.resolve(tree, self._language, name, is_html=is_html)
