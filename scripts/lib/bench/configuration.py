"""The NGINX configurations that are compared, and that of the servers around them."""

from __future__ import annotations

import os

# One worker each. Connections are never closed for their age or the number of their requests:
# every measured request finds them open. Folders are relative: a package's own are the system's.
_FRAME = """
daemon off;
{main}
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 2048; }}
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

_UPSTREAMS = """
    upstream api {{
        server {api};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    upstream authorization_server {{
        server {authorization_server};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
"""

# Both gateways: what they are to have in common, and where to ask for the worker's pid.
_SERVER = """
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {{
        listen {address};
        location = /worker {{ return 200 $pid; }}
{locations}
    }}
"""

_PLAIN = """
        location / {{
            proxy_pass http://api;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {jwt}";
        }}
"""

_TRANSLATING = """
        location / {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            proxy_pass http://api;
        }
        location = /introspect {
            internal;
            proxy_pass http://authorization_server;
        }
"""

# The API refuses any request that does not carry the JWT; each question is a line of a file.
_UPSTREAM = """
    log_format question "1";
    server {{
        listen {address};
        location / {{
            if ($http_authorization != "Bearer {jwt}") {{ return 403; }}
            return 200 "ok";
        }}
        location = /introspect {{
            access_log questions question;
            log_not_found off;
            default_type application/jwt;
            return 200 "{jwt}";
        }}
    }}
"""


def upstream(jwt: str):
    """The API, and an authorization server that finds every token active."""
    return lambda address: _frame("", _UPSTREAM.format(address=address, jwt=jwt))


def plain(jwt: str, api: str, **frame):
    """`proxy_pass` with the JWT as a fixed header, in an NGINX without the module."""
    upstreams = _UPSTREAMS.format(api=api, authorization_server=api)
    locations = _PLAIN.format(jwt=jwt)
    return lambda address: _frame("", upstreams + _server(address, locations), **frame)


def translating(module: str, api: str, authorization_server: str, **frame):
    """The module, in a zone that holds every token of the benchmark."""
    upstreams = _UPSTREAMS.format(api=api, authorization_server=authorization_server)
    zone = "    phantom_token_cache_zone tokens:192m;\n    phantom_token_cache_max_ttl 1h;\n"
    return lambda address: _frame(
        f"load_module {os.path.abspath(module)};",
        zone + upstreams + _server(address, _TRANSLATING),
        **frame,
    )


def _server(address: str, locations: str) -> str:
    return _SERVER.format(address=address, locations=locations)


def _frame(main: str, http: str, single_process: bool = False) -> str:
    if os.geteuid() == 0:
        main += "\nuser root;"
    if single_process:
        main += "\nmaster_process off;"
    return _FRAME.format(main=main, http=http)
