"""The NGINX configurations of the soak: the gateway, and the API behind it."""

from __future__ import annotations

import os

# Times that the checks rely on, in seconds.
REFRESH = 1
MAX_TTL = 4
USE_STALE = 3
LOCK_TIMEOUT = 3
PROXY_TIMEOUT = 2

# Folders are relative: a package's own are the system's.
_FRAME = """
daemon off;
{main}
pid nginx.pid;
error_log error.log notice;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;
    fastcgi_temp_path temp_fastcgi;
    uwsgi_temp_path temp_uwsgi;
    scgi_temp_path temp_scgi;
{http}
}}
"""

# Says what it was given in the token's place.
_API = """
    server {{
        listen {address};
        return 200 "$http_authorization";
    }}
"""

_GATEWAY = """
    phantom_token_cache_zone tokens:{zone};
    phantom_token_introspection_endpoint /introspect;
    phantom_token_max_introspections {most};
    phantom_token_lock_timeout {lock_timeout}s;
    proxy_http_version 1.1;
    proxy_connect_timeout {proxy_timeout}s;
    proxy_send_timeout {proxy_timeout}s;
    proxy_read_timeout {proxy_timeout}s;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Error $phantom_token_error always;
    add_header Worker $pid always;

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
    server {{
        listen {address};
        phantom_token on;
        proxy_set_header Connection "";

        location / {{
            phantom_token_cache_max_ttl {max_ttl}s;
            phantom_token_cache_negative_ttl 2s;
            phantom_token_cache_refresh {refresh}s;
            phantom_token_cache_use_stale {use_stale}s;
            proxy_pass http://api;
        }}
        location = /keep {{
            phantom_token_cache_max_ttl 1h;
            phantom_token_cache_negative_ttl 1h;
            proxy_pass http://api;
        }}
        location = /alone {{
            phantom_token_max_introspections 1;
            proxy_pass http://api;
        }}
        location = /introspect {{
            internal;
            proxy_pass http://authorization_server;
        }}
    }}
"""


def api():
    return lambda address: _frame(1, "", _API.format(address=address))


def gateway(
    module: str, api: str, authorization_server: str, *, workers: int, zone: str, most: int
):
    """`most` is for the questions in flight."""
    main = f"load_module {os.path.abspath(module)};"
    times = {
        "max_ttl": MAX_TTL,
        "refresh": REFRESH,
        "use_stale": USE_STALE,
        "lock_timeout": LOCK_TIMEOUT,
        "proxy_timeout": PROXY_TIMEOUT,
    }
    peers = {"api": api, "authorization_server": authorization_server}
    return lambda address: _frame(
        workers, main, _GATEWAY.format(address=address, zone=zone, most=most, **peers, **times)
    )


def _frame(workers: int, main: str, http: str) -> str:
    main += f"\nworker_processes {workers};"
    if os.geteuid() == 0:
        main += "\nuser root;"
    return _FRAME.format(main=main, http=http)
