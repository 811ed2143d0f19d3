"""Guessing passwords: by account, by address, and what a proxy says of an address."""

import pytest

from runs.tests.accounts import Browser, server_with_people

LIMIT = 10


@pytest.fixture
def server(home):
    with server_with_people(home, TUNIX_RT_PROXIES="1") as server:
        yield server


def attempt(server, name, password, address):
    """By way of our proxy, which says where it came from behind whatever the client had claimed."""
    return Browser(server).log_in(name, password, **{"X-Forwarded-For": f"10.9.9.9, {address}"}).status_code


def test_an_account_is_closed_after_ten_failures_from_anywhere(server):
    for number in range(LIMIT):
        assert attempt(server, "operator", "wrong", f"192.0.2.{number}") in (200, 429)
    answer = Browser(server).log_in("operator", **{"X-Forwarded-For": "192.0.2.99"})
    assert answer.status_code == 429
    assert b"Too many logins have failed. Try again in ten minutes." in answer.content
    assert attempt(server, "viewer", "correct horse battery staple", "192.0.2.1") == 302, "others come in"
    failed = (
        "from runs.models import Event; print(Event.objects.filter(act='login_failed', subject='operator').count())"
    )
    assert int(server.manage("shell", "--verbosity=0", "-c", failed)) >= LIMIT


def test_an_address_is_closed_after_ten_failures_with_any_account(server):
    for number in range(LIMIT):
        assert attempt(server, f"somebody{number}", "wrong", "192.0.2.7") in (200, 429)
    assert attempt(server, "viewer", "correct horse battery staple", "192.0.2.7") == 429
    assert attempt(server, "viewer", "correct horse battery staple", "192.0.2.8") == 302


def test_the_login_of_the_admin_counts_too(server):
    for _ in range(LIMIT):
        Browser(server).log_in("admin", "wrong", path="/admin/login/", **{"X-Forwarded-For": "192.0.2.5"})
    assert attempt(server, "admin", "correct horse battery staple", "192.0.2.6") == 429


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "é", "", " ", "admin' or 1=1 --"])
def test_any_name_may_be_tried(server, name):
    assert attempt(server, name, "wrong", "192.0.2.1") in (200, 400, 429)
