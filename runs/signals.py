"""Acts that happen outside of our own services: logins, what is edited in the admin, accounts made by commands."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save
from django.dispatch import receiver

from runs import access, audit
from runs.models import Event


@receiver(user_logged_in)
def logged_in(user: Any, **_: Any) -> None:
    audit.record(Event.Act.LOGIN, subject=user.get_username())


@receiver(user_logged_out)
def logged_out(user: Any, **_: Any) -> None:
    if user is not None:
        audit.record(Event.Act.LOGOUT, subject=user.get_username())


@receiver(user_login_failed)
def login_failed(credentials: dict[str, Any], **_: Any) -> None:
    audit.record(Event.Act.LOGIN_FAILED, subject=str(credentials.get("username", "")).replace("\0", ""))


@receiver(post_save, sender=get_user_model())
def made_on_the_host(instance: Any, created: bool, **_: Any) -> None:
    """By createsuperuser or our own command; the admin has its own log of what is made there."""
    if created and access.actor().way == "command":
        audit.record(Event.Act.MAKE_ACCOUNT, subject=instance.get_username(), superuser=instance.is_superuser)


@receiver(post_save, sender=LogEntry)
def edited_in_the_admin(instance: LogEntry, created: bool, **_: Any) -> None:
    if created:
        kind = instance.content_type.model if instance.content_type else ""
        audit.record(Event.Act.ADMIN, subject=instance.object_repr, kind=kind, what=instance.get_change_message())
