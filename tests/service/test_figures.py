"""Counting by several processes at once, some of which are killed: sums are exact, and no figure ever falls."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from email_service.kernel import figures

COUNTER = """
import sys
from pathlib import Path
from email_service.kernel import figures
from email_service.kernel.tallies import Handover, QuotaHit
figures.share(Path(sys.argv[1]))
kept = figures.Figures()
for line in sys.stdin:
    kept.count([QuotaHit("api"), Handover("token", 0.3)] * int(line))
    print("counted", flush=True)
"""


class Counting:
    """A process that counts when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", COUNTER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def count(self, times: int) -> None:
        self.popen.stdin.write(f"{times}\n")
        self.popen.stdin.flush()
        assert self.popen.stdout.readline() == "counted\n"

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        with self.popen:
            self.popen.wait(10)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(figures.tempfile, "tempdir", str(tmp_path))
    return figures.make_folder()


@pytest.fixture
def start(folder):
    started = []

    def begin() -> Counting:
        started.append(Counting(folder))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


def totals(folder: Path) -> dict[str, float]:
    families = MultiProcessCollector(None, str(folder)).collect()
    return {sample.name: sample.value for family in families for sample in family.samples if "le" not in sample.labels}


def test_processes_add_up_and_a_killed_ones_count_stays(folder, start):
    first, second = start(), start()
    first.count(3)
    second.count(4)
    assert totals(folder)["email_service_quota_hits_total"] == 7
    first.kill()
    assert totals(folder)["email_service_quota_hits_total"] == 7
    third = start()
    third.count(5)
    second.count(1)
    assert totals(folder)["email_service_quota_hits_total"] == 13
    assert totals(folder)["email_service_handover_seconds_count"] == 13
    assert totals(folder)["email_service_handover_seconds_sum"] == pytest.approx(13 * 0.3)


def test_a_process_that_takes_the_place_of_a_killed_one_goes_on_in_its_file(folder, start):
    other = start()
    other.count(1)
    for _ in range(5):
        process = start()
        process.count(1)
        process.kill()
    assert len(list(folder.glob("counter_*.db"))) == 2
    assert totals(folder)["email_service_quota_hits_total"] == 6


def test_a_folder_whose_processes_are_gone_is_removed_by_the_next_command(tmp_path, folder):
    # Held by this process, so it stays; one that was left behind goes.
    (tmp_path / "email-service-figures-left").mkdir()
    following = figures.make_folder()
    assert {each.name for each in tmp_path.iterdir()} == {folder.name, following.name}


def test_a_lock_is_not_taken_through_a_link_of_somebody_else(tmp_path):
    (tmp_path / "0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        figures._take(tmp_path / "0.lock")
    assert not (tmp_path / "elsewhere").exists()
