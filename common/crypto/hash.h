/* common/crypto/hash.h */
/*
 * hash: SHA-256, at once or piece by piece, and its hexadecimal text.
 *
 * Owner    struct hash is a plain value: copy it, drop it; nothing to free.
 * Errors   none; hash_from_hex says false to a text that is not 2n lower-case hex digits.
 * Threads  no shared state.
 * Source   FIPS 180-4, by libsodium.
 */
#ifndef CRYPTO_HASH_H
#define CRYPTO_HASH_H

#include "base/bytes.h"

#define HASH_BYTES 32
#define HASH_HEX_CHARS 64 /* without the terminator */

struct hash {
    uint64_t opaque[16];
};

void hash_init(struct hash *h);
void hash_add(struct hash *h, const void *p, size_t n);
void hash_end(struct hash *h, uint8_t ret_digest[HASH_BYTES]);

void hash_bytes(struct view bytes, uint8_t ret_digest[HASH_BYTES]);

/* 2n digits and a terminator. */
void hash_to_hex(const uint8_t *p, size_t n, char *ret_hex);
bool hash_from_hex(const char *hex, size_t n, uint8_t *ret_bytes);

#endif
