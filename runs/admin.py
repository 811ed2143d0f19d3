"""The admin: browse, filter and search runs at any number of them. What an execution wrote is read here, not edited."""

import json
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from runs import access, search, services
from runs.forms import LoginForm
from runs.models import Event, RunTag, TunixRun
from runs.templatetags import look

# Up to here a count is exact; beyond, it is what the database's planner thinks.
EXACT_COUNT = 10_000


class EstimatingPaginator(Paginator):
    """Counts exactly up to 10,000 rows and asks PostgreSQL's planner beyond: a full count reads the whole index."""

    @cached_property
    def count(self) -> int:
        runs: Any = self.object_list
        counted = runs.order_by()[: EXACT_COUNT + 1].count()
        return counted if counted <= EXACT_COUNT else max(_planned_rows(runs), counted)


def _planned_rows(runs: QuerySet) -> int:
    if connection.vendor != "postgresql":
        return runs.order_by().count()
    return json.loads(runs.order_by().values("pk").explain(format="json"))[0]["Plan"]["Plan Rows"]


class TrashFilter(admin.SimpleListFilter):
    title = "trash"
    parameter_name = "trash"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "In the trash")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(deleted_at__isnull=self.value() != "yes")


class ReadOnly:
    """Nothing of it is changed in the admin."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TagInline(ReadOnly, admin.TabularInline):
    model = RunTag
    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.may(access.Right.VIEW)


@admin.register(TunixRun)
class TunixRunAdmin(admin.ModelAdmin):
    list_display = ("short_id", "dataset_key", "model_id", "mode", "state", "started_at", "took")
    list_filter = ("status", "mode", TrashFilter)
    search_fields = ("dataset_key", "model_id")
    search_help_text = "Dataset, model, or the beginning of a run ID"
    date_hierarchy = "started_at"
    ordering = ("-started_at", "-run_id")
    list_per_page = 50
    show_full_result_count = False
    paginator = EstimatingPaginator
    list_select_related: ClassVar = ()
    inlines = (TagInline,)
    actions = ("move_to_trash", "restore")
    fieldsets = (
        (None, {"fields": ("run_id", "dataset_key", "model_id", "mode", "status", "message", "owner")}),
        ("Execution", {"fields": ("started_at", "completed_at", "took", "exit_code", "output_dir", "config")}),
        ("Output", {"fields": ("stdout", "stderr")}),
        ("Notes", {"fields": ("notes",)}),
        ("Record", {"fields": ("created_at", "deleted_at")}),
    )
    EDITABLE = ("notes",)

    def view_on_site(self, run: TunixRun) -> str:
        return run.get_absolute_url()

    def get_queryset(self, request: HttpRequest) -> Any:
        runs: Any = super().get_queryset(request)
        return runs.without_logs()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        shown = (str(name) for _, options in self.fieldsets for name in options["fields"])
        return tuple(name for name in shown if name not in self.EDITABLE)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        try:
            found = search.parse(search_term)
        except search.SearchError as error:
            self.message_user(request, f"The search {error}", messages.ERROR)
            return queryset.none(), False
        return search.apply(queryset, found) if found else queryset, False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.may(access.Right.OPERATE)

    def has_administer_permission(self, request: HttpRequest) -> bool:
        return access.may(access.Right.ADMINISTER)

    def save_model(self, request: HttpRequest, obj: TunixRun, form: Any, change: bool) -> None:
        services.annotate(obj, notes=obj.notes)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Runs go through the trash, by the action; freeing a record alone would leave its files."""
        return False

    @admin.display(description="run ID", ordering="run_id")
    def short_id(self, run: TunixRun) -> str:
        return run.short_id

    @admin.display(description="status", ordering="status")
    def state(self, run: TunixRun) -> str:
        return run.get_status_display()

    @admin.display(description="duration", ordering="duration_seconds")
    def took(self, run: TunixRun) -> Any:
        return look.duration(run.duration_seconds)

    @admin.action(description="Move to the trash (7 days)", permissions=["administer"])
    def move_to_trash(self, request: HttpRequest, runs: Any) -> None:
        moved = kept = 0
        for run in runs:
            try:
                services.delete(run)
                moved += 1
            except services.NotEnded:
                kept += 1
        still = f"; {kept} have not ended and stay" if kept else ""
        self.message_user(request, f"{moved} moved to the trash{still}.")

    @admin.action(description="Restore from the trash", permissions=["administer"])
    def restore(self, request: HttpRequest, runs: Any) -> None:
        restored = [services.restore(run.pk) for run in runs]
        self.message_user(request, f"{len(restored)} restored.")


@admin.register(Event)
class EventAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("moment", "actor", "act", "subject", "run_id", "way", "address")
    list_filter = ("act", "way")
    search_fields = ("actor", "subject")
    date_hierarchy = None
    list_per_page = 100
    show_full_result_count = False
    paginator = EstimatingPaginator


class AccountAdmin(UserAdmin):
    """Who is no superuser gives roles, and makes and touches no superuser."""

    SUPERUSERS_ONLY = ("is_superuser", "is_staff", "user_permissions")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, *self.SUPERUSERS_ONLY)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)


def may_enter(request: HttpRequest) -> bool:
    """The role admin, and whom a superuser lets in."""
    return request.user.is_active and (request.user.is_staff or access.may(access.Right.ADMINISTER))


admin.site.has_permission = may_enter  # type: ignore[method-assign]
admin.site.login_form = LoginForm  # its own is for staff only
admin.site.unregister(get_user_model())
admin.site.register(get_user_model(), AccountAdmin)
admin.site.site_header = "tunix-rt"
admin.site.site_title = "tunix-rt"
admin.site.index_title = "Administration"
