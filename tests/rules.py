"""The house's rules about source code, as small functions over (path, source) that name what breaks them.

Knows no pytest and reads no file; `test_architecture.py` runs the rules over the tree and over code that breaks each.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

LONGEST_FILE = 300
LONGEST_FUNCTION = 50
MOST_PARAMETERS = 6
MOST_SENTENCES = 4
DEEPEST_FOLDERS = 2
VAGUE_NAMES = {"base", "common", "helper", "helpers", "manager", "managers", "util", "utils"}
# Where everything may be caught, and why; a broad except elsewhere hides a bug.
BROAD_EXCEPT = {
    "email_service/delivery/worker.py": "one poisoned message must not stop the others",
    "email_service/tokens/requests.py": "one poisoned request must not stop the others",
    "email_service/web/problems.py": "a caller gets a problem document, whatever went wrong",
}
CLOCK = "email_service/kernel/clock.py"
CLIENT = "clients/python/email_service_client/"
GENERATED = {f"{CLIENT}answers.py", f"{CLIENT}bodies.py", f"{CLIENT}words.py"}  # as long as the API is wide
# How time is read without the clock, as the last two words of a dotted name.
TIME_READERS = {
    "date.today",
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "time.gmtime",
    "time.localtime",
    "time.monotonic",
    "time.monotonic_ns",
    "time.time",
    "time.time_ns",
}

Rule = Callable[[str, str], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_ours(path: str) -> bool:
    """Whether the file is the service's, so that the rules for the service itself apply."""
    return path.startswith("email_service/")


def ships(path: str) -> bool:
    """Whether somebody else runs it: the service or its client."""
    return is_ours(path) or path.startswith(CLIENT)


def files_are_short(path: str, source: str) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > LONGEST_FILE and path not in GENERATED:
        yield f"{path} has {lines} lines, at most {LONGEST_FILE}"


def functions_are_short(path: str, source: str) -> Iterator[str]:
    for function in _functions(source):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield f"{path}:{function.lineno} {function.name} has {lines} lines, at most {LONGEST_FUNCTION}"


def parameters_are_few(path: str, source: str) -> Iterator[str]:
    """Except in a click command, whose parameters are its options and never written by a caller."""
    if not ships(path):
        return
    for function in _functions(source):
        arguments = function.args
        named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len([name for name in named if name not in {"self", "cls"}])
        count += (arguments.vararg is not None) + (arguments.kwarg is not None)
        if count > MOST_PARAMETERS and not _is_command(function):
            yield f"{path}:{function.lineno} {function.name} takes {count} parameters, at most {MOST_PARAMETERS}"


def modules_say_what_they_know(path: str, source: str) -> Iterator[str]:
    if not ships(path):
        return
    text = ast.get_docstring(ast.parse(source))
    if not text:
        yield f"{path} has no docstring: say what it knows and what it refuses to know"
        return
    sentences = _sentences(text)
    if not 1 <= sentences <= MOST_SENTENCES:
        yield f"{path} opens with {sentences} sentences, one to {MOST_SENTENCES}"


def names_are_nouns_of_ours(path: str, source: str) -> Iterator[str]:
    """A module or folder is neither a drawer for anything nor taken for a standard module."""
    parts = [part for part in PurePosixPath(path).with_suffix("").parts if part != "__init__"]
    for part in parts[1:] if is_ours(path) else parts[-1:]:
        if part in VAGUE_NAMES:
            yield f"{path}: {part} says nothing about what is inside"
        if part in sys.stdlib_module_names:
            yield f"{path}: {part} is the name of a standard module"


def everything_is_caught_only_at_the_guards(path: str, source: str) -> Iterator[str]:
    """Except by a handler that cleans up and ends in a bare `raise`, which hides nothing."""
    if not ships(path) or path in BROAD_EXCEPT:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _passes_on(node):
            yield f"{path}:{node.lineno} catches everything; only {', '.join(BROAD_EXCEPT)} may"
        if isinstance(node, ast.Call) and _dotted(node.func).endswith("suppress") and any(map(_is_broad, node.args)):
            yield f"{path}:{node.lineno} suppresses everything; name what may go wrong"


def chance_comes_from_secrets(path: str, source: str) -> Iterator[str]:
    if ships(path):
        for line, module in _imports(source):
            if module.split(".")[0] == "random":
                yield f"{path}:{line} imports random; randomness comes from secrets"


def time_comes_from_the_clock(path: str, source: str) -> Iterator[str]:
    if not is_ours(path) or path == CLOCK:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ".".join(_dotted(node).split(".")[-2:]) in TIME_READERS:
            yield f"{path}:{node.lineno} reads {_dotted(node)}; time comes from kernel/clock"
    for line, module in _imports(source):
        if module in TIME_READERS:
            yield f"{path}:{line} imports {module}; time comes from kernel/clock"


def folders_are_two_deep(path: str, source: str) -> Iterator[str]:
    # The client is a project of its own.
    folders = len(PurePosixPath(path.removeprefix("clients/python/")).parts) - 1
    if folders > DEEPEST_FOLDERS:
        yield f"{path} lies {folders} folders deep, at most {DEEPEST_FOLDERS}"


RULES: tuple[Rule, ...] = (
    files_are_short,
    functions_are_short,
    parameters_are_few,
    modules_say_what_they_know,
    names_are_nouns_of_ours,
    everything_is_caught_only_at_the_guards,
    chance_comes_from_secrets,
    time_comes_from_the_clock,
    folders_are_two_deep,
)


def _functions(source: str) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, Function))


def _is_command(function: Function) -> bool:
    """Whether click calls it: `@click.option(...)` and `@click.argument(...)` turn the command line into parameters."""
    decorators = [node.func if isinstance(node, ast.Call) else node for node in function.decorator_list]
    return any(_dotted(node) in {"click.option", "click.argument"} for node in decorators)


def _is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(map(_is_broad, caught.elts))
    return caught is None or _dotted(caught).removeprefix("builtins.") in {"Exception", "BaseException"}


def _passes_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _dotted(node: ast.expr) -> str:
    """`a.b.c` for an attribute of an attribute of a name; what is not a name becomes a question mark."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported; `from a import b` is `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _sentences(text: str) -> int:
    """How many ends of sentences: a stop followed by a capital letter or by nothing, outside of code and brackets."""
    plain = re.sub(r"`[^`]*`|\([^()]*\)", "X", text.strip())
    return len(re.findall(r"[.!?](?=\s+[\"'A-Z]|\s*$)", plain))
