"""Make the first login of a server that asks for one."""

import os
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

NAME = "admin"


class Command(BaseCommand):
    help = "Make the superuser `admin` where nobody is superuser yet: with ADMIN_PASSWORD, or a password printed once."

    def handle(self, **_: Any) -> None:
        users = get_user_model()._default_manager
        if users.filter(is_superuser=True).exists():
            return
        given = os.environ.get("ADMIN_PASSWORD", "")
        password = given or secrets.token_urlsafe(15)
        users.create_superuser(username=NAME, password=password)
        shown = "of ADMIN_PASSWORD" if given else f"{password} (it is not shown again)"
        self.stdout.write(f"Log in as {NAME} with the password {shown}.")
