"""`Authorization: Bearer <token>`."""

import re
from typing import Any

from knox.auth import TokenAuthentication as Knox
from rest_framework.exceptions import AuthenticationFailed

TOKEN = re.compile(rb"[A-Za-z0-9_]{1,128}")


class TokenAuthentication(Knox):
    def authenticate_credentials(self, token: bytes) -> Any:
        """What can be no token is refused here: the library decodes it and asks the database for it."""
        if not TOKEN.fullmatch(token):
            raise AuthenticationFailed("Invalid token.")
        return super().authenticate_credentials(token)
