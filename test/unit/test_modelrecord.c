/* test/unit/test_modelrecord.c: records of the models topic, their keys, and the store that follows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <avro.h>
#include <cmocka.h>

#include <math.h>

#include "base/rand.h"
#include "model/store.h"

#define MODEL_BYTES (MODEL_PART_BYTES_MAX + 1000) /* two parts */

static struct sign_key *key, *stranger;
static struct sign_keys *trusted;
static uint8_t model_bytes[MODEL_BYTES];

static struct view view(const struct bytes *b)
{
    return view_of(b->data, b->n);
}

/* ---- records as the schemas say, by avro-c ---- */

static const char *features[] = {"amount", "night"};
static struct booster_param params[] = {{"max_depth", "3"}, {"objective", "binary:logistic"}, {"eta", "0.1"}};
static struct model_range ranges[] = {{"a.b", 0, 10, 20}, {"a.b", 1, 0, 5}};
static struct model_metric metrics[] = {{"average_precision", 0.639, 0.5}, {"auc", 0.862, 0}};
static double edges[] = {1.5, 2.5};
static int64_t counts[] = {3, 4, 5}, one_count[] = {12};
static struct model_histogram histograms[] = {{"amount", edges, counts, 2, 1}, {"score", NULL, one_count, 0, 0}};

static struct model_record a_record(int32_t version)
{
    metrics[1].champion = NAN;
    return (struct model_record){
        .name = "m", .version = version, .features = features, .n_features = 2, .feature_set = "0123456789abcdef",
        .objective = "binary:logistic", .params = params, .n_params = 3, .rounds = 100, .seed = -1, .library = "xgboost 3.2.0",
        .lineage = ranges, .n_lineage = 2, .from_ms = 1000, .to_ms = 2000, .holdout_to_ms = 3000, .as_of_ms = 4000, .rows = 12,
        .positives = 3, .holdout_rows = 5, .metrics = metrics, .n_metrics = 2, .champion = 7, .histograms = histograms,
        .n_histograms = 2, .created_ms = 5000};
}

static struct routing a_routing(int64_t seq, int32_t champion, int64_t from_ms)
{
    return (struct routing){.name = "m", .seq = seq, .champion = champion, .canary_version = -1, .from_ms = from_ms,
                            .reason = "trained", .created_ms = 9, .key_id = ""};
}

static struct verdict a_verdict(int64_t boundary_ms)
{
    return (struct verdict){.name = "m", .boundary_ms = boundary_ms, .outcome = "promoted", .reason = "better", .version = 1,
                            .metrics = metrics, .n_metrics = 2, .routing_seq = -1, .created_ms = 9};
}

/* Reads a body by avro-c under the schema file, writes it again: the same bytes, none left. */
static void same_by_avro_c(const char *schema_path, struct view body, const char *want_json)
{
    char text[16384], *json = NULL;
    FILE *f = fopen(schema_path, "r");
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
    avro_reader_t in;
    avro_writer_t out;
    uint8_t *again = malloc(body.n + 100);

    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    assert_int_equal(avro_schema_from_json_length(text, strlen(text), &schema), 0);
    iface = avro_generic_class_from_schema(schema);
    avro_generic_value_new(iface, &value);
    in = avro_reader_memory((const char *)body.data, (int64_t)body.n);
    if (avro_value_read(in, &value) != 0)
        fail_msg("%s: %s", schema_path, avro_strerror());
    out = avro_writer_memory((char *)again, (int64_t)body.n + 100);
    assert_int_equal(avro_value_write(out, &value), 0);
    assert_int_equal(avro_writer_tell(out), body.n);
    assert_memory_equal(again, body.data, body.n);
    assert_int_equal(avro_value_to_json(&value, 1, &json), 0);
    if (strstr(json, want_json) == NULL)
        fail_msg("%s: no %s in %s", schema_path, want_json, json);
    free(json);
    free(again);
    avro_reader_free(in);
    avro_writer_free(out);
    avro_value_decref(&value);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
}

