/* test/unit/test_store.c: the store that follows the models topic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/store.h"
#include "test/unit/record_make.h"

struct feed {
    struct model_store *store;
    struct bytes key, body;
    struct error err;
};

static enum status put(struct feed *f)
{
    enum status st = model_store_add(f->store, view(&f->key), view(&f->body), &f->err);

    bytes_clear(&f->body);
    return st;
}

static enum status put_part(struct feed *f, int32_t version, int32_t part)
{
    model_key_part("m", version, part, &f->key);
    model_part_encode(view_of(model_bytes, MODEL_BYTES), (size_t)part, &f->body);
    return put(f);
}

static enum status put_record(struct feed *f, int32_t version, const struct sign_key *by)
{
    struct model_record m = a_record(version);

    model_key_record("m", version, &f->key);
    model_record_sign(&m, view_of(model_bytes, MODEL_BYTES), by, &f->body);
    return put(f);
}

static enum status put_routing(struct feed *f, struct routing r, const struct sign_key *by)
{
    model_key_routing("m", r.seq, &f->key);
    routing_sign(&r, by, &f->body);
    return put(f);
}

static void put_model(struct feed *f, int32_t version)
{
    for (int32_t part = 0; part < 2; part++) {
        if (put_part(f, version, part) != OK)
            fail_msg("%s", f->err.text);
    }
    if (put_record(f, version, key) != OK)
        fail_msg("%s", f->err.text);
}

static void done(struct feed *f)
{
    model_store_free(f->store);
    bytes_done(&f->key);
    bytes_done(&f->body);
}

static void a_model_is_there_once_its_record_and_parts_are(void **state)
{
    struct feed f = {.store = model_store_new(trusted)};
    const struct model_version *v;
    size_t n;

    (void)state;
    assert_int_equal(model_store_next_version(f.store, "m"), 1);
    for (int order = 0; order < 3; order++) { /* the record first, in the middle, last */
        int32_t version = 5 - order;

        for (int i = 0; i < 3; i++) {
            assert_null(model_store_version(f.store, "m", version));
            assert_int_equal(i == order ? put_record(&f, version, key) : put_part(&f, version, i > order ? i - 1 : i), OK);
        }
        v = model_store_version(f.store, "m", version);
        assert_non_null(v);
        assert_true(view_eq(v->bytes, view_of(model_bytes, MODEL_BYTES)));
        assert_int_equal(v->record->rows, 12);
    }
    v = model_store_versions(f.store, "m", &n);
    assert_int_equal(n, 3);
    assert_true(v[0].record->version == 3 && v[1].record->version == 4 && v[2].record->version == 5);
    assert_int_equal(model_store_next_version(f.store, "m"), 6);
    assert_null(model_store_versions(f.store, "other", &n));
    assert_string_equal(model_store_names(f.store, &n)[0], "m");
    /* The same again is harmless. */
    assert_int_equal(put_record(&f, 4, key), OK);
    assert_int_equal(put_part(&f, 4, 1), OK);
    done(&f);
}

static void what_is_not_ours_is_refused_and_changes_nothing(void **state)
{
    struct feed f = {.store = model_store_new(trusted)};
    struct model_record m = a_record(2);
    size_t n;

    (void)state;
    put_model(&f, 1);
    assert_int_equal(put_record(&f, 2, stranger), ERR_RECORD);
    assert_non_null(strstr(f.err.text, "models topic: m/2: model m/2: signature: key id"));
    /* Another record under a signed one's key. */
    model_key_record("m", 9, &f.key);
    model_record_sign(&m, view_of(model_bytes, MODEL_BYTES), key, &f.body);
    assert_int_equal(put(&f), ERR_RECORD);
    assert_non_null(strstr(f.err.text, "its key is for m 9, the record says m 2"));
    /* Parts that are not what was signed; the right one mends it. */
    assert_int_equal(put_record(&f, 2, key), OK);
    assert_int_equal(put_part(&f, 2, 1), OK);
    model_bytes[5] ^= 1;
    assert_int_equal(put_part(&f, 2, 0), ERR_RECORD);
    assert_non_null(strstr(f.err.text, "SHA-256"));
    assert_int_equal(put_part(&f, 1, 0), ERR_RECORD); /* of an accepted model */
    assert_int_equal(put_record(&f, 1, key), ERR_RECORD);
    assert_non_null(strstr(f.err.text, "a version never changes"));
    model_bytes[5] ^= 1;
    assert_null(model_store_version(f.store, "m", 2));
    assert_int_equal(put_part(&f, 2, 0), OK);
    assert_non_null(model_store_version(f.store, "m", 2));
    model_key_part("m", 3, 128, &f.key);
    model_part_encode(view_of(model_bytes, MODEL_BYTES), 0, &f.body);
    assert_int_equal(put(&f), ERR_RECORD);
    model_key_part("m", 3, 0, &f.key);
    assert_int_equal(model_store_add(f.store, view(&f.key), (struct view){0}, &f.err), ERR_RECORD);
    assert_int_equal(model_store_add(f.store, view_str("nonsense"), view_str("x"), &f.err), ERR_RECORD);
    assert_int_equal(model_store_add(f.store, view_str("m/3"), view_str(""), &f.err), ERR_RECORD);
    model_store_versions(f.store, "m", &n);
    assert_int_equal(n, 2);
    done(&f);
}

