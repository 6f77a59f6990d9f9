// node-oidc-provider on loopback, as an operator sets it up for phantom tokens: opaque access tokens, and an
// introspection endpoint that gives the gateway the JWT of a token beside its verdict: as JSON, or signed (RFC 9701)
// if it is asked for that. Tokens can be bound to a certificate (RFC 8705) or a key (DPoP, RFC 9449).
//
//     node provider.mjs PORT
//
// When it listens it writes one line of JSON: { issuer, clients: { app: { id, secret }, gateway: ... } }. Each
// line that it then reads, JSON as well, is answered by one line:
//
//     "introspections"    the introspection requests since the last one, as [{ client, accept, status, type }]
//     "fetches"           how often the keys were asked for
//     { "keys": [...] }   names of sets of keys, made when they are first named: all of them are published, the
//                         first one signs from now on; the kid of what access tokens are signed with
//
// It ends when its standard input does. Keys and secrets are made afresh.

import { Console } from 'node:console';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';

// The provider prints notices; standard output is for the lines above.
globalThis.console = new Console(process.stderr, process.stderr);
const { default: Provider } = await import('oidc-provider');

// What access tokens and the gateway's introspection responses are signed with; two more clients get theirs with
// others.
const ALGORITHM = 'RS256';
const OTHERS = ['PS256', 'ES256'];

// The header in which a TLS terminator in front of this server hands on the client's certificate, percent-encoded.
const CERTIFICATE = 'X-Client-Certificate';

// The resources (RFC 8707) that tokens are issued for, and how long these live, in seconds.
const LIFETIME = new Map([
  ['https://api.example/', 300],
  ['https://short.example/', 3],
]);

const newSecret = () => randomBytes(32).toString('base64url');

// What credentials may consist of (RFC 6749 appendix A.1 and A.2), and the provider takes nothing else.
const VSCHARS = Array.from({ length: 0x7f - 0x20 }, (_, i) => String.fromCharCode(0x20 + i));

function shuffled() {
  const keyed = VSCHARS.map((char) => ({ char, key: randomBytes(4).readUInt32LE() }));
  return keyed.sort((a, b) => a.key - b.key).map(({ char }) => char).join('');
}

// The gateway's holds what form-encoding (RFC 6749 section 2.3.1) has to protect; the odd ones are nothing else.
const clients = {
  app: { id: 'app', secret: newSecret() },
  bound: { id: 'bound', secret: newSecret() },
  gateway: { id: 'https://gateway.example/', secret: `${newSecret()} :+%&=/` },
  ...Object.fromEntries(OTHERS.map((alg) => [alg, { id: `gateway-${alg}`, secret: newSecret() }])),
  odd: { id: shuffled(), secret: shuffled() },
  'odd-post': { id: `post ${shuffled()}`, secret: shuffled() },
};

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(privateKey)), alg, use: 'sig' };
  jwk.kid = await calculateJwkThumbprint(jwk);
  return { privateKey, jwk };
}

const sets = new Map();

// The set of keys of that name: one for each algorithm, the first of them for access tokens.
async function keySet(name) {
  if (!sets.has(name)) sets.set(name, await Promise.all([ALGORITHM, ...OTHERS].map(newKey)));
  return sets.get(name);
}

const appClient = ({ id, secret }, metadata) => ({
  client_id: id,
  client_secret: secret,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  ...metadata,
});

const gatewayClient = ({ id, secret }, alg, metadata) => ({
  client_id: id,
  client_secret: secret,
  introspection_signed_response_alg: alg,
  grant_types: [],
  redirect_uris: [],
  response_types: [],
  ...metadata,
});

// The access token as a JWT (RFC 9068), signed with a key that the provider publishes. Its `jti` is its own: the
// provider's is the opaque token itself. What the token is bound to stands in it as in the introspection response.
function jwtOf(token, { privateKey, jwk }) {
  const now = Math.floor(Date.now() / 1000);
  const { jkt, 'x5t#S256': x5t } = token;
  const cnf = jkt || x5t ? { cnf: { jkt, 'x5t#S256': x5t } } : {};
  return new SignJWT({ client_id: token.clientId, scope: token.scope, ...cnf })
    .setProtectedHeader({ alg: ALGORITHM, kid: jwk.kid, typ: 'at+jwt' })
    .setIssuer(issuer)
    .setSubject(token.clientId)
    .setAudience(token.aud)
    .setIssuedAt(now)
    .setExpirationTime(now + token.expiration)
    .setJti(randomUUID())
    .sign(privateKey);
}

const configuration = (keys) => ({
  jwks: { keys: keys.map(({ jwk }) => jwk) },
  cookies: { keys: [newSecret()] },
  clients: [
    appClient(clients.app),
    appClient(clients.bound, { tls_client_certificate_bound_access_tokens: true }),
    gatewayClient(clients.gateway, ALGORITHM),
    ...OTHERS.map((alg) => gatewayClient(clients[alg], alg)),
    gatewayClient(clients.odd, ALGORITHM),
    gatewayClient(clients['odd-post'], ALGORITHM, { token_endpoint_auth_method: 'client_secret_post' }),
  ],
  scopes: ['read', 'write'],
  ttl: { ClientCredentials: (ctx, token) => token.resourceServer.accessTokenTTL },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    introspection: {
      enabled: true,
      // Whoever gets tokens asks about none.
      allowedPolicy: (ctx, client) => client.grantTypes.length === 0,
    },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => decodeURIComponent(ctx.get(CERTIFICATE)) || undefined,
    },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        audience: resource,
        scope: 'read write',
        accessTokenFormat: 'opaque',
        accessTokenTTL: LIFETIME.get(resource),
      }),
    },
    jwtIntrospection: { enabled: true },
    revocation: { enabled: true },
  },
  // What is added here is kept with an opaque token, and is what introspection answers beside its own members.
  extraTokenClaims: async (ctx, token) => ({ phantom_token: await jwtOf(token, keys[0]) }),
});

let introspections = [];
let fetches = 0;

// The provider with those sets of keys. Tokens lie in memory that all of them share.
async function handlerWith(names) {
  const keys = (await Promise.all(names.map(keySet))).flat();
  const provider = new Provider(issuer, configuration(keys));

  provider.use(async (ctx, next) => {
    await next();

    if (ctx.oidc?.route === 'jwks') fetches += 1;
    if (ctx.oidc?.route === 'introspection') {
      introspections.push({
        client: ctx.oidc.client?.clientId ?? null,
        accept: ctx.get('accept'),
        status: ctx.status,
        type: ctx.type,
      });
    }
  });

  return { handle: provider.callback(), kid: keys[0].jwk.kid };
}

let current = await handlerWith(['first']);

const server = createServer((request, response) => current.handle(request, response));
server.listen(port, '127.0.0.1');
await once(server, 'listening');

const write = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function answer(command) {
  if (command === 'fetches') return fetches;
  if (command === 'introspections') {
    const since = introspections;
    introspections = [];
    return since;
  }

  current = await handlerWith(command.keys);
  return current.kid;
}

createInterface({ input: process.stdin })
  .on('line', async (line) => write(await answer(JSON.parse(line))))
  .on('close', () => {
    server.close();
    server.closeAllConnections();
  });

write({ issuer, clients });
