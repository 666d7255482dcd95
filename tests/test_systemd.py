"""deploy/systemd is what systemd takes, is shut tight, and agrees with the settings and the command line."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from email_service.cli import server
from email_service.delivery import runner
from email_service.kernel import heartbeat
from email_service.kernel.lanes import LANES
from email_service.settings import Expose, load
from tests import units
from tests.deployment import known_variables, parse, read
from tests.journeys.processes import COMMAND

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/systemd"
SETTINGS = (FOLDER / "email-service.env").read_text(encoding="utf-8")
TARGET = units.read(FOLDER, "email-service.target")
WANTED = sorted(TARGET.words("Unit.Wants"))
UNITS = {name: units.read(FOLDER, name) for name in WANTED}
LASTING = [name for name in WANTED if "migrate" not in name]
WORKERS = [name for name in WANTED if "@" in name]
EXPOSURE = 15  # tenths of what systemd-analyze counts, from 0 (shut) to 100
CREDENTIALS = Path("/run/credentials")


@pytest.fixture
def installed(tmp_path):
    """The units as they are copied to a machine, with a program that is there."""
    return units.install(FOLDER, tmp_path / "system", Path(COMMAND))


def analyze(verb, path, *options):
    return subprocess.run(
        [units.find_program(), verb, *options, str(path)], capture_output=True, text=True, check=False, timeout=60
    )


def words(unit):
    return unit.command(unit.environment(SETTINGS, CREDENTIALS))


@pytest.mark.parametrize("name", ["email-service.target", *WANTED])
def test_systemd_takes_every_unit(name, installed):
    checked = analyze("verify", installed / name)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_what_systemd_does_not_know_is_noticed(installed):
    drop_in = installed / "email-service-.service.d/common.conf"
    drop_in.write_text(drop_in.read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))
    assert "ProtectHouse" in analyze("verify", installed / "email-service-beat.service").stderr


@pytest.mark.parametrize("name", WANTED)
def test_every_unit_is_shut_tight(name, installed):
    checked = analyze("security", installed / name, "--offline=true", f"--threshold={EXPOSURE}")
    assert checked.returncode == 0, checked.stdout


def test_a_unit_that_is_open_is_noticed(installed):
    (installed / "email-service-.service.d/common.conf").unlink()
    checked = analyze("security", installed / WANTED[0], "--offline=true", f"--threshold={EXPOSURE}")
    assert checked.returncode != 0


def test_every_file_is_a_part_of_what_is_wanted():
    templates = {re.sub(r"@[^.]*", "@", name) for name in WANTED}
    folders = {path.parent.name.removesuffix(".d") for path in FOLDER.glob("*.d/*.conf")}
    assert {path.name for path in FOLDER.glob("*.service")} == templates
    assert folders == {"email-service-.service", *WORKERS}
    assert TARGET.one("Install.WantedBy") == "multi-user.target"


def test_the_lanes_are_shared_out_and_token_mail_has_a_worker_of_its_own():
    lanes = [words(UNITS[name])[-1].split(",") for name in WORKERS]
    assert sorted(lane for each in lanes for lane in each) == sorted(LANES)
    assert ["token"] in lanes


@pytest.mark.parametrize("name", WANTED)
def test_every_command_and_every_variable_exists(name):
    unit = UNITS[name]
    program, *arguments = words(unit)
    assert program == "/opt/email-service/bin/email-service"
    assert parse(arguments) == arguments[0]
    variables = {each.removesuffix("_FILE") for each in unit.environment(SETTINGS, CREDENTIALS)} - {"LANES"}
    assert {"DATABASE_URL", "SECRET_KEY", "REDIS_URL", "CELERY_BROKER_URL"} <= variables <= known_variables()


def test_the_file_of_settings_is_one_also_without_its_hashes(tmp_path):
    for name, text in {"database_url": "postgresql:///email_service", "secret_key": "k" * 43}.items():
        (tmp_path / name).write_text(text + "\n")
    unit = UNITS["email-service-web.service"]
    assert load(unit.environment(SETTINGS, tmp_path), None).expose is Expose.ALL
    uncommented = re.sub(r"(?m)^# (?=[A-Z_]+=)", "", SETTINGS)
    assert len(uncommented) < len(SETTINGS)
    settings = load(unit.environment(uncommented, tmp_path), None)
    assert (settings.sender.name, settings.trusted_proxy_count) == ("Acme", 1)


def test_no_secret_stands_in_a_unit_and_each_file_of_one_is_handed_over():
    """T27"""
    for unit in UNITS.values():
        told = unit.environment("", CREDENTIALS)
        files = {value for name, value in told.items() if name.endswith("_FILE")}
        assert files == {str(CREDENTIALS / name) for name in unit.credentials()}
        assert not {"DATABASE_URL", "SECRET_KEY", "MAIL_PASSWORD"} & set(told)


def test_each_process_tells_its_figures_at_a_place_of_its_own():
    places = [UNITS[name].environment(SETTINGS, CREDENTIALS).get("METRICS_BIND") for name in WANTED]
    told = [place for place in places if place]
    assert len(told) == len(set(told)) == len([name for name in WANTED if "web" in name or "@" in name])
    assert all(place.startswith("127.0.0.1:") for place in told)


def test_web_is_reached_from_this_machine_alone():
    _, context = read(words(UNITS["email-service-web.service"])[1:])
    assert context.params["host"] == "127.0.0.1"


@pytest.mark.parametrize("name", LASTING)
def test_a_stop_leaves_time_to_finish_what_is_in_flight(name):
    """F15"""
    unit = UNITS[name]
    assert int(unit.one("Service.TimeoutStopSec")) > max(server.GRACEFUL_SECONDS, runner.STOP_SECONDS)
    assert unit.one("Service.KillMode") == "mixed"
    assert unit.one("Service.Restart") == "always"
    assert unit.one("Unit.StartLimitIntervalSec") == "0"


@pytest.mark.parametrize("name", LASTING)
def test_a_process_says_when_it_has_begun_and_whoever_gives_signs_of_life_is_watched(name):
    unit = UNITS[name]
    assert unit.one("Service.Type") == "notify"
    watched = int(unit.options.get("Service.WatchdogSec", ["0"])[-1])
    assert watched > heartbeat.STALE_SECONDS if "web" not in name else watched == 0


@pytest.mark.parametrize("name", [name for name in LASTING if "beat" not in name])
def test_what_needs_the_database_starts_after_the_migration_and_does_without_it(name):
    unit = UNITS[name]
    assert "email-service-migrate.service" in unit.words("Unit.After") & unit.words("Unit.Wants")
    assert "Unit.Requires" not in unit.options
    assert unit.words("Unit.PartOf") == {"email-service.target"}


def test_the_reader_of_units_reads_as_systemd_does(tmp_path):
    (tmp_path / "a-b@.service").write_text("[Service]\nEnvironment=X=%i Y=1\nExecStart=/bin/x ${X} ${Y}\n")
    for folder, text in {"a-.service.d": "Y=2", "a-b@z.service.d": "Y='3 4'"}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder[:3]}.conf").write_text(f"[Service]\nEnvironment={shlex.quote(text)}\n")
    other, own = units.read(tmp_path, "a-b@y.service"), units.read(tmp_path, "a-b@z.service")
    assert other.command(other.environment("", CREDENTIALS)) == ["/bin/x", "y", "2"]
    assert own.environment("Y=5", CREDENTIALS) == {"X": "z", "Y": "5"}
