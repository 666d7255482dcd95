"""Turns a template and its variables into subject, html and text, together and in a sandbox with bounds.

Knows Jinja and css-inline; knows no message, no recipient and no network, and never compiles a variable.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any, Final

from css_inline import CSSInliner
from jinja2 import FileSystemLoader, StrictUndefined, nodes, pass_environment
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.filters import FILTERS
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from email_service.kernel.errors import RenderingError
from email_service.rendering.catalog import LAYOUT, PARTS, Catalog
from email_service.rendering.variables import Brand, clean, unlink

__all__ = ["Brand", "Rendered", "Renderer", "Sandbox"]

SUBJECT_LIMIT: Final = 400
HTML_LIMIT: Final = 500_000
TEXT_LIMIT: Final = 200_000

_STEP_LIMIT = 10_000  # loop turns, calls and included templates of one part; a rich mail takes a few hundred
_WORK_LIMIT = 1_000_000  # characters that one part may build before it writes them
_RANGE_LIMIT = 1_000
_NUMBER_BITS = 64

# What a mail needs and what cannot make much out of little. `safe` is missing on purpose: everything is escaped.
# fmt: off
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int", "last", "length",
    "lower", "max", "min", "sort", "string", "title", "trim", "truncate", "unique", "upper", "urlencode"
)
_METHODS = (
    "capitalize", "endswith", "get", "items", "keys", "lower", "lstrip", "rstrip", "startswith", "strip",
    "title", "upper", "values"
)
# fmt: on

# Everything that a template's own code can raise; a template is data, so its mistakes are answers, not crashes.
_FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One message's words. `version` and `locale` say which template wrote them."""

    subject: str
    html: str
    text: str
    version: str
    locale: str


class _Meter(threading.local):
    """What one part has used up so far; each thread renders one part at a time."""

    steps = 0
    work = 0


