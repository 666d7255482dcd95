"""The Jinja that templates run in: few filters and methods, no way around escaping, a bound on every way to grow.

Knows templates as files and code, and the language that they are compiled for; knows no variable, no message and no
style sheet.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, nodes, pass_environment
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateNotFound, TemplateSyntaxError
from jinja2.filters import FILTERS
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from email_service.rendering import folding, formats, sentences
from email_service.rendering.files import Files
from email_service.rendering.words import Language

_STEP_LIMIT = 10_000  # loop turns, calls and included templates of one part; a rich mail takes a few hundred
_WORK_LIMIT = 1_000_000  # characters that one part may build before it writes them
_RANGE_LIMIT = 1_000
_NUMBER_BITS = 64
_LARGEST = 2**_NUMBER_BITS - 1

# What a mail needs and what cannot make much out of little. `safe` is missing on purpose: everything is escaped.
# fmt: off
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int", "last", "length",
    "lower", "max", "min", "sort", "string", "title", "trim", "truncate", "unique", "upper", "urlencode"
)
METHODS = frozenset({
    "capitalize", "endswith", "get", "items", "keys", "lower", "lstrip", "rstrip", "startswith", "strip",
    "title", "upper", "values"
})
# fmt: on
_OWNERS = (str, dict, list)
_SPEECHLESS = Language()  # of the base locale, without a sentence
_CALLABLES = (Macro, BlockReference, LoopContext)


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


class _Loader(BaseLoader):
    """Hands out what was read; a path that is not among it leads nowhere, whatever is on the disk."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:  # noqa: ARG002 - Jinja's signature
        file = self._files.find(template)
        if file is None:
            raise TemplateNotFound(template)
        return file.text, str(file.place), lambda: True


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with less, for one language. What is fixed is known in every file, also in those that are imported."""

    code_generator_class = _BoundedCode
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(
        self, files: Files, brand: Mapping[str, Any] | None = None, *, language: Language = _SPEECHLESS
    ) -> None:
        super().__init__(
            loader=_Loader(files),
            undefined=StrictUndefined,
            autoescape=lambda name: name is not None and name.endswith(".html"),
            auto_reload=False,
            cache_size=-1,  # never forget a compiled template; there are as many as files
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.meter = _Meter()
        self.filters = {name: FILTERS[name] for name in _FILTERS} | {"join": self._join_list, "_count": _count_turns}
        self.filters |= formats.filters(language.known)
        self.globals: dict[str, Any] = {"namespace": Namespace, "range": _short_range}
        self.globals |= {"brand": brand, "locale": language.locale, "direction": language.direction}
        self.globals["unsubscribe_url"] = None  # unless the mail's reader has one
        self._language = language
        self.concat = self._concatenate  # type: ignore[method-assign]  # Jinja joins blocks and macros with it

    def spend(self, *, steps: int = 0, work: int = 0) -> None:
        meter = self.meter
        if steps:
            meter.steps += steps
            if meter.steps > _STEP_LIMIT:
                raise SecurityError(f"it takes more than {_STEP_LIMIT} steps")
        if work:
            meter.work += work
            if meter.work > _WORK_LIMIT:
                raise SecurityError(f"it builds more than {_WORK_LIMIT} characters")

    def join(self, is_markup: bool, parts: tuple[Any, ...]) -> str:
        """What `~` does."""
        joined = markup_join(parts) if is_markup else str_join(parts)
        self.spend(work=len(joined))
        return joined

    def _concatenate(self, parts: Iterable[str]) -> str:
        if isinstance(parts, list):  # of a macro, which has made them all
            self.spend(work=sum(map(len, parts)))
            return "".join(parts)
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
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "**" or (operator != "+" and not numbers):
            raise SecurityError(f"`{operator}` is not for use here")
        if _is_large(left) or _is_large(right):
            raise SecurityError(f"a number has more than {_NUMBER_BITS} bits")
        result = super().call_binop(context, operator, left, right)
        if not numbers:
            self.spend(work=len(result))
        return result

    def call(
        self, context: Context, obj: Any, /, *args: Any, **kwargs: Any
    ) -> Any:  # Jinja names them with underscores
        self.spend(steps=1)
        if type(obj) is Macro:  # the rest of the way would ask what only other callables answer differently
            kwargs.pop("_block_vars", None)
            kwargs.pop("_loop_vars", None)
            return obj(context.eval_ctx, *args, **kwargs)
        if type(obj) is LoopContext and args:
            args = (_count_turns(self, args[0]), *args[1:])  # a recursive loop turns through what it is called with
        return super().call(context, obj, *args, **kwargs)

    def is_safe_callable(self, obj: Any) -> bool:
        if isinstance(obj, _CALLABLES) or obj is _short_range or obj is Namespace:
            return True
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        return isinstance(owner, LoopContext) or (isinstance(owner, _OWNERS) and name in METHODS)

    def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> Any:  # noqa: A002 - Jinja's name
        """Count it, and keep html and text apart: text is not escaped, so html that takes it in would not be either."""
        self.spend(steps=1)
        if parent is not None and isinstance(name, str):
            _check_kind(name, parent)
        return super().get_template(name, parent, globals)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for modifier in tree.find_all(nodes.EvalContextModifier):
            raise TemplateSyntaxError("escaping cannot be switched off", modifier.lineno, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "_count", [], [], None, None, lineno=loop.lineno)
        is_html = name is not None and name.endswith(".html")
        return sentences.resolve(tree, self._language, name, is_html=is_html)


class SwiftSandbox(Sandbox):
    """The same, and each tree is made short before it is compiled, and finished by `finish` if it is html.

    Writes what the sandbox writes, or fails: only the sandbox itself tells the file and the line of a failure.
    """

    def __init__(
        self,
        files: Files,
        brand: Mapping[str, Any],
        finish: Callable[[nodes.Template], None] | None = None,
        *,
        language: Language = _SPEECHLESS,
    ) -> None:
        super().__init__(files, brand, language=language)
        self._known = {"locale": language.locale, "direction": language.direction}
        self._known |= {f"brand.{name}": value for name, value in brand.items()}
        self._finish = finish

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        if name is None:
            return tree
        is_html = name.endswith(".html")
        tree = folding.set_blocks(tree, partial(self._parse_parent, name))
        tree = folding.fold(tree, self._known, is_html=is_html)
        if is_html and self._finish is not None:
            self._finish(tree)
        return tree

    def _parse_parent(self, child: str, name: str) -> nodes.Template:
        _check_kind(name, child)
        if self.loader is None:
            raise SecurityError("there is no folder")
        source, filename, _ = self.loader.get_source(self, name)
        return super()._parse(source, name, filename)


@pass_environment
def _count_turns(sandbox: Sandbox, values: Any) -> Iterable[Any]:
    """Charge for each turn: for all of them at once where their number is known."""
    try:
        turns = len(values)
    except TypeError:
        return _count_each(sandbox, values)
    sandbox.spend(steps=turns)
    return values  # type: ignore[no-any-return]  # what has a length and cannot be turned through fails in the loop


def _count_each(sandbox: Sandbox, values: Any) -> Iterator[Any]:
    for value in values:
        sandbox.spend(steps=1)
        yield value


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _RANGE_LIMIT:
        raise SecurityError(f"a range has more than {_RANGE_LIMIT} numbers")
    return numbers


def _is_large(value: Any) -> bool:
    return isinstance(value, int) and not -_LARGEST <= value <= _LARGEST


def _check_kind(name: str, parent: str) -> None:
    if name.rpartition(".")[2] != parent.rpartition(".")[2]:
        raise SecurityError(f"{parent} may only take in files of its own kind, not {name}")