static void a_model_for_other_features_is_refused(void **state)
{
    struct feed f = {.store = model_store_new(trusted)};

    (void)state;
    model_store_expect(f.store, "m", "ffffffffffffffff");
    assert_int_equal(put_part(&f, 1, 0), OK);
    assert_int_equal(put_record(&f, 1, key), ERR_RECORD);
    assert_non_null(strstr(f.err.text, "expected ffffffffffffffff, the model is for 0123456789abcdef"));
    assert_int_equal(put_part(&f, 1, 1), OK); /* passed over */
    assert_null(model_store_version(f.store, "m", 1));
    assert_int_equal(model_store_next_version(f.store, "m"), 2);
    assert_int_equal(put_routing(&f, a_routing(1, 1, 0), key), ERR_RECORD);
    done(&f);
}

static void a_routing_holds_from_its_time_until_a_later_one(void **state)
{
    struct feed f = {.store = model_store_new(trusted)};

    (void)state;
    put_model(&f, 1);
    put_model(&f, 2);
    assert_null(model_store_routing_at(f.store, "m", INT64_MAX));
    assert_int_equal(put_routing(&f, a_routing(1, 1, 100), key), OK);
    assert_int_equal(put_routing(&f, a_routing(2, 2, 200), key), OK);
    assert_int_equal(put_routing(&f, a_routing(3, 1, 150), key), OK); /* a rollback also of what lay between */
    assert_null(model_store_routing_at(f.store, "m", 99));
    assert_int_equal(model_store_routing_at(f.store, "m", 100)->seq, 1);
    assert_int_equal(model_store_routing_at(f.store, "m", 149)->seq, 1);
    assert_int_equal(model_store_routing_at(f.store, "m", 150)->seq, 3);
    assert_int_equal(model_store_routing_at(f.store, "m", 1000)->seq, 3);
    assert_int_equal(model_store_routing(f.store, "m", 2)->champion, 2);
    assert_null(model_store_routing(f.store, "m", 4));
    assert_int_equal(model_store_routing_last(f.store, "m")->seq, 3);
    assert_int_equal(model_store_next_seq(f.store, "m"), 4);
    done(&f);
}

static void an_old_unsigned_or_dangling_routing_is_refused(void **state)
{
    struct feed f = {.store = model_store_new(trusted)};
    struct routing r = a_routing(5, 1, 0);
    int32_t nobody = 8;

    (void)state;
    put_model(&f, 1);
    assert_int_equal(put_routing(&f, a_routing(4, 1, 0), key), OK);
    assert_int_equal(put_routing(&f, a_routing(4, 1, 0), key), ERR_RECORD);
    assert_int_equal(put_routing(&f, a_routing(3, 1, 0), key), ERR_RECORD);
    assert_non_null(strstr(f.err.text, "sequence 3; expected one above 4"));
    assert_int_equal(put_routing(&f, a_routing(5, 1, 0), stranger), ERR_RECORD);
    assert_int_equal(put_routing(&f, a_routing(5, 2, 0), key), ERR_RECORD);
    assert_non_null(strstr(f.err.text, "champion 2 is not an accepted model"));
    r.challengers = &nobody;
    r.n_challengers = 1;
    assert_int_equal(put_routing(&f, r, key), ERR_RECORD);
    r.n_challengers = 0;
    r.canary_version = 8;
    assert_int_equal(put_routing(&f, r, key), ERR_RECORD);
    assert_non_null(strstr(f.err.text, "canary 8"));
    assert_int_equal(model_store_next_seq(f.store, "m"), 5);
    done(&f);
}

static void a_verdict_is_found_by_its_boundary(void **state)
{
    struct feed f = {.store = model_store_new(trusted)};
    struct verdict v = a_verdict(700);

    (void)state;
    for (int again = 0; again < 2; again++) {
        model_key_verdict("m", 700, &f.key);
        verdict_encode(&v, &f.body);
        assert_int_equal(put(&f), OK);
    }
    v.outcome = "refused";
    verdict_encode(&v, &f.body);
    assert_int_equal(put(&f), ERR_RECORD);
    assert_string_equal(model_store_verdict(f.store, "m", 700)->outcome, "promoted");
    assert_null(model_store_verdict(f.store, "m", 701));
    assert_null(model_store_verdict(f.store, "n", 700));
    done(&f);
}

static void parts_that_nobody_claims_have_a_limit(void **state)
{
    struct feed f = {.store = model_store_new(trusted)};
    int n = 0;

    (void)state;
    while (n < 1000 && put_part(&f, 1 + n, 0) == OK)
        n++;
    assert_in_range(n, 200, 256);
    assert_non_null(strstr(f.err.text, "more than 128 MiB"));
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_there_once_its_record_and_parts_are),
        cmocka_unit_test(what_is_not_ours_is_refused_and_changes_nothing),
        cmocka_unit_test(a_model_for_other_features_is_refused),
        cmocka_unit_test(a_routing_holds_from_its_time_until_a_later_one),
        cmocka_unit_test(an_old_unsigned_or_dangling_routing_is_refused),
        cmocka_unit_test(a_verdict_is_found_by_its_boundary),
        cmocka_unit_test(parts_that_nobody_claims_have_a_limit),
    };

    return cmocka_run_group_tests_name("store", tests, set_up, tear_down);
}
