// node-oidc-provider on loopback, as an operator sets it up for phantom tokens: opaque access tokens, and an
// introspection endpoint that gives the gateway the JWT of a token beside its verdict: as JSON, or signed (RFC 9701)
// if it is asked for that.
//
//     node provider.mjs PORT
//
// When it listens it writes one line of JSON: { issuer, clients: { app: { id, secret }, gateway: ... } }. Each
// line that it then reads is answered by one line: the introspection requests since the last one, as
// [{ client, accept, status, type }]. It ends when its standard input does. Keys and secrets are made afresh.

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

// The resources (RFC 8707) that tokens are issued for, and how long these live, in seconds.
const LIFETIME = new Map([
  ['https://api.example/', 300],
  ['https://short.example/', 3],
]);

const newSecret = () => randomBytes(32).toString('base64url');

// The gateway's holds what form-encoding (RFC 6749 section 2.3.1) has to protect.
const clients = {
  app: { id: 'app', secret: newSecret() },
  gateway: { id: 'https://gateway.example/', secret: `${newSecret()} :+%&=/` },
  ...Object.fromEntries(OTHERS.map((alg) => [alg, { id: `gateway-${alg}`, secret: newSecret() }])),
};

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(privateKey)), alg, use: 'sig' };
  jwk.kid = await calculateJwkThumbprint(jwk);
  return { privateKey, jwk };
}

const { privateKey, jwk } = await newKey(ALGORITHM);
const others = await Promise.all(OTHERS.map(newKey));

const gatewayClient = ({ id, secret }, alg) => ({
  client_id: id,
  client_secret: secret,
  introspection_signed_response_alg: alg,
  grant_types: [],
  redirect_uris: [],
  response_types: [],
});

// The access token as a JWT (RFC 9068), signed with the key that the provider publishes. Its `jti` is its own:
// the provider's is the opaque token itself.
function jwtOf(token) {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ client_id: token.clientId, scope: token.scope })
    .setProtectedHeader({ alg: ALGORITHM, kid: jwk.kid, typ: 'at+jwt' })
    .setIssuer(issuer)
    .setSubject(token.clientId)
    .setAudience(token.aud)
    .setIssuedAt(now)
    .setExpirationTime(now + token.expiration)
    .setJti(randomUUID())
    .sign(privateKey);
}

const provider = new Provider(issuer, {
  jwks: { keys: [jwk, ...others.map((other) => other.jwk)] },
  cookies: { keys: [newSecret()] },
  clients: [
    {
      client_id: clients.app.id,
      client_secret: clients.app.secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
    gatewayClient(clients.gateway, ALGORITHM),
    ...OTHERS.map((alg) => gatewayClient(clients[alg], alg)),
  ],
  scopes: ['read', 'write'],
  ttl: { ClientCredentials: (ctx, token) => token.resourceServer.accessTokenTTL },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: {
      enabled: true,
      allowedPolicy: (ctx, client) => client.clientId !== clients.app.id,
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
  extraTokenClaims: async (ctx, token) => ({ phantom_token: await jwtOf(token) }),
});

let introspections = [];

provider.use(async (ctx, next) => {
  await next();

  if (ctx.oidc?.route === 'introspection') {
    introspections.push({
      client: ctx.oidc.client?.clientId ?? null,
      accept: ctx.get('accept'),
      status: ctx.status,
      type: ctx.type,
    });
  }
});

const server = createServer(provider.callback());
server.listen(port, '127.0.0.1');
await once(server, 'listening');

const write = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

createInterface({ input: process.stdin })
  .on('line', () => {
    write(introspections);
    introspections = [];
  })
  .on('close', () => {
    server.close();
    server.closeAllConnections();
  });

write({ issuer, clients });