class _BoundedCode(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja looks the method up by this name
        """Send `~` through the environment, where its result is counted."""
        self.write(f"environment.join({bool(frame.eval_ctx.autoescape)}, (")
        for each in node.nodes:
            self.visit(each, frame)
            self.write(", ")
        self.write("))")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with less: few filters and methods, no way around escaping, and a bound on every way to grow."""

    code_generator_class = _BoundedCode
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, folder: Path) -> None:
        super().__init__(
            loader=FileSystemLoader(folder),
            undefined=StrictUndefined,
            autoescape=lambda name: name is not None and name.endswith(".html"),
            auto_reload=False,
            cache_size=-1,  # never forget a compiled template; there are as many as files
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.meter = _Meter()
        self.filters = {name: FILTERS[name] for name in _FILTERS} | {"join": self._join_list, "_count": _count_turns}
        self.globals: dict[str, Any] = {"namespace": Namespace, "range": _short_range}
        self.concat = self._concatenate  # type: ignore[method-assign]  # Jinja joins blocks and macros with it

    def spend(self, *, steps: int = 0, work: int = 0) -> None:
        self.meter.steps += steps
        self.meter.work += work
        if self.meter.steps > _STEP_LIMIT:
            raise SecurityError(f"it takes more than {_STEP_LIMIT} steps")
        if self.meter.work > _WORK_LIMIT:
            raise SecurityError(f"it builds more than {_WORK_LIMIT} characters")

    def join(self, is_markup: bool, parts: tuple[Any, ...]) -> str:
        """What `~` does."""
        joined = markup_join(parts) if is_markup else str_join(parts)
        self.spend(work=len(joined))
        return joined

    def _concatenate(self, parts: Iterable[str]) -> str:
        kept = []
        for part in parts:
            self.spend(work=len(part))
            kept.append(part)
        return "".join(kept)

    def _join_list(self, values: Any, between: str = "") -> str:
        """Jinja's `join` without its `attribute`; the result is plain text and is escaped like any other."""
        return self._concatenate(part for value in values for part in (between, str(value)))[len(between) :]

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What a JSON object holds comes before the methods of a dict, and without the cost of guarding them."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        numbers = all(isinstance(each, int | float) for each in (left, right))
        if operator == "**" or (operator != "+" and not numbers):
            raise SecurityError(f"`{operator}` is not for use here")
        if any(isinstance(each, int) and each.bit_length() > _NUMBER_BITS for each in (left, right)):
            raise SecurityError(f"a number has more than {_NUMBER_BITS} bits")
        result = super().call_binop(context, operator, left, right)
        self.spend(work=0 if numbers else len(result))
        return result

    def call(
        self, context: Context, obj: Any, /, *args: Any, **kwargs: Any
    ) -> Any:  # Jinja names them with underscores
        self.spend(steps=1)
        return super().call(context, obj, *args, **kwargs)

    def is_safe_callable(self, obj: Any) -> bool:
        if obj is _short_range or obj is Namespace or isinstance(obj, Macro | BlockReference | LoopContext):
            return True
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        return isinstance(owner, LoopContext) or (isinstance(owner, str | dict | list) and name in _METHODS)

    def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> Any:  # noqa: A002 - Jinja's name
        """Count it, and keep html and text apart: text is not escaped, so html that takes it in would not be either."""
        self.spend(steps=1)
        if parent is not None and isinstance(name, str) and Path(name).suffix != Path(parent).suffix:
            raise SecurityError(f"{parent} may only take in files of its own kind, not {name}")
        return super().get_template(name, parent, globals)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for modifier in tree.find_all(nodes.EvalContextModifier):
            raise TemplateSyntaxError("escaping cannot be switched off", modifier.lineno, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "_count", [], [], None, None, lineno=loop.lineno)
        return tree


@pass_environment
def _count_turns(sandbox: Sandbox, values: Any) -> Iterator[Any]:
    for value in values:
        sandbox.spend(steps=1)
        yield value


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _RANGE_LIMIT:
        raise SecurityError(f"a range has more than {_RANGE_LIMIT} numbers")
    return numbers


class Renderer:
    """Renders any template of the catalog; one for the whole process, and every thread may use it."""

    def __init__(self, folder: Path, catalog: Catalog, brand: Brand) -> None:
        self._folder = folder
        self._catalog = catalog
        self._brand = brand.as_variables()
        self._sandbox = Sandbox(folder)
        style = folder / LAYOUT / "style.css"
        self._inliner = CSSInliner(
            load_remote_stylesheets=False,
            extra_css=style.read_text(encoding="utf-8") if style.is_file() else None,
        )

    def render(self, name: str, variables: Mapping[str, Any], locale: str | None = None) -> Rendered:
        """Subject, html and text from one template in one locale. Raises TemplateUnknownError or RenderingError."""
        template = self._catalog.get(name)
        chosen = template.pick_locale(locale)
        subject_path, html_path, text_path = (template.part(chosen, each) for each in PARTS)
        fixed = {"brand": self._brand, "locale": chosen}
        with self._told(name, subject_path):
            values = dict(variables)
            subject = _one_line(
                self._write(subject_path, clean(values, template.variables_schema) | fixed, SUBJECT_LIMIT)
            )
        with self._told(name, html_path):
            context = unlink(values, template.variables_schema) | fixed | {"subject": unlink(subject, {})}
            html = self._inliner.inline(self._write(html_path, context, HTML_LIMIT))
            _check_size(html, HTML_LIMIT)
        with self._told(name, text_path):
            text = self._write(text_path, context, TEXT_LIMIT)
            _check_size(text, TEXT_LIMIT)
        return Rendered(subject=subject, html=html, text=text, version=template.version, locale=chosen)

    def _write(self, path: str, context: dict[str, Any], limit: int) -> str:
        """Render one file, and stop it at the line where its output grows over the limit."""
        self._sandbox.meter.steps = self._sandbox.meter.work = 0
        stream = self._sandbox.get_template(path).generate(context)
        kept, size = [], 0
        for part in stream:
            size += len(part)
            if size > limit:
                stream.throw(SecurityError(f"it writes more than {limit} characters"))
            kept.append(part)
        return "".join(kept)

    @contextmanager
    def _told(self, name: str, path: str) -> Iterator[None]:
        """Turn whatever a template or its values can raise into one sentence with the file and the line."""
        try:
            yield
        except _FAILURES as error:
            raise RenderingError(
                f"The template {name!r} cannot be rendered: {self._place(error, path)}: {_reason(error)}."
            ) from error

    def _place(self, error: Exception, path: str) -> str:
        if isinstance(error, TemplateSyntaxError):
            return f"{error.name or path}, line {error.lineno}"
        for frame, line in reversed(list(walk_tb(error.__traceback__))):
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(self._folder):
                return f"{file.relative_to(self._folder).as_posix()}, line {line}"
        return path


def _reason(error: Exception) -> str:
    match error:
        case TemplateNotFound():
            return f"there is no file {error.name}"
        case RecursionError():
            return "it calls itself without end"
        case UnicodeEncodeError():
            return "it holds a lone surrogate code point, which no mail can carry"
        case TemplateError() | ArithmeticError() | TypeError():
            return str(error).partition("\n")[0].rstrip(".")
    # Other errors may quote a variable's value, which may be a secret.
    return f"a value does not fit there ({type(error).__name__})"


def _one_line(text: str) -> str:
    """A header's value: one line, without controls, and not empty (RFC 5322 2.2)."""
    line: str = " ".join(clean(text, {}).split())
    if not line:
        raise SecurityError("the subject is empty")
    _check_size(line, SUBJECT_LIMIT * 4)
    return line


def _check_size(text: str, limit: int) -> None:
    size = len(text.encode())
    if size > limit:
        raise SecurityError(f"it comes to {size} bytes and may have {limit}")
