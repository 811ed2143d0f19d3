"""One's own account: its role, its password, and the tokens that programs use in its name."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import PasswordChangeView as DjangosPasswordChangeView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import Refusal
from runs import services
from runs.forms import TokenForm
from runs.models import ApiToken


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """A new token is in this one answer and nowhere else."""
    _with_login(request)
    form = TokenForm(request.POST or None)
    if request.method != "POST":
        return render(request, "runs/account.html", _page(request, TokenForm()))
    if not form.is_valid():
        return render(request, "runs/account.html", _page(request, form), status=422)
    given = form.cleaned_data
    try:
        token = services.make_token(request.user, given["name"], given["scope"], timedelta(days=given["days"]))
    except Refusal as error:
        messages.error(request, str(error))
        return redirect("account")
    return render(request, "runs/account.html", _page(request, TokenForm(), made=token, made_name=given["name"]))


@require_POST
def revoke(request: HttpRequest, token_key: str) -> HttpResponse:
    _with_login(request)
    token = get_object_or_404(ApiToken, user=request.user, token_key=token_key)
    services.revoke_token(token)
    messages.success(request, f"The token “{token.name}” is revoked.")
    return redirect("account")


class PasswordChangeView(DjangosPasswordChangeView):
    template_name = "runs/password.html"
    success_url = reverse_lazy("account")

    def form_valid(self, form: Any) -> HttpResponse:
        services.note_password_change(self.request.user)
        messages.success(self.request, "Your password is changed. Other sessions of yours have ended.")
        return super().form_valid(form)


def _with_login(request: HttpRequest) -> None:
    """In open mode there is no account."""
    if request.user.pk is None or not request.user.has_usable_password():
        raise Http404


def _page(request: HttpRequest, form: TokenForm, **context: Any) -> dict[str, Any]:
    tokens = ApiToken.objects.filter(user=request.user, expiry__gt=timezone.now()).order_by("created")
    groups = request.user.groups.values_list("name", flat=True)
    role = "superuser" if request.user.is_superuser else ", ".join(groups) or "none"
    return {"form": form, "tokens": tokens, "role": role, **context}
