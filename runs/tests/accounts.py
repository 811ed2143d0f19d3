"""A server that requires a login, and people with roles who use it as a browser does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from runs.tests.databases import new_database
from runs.tests.server import Answer, Server, running_server

PASSWORD = "correct horse battery staple"
FORM = "application/x-www-form-urlencoded"
ROLES = ("nobody", "viewer", "operator", "admin")
MAKE_PEOPLE = """
from django.contrib.auth.models import Group, User
for name in {roles}:
    user = User.objects.create_user(name, password={password!r})
    user.groups.set(Group.objects.filter(name=name))
"""


@contextmanager
def server_with_people(home: Path, **environment: str) -> Iterator[Server]:
    """A real server with pages, in a new `home` with a new database, that requires a login; and those who have one."""
    home.mkdir(exist_ok=True)
    mode = {"TUNIX_RT_AUTH": "required"} | environment
    with new_database(home) as database, running_server(home, database.url, pages=True, **mode) as server:
        make_people(server)
        yield server


def make_people(server: Server) -> None:
    """One user for each role, named like it; `nobody` has none."""
    server.manage("shell", "--verbosity=0", "-c", MAKE_PEOPLE.format(roles=ROLES, password=PASSWORD))


def token_in(html: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)
    assert found, html[:500]
    return found[1]


class Browser:
    """Somebody with cookies. `token` is what a form or a script of ours sends along with a write."""

    def __init__(self, server: Server):
        self.server, self.cookies = server, {}

    def ask(self, method: str, path: str, body=None, **headers: str) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.server.request(method, path, body, {"Cookie": cookie} | headers)
        given = answer.headers.get_all("Set-Cookie", ())
        self.cookies |= dict(each.partition(";")[0].split("=", 1) for each in given)
        return answer

    def send(self, path: str, **fields: str) -> Answer:
        """A form of a page, with its token."""
        return self.ask("POST", path, urlencode(fields).encode(), **self.token, **{"Content-Type": FORM})

    def log_in(self, name: str = "admin", password: str = PASSWORD, path: str = "/login/", **headers: str) -> Answer:
        form = self.ask("GET", path, **headers).content.decode()
        fields = {"username": name, "password": password, "csrfmiddlewaretoken": token_in(form)}
        return self.ask("POST", path, urlencode(fields).encode(), **{"Content-Type": FORM}, **headers)

    @property
    def token(self) -> dict[str, str]:
        return {"X-CSRFToken": self.cookies.get("csrftoken", "")}
