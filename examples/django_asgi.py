"""An API beside Django, in asgi.py: `uvicorn examples.django_asgi:application`.

The fast way: requests below /v1 never reach Django, nor its middleware and sessions.
"""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

import llmount.django
from llmount import EchoBackend, chat_app

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for this example")


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("Django's own page. Try /v1/docs.")


urlpatterns = [path("", home)]

application = llmount.django.mount(get_asgi_application(), {"/v1": chat_app(EchoBackend())})
