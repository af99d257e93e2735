/* common/crypto/sign.h */
/*
 * sign: who made this record: Ed25519 signatures, each for one domain only.
 *
 * Shape    a secret key signs; a list of trusted keys verifies. A key's id is the first 16 hex digits of the
 *          SHA-256 of its public key. What is signed is the domain's text, then the bytes: a signature of a
 *          model can never pass as one of a routing.
 * Files    one line each, `key_id base64`: the secret file holds one line with the 32-byte seed and must not be
 *          readable by group or others (mode 0600); the trusted file holds the 32-byte public keys, blank lines
 *          and lines that begin with # are passed over. Two keys may be valid at a time: that is rotation.
 * Owner    a secret key lies in guarded memory that is wiped by sign_key_free.
 * Errors   ERR_FATAL naming the file and line for files; ERR_RECORD for a signature that does not hold.
 * Threads  both are immutable once made: any thread may read.
 * Source   RFC 8032, by libsodium.
 */
#ifndef CRYPTO_SIGN_H
#define CRYPTO_SIGN_H

#include "base/bytes.h"
#include "base/err.h"

#define SIGN_BYTES 64
#define SIGN_KEY_ID_CHARS 16 /* without the terminator */
#define SIGN_KEYS_MAX 64     /* trusted keys in one file */

enum sign_domain {
    SIGN_MODEL,   /* "millrace-model-v1"   */
    SIGN_ROUTING, /* "millrace-routing-v1" */
};

struct sign_key;  /* a secret key */
struct sign_keys; /* the trusted public keys */

/* Makes a new pair: writes `secret_path` (which must not exist) with mode 0600 and appends the public key to
 * `trusted_path`. */
enum status sign_key_make(const char *secret_path, const char *trusted_path, struct error *err);

enum status sign_key_load(const char *secret_path, struct sign_key **ret_key, struct error *err);
void sign_key_free(struct sign_key *k);
const char *sign_key_id(const struct sign_key *k);

enum status sign_keys_load(const char *trusted_path, struct sign_keys **ret_keys, struct error *err);
void sign_keys_free(struct sign_keys *keys);

void sign_bytes(const struct sign_key *k, enum sign_domain domain, struct view bytes,
                uint8_t ret_signature[SIGN_BYTES]);

/* ERR_RECORD: unknown key id, signature of a wrong length, signature that does not hold. */
enum status sign_verify(const struct sign_keys *keys, enum sign_domain domain, const char *key_id, struct view bytes,
                        struct view signature, struct error *err);

#endif
