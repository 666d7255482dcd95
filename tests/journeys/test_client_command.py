"""`email-service client` as an operator types it."""


def test_a_client_gets_a_rate_limit_of_its_own_and_the_list_shows_it(house):
    installation = house()
    assert installation.command("migrate").returncode == 0
    created = installation.command("client", "create", "big", "--scope", "*", "--rate-limit", "100/second")
    assert created.returncode == 0, created.stderr
    assert installation.command("client", "create", "small", "--scope", "*").returncode == 0
    big, small = installation.command("client", "list").stdout.splitlines()
    assert "limit: 100/second" in big
    assert "limit: API_RATE_LIMIT" in small


def test_a_rate_limit_that_means_nothing_is_told_and_makes_no_client(house):
    installation = house()
    assert installation.command("migrate").returncode == 0
    refused = installation.command("client", "create", "big", "--scope", "*", "--rate-limit", "often")
    assert refused.returncode == 1
    assert "rate limit" in refused.stderr
    assert "big" not in installation.command("client", "list").stdout
