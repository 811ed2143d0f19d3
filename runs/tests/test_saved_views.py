"""Views of the list under a name."""

import pytest

from runs.models import SavedView
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db


def keep(client, name, query=""):
    return client.post("/views/", {"name": name, "query": query}, follow=True)


def test_a_view_is_kept_shown_and_forgotten(client):
    create_run(status="failed")
    assert "Keep this view" not in client.get("/runs/").content.decode()
    assert "Keep this view" in client.get("/runs/?status=failed").content.decode()
    page = keep(client, "Failed", "status=failed&page=3&q=&sort=metric:train/loss&column=train/loss")
    assert "The view “Failed” is kept." in page.content.decode()
    view = SavedView.objects.get()
    assert view.query == "column=train%2Floss&sort=metric%3Atrain%2Floss&status=failed"
    page = client.get(f"/runs/?{view.query}&page=1").content.decode()
    assert f'href="/runs/?{view.query.replace("&", "&amp;")}" aria-current="true">Failed</a>' in page
    assert "Forget “Failed”" in page and "Forget" not in client.get("/runs/").content.decode()
    assert "is forgotten" in client.post(f"/views/{view.pk}/forget/", follow=True).content.decode()
    assert not SavedView.objects.exists()


def test_the_same_name_is_the_same_view(client):
    keep(client, "Mine", "status=failed")
    keep(client, "Mine", "status=lost")
    assert [(view.name, view.query) for view in SavedView.objects.all()] == [("Mine", "status=lost")]


@pytest.mark.parametrize(
    ("name", "query"), [("", "a=1"), ("  ", "a=1"), ("x" * 65, "a=1"), ("n", "q=" + "x" * 2000), ("a\0", "a=1")]
)
def test_what_cannot_be_kept_is_said(client, name, query):
    assert 'data-status="failed"' in keep(client, name, query).content.decode()
    assert not SavedView.objects.exists()


def test_fifty_are_enough(client):
    SavedView.objects.bulk_create(SavedView(name=f"v{number}", query="") for number in range(50))
    assert "There are 50 views already" in keep(client, "one more", "a=1").content.decode()
    assert "is kept" in keep(client, "v7", "status=lost").content.decode()


def test_a_view_that_is_not_there(client):
    assert client.post("/views/7/forget/").status_code == 404
    assert client.get("/views/").status_code == 405
