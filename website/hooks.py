"""What MkDocs asks while it builds the site: which pages there are besides docs/, and what replaces their marks.

The only file that knows MkDocs. What is made from the code comes from the modules beside it, which know Markdown
alone.
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import call_pages
import decision_pages
import error_pages
import settings_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from repository_links import for_the_site

ROOT = Path(__file__).parent.parent
# Pages that stand elsewhere in the repository because their readers look for them there.
ELSEWHERE = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/reporting.md",
    "clients/python/README.md": "project/python-client.md",
    "examples/main_app/README.md": "project/main-app.md",
}
# What pages give to be taken: alerts, a dashboard.
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "deploy").rglob("*.*")) if path.is_file()}
ON_THE_SITE = {
    **ELSEWHERE,
    **{path: f"files/{path}" for path in FILES},
    ".env.example": "reference/settings.md",
    "README.md": "index.md",
}
MADE: dict[str, Callable[[Path], str]] = {
    "call_pages": call_pages.markdown,
    "decision_pages": decision_pages.markdown,
    "error_pages": lambda _: error_pages.markdown(),
    "settings_pages": settings_pages.markdown,
}
MARK = re.compile(r"<!-- made by website/(\w+)\.py -->")
DIAGRAM = re.compile(r'<p><img alt="[^"]*" src="(?:\.\./)*diagrams/([\w-]+)\.svg"\s*/?></p>')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Every decision is in the navigation without being listed there, and so are the pages from elsewhere."""
    for section in config.nav or []:
        if "Decisions" in section:
            section["Decisions"] += [f"adr/{path.name}" for path in decision_pages.decisions(ROOT)]
        if "Project" in section:
            section["Project"] += ELSEWHERE.values()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    for path, source in FILES.items():
        files.append(File.generated(config, f"files/{path}", content=source.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """The page with what its mark stands for, and with links that lead to where the site has what they mean."""
    if mark := MARK.search(markdown):
        if mark[1] not in MADE:
            raise PluginError(f"{page.file.src_uri}: nothing is called website/{mark[1]}.py.")
        markdown = MARK.sub(lambda _: MADE[mark[1]](ROOT), markdown)
    back = {site: path for path, site in ELSEWHERE.items()}
    source = PurePosixPath(back.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    return for_the_site(markdown, source, PurePosixPath(page.file.src_uri), ON_THE_SITE)


def on_page_content(html: str, **_: object) -> str:
    """A diagram becomes part of its page, because a picture does not know which theme its reader chose."""
    return DIAGRAM.sub(lambda found: f'<div class="diagram" tabindex="0">{_diagram(found[1])}</div>', html)


def on_post_page(output: str, **_: object) -> str:
    """The theme's search is a dialog without a name, so that a screen reader could not say what it is."""
    unnamed = 'data-md-component="search" role="dialog"'
    return output.replace(unnamed, f'{unnamed} aria-label="Search"')


def _diagram(name: str) -> str:
    return (ROOT / "docs" / "diagrams" / f"{name}.svg").read_text(encoding="utf-8")
