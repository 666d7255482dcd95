"""What docs/deployment.md has operators type and write, taken by kubectl itself; no cluster is asked."""

import re
import shutil
import subprocess
from pathlib import Path

import documents
import pytest
import yaml

from tests import manifests
from tests.stand_ins import ROOT

PAGE = next(page for page in documents.pages(ROOT) if page.path == "docs/deployment.md")
FILES = {block.title: block.content for block in PAGE.blocks if block.title}
COMMANDS = [
    command.words
    for block in PAGE.blocks
    if block.language == "sh"
    for command in documents.commands(block.content)
    if command.words[0] == "kubectl"
]


def kubectl(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def own_folder(tmp_path):
    """The folder of an operator beside a checkout, as the page has it made."""
    # kubectl refuses what a symbolic link leads to.
    shutil.copytree(ROOT / "deploy", tmp_path / "email_service" / "deploy")
    mail = tmp_path / "mail"
    mail.mkdir()
    (mail / "ingress.yaml").write_text(FILES["ingress.yaml"])
    (mail / "kustomization.yaml").write_text(FILES["kustomization.yaml"] + FILES["migrate-job"])
    return mail


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_kubectl_knows_each_command_and_its_options(words):
    """It reads all of them before it comes to `--help`."""
    arguments = words[1 : words.index("--")] if "--" in words else words[1:]
    ran = kubectl(*arguments, "--help")
    assert ran.returncode == 0, ran.stderr
    assert kubectl(*arguments, "--invented", "--help").returncode == 1


def test_kubectl_builds_from_an_operators_folder_what_our_tests_read(own_folder):
    ran = kubectl("kustomize", ".", folder=own_folder)
    assert ran.returncode == 0, ran.stderr
    # The name of a ConfigMap ends with a hash over what it holds, so that a change of it replaces the pods.
    hashed = set(re.findall(r"(?m)^  name: (email-service\S*-[a-z0-9]{10})$", ran.stdout))
    assert hashed
    for name in hashed:
        ran.stdout = ran.stdout.replace(name, name.rpartition("-")[0])
    built = by_name(yaml.safe_load_all(ran.stdout))
    assert built == by_name(manifests.read(own_folder).objects)


def by_name(objects):
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}
