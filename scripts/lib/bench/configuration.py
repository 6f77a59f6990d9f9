"""The NGINX configurations that are compared, and that of the servers around them."""

from __future__ import annotations

import os

import tokens

# Connections are never closed for their age or the number of their requests: every measured request
# finds them open. Folders are relative: a package's own are the system's.
_FRAME = """
daemon off;
{main}
worker_processes {workers};
pid nginx.pid;
error_log error.log;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_header_buffer_size 4k;
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;
    fastcgi_temp_path temp_fastcgi;
    uwsgi_temp_path temp_uwsgi;
    scgi_temp_path temp_scgi;
{http}
}}
"""

# By its name the API knows which JWTs to expect.
_UPSTREAMS = """
    upstream {api_name} {{
        server {api};
        keepalive {idle};
        keepalive_requests 1000000000;
    }}
    upstream authorization-server {{
        server {authorization_server};
        keepalive {idle};
        keepalive_requests 1000000000;
    }}
"""

# Both gateways: what they are to have in common, and where to ask for the worker's pid.
_SERVER = """
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {{
        listen {address}{shared};
        location = /worker {{ return 200 $pid; }}
{locations}
    }}
"""

_PLAIN = """
        location / {{
            proxy_pass http://fixed;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {jwt}";
        }}
"""

# The question is in a header, too: NGINX as a server does not read bodies.
_TRANSLATING = """
        location / {{
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            {directives}
            proxy_pass http://named;
        }}
        location = /introspect {{
            internal;
            proxy_pass http://authorization-server;
            proxy_set_header Connection "";
            proxy_set_header X-Question $request_body;
        }}
"""

# The API refuses any request that does not carry the JWT of its token, which the query string
# names; each question is a line of a file.
_UPSTREAM = """
    log_format question "1";
    server {{
        listen {address} backlog=4096;
        server_name fixed;
        location / {{
            if ($http_authorization != "Bearer {jwt}") {{ return 403; }}
            return 200 "ok";
        }}
    }}
    server {{
        listen {address};
        server_name named;
        location / {{
            if ($http_authorization != "Bearer {expected}") {{ return 403; }}
            return 200 "ok";
        }}
    }}
    server {{
        listen {address};
        server_name authorization-server;
        access_log questions question;
        default_type application/jwt;
        location / {{
            if ($http_x_question !~ "^token=([-\\w]+)$") {{ return 400; }}
            return 200 "{given}";
        }}
    }}
"""


def upstream(jwt: str | None = None):
    """The API, and an authorization server that finds every token active: each has a JWT of its own,
    or all have that one."""
    http = {
        "jwt": tokens.jwt(0),
        "given": jwt or f"{tokens.JWT_STEM}$1",
        "expected": jwt or f"{tokens.JWT_STEM}{tokens.START}$args",
    }
    return lambda address: _frame("", _UPSTREAM.format(address=address, **http), connections=8192)


def plain(api: str, idle: int = 64, **frame):
    """`proxy_pass` with a JWT as a fixed header, in an NGINX without the module."""
    upstreams = _UPSTREAMS.format(api_name="fixed", api=api, authorization_server=api, idle=idle)
    locations = _PLAIN.format(jwt=tokens.jwt(0))
    return lambda address: _frame("", upstreams + _server(address, locations, **frame), **frame)


def translating(
    module: str,
    api: str,
    authorization_server: str,
    zone: str = "192m",
    directives: str = "",
    idle: int = 64,
    **frame,
):
    """The module. The zone holds every token of the benchmark unless said otherwise."""
    upstreams = _UPSTREAMS.format(
        api_name="named", api=api, authorization_server=authorization_server, idle=idle
    )
    zone = f"    phantom_token_cache_zone tokens:{zone};\n    phantom_token_cache_max_ttl 1h;\n"
    locations = _TRANSLATING.format(directives=directives)
    return lambda address: _frame(
        f"load_module {os.path.abspath(module)};",
        zone + upstreams + _server(address, locations, **frame),
        **frame,
    )


def _server(address: str, locations: str, workers: int = 1, **_) -> str:
    # Each worker has its share of the connections.
    shared = " reuseport" if workers > 1 else ""
    return _SERVER.format(address=address, locations=locations, shared=shared)


def _frame(
    main: str, http: str, single_process: bool = False, workers: int = 1, connections: int = 2048
) -> str:
    if os.geteuid() == 0:
        main += "\nuser root;"
    if single_process:
        main += "\nmaster_process off;"
    return _FRAME.format(main=main, http=http, workers=workers, connections=connections)
