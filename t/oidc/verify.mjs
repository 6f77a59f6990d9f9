// Verifies a JWT as an API does: by the published keys, issuer, audience, type and expiry. An access token (RFC 9068),
// or, with another TYP, a signed introspection response (RFC 9701).
//
//     node verify.mjs JWKS_URI ISSUER AUDIENCE TIME [TYP] <JWT
//
// TIME, in seconds, is when the JWT has come: until this process runs it may be over. Writes the claims as JSON; of a
// JWT that does not verify only why, to standard error, and fails.

import { text } from 'node:stream/consumers';

import { createRemoteJWKSet, jwtVerify } from 'jose';

const [jwksUri, issuer, audience, time, typ = 'at+jwt'] = process.argv.slice(2);

try {
  const { payload } = await jwtVerify(await text(process.stdin), createRemoteJWKSet(new URL(jwksUri)), {
    issuer,
    audience,
    algorithms: ['RS256'],
    typ,
    currentDate: new Date(time * 1000),
    requiredClaims: typ === 'at+jwt' ? ['exp', 'iat', 'sub', 'client_id', 'jti'] : ['iat', 'token_introspection'],
  });
  process.stdout.write(JSON.stringify(payload));
} catch (error) {
  process.stderr.write(`${error.code ?? error}\n`);
  process.exitCode = 1;
}
