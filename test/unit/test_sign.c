/* test/unit/test_sign.c: hashes, key files, signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "crypto/sign.h"

static char dir[] = "/tmp/test_sign.XXXXXX";
static char secret[64], trusted[64];

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
}

static char *read_file(const char *path)
{
    static char text[4096];
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void a_hash_is_what_the_standard_says_however_it_is_fed(void **state)
{
    /* FIPS 180-4's examples */
    static const struct { const char *text, *want; } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    uint8_t digest[HASH_BYTES], back[HASH_BYTES];
    char hex[HASH_HEX_CHARS + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hash h;

        hash_bytes(view_str(cases[i].text), digest);
        hash_to_hex(digest, sizeof(digest), hex);
        assert_string_equal(hex, cases[i].want);
        hash_init(&h);
        for (const char *p = cases[i].text; *p; p++)
            hash_add(&h, p, 1);
        hash_end(&h, back);
        assert_memory_equal(back, digest, sizeof(back));
        assert_true(hash_from_hex(hex, sizeof(back), back));
        assert_memory_equal(back, digest, sizeof(back));
    }
    hex[3] = 'G';
    assert_false(hash_from_hex(hex, sizeof(back), back));
    hex[3] = 'A'; /* lower case only: one spelling */
    assert_false(hash_from_hex(hex, sizeof(back), back));
    assert_false(hash_from_hex("00", sizeof(back), back));
}

static void a_signature_holds_for_its_bytes_domain_and_key_only(void **state)
{
    struct sign_key *k = NULL, *other = NULL;
    struct sign_keys *keys = NULL;
    struct error err;
    uint8_t sig[SIGN_BYTES], body[100];
    char secret2[80], nowhere[80];

    (void)state;
    snprintf(secret2, sizeof(secret2), "%s/two", dir);
    snprintf(nowhere, sizeof(nowhere), "%s/nowhere", dir);
    assert_int_equal(sign_key_load(secret, &k, &err), OK);
    assert_int_equal(sign_keys_load(trusted, &keys, &err), OK);
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)i;
    sign_bytes(k, SIGN_MODEL, view_of(body, sizeof(body)), sig);
    assert_int_equal(sign_verify(keys, SIGN_MODEL, sign_key_id(k), view_of(body, 100), view_of(sig, 64), &err), OK);
    assert_int_equal(sign_verify(keys, SIGN_ROUTING, sign_key_id(k), view_of(body, 100), view_of(sig, 64), &err),
                     ERR_RECORD);
    assert_int_equal(sign_verify(keys, SIGN_MODEL, sign_key_id(k), view_of(body, 99), view_of(sig, 64), &err), ERR_RECORD);
    assert_int_equal(sign_verify(keys, SIGN_MODEL, sign_key_id(k), view_of(body, 100), view_of(sig, 63), &err),
                     ERR_RECORD);
    assert_int_equal(sign_verify(keys, SIGN_MODEL, "0123456789abcdef", view_of(body, 100), view_of(sig, 64), &err),
                     ERR_RECORD);
    assert_non_null(strstr(err.text, "not among the 1 trusted keys"));
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] ^= 0x10;
        assert_int_equal(sign_verify(keys, SIGN_MODEL, sign_key_id(k), view_of(body, 100), view_of(sig, 64), &err),
                         ERR_RECORD);
        body[i] ^= 0x10;
    }
    for (size_t i = 0; i < sizeof(sig); i++) {
        sig[i] ^= 1;
        assert_int_equal(sign_verify(keys, SIGN_MODEL, sign_key_id(k), view_of(body, 100), view_of(sig, 64), &err),
                         ERR_RECORD);
        sig[i] ^= 1;
    }
    /* A stranger's key under our key's id. */
    assert_int_equal(sign_key_make(secret2, nowhere, &err), OK);
    assert_int_equal(sign_key_load(secret2, &other, &err), OK);
    sign_bytes(other, SIGN_MODEL, view_of(body, 100), sig);
    assert_int_equal(sign_verify(keys, SIGN_MODEL, sign_key_id(k), view_of(body, 100), view_of(sig, 64), &err),
                     ERR_RECORD);
    sign_key_free(k);
    sign_key_free(other);
    sign_keys_free(keys);
}

