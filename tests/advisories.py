"""The faults of comparable systems, by the names they are known under, and why some of them concern nothing here.

A test names the fault that it shows to be absent, in its docstring or as the id of its parameters.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent

# Of systems that issue tokens, and of what stands in front of them.
TOKENS = """
supabase/auth #2612, kratos 6ce2bd861, kratos #4251, kratos 8d4b3c3ae, GHSA-7w99-5wm4-3g79, GHSA-392p-2q2v-4372,
better-auth #9572, GHSA-hc7v-rggr-4hvx, CVE-2026-110861, CVE-2026-110862, CVE-2026-114607, GHSA-965c-763c-88jm,
CVE-2026-53516, CVE-2024-56734, CVE-2025-27143, CVE-2025-71403, CVE-2026-18963, CVE-2026-107276, CVE-2026-82761,
CVE-2026-73431, CVE-2026-33640, CVE-2026-105638, GHSA-c55g-q6f4-5qxr, supabase discussion #33745, supabase #2333,
CVE-2023-7028, CVE-2019-19844, CVE-2024-45231, CVE-2024-39329, CVE-2016-2513, allauth 0.54.0, allauth 0.55.0,
allauth 0.63.4, allauth 65.3.0, allauth 65.3.0 headless, allauth 65.8.1, allauth 65.14.2, better-auth #7470,
better-auth #9134, GHSA-fqh6-6h6c-366m, CVE-2021-32618, CVE-2023-49438, GHSA-w2j7-f3c6-g8cw, CVE-2021-21241,
GHSA-2hp9-3xfr-r9w2, CVE-2025-48370, CVE-2024-45042, GoTrue #1214, NextAuth #1840, Ghost #12347, FusionAuth #629,
hasura-auth #189, better-auth #9690, Outline #9227, EmDash #3298, sourcelibrary #2640
"""
# Of systems that send mail, and of what they are built from.
MAIL = """
CVE-2024-6923, CVE-2026-1299, CVE-2025-11468, bpo-43124, PYSEC-2026-2338, GHSA-v3q9-hj7j-63hq, CVE-2023-27043,
CVE-2019-16056, CVE-2023-36632, CVE-2016-0772, CVE-2025-13033, CVE-2026-92598, CVE-2026-125755, CVE-2026-100699,
CVE-2026-90776, CVE-2026-82853, CVE-2026-82854, CVE-2015-5144, CVE-2023-36053, CVE-2024-3651, GHSA-jc7g-x28f-3v3h,
CVE-2025-49136, CVE-2016-10745, CVE-2019-10906, postal 11419f9, postal cad2aa6, CVE-2026-23829, RUSTSEC-2026-0561,
CVE-2021-38189, CVE-2021-23727, CVE-2022-29217, CVE-2017-11424, CVE-2024-37568, CVE-2024-33663, CVE-2024-1135,
CVE-2024-6827, CVE-2023-25577, CVE-2023-46136, CVE-2023-30861, kratos #3175, kratos #3399, kratos #652, kratos #732,
postal #1085, postal #1028, celery #5306, celery #3270, celery #2599, celery #5935, kombu #337, pretix #2058,
celery #4296, celery #4556, celery #6911, celery #4383
"""
ALL = frozenset(" ".join(name.split()) for names in (TOKENS, MAIL) for name in names.split(","))
# A fault that nothing here could have: why, and what would change that. So far each could be tried on something.
ELSEWHERE: Mapping[str, str] = {}


def find_gap(name: str, named: frozenset[str], elsewhere: Mapping[str, str]) -> str:
    """What is wrong with how this fault is covered; empty when nothing is."""
    if name in named:
        return "a test names it, and it is said to concern nothing here" if name in elsewhere else ""
    if name not in elsewhere:
        return "no test names it, and nobody says why"
    return "" if len(elsewhere[name].split()) > 5 else "the reason why it concerns nothing here is none"


@cache
def named() -> frozenset[str]:
    """Every fault that some test names."""
    texts = [text for path in TESTS.rglob("test_*.py") for text in _texts(path.read_text(encoding="utf-8"))]
    return frozenset(name for name in ALL if any(says(text, name) for text in texts))


def says(text: str, name: str) -> bool:
    """Whether the text has the name as a whole; `allauth 65.3.0 headless` does not name `allauth 65.3.0`."""
    longer = [other[len(name) :] for other in ALL if other.startswith(name) and other != name]
    after = "".join(f"(?!{re.escape(rest)})" for rest in longer)
    return re.search(rf"(?<![\w#]){re.escape(name)}(?!\w){after}", " ".join(text.split())) is not None


def _texts(source: str) -> Iterator[str]:
    """The docstrings of the tests, and the ids of their parameters."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield ast.get_docstring(node) or ""
        if isinstance(node, ast.keyword) and node.arg == "id" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)