static void bodies_are_what_the_schemas_say(void **state)
{
    struct bytes b = BYTES_EMPTY;
    struct model_record m = a_record(3);
    struct routing r = a_routing(4, 3, 77);
    struct verdict v = a_verdict(-5);
    int32_t challengers[] = {1, 2};

    (void)state;
    model_record_sign(&m, view_of(model_bytes, MODEL_BYTES), key, &b);
    same_by_avro_c("schemas/Model.avsc", view(&b), "\"as_of_ms\": 4000");
    bytes_clear(&b);
    m.champion = -1;
    m.n_histograms = 0;
    model_record_encode(&m, &b);
    same_by_avro_c("schemas/Model.avsc", view(&b), "\"n_parts\": 2");
    bytes_clear(&b);
    model_part_encode(view_of(model_bytes, MODEL_BYTES), 1, &b);
    same_by_avro_c("schemas/ModelPart.avsc", view(&b), "\"data\"");
    bytes_clear(&b);
    routing_sign(&r, key, &b);
    same_by_avro_c("schemas/Routing.avsc", view(&b), "\"from_ms\": 77");
    bytes_clear(&b);
    r.challengers = challengers;
    r.n_challengers = 2;
    r.canary_version = 9;
    r.canary_share = 0.25;
    routing_sign(&r, key, &b);
    same_by_avro_c("schemas/Routing.avsc", view(&b), "\"share\": 0.25");
    bytes_clear(&b);
    verdict_encode(&v, &b);
    same_by_avro_c("schemas/Verdict.avsc", view(&b), "\"boundary_ms\": -5");
    bytes_done(&b);
}

static void what_is_decoded_encodes_to_the_same_bytes(void **state)
{
    struct arena arena = ARENA_EMPTY;
    struct bytes b = BYTES_EMPTY, again = BYTES_EMPTY;
    struct model_record m = a_record(3), m2;
    struct routing r = a_routing(4, 3, 77), r2;
    struct verdict v = a_verdict(-5), v2;
    struct error err;

    (void)state;
    model_record_sign(&m, view_of(model_bytes, MODEL_BYTES), key, &b);
    assert_int_equal(model_record_decode(view(&b), &arena, &m2, &err), OK);
    assert_int_equal(model_record_verify(view(&b), &m2, trusted, &err), OK);
    model_record_encode(&m2, &again);
    assert_true(view_eq(view(&b), view(&again)));
    assert_string_equal(m2.features[1], "night");
    assert_true(m2.champion == 7 && m2.metrics[0].champion == 0.5 && isnan(m2.metrics[1].champion));
    bytes_clear(&b);
    bytes_clear(&again);
    r.canary_version = 2;
    r.canary_share = 1;
    routing_sign(&r, key, &b);
    assert_int_equal(routing_decode(view(&b), &arena, &r2, &err), OK);
    assert_int_equal(routing_verify(view(&b), &r2, trusted, &err), OK);
    routing_encode(&r2, &again);
    assert_true(view_eq(view(&b), view(&again)));
    bytes_clear(&b);
    bytes_clear(&again);
    verdict_encode(&v, &b);
    assert_int_equal(verdict_decode(view(&b), &arena, &v2, &err), OK);
    verdict_encode(&v2, &again);
    assert_true(view_eq(view(&b), view(&again)));
    assert_int_equal(v2.routing_seq, -1);
    bytes_done(&b);
    bytes_done(&again);
    arena_done(&arena);
}

/* Any other bit anywhere: not decoded, or the signature does not hold. Cut anywhere: not decoded. */
static void no_changed_byte_of_a_signed_record_is_believed(void **state)
{
    struct arena arena = ARENA_EMPTY;
    struct bytes b = BYTES_EMPTY;
    struct model_record m = a_record(3);
    struct routing r = a_routing(4, 3, 77);
    struct error err;

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        bytes_clear(&b);
        if (kind == 0)
            model_record_sign(&m, view_of(model_bytes, MODEL_BYTES), key, &b);
        else
            routing_sign(&r, key, &b);
        for (size_t i = 0; i < b.n * 8; i++) {
            struct model_record got;
            struct routing route;
            enum status st;

            arena_reset(&arena);
            b.data[i / 8] ^= (uint8_t)(1 << i % 8);
            if (kind == 0)
                st = model_record_decode(view(&b), &arena, &got, &err) == OK ? model_record_verify(view(&b), &got, trusted, &err)
                                                                            : ERR_RECORD;
            else
                st = routing_decode(view(&b), &arena, &route, &err) == OK ? routing_verify(view(&b), &route, trusted, &err)
                                                                          : ERR_RECORD;
            if (st != ERR_RECORD)
                fail_msg("kind %d: bit %zu was believed", kind, i);
            b.data[i / 8] ^= (uint8_t)(1 << i % 8);
        }
        for (size_t n = 0; n < b.n; n++) {
            uint8_t *cut = malloc(n + 1);
            struct model_record got;
            struct routing route;

            memcpy(cut + 1, b.data, n);
            assert_int_equal(kind == 0 ? model_record_decode(view_of(cut + 1, n), &arena, &got, &err)
                                       : routing_decode(view_of(cut + 1, n), &arena, &route, &err),
                             ERR_RECORD);
            free(cut);
        }
    }
    bytes_done(&b);
    arena_done(&arena);
}

