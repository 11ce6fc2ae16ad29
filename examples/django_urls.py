"""APIs behind Django's URLconf: `uvicorn examples.django_urls:application`.

/api is for everyone, /v1 for who is logged in. Django's middleware, sessions and log-in
stand in front of both. Sessions are signed cookies and the user is Django's anonymous one
unless your project has more, so this example needs no database.
"""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import include, path

from llmount import EchoBackend, chat_app, generate_app
from llmount.django import urls

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="for this example",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    LOGIN_URL="/login/",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
)

backend = EchoBackend()

urlpatterns = [
    path("api/", include(urls(generate_app(backend)))),
    path("v1/", include(urls(chat_app(backend), login_required=True))),
]

application = get_asgi_application()