static void two_keys_are_valid_during_a_rotation(void **state)
{
    struct sign_key *old = NULL, *new = NULL;
    struct sign_keys *keys = NULL;
    struct error err;
    uint8_t sig[SIGN_BYTES];
    char secret2[80], both[80];

    (void)state;
    snprintf(secret2, sizeof(secret2), "%s/new", dir);
    snprintf(both, sizeof(both), "%s/both", dir);
    write_file(both, "# the old one\n\n", 0644);
    assert_int_equal(sign_key_make(secret2, both, &err), OK);
    write_file(both, read_file(trusted), 0644);
    unlink(secret2);
    assert_int_equal(sign_key_make(secret2, both, &err), OK);
    assert_int_equal(sign_keys_load(both, &keys, &err), OK);
    assert_int_equal(sign_key_load(secret, &old, &err), OK);
    assert_int_equal(sign_key_load(secret2, &new, &err), OK);
    sign_bytes(old, SIGN_ROUTING, view_str("x"), sig);
    assert_int_equal(sign_verify(keys, SIGN_ROUTING, sign_key_id(old), view_str("x"), view_of(sig, 64), &err), OK);
    sign_bytes(new, SIGN_ROUTING, view_str("x"), sig);
    assert_int_equal(sign_verify(keys, SIGN_ROUTING, sign_key_id(new), view_str("x"), view_of(sig, 64), &err), OK);
    sign_key_free(old);
    sign_key_free(new);
    sign_keys_free(keys);
}

static void a_secret_that_others_may_read_is_refused(void **state)
{
    struct sign_key *k = NULL;
    struct error err;

    (void)state;
    chmod(secret, 0640);
    assert_int_equal(sign_key_load(secret, &k, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "expected mode 0600, got 0640"));
    chmod(secret, 0604);
    assert_int_equal(sign_key_load(secret, &k, &err), ERR_FATAL);
    chmod(secret, 0600);
    assert_int_equal(sign_key_load(secret, &k, &err), OK);
    sign_key_free(k);
}

static void a_key_file_is_never_overwritten(void **state)
{
    struct error err;
    char before[4096];

    (void)state;
    snprintf(before, sizeof(before), "%s", read_file(secret));
    assert_int_equal(sign_key_make(secret, trusted, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "never overwritten"));
    assert_string_equal(read_file(secret), before);
}

static void wrong_key_files_are_named_with_their_line(void **state)
{
    static const struct { const char *text, *want; } cases[] = {
        {"", "at least one key"},
        {"# nothing\n", "at least one key"},
        {"abc\n", "line 1: expected `key_id base64`"},
        {"\nabc def\n", "line 2: expected a key id of 16"},
        {"0123456789abcdef AAAA\n", "expected 32 bytes in base64"},
        {"0123456789abcdef !!!!\n", "expected 32 bytes in base64"},
        {"0123456789abcdef AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "does not belong"},
    };
    char path[64];
    struct sign_keys *keys;
    struct sign_key *k;
    struct error err;

    (void)state;
    snprintf(path, sizeof(path), "%s/wrong", dir);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_file(path, cases[i].text, 0600);
        assert_int_equal(sign_keys_load(path, &keys, &err), ERR_FATAL);
        if (strstr(err.text, cases[i].want) == NULL || strstr(err.text, path) == NULL)
            fail_msg("case %zu: %s", i, err.text);
        assert_int_equal(sign_key_load(path, &k, &err), ERR_FATAL);
        assert_non_null(strstr(err.text, path));
    }
    assert_int_equal(sign_keys_load("/nowhere/at/all", &keys, &err), ERR_FATAL);
    assert_int_equal(sign_key_load("/nowhere/at/all", &k, &err), ERR_FATAL);
    assert_int_equal(sign_key_load(dir, &k, &err), ERR_FATAL);
}

static int set_up(void **state)
{
    struct error err;

    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(secret, sizeof(secret), "%s/secret", dir);
    snprintf(trusted, sizeof(trusted), "%s/trusted", dir);
    return sign_key_make(secret, trusted, &err) == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"secret", "trusted", "two", "nowhere", "new", "both", "wrong"};
    char path[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_is_what_the_standard_says_however_it_is_fed),
        cmocka_unit_test(a_signature_holds_for_its_bytes_domain_and_key_only),
        cmocka_unit_test(two_keys_are_valid_during_a_rotation),
        cmocka_unit_test(a_secret_that_others_may_read_is_refused),
        cmocka_unit_test(a_key_file_is_never_overwritten),
        cmocka_unit_test(wrong_key_files_are_named_with_their_line),
    };

    return cmocka_run_group_tests_name("sign", tests, set_up, tear_down);
}
