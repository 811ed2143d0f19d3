"""The API by role: reading takes viewer, everything else operator, and services ask for more where it takes more."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from runs import access


class ByRole(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        """False where nobody is signed in, which DRF answers with 401. Raises access.NotAllowed: a body of gigabytes is
        not read for somebody who may not send it."""
        if not (request.user and request.user.is_authenticated):
            return False
        access.require(access.Right.VIEW if request.method in SAFE_METHODS else access.Right.OPERATE)
        return True
