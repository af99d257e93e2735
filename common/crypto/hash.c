#include "crypto/hash.h"

#include <assert.h>
#include <sodium.h>

static_assert(sizeof(struct hash) >= sizeof(crypto_hash_sha256_state), "libsodium's state must fit");

void hash_init(struct hash *h)
{
    crypto_hash_sha256_init((crypto_hash_sha256_state *)(void *)h);
}

void hash_add(struct hash *h, const void *p, size_t n)
{
    if (n != 0)
        crypto_hash_sha256_update((crypto_hash_sha256_state *)(void *)h, p, n);
}

void hash_end(struct hash *h, uint8_t ret_digest[HASH_BYTES])
{
    crypto_hash_sha256_final((crypto_hash_sha256_state *)(void *)h, ret_digest);
}

void hash_bytes(struct view bytes, uint8_t ret_digest[HASH_BYTES])
{
    struct hash h;

    hash_init(&h);
    hash_add(&h, bytes.data, bytes.n);
    hash_end(&h, ret_digest);
}

void hash_to_hex(const uint8_t *p, size_t n, char *ret_hex)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        ret_hex[2 * i] = digits[p[i] >> 4];
        ret_hex[2 * i + 1] = digits[p[i] & 15];
    }
    ret_hex[2 * n] = '\0';
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hash_from_hex(const char *hex, size_t n, uint8_t *ret_bytes)
{
    if (strlen(hex) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int hi = digit(hex[2 * i]), lo = digit(hex[2 * i + 1]);

        if (hi < 0 || lo < 0)
            return false;
        ret_bytes[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}
