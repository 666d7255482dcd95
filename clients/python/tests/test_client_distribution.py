"""What somebody installs: a typed wheel of its own, with no more than it names, that sends without any cryptography."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FOLDER = Path(__file__).parent.parent
PACKAGE = FOLDER / "email_service_client"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *options, str(FOLDER)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    [path] = folder.iterdir()
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_the_wheel_has_the_package_its_types_and_nothing_else(wheel):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {f"email_service_client/{path.name}" for path in PACKAGE.iterdir() if path.is_file()}
    assert "email_service_client/py.typed" in names


def test_the_wheel_names_what_the_package_imports(wheel):
    [path] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    told = Parser().parsestr(wheel.read(path).decode())
    needed = [Requirement(each) for each in told.get_all("Requires-Dist")]
    assert told["Name"] == "email-service-client"
    nodes = [
        node for source in PACKAGE.glob("*.py") for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    ]
    imported = {node.module.partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {alias.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert imported - sys.stdlib_module_names - {"email_service_client"} == {each.name for each in needed}
    assert {str(each.marker) for each in needed if each.name != "httpx2"} == {'extra == "jwt"'}


def test_the_lock_of_the_repository_has_versions_that_the_client_takes():
    declared = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (FOLDER.parents[1] / "requirements-dev.lock").read_text(encoding="utf-8")
    for text in [*declared["dependencies"], *declared["optional-dependencies"]["jwt"]]:
        wanted = Requirement(text)
        [version] = [
            line.split("==")[1].split()[0] for line in lock.splitlines() if line.startswith(f"{wanted.name}==")
        ]
        assert version in wanted.specifier


def test_whoever_only_sends_needs_no_joserfc():
    program = """
import sys
sys.modules["joserfc"] = None
from email_service_client import EmailService
with EmailService("https://mail.acme.example") as service:
    try:
        service.verify_access_token("x")
    except ImportError as error:
        print(error)
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert ran.stdout == "To verify tokens, install email-service-client[jwt].\n", ran.stderr