static void random_bytes_in_records_end_in_an_error_or_a_record(void **state)
{
    struct arena arena = ARENA_EMPTY;
    struct bytes b = BYTES_EMPTY;
    struct model_record m = a_record(3);
    uint64_t seed = 5;
    struct rand r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rand_seed(&r, seed);
    model_record_sign(&m, view_of(model_bytes, MODEL_BYTES), key, &b);
    for (int run = 0; run < 20000; run++) {
        uint8_t *copy = malloc(b.n);
        struct error err = {0};
        struct model_record got;
        struct routing route;
        struct verdict v;
        struct view part;

        memcpy(copy, b.data, b.n);
        for (uint64_t k = 1 + rand_below(&r, 6); k > 0; k--)
            copy[rand_below(&r, b.n)] = (uint8_t)(rand_below(&r, 3) ? rand_u64(&r) : 0xff);
        arena_reset(&arena);
        if (model_record_decode(view_of(copy, b.n), &arena, &got, &err) != OK)
            assert_int_equal(err.status, ERR_RECORD);
        (void)routing_decode(view_of(copy, b.n), &arena, &route, &err);
        (void)verdict_decode(view_of(copy, b.n), &arena, &v, &err);
        (void)model_part_decode(view_of(copy, b.n), &part, &err);
        free(copy);
    }
    bytes_done(&b);
    arena_done(&arena);
}

static void wrong_fields_are_refused_by_name(void **state)
{
    struct arena arena = ARENA_EMPTY;
    struct bytes b = BYTES_EMPTY;
    struct routing r = a_routing(1, 1, 0), got;
    struct verdict v = a_verdict(0), got_v;
    struct error err;

    (void)state;
    r.canary_version = 2;
    r.canary_share = 1.01;
    routing_encode(&r, &b);
    assert_int_equal(routing_decode(view(&b), &arena, &got, &err), ERR_RECORD);
    assert_string_equal(err.text, "routing record: canary.share: expected 0 to 1");
    bytes_clear(&b);
    r.canary_share = NAN;
    routing_encode(&r, &b);
    assert_int_equal(routing_decode(view(&b), &arena, &got, &err), ERR_RECORD);
    bytes_clear(&b);
    v.outcome = "perhaps";
    verdict_encode(&v, &b);
    assert_int_equal(verdict_decode(view(&b), &arena, &got_v, &err), ERR_RECORD);
    assert_non_null(strstr(err.text, "outcome: expected promoted, refused"));
    bytes_done(&b);
    arena_done(&arena);
}

static void keys_have_one_spelling(void **state)
{
    static const struct { const char *text; int kind; } cases[] = {
        {"m/1", MODEL_KEY_RECORD}, {"a.b-c_D9/2147483647", MODEL_KEY_RECORD}, {"m/1/0", MODEL_KEY_PART}, {"m/12/127", MODEL_KEY_PART},
        {"m/routing/1", MODEL_KEY_ROUTING}, {"m/verdict/0", MODEL_KEY_VERDICT}, {"m/verdict/-5", MODEL_KEY_VERDICT},
        {"routing/1", MODEL_KEY_RECORD},
        {"", -1}, {"m", -1}, {"m/", -1}, {"/1", -1}, {"m/0", -1}, {"m/01", -1}, {"m/+1", -1}, {"m/ 1", -1}, {"m/1/", -1},
        {"m/1/00", -1}, {"m/1/-1", -1}, {"m/1/2/3", -1}, {"m/2147483648", -1}, {"m/1x", -1}, {"m/-1", -1},
        {"m/routing/0", -1}, {"m/routing/", -1}, {"m/routing", -1}, {"m/routing/9223372036854775808", -1},
        {"m/verdict/-0", -1}, {"m/verdict/1e3", -1}, {"m n/1", -1}, {"m/other/1", -1},
    };
    char deep[300];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct model_key k;
        struct bytes b = BYTES_EMPTY;
        bool ok = model_key_parse(view_str(cases[i].text), &k);

        if (ok != (cases[i].kind >= 0) || (ok && (int)k.kind != cases[i].kind))
            fail_msg("'%s': %d", cases[i].text, ok);
        if (ok) {
            model_key_put(&k, &b);
            assert_true(view_eq(view(&b), view_str(cases[i].text)));
        }
        bytes_done(&b);
    }
    memset(deep, 'm', sizeof(deep));
    assert_false(model_key_parse(view_of(deep, sizeof(deep)), &(struct model_key){0}));
}

