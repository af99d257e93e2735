/* common/crypto/sign.c: see sign.h; file: "key_id base64\n". */
#include "crypto/sign.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "crypto/hash.h"

#define SEED_BYTES crypto_sign_SEEDBYTES
#define PUBLIC_BYTES crypto_sign_PUBLICKEYBYTES
#define LINE_BYTES_MAX 1024 /* a line of a trusted file; keys' lines are far shorter */
#define BASE64_CHARS sodium_base64_ENCODED_LEN(SEED_BYTES, sodium_base64_VARIANT_ORIGINAL)

static_assert(SEED_BYTES == PUBLIC_BYTES, "both kinds of file hold 32 bytes a line");

struct sign_key {
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    char id[SIGN_KEY_ID_CHARS + 1];
};

struct sign_keys {
    size_t n;
    struct {
        uint8_t bytes[PUBLIC_BYTES];
        char id[SIGN_KEY_ID_CHARS + 1];
    } key[SIGN_KEYS_MAX];
};

DEFINE_AUTO(file, FILE *, fclose);

static const char *const domains[] = {"millrace-model-v1", "millrace-routing-v1"};

static void public_id(const uint8_t public[PUBLIC_BYTES], char ret_id[SIGN_KEY_ID_CHARS + 1])
{
    uint8_t digest[HASH_BYTES];

    hash_bytes(view_of(public, PUBLIC_BYTES), digest);
    hash_to_hex(digest, SIGN_KEY_ID_CHARS / 2, ret_id);
}

static enum status begin(struct error *err)
{
    return sodium_init() >= 0 ? OK : err_set(err, ERR_FATAL, "libsodium does not start");
}

static enum status write_line(const char *path, int flags, mode_t mode, const char *id, const uint8_t bytes[SEED_BYTES],
                              struct error *err)
{
    char line[SIGN_KEY_ID_CHARS + BASE64_CHARS + 3], text[BASE64_CHARS];
    int fd, n;
    bool written;

    sodium_bin2base64(text, sizeof(text), bytes, SEED_BYTES, sodium_base64_VARIANT_ORIGINAL);
    n = snprintf(line, sizeof(line), "%s %s\n", id, text);
    fd = open(path, flags | O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode);
    written = fd >= 0 && write(fd, line, (size_t)n) == n && fsync(fd) == 0;
    sodium_memzero(line, sizeof(line));
    sodium_memzero(text, sizeof(text));
    if (!written)
        err_set(err, ERR_FATAL, "key file %s: cannot write: %s%s", path, strerror(errno),
                errno == EEXIST ? "; choose another name, keys are never overwritten" : "");
    if (fd >= 0)
        close(fd);
    return written ? OK : ERR_FATAL;
}

enum status sign_key_make(const char *secret_path, const char *trusted_path, struct error *err)
{
    uint8_t public[PUBLIC_BYTES], secret[crypto_sign_SECRETKEYBYTES], seed[SEED_BYTES];
    char id[SIGN_KEY_ID_CHARS + 1];
    enum status st = begin(err);

    if (st != OK)
        return st;
    crypto_sign_keypair(public, secret);
    crypto_sign_ed25519_sk_to_seed(seed, secret);
    public_id(public, id);
    st = write_line(secret_path, O_EXCL, 0600, id, seed, err);
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(seed, sizeof(seed));
    if (st != OK)
        return st;
    return write_line(trusted_path, O_APPEND, 0644, id, public, err);
}

