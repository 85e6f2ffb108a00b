"""The web page at `/` and the OpenAPI documentation at `/docs`, from static files, without requests to other hosts."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles

from app.policy import policy

router = APIRouter(include_in_schema=False)

WEB = Path(__file__).parent.parent / "web"

REVALIDATED = "no-cache"  # kept by browsers, which ask whether there is a new version

# Only our own files and nothing inline; images also from blob and data URLs, which the page creates
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.api_route("/", methods=["GET", "HEAD"])
@policy(requires_key=False)
async def index() -> FileResponse:
    return FileResponse(WEB / "index.html", headers={"Content-Security-Policy": POLICY, "Cache-Control": REVALIDATED})


@router.get("/docs")
@policy(requires_key=False)
async def documentation(request: Request) -> HTMLResponse:
    app: FastAPI = request.app
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=app.title,
        swagger_js_url="/swagger/swagger-ui-bundle.js",
        swagger_css_url="/swagger/swagger-ui.css",
        swagger_favicon_url="/web/icon.svg",
    )
    # Swagger UI starts with an inline script, which is allowed by its hash
    scripts = re.findall(rb"<script>(.*?)</script>", bytes(page.body), re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts)
    policy = POLICY.replace("script-src 'self'", f"script-src 'self' {hashes}").replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    )
    page.headers["Content-Security-Policy"] = policy
    return page


def mount_static_files(app: FastAPI) -> None:
    """Serve the files of the page and those of the Swagger UI package."""
    app.mount("/web", _Files(directory=WEB))
    app.mount("/swagger", _Files(packages=[("fastapi_swagger", "resources")]))


class _Files(StaticFiles):
    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = REVALIDATED
        return response
