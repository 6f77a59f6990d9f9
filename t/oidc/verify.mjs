// Verifies an access token as an API does (RFC 9068): by the published keys, issuer, audience, type and expiry.
//
//     node verify.mjs JWKS_URI ISSUER AUDIENCE <JWT
//
// Writes the claims as JSON; of a JWT that does not verify only why, to standard error, and fails.

import { text } from 'node:stream/consumers';

import { createRemoteJWKSet, jwtVerify } from 'jose';

const [jwksUri, issuer, audience] = process.argv.slice(2);

try {
  const { payload } = await jwtVerify(await text(process.stdin), createRemoteJWKSet(new URL(jwksUri)), {
    issuer,
    audience,
    algorithms: ['RS256'],
    typ: 'at+jwt',
    requiredClaims: ['exp', 'iat', 'sub', 'client_id', 'jti'],
  });
  process.stdout.write(JSON.stringify(payload));
} catch (error) {
  process.stderr.write(`${error.code ?? error}\n`);
  process.exitCode = 1;
}
