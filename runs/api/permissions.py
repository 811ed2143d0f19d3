"""The API by role: reading takes viewer, everything else operator, and a view's `takes` says where it takes more."""

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from runs import access
from runs.access import Right


class ByRole(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        """False where nobody is signed in, which DRF answers with 401.

        What a service would refuse is refused here: a body of gigabytes is not read for somebody who may not send it,
        and the browsable API, which asks before it shows a form and heeds only exceptions of DRF, shows none in vain.
        """
        if not (request.user and request.user.is_authenticated):
            return False
        usual = Right.VIEW if request.method in SAFE_METHODS else Right.OPERATE
        try:
            access.require(getattr(view, "takes", {}).get(request.method, usual))
        except access.NotAllowed as error:
            raise PermissionDenied(str(error)) from error
        return True
