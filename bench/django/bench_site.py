"""PyPI's `django-oauth-toolkit` as a site for `python -m bench.tokens`; runs in an environment of its own.

`python bench_site.py` makes the tables, the clients and so many codes, and prints the codes as JSON; gunicorn serves
`application`. `BENCH_DJANGO` holds JSON: the database, the clients, the codes.
"""

import json
import os
import sys
from datetime import timedelta
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import path
from django.utils import timezone

TOLD: dict[str, Any] = json.loads(os.environ["BENCH_DJANGO"])

settings.configure(
    SECRET_KEY="a secret of the benchmark",  # noqa: S106 - of a server that lives as long as the run
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": None, **TOLD["database"]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    OAUTH2_PROVIDER={
        "SCOPES": {"read": "read", "introspection": "introspect"},
        "DEFAULT_SCOPES": ["read"],
        "ACCESS_TOKEN_EXPIRE_SECONDS": 300,
    },
    LOGGING_CONFIG=None,
)
django.setup()

from oauth2_provider.models import Application, Grant  # noqa: E402 - models need the settings above
from oauth2_provider.views import IntrospectTokenView, TokenView  # noqa: E402

urlpatterns = [path("token", TokenView.as_view()), path("introspect", IntrospectTokenView.as_view())]


def seed() -> list[str]:
    """Tables, three clients, a user, and the codes."""
    from django.contrib.auth.models import User

    call_command("migrate", verbosity=0)
    user = User.objects.create(username="bench")
    # Its default for secrets is a slow hash, meant for secrets that people choose; these are random.
    about = {"user": user, "hash_client_secret": False}
    service = Application.objects.create(
        client_id="service",
        client_secret=TOLD["secret"],
        client_type="confidential",
        authorization_grant_type="client-credentials",
        **about,
    )
    Application.objects.create(
        client_id="gateway",
        client_secret=TOLD["secret"],
        client_type="confidential",
        authorization_grant_type="client-credentials",
        **about,
    )
    app = Application.objects.create(
        client_id="app",
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris=TOLD["redirect"],
        **about,
    )
    ends = timezone.now() + timedelta(hours=1)
    codes = [f"code-{n}-{service.pk}-{os.urandom(16).hex()}" for n in range(TOLD["codes"])]
    Grant.objects.bulk_create(
        Grant(
            user=user,
            application=app,
            code=code,
            expires=ends,
            redirect_uri=TOLD["redirect"],
            scope="read",
            code_challenge=TOLD["challenge"],
            code_challenge_method="S256",
        )
        for code in codes
    )
    return codes


if __name__ == "__main__":
    sys.stdout.write(json.dumps(seed()) + "\n")
else:
    application = get_wsgi_application()