static void a_histogram_counts_every_value_once(void **state)
{
    uint64_t seed = 6;
    struct arena arena = ARENA_EMPTY;
    struct rand r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rand_seed(&r, seed);
    for (int run = 0; run < 300; run++) {
        float v[200];
        size_t n = rand_below(&r, 100);
        uint64_t levels = 1 + rand_below(&r, 50);
        struct model_histogram h;
        int64_t sum, want[MODEL_BINS_MAX] = {0}, missing = 0;

        for (size_t i = 0; i < 200; i++)
            v[i] = rand_below(&r, 9) == 0 ? NAN : (float)rand_below(&r, levels) * 0.3f;
        model_histogram_make("x", v, n, 2, &arena, &h);
        assert_true(h.n_edges < MODEL_BINS_MAX);
        for (size_t i = 0; i < n; i++) {
            size_t bin = 0;

            if (isnan(v[2 * i])) {
                missing++;
                continue;
            }
            while (bin < h.n_edges && (double)v[2 * i] >= h.edges[bin])
                bin++;
            want[bin]++;
        }
        sum = missing;
        for (size_t i = 0; i <= h.n_edges; i++) {
            assert_int_equal(h.counts[i], want[i]);
            assert_true(i < 2 || h.edges[i - 1] > h.edges[i - 2]);
            sum += h.counts[i];
        }
        assert_int_equal(sum, n);
        assert_int_equal(h.missing, missing);
        arena_reset(&arena);
    }
    arena_done(&arena);
}

/* ---- the store ---- */

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

static int make_key(const char *dir, const char *name, const char *list, struct sign_key **ret)
{
    char secret[128], public[128];
    struct error err;

    snprintf(secret, sizeof(secret), "%s/%s", dir, name);
    snprintf(public, sizeof(public), "%s/%s", dir, list);
    if (sign_key_make(secret, public, &err) != OK || sign_key_load(secret, ret, &err) != OK)
        return -1;
    if (*ret == key && sign_keys_load(public, &trusted, &err) != OK)
        return -1;
    unlink(secret);
    unlink(public);
    return 0;
}

static int set_up(void **state)
{
    char dir[] = "/tmp/test_modelrecord.XXXXXX";

    (void)state;
    for (size_t i = 0; i < MODEL_BYTES; i++)
        model_bytes[i] = (uint8_t)(i * 7 + i / 251);
    if (mkdtemp(dir) == NULL || make_key(dir, "ours", "trusted", &key) != 0 || make_key(dir, "other", "none", &stranger) != 0)
        return -1;
    return rmdir(dir);
}

static int tear_down(void **state)
{
    (void)state;
    sign_key_free(key);
    sign_key_free(stranger);
    sign_keys_free(trusted);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_what_the_schemas_say),
        cmocka_unit_test(what_is_decoded_encodes_to_the_same_bytes),
        cmocka_unit_test(no_changed_byte_of_a_signed_record_is_believed),
        cmocka_unit_test(random_bytes_in_records_end_in_an_error_or_a_record),
        cmocka_unit_test(wrong_fields_are_refused_by_name),
        cmocka_unit_test(keys_have_one_spelling),
        cmocka_unit_test(a_histogram_counts_every_value_once),
        cmocka_unit_test(a_model_is_there_once_its_record_and_parts_are),
        cmocka_unit_test(what_is_not_ours_is_refused_and_changes_nothing),
        cmocka_unit_test(a_model_for_other_features_is_refused),
        cmocka_unit_test(a_routing_holds_from_its_time_until_a_later_one),
        cmocka_unit_test(an_old_unsigned_or_dangling_routing_is_refused),
        cmocka_unit_test(a_verdict_is_found_by_its_boundary),
        cmocka_unit_test(parts_that_nobody_claims_have_a_limit),
    };

    return cmocka_run_group_tests_name("modelrecord", tests, set_up, tear_down);
}
