"""A desk with a Docker engine: what a page does with containers is done with containers."""

import os
import shlex
import shutil
from dataclasses import dataclass, replace

import yaml
from documents import Block

from tests.desk import MAIL, Desk
from tests.engine.project import PORT, Project

OURS = "`make docker-test` runs it"


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

    def work_through(self, blocks: list[Block]) -> None:
        """As every desk; a block that is left to this one is run."""
        super().work_through(
            [replace(block, reason=None) if OURS in (block.reason or "") else block for block in blocks]
        )

    def environment(self) -> dict[str, str]:
        engine = {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG")}
        return {**super().environment(), **engine, **PORT}

    def _env(self, block: Block) -> None:
        """A file that is named is what compose starts with; others are for commands of this desk."""
        super()._env(block)
        if block.title:
            self.start_with(block.content)

    def _yaml(self, block: Block) -> None:
        """An override of compose.yaml: what it mounts is there. The page's mail server is not, so it is taken back."""
        assert "compose.override.yaml" in block.section
        override = self.folder / "compose.override.yaml"
        override.write_text(block.content)
        self.start_with("".join(f"{name}={value}\n" for name, value in {**MAIL, "MAIL_USERNAME": "x"}.items()))
        for name, secret in yaml.safe_load(block.content)["secrets"].items():
            mounted = self.project.compose("exec", "--no-TTY", "web", "cat", f"/run/secrets/{name}")
            assert mounted == (self.folder / secret["file"]).read_text()
        override.unlink()
        self.start_with("")

    def start_with(self, settings: str) -> None:
        """These lines in `.env`, and everything up with them."""
        (self.folder / ".env").write_text(settings)
        self.project.up()

    def _sql(self, block: Block) -> None:
        query = ["psql", "--username=email_service", "--dbname=email_service", "--command", block.content]
        self.project.compose("exec", "--no-TTY", "postgres", *query)

    def _dockerfile(self, block: Block) -> None:
        """The image `own`, made from the folder of the same name, which the test fills."""
        (self.folder / "own" / "Dockerfile").write_text(block.content)
        self.project.docker("build", "--tag", "own", "own")
