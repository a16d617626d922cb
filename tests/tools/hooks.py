"""What schemathesis has to know of a server that tests/tests/api/contract.rs has prepared.

SEEDED is a JSON object: under `ids`, the ids of things that exist, by the word before `{id}` in a path; under `own`,
the ids that the run needs as they are: its tenant, its user and a device that works; under `logout`, the credentials of an account that may log itself out; under `shared`, a link's id, `expires` and
`signature`.
"""

import json
import os
import uuid
import zlib
from urllib.parse import unquote

import requests
import schemathesis

SEEDED = json.loads(os.environ["SEEDED"])


def collection(path):
    """The word before `{id}`: `exports` of `/api/v1/exports/{id}/file`."""
    before, placeholder, _ = path.partition("/{id}")
    return before.rsplit("/", 1)[-1] if placeholder else None


def is_uuid(text):
    try:
        return str(uuid.UUID(text)) == text
    except (AttributeError, TypeError, ValueError):
        return False


def dice(text, sides):
    """The same for the same text, so that an example that failed can be tried again."""
    return zlib.crc32(text.encode()) % sides


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Makes three of four well-formed ids those of things that exist: a random one is a 404."""
    known = SEEDED["ids"].get(collection(context.operation.path), [])
    name = (path_parameters or {}).get("id")
    if known and isinstance(name, str) and is_uuid(name) == is_uuid(known[0]) and dice(name, 4):
        path_parameters["id"] = known[dice(name, len(known))]
    return path_parameters


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keeps the run from ending itself: it changes neither its tenant nor its user, and leaves one device at work."""
    own = SEEDED["own"].get(collection(case.operation.path))
    # An id may have been escaped for its place in a path: `sim%3A0`.
    if own and case.method.upper() != "GET" and unquote(str(case.path_parameters.get("id"))) == own:
        case.path_parameters["id"] = SEEDED["ids"][collection(case.operation.path)][0]
    path, good = case.operation.path, case.meta and case.meta.generation.mode.is_positive
    if good and path.endswith("/auth/token"):
        # Random values of these would make every answer a refusal.
        case.body = dict(SEEDED["logout"])
    if good and path.endswith("/links/{id}/file"):
        link = SEEDED["shared"]
        case.path_parameters["id"] = link["id"]
        case.query = {"expires": link["expires"], "signature": link["signature"]}
    if path.endswith("/auth/logout"):
        for headers in (case.headers, kwargs.get("headers")):
            if headers and headers.get("Authorization") == f"Bearer {os.environ['TOKEN']}":
                headers["Authorization"] = f"Bearer {token_to_lose()}"


def token_to_lose():
    """Logging out ends the token that asks, so each time it is a new one of another user."""
    answer = requests.post(SEEDED["server"] + "/api/v1/auth/token", json=SEEDED["logout"], timeout=60)
    answer.raise_for_status()
    return answer.json()["access_token"]


@schemathesis.serializer("application/offset+octet-stream")
def piece_of_an_upload(ctx, value):
    """Bytes as they are."""
    return value if isinstance(value, bytes) else str(value).encode()
