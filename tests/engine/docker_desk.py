"""A desk with a Docker engine: what a page does with containers is done with containers."""

import os
import shlex
import shutil
from dataclasses import dataclass

import yaml
from documents import Block

from tests.desk import Desk
from tests.engine.project import PORT, Project


@dataclass
class DockerDesk(Desk):
    """Works in a copy of the project, where `docker` is the real one."""

    starts_service: bool = False
    patience_seconds: float = 900

    def __post_init__(self) -> None:
        super().__post_init__()
        self.project = Project(self.folder)
        (self.folder / "pip.conf").write_text("[global]\n")  # the reader's own settings of pip
        found = shutil.which("docker")
        assert found
        self._put("docker", f'exec {shlex.quote(found)} "$@"')

    def environment(self) -> dict[str, str]:
        engine = {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG")}
        return {**super().environment(), **engine, **PORT}

    def _env(self, block: Block) -> None:
        """A file that is named is what compose starts with from now on; others are settings to choose from."""
        super()._env(block)
        self._start_with(block.content if block.title else "")

    def _yaml(self, block: Block) -> None:
        """An override of compose.yaml: what it mounts is there."""
        assert "compose.override.yaml" in block.section
        (self.folder / "compose.override.yaml").write_text(block.content)
        self._start_with("")
        for name, secret in yaml.safe_load(block.content)["secrets"].items():
            mounted = self.project.compose("exec", "--no-TTY", "web", "cat", f"/run/secrets/{name}")
            assert mounted == (self.folder / secret["file"]).read_text()

    def _start_with(self, settings: str) -> None:
        path = self.folder / ".env"
        is_new = path.read_text() != settings if path.exists() else bool(settings)
        path.write_text(settings)
        if is_new:
            self.project.up()

    def _sql(self, block: Block) -> None:
        query = ["psql", "--username=email_service", "--dbname=email_service", "--command", block.content]
        self.project.compose("exec", "--no-TTY", "postgres", *query)

    def _dockerfile(self, block: Block) -> None:
        """An image made from the project's folder."""
        (self.folder / "Dockerfile.own").write_text(block.content)
        self.project.docker("build", "--file", "Dockerfile.own", "--tag", "own", ".")
