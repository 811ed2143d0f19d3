"""Whether the database's tables are those of this version, and what going back to older ones would lose."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations import AddField, CreateModel, Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model
from django.db.models.signals import pre_migrate
from django.dispatch import receiver

APP = "runs"


def differences() -> str:
    """Why this version cannot work with the database as it is, as a sentence; empty where it can.

    Raises the database's errors.
    """
    executor = MigrationExecutor(connection)
    if sentence := _newer(executor):
        return sentence
    pending = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    return f"{pending} migrations are not applied: run manage.py migrate" if pending else ""


def newer() -> str:
    """Why this version is too old for the database, as a sentence; or nothing. Raises the database's errors."""
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return ""  # to ask would make the file
    return _newer(MigrationExecutor(connection))


def _newer(executor: MigrationExecutor) -> str:
    loader = executor.loader
    applied, known = loader.applied_migrations or {}, loader.disk_migrations or {}
    unknown = sorted(name for app, name in applied if app == APP and (app, name) not in known)
    if not unknown:
        return ""
    return (
        f"The database is newer than this version of tunix-rt, which does not know its migration {unknown[-1]}. "
        "Start the newer version; or let it go back first, see Upgrade in docs/operations.md."
    )


@register()
def version_of_database(**_: Any) -> list[CheckMessage]:
    """Before every command, but the supervisors': what trains already is recorded, whatever came since."""
    try:
        sentence = newer()
    except DatabaseError:
        return []  # a command that needs it says so
    finally:
        connection.close()
    return [Error(sentence, id="runs.E001")] if sentence else []


# --- going back -------------------------------------------------------------------------------------------------------


@receiver(pre_migrate)
def refuse_loss(sender: Any, plan: Sequence[tuple[Migration, bool]], apps: Any, **_: Any) -> None:
    """Before anything is changed. Raises CommandError where a migration that is taken back would drop something."""
    if sender.label != APP or settings.ALLOW_DATA_LOSS:
        return
    back = [migration for migration, backwards in plan if backwards and migration.app_label == APP]
    lost = [loss for migration in back for loss in _losses(migration, apps)]
    if lost:
        raise CommandError(
            f"Going back would lose {', '.join(lost)}. Nothing was changed. "
            "Make a backup; TUNIX_RT_ALLOW_DATA_LOSS=1 then goes back all the same."
        )


def _losses(migration: Migration, apps: Any) -> Iterator[str]:
    for operation in migration.operations:
        if isinstance(operation, CreateModel):
            model = apps.get_model(APP, operation.name)
            if count := model._base_manager.count():
                yield f"{count:,} {model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural}"
        elif isinstance(operation, AddField):
            model = apps.get_model(APP, operation.model_name)
            field = model._meta.get_field(operation.name)
            if count := _filled(model, field):
                yield f"“{field.verbose_name}” of {count:,} {model._meta.verbose_name_plural}"


def _filled(model: type[Model], field: Any) -> int:
    """How many rows have something else there than what they would have without being told."""
    rows = model._base_manager.all()
    if field.default in (dict, list) or not callable(field.default):
        rows = rows.exclude(**{field.name: field.get_default()})
    if field.null:
        rows = rows.exclude(**{f"{field.name}__isnull": True})
    return rows.count()
