/**
 * Whether a TLS connection failed because one side does not trust the other's certificate, by Node's codes.
 */
import { isError } from '../engine/to-error.js';

/** What Node's `tls` says of a certificate that it does not accept; a certificate that is not valid yet will be. */
const NOT_TRUSTED: ReadonlySet<unknown> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** @param error of a connect. */
export function isCertificateError(error: unknown): boolean {
  return isError(error) && 'code' in error && NOT_TRUSTED.has(error.code);
}
