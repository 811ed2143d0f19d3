from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

handler400 = "tunix_rt.errors.bad_request"
handler403 = "tunix_rt.errors.permission_denied"
handler404 = "tunix_rt.errors.page_not_found"
handler500 = "tunix_rt.errors.server_error"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("login/", LoginView.as_view(template_name="login.html", redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", include("runs.api.urls")),
    path("", include("runs.urls")),
]
