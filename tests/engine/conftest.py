"""Projects in a Docker engine of the tests' own; whatever a test made in it is gone when the test ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.docker_desk import DockerDesk
from tests.engine.project import Project
from tests.journeys.processes import House


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    ours = Project(tmp_path)
    ours.remove()
    yield ours
    ours.remove()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[DockerDesk]:
    with House(tmp_path, {"DATABASE_URL": f"sqlite:///{tmp_path}/email_service.db"}) as house:
        ours = DockerDesk(tmp_path, house)
        ours.project.remove()
        yield ours
        ours.project.remove()
