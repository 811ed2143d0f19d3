from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import Http404, HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from runs.forms import LoginForm

handler400 = "tunix_rt.errors.bad_request"
handler403 = "tunix_rt.errors.permission_denied"
handler404 = "tunix_rt.errors.page_not_found"
handler500 = "tunix_rt.errors.server_error"

# Lazy: the names of static files are known only when they have been collected.
favicon = lazy(lambda: static("runs/favicon.svg"), str)

login = LoginView.as_view(template_name="login.html", authentication_form=LoginForm, redirect_authenticated_user=True)

# The admin's pages are found here and not at the start: a process without pages is 5 MB smaller without them.
admin.autodiscover()


def not_here(request: HttpRequest, **_: str) -> HttpResponse:
    raise Http404


urlpatterns = [
    path("favicon.ico", RedirectView.as_view(url=favicon())),
    # Django's way from an object to its page, which breaks over an ID that is none. Ours links to pages itself.
    path("admin/r/<path:rest>", admin.site.admin_view(not_here)),
    path("admin/", admin.site.urls),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", include("runs.api.urls")),
    path("", include("runs.urls")),
]
