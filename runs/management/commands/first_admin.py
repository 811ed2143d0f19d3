"""Make the first login of a server that asks for one."""

import os
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import Q

from core.commands import BaseCommand

NAME = "admin"
# As the user of the open mode is, which nobody can log in as.
WITHOUT_PASSWORD = Q(password="") | Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)


class Command(BaseCommand):
    help = "Make the superuser `admin` where none can log in yet: with ADMIN_PASSWORD, or a password printed once."

    def handle(self, **_: Any) -> None:
        users = get_user_model()._default_manager
        if users.filter(is_superuser=True).exclude(WITHOUT_PASSWORD).exists():
            return
        if users.filter(username=NAME).exists():
            self.stderr.write(f"No superuser can log in, and {NAME} is somebody else: use createsuperuser.")
            return
        given = os.environ.get("ADMIN_PASSWORD", "")
        password = given or secrets.token_urlsafe(15)
        users.create_superuser(username=NAME, password=password)
        shown = "of ADMIN_PASSWORD" if given else f"{password} (it is not shown again)"
        self.stdout.write(f"Log in as {NAME} with the password {shown}.")
