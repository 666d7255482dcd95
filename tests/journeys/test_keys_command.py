"""`email-service keys` as an operator types it."""

import re


def test_a_rotation_publishes_a_key_that_the_list_shows_before_it_signs(house):
    """T25"""
    installation = house()
    assert installation.command("migrate").returncode == 0
    assert "no signing keys yet" in installation.command("keys", "list").stdout
    for _ in range(2):
        made = installation.command("keys", "rotate")
        assert made.returncode == 0, made.stderr
    newest = re.search(r"Published the key (\S{43});", made.stdout)[1]
    first, second = installation.command("keys", "list").stdout.splitlines()
    assert first.split()[:2] == [newest, "next"]
    assert second.split()[1] == "current"
    assert "PRIVATE" not in made.stdout + first + second
