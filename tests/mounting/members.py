"""Who may log in to the Django project of these tests: one member, kept in no database."""

from __future__ import annotations

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponse

__all__ = ["MEMBER", "OneMember", "log_in"]

MEMBER = User(pk=1, username="ada", password="unusable")

# It would write the time of the log-in to the database.
user_logged_in.disconnect(dispatch_uid="update_last_login")


class OneMember:
    def get_user(self, user_id: int) -> User | None:
        return MEMBER if user_id == MEMBER.pk else None

    async def aget_user(self, user_id: int) -> User | None:
        return self.get_user(user_id)


def log_in(request: HttpRequest) -> HttpResponse:
    """A view that logs the member in, whoever asks."""
    login(request, MEMBER, "members.OneMember")
    return HttpResponse("welcome")