/* "key_id base64" without the newline, into 32 bytes. Says what is wrong, or NULL. */
static const char *parse_line(char *line, char ret_id[SIGN_KEY_ID_CHARS + 1], uint8_t ret_bytes[SEED_BYTES])
{
    char *space = strchr(line, ' ');
    uint8_t digest[SIGN_KEY_ID_CHARS / 2];
    size_t n = 0;

    if (space == NULL)
        return "expected `key_id base64`, got no space";
    *space = '\0';
    if (!hash_from_hex(line, sizeof(digest), digest))
        return "expected a key id of 16 lower-case hex digits";
    if (sodium_base642bin(ret_bytes, SEED_BYTES, space + 1, strlen(space + 1), NULL, &n, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 || n != SEED_BYTES)
        return "expected 32 bytes in base64 behind the key id";
    memcpy(ret_id, line, SIGN_KEY_ID_CHARS + 1);
    return NULL;
}

/* Opens a secret file and refuses one that others may read. */
static enum status open_secret(const char *path, FILE **ret_file, struct error *err)
{
    AUTO(file) f = fopen(path, "re");
    struct stat s;

    if (f == NULL || fstat(fileno(f), &s) != 0)
        return err_set(err, ERR_FATAL, "secret key file %s: %s; `millrace up` makes one where there is none", path,
                       strerror(errno));
    if (!S_ISREG(s.st_mode))
        return err_set(err, ERR_FATAL, "secret key file %s: not a plain file", path);
    if ((s.st_mode & 077) != 0)
        return err_set(err, ERR_FATAL, "secret key file %s: expected mode 0600, got %04o: run chmod 600 on it", path,
                       (unsigned)s.st_mode & 07777);
    *ret_file = f;
    f = NULL;
    return OK;
}

enum status sign_key_load(const char *secret_path, struct sign_key **ret_key, struct error *err)
{
    AUTO(file) f = NULL;
    char line[LINE_BYTES_MAX] = "", id[SIGN_KEY_ID_CHARS + 1] = "";
    uint8_t seed[SEED_BYTES], public[PUBLIC_BYTES];
    struct sign_key *k;
    const char *why;

    if (begin(err) != OK || open_secret(secret_path, &f, err) != OK)
        return err->status;
    setvbuf(f, NULL, _IONBF, 0); /* no copy of the secret in stdio's buffer */
    if (fgets(line, sizeof(line), f) == NULL)
        return err_set(err, ERR_FATAL, "secret key file %s: expected one line, got an empty file", secret_path);
    line[strcspn(line, "\r\n")] = '\0';
    why = parse_line(line, id, seed);
    sodium_memzero(line, sizeof(line));
    if (why != NULL)
        return err_set(err, ERR_FATAL, "secret key file %s: line 1: %s", secret_path, why);
    k = sodium_malloc(sizeof(*k));
    if (k == NULL)
        return err_set(err, ERR_FATAL, "secret key file %s: no guarded memory: %s", secret_path, strerror(errno));
    crypto_sign_seed_keypair(public, k->secret, seed);
    sodium_memzero(seed, sizeof(seed));
    public_id(public, k->id);
    if (strcmp(k->id, id) != 0) {
        err_set(err, ERR_FATAL, "secret key file %s: key id %s does not belong to its key (%s)", secret_path, id, k->id);
        sodium_free(k);
        return ERR_FATAL;
    }
    sodium_mprotect_readonly(k);
    *ret_key = k;
    return OK;
}

void sign_key_free(struct sign_key *k)
{
    sodium_free(k);
}

const char *sign_key_id(const struct sign_key *k)
{
    return k->id;
}

/* One line of a trusted file into the list; NULL or what is wrong. */
static const char *add_trusted(struct sign_keys *keys, char *line)
{
    char id[SIGN_KEY_ID_CHARS + 1], want[SIGN_KEY_ID_CHARS + 1];
    uint8_t public[PUBLIC_BYTES];
    const char *why;

    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] == '\0' || line[0] == '#')
        return NULL;
    why = parse_line(line, id, public);
    if (why != NULL)
        return why;
    public_id(public, want);
    if (strcmp(want, id) != 0)
        return "the key id does not belong to the key";
    if (keys->n == SIGN_KEYS_MAX)
        return "more than 64 keys";
    memcpy(keys->key[keys->n].bytes, public, sizeof(public));
    memcpy(keys->key[keys->n].id, id, sizeof(id));
    keys->n++;
    return NULL;
}

enum status sign_keys_load(const char *trusted_path, struct sign_keys **ret_keys, struct error *err)
{
    AUTO(file) f = NULL;
    char line[LINE_BYTES_MAX];
    struct sign_keys *keys;
    const char *why = NULL;
    int n_lines = 0;

    if (begin(err) != OK)
        return err->status;
    f = fopen(trusted_path, "re");
    if (f == NULL)
        return err_set(err, ERR_FATAL, "trusted key file %s: %s", trusted_path, strerror(errno));
    keys = xcalloc(1, sizeof(*keys));
    while (why == NULL && fgets(line, sizeof(line), f) != NULL) {
        n_lines++;
        why = add_trusted(keys, line);
    }
    if (why != NULL)
        err_set(err, ERR_FATAL, "trusted key file %s: line %d: %s", trusted_path, n_lines, why);
    else if (ferror(f))
        err_set(err, ERR_FATAL, "trusted key file %s: cannot read", trusted_path);
    else if (keys->n == 0)
        err_set(err, ERR_FATAL, "trusted key file %s: expected at least one key, got none", trusted_path);
    else {
        *ret_keys = keys;
        return OK;
    }
    free(keys);
    return ERR_FATAL;
}

void sign_keys_free(struct sign_keys *keys)
{
    free(keys);
}

/* FAULTS: domain text, then the bytes. Neither text begins with the other, so no message is in both domains. */
static void put_message(enum sign_domain domain, struct view bytes, struct bytes *out)
{
    assert(domain < ARRAY_LEN(domains));
    bytes_append(out, domains[domain], strlen(domains[domain]));
    bytes_append(out, bytes.data, bytes.n);
}

void sign_bytes(const struct sign_key *k, enum sign_domain domain, struct view bytes,
                uint8_t ret_signature[SIGN_BYTES])
{
    struct bytes message = BYTES_EMPTY;

    put_message(domain, bytes, &message);
    crypto_sign_detached(ret_signature, NULL, message.data, message.n, k->secret);
    bytes_done(&message);
}

enum status sign_verify(const struct sign_keys *keys, enum sign_domain domain, const char *key_id, struct view bytes,
                        struct view signature, struct error *err)
{
    struct bytes message = BYTES_EMPTY;
    size_t i = 0;
    int wrong;

    if (signature.n != SIGN_BYTES)
        return err_set(err, ERR_RECORD, "signature: expected %d bytes, got %zu", SIGN_BYTES, signature.n);
    while (i < keys->n && strcmp(keys->key[i].id, key_id) != 0)
        i++;
    if (i == keys->n)
        return err_set(err, ERR_RECORD, "signature: key id '%.16s' is not among the %zu trusted keys", key_id, keys->n);
    put_message(domain, bytes, &message);
    wrong = crypto_sign_verify_detached(signature.data, message.data, message.n, keys->key[i].bytes);
    bytes_done(&message);
    if (wrong != 0)
        return err_set(err, ERR_RECORD, "signature: does not hold for key id %s: changed after signing, or not ours",
                       key_id);
    return OK;
}
