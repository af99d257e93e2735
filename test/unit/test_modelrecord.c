/* test/unit/test_modelrecord.c: records of the models topic and their keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <avro.h>
#include <cmocka.h>

#include "base/rand.h"
#include "test/unit/record_make.h"

/* ---- records as the schemas say, by avro-c ---- */

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

/* ---- forecasts ---- */
static double corrections[] = {0.5, -0.25, 0.125};
static struct booster_param output_params[] = {{"objective", "reg:quantileerror"}, {"quantile_alpha", "0.9"}};
static struct forecast_known known[] = {{"dow", "weekday(target_time - 1)"}};

static struct model_record a_forecast_record(struct forecast_def *target, struct model_output outputs[2])
{
    struct model_record m = a_record(3);

    *target = (struct forecast_def){.value = "amount", .horizon = 2, .every_ms = 86400000, .zone = "Europe/London", .lead_time = 2,
                                    .scale = "amount + 1", .offset = "", .min = 0, .known = known, .n_known = 1, .zone_data = "2025b"};
    outputs[0] = (struct model_output){.name = "mean", .params = output_params, .n_params = 1, .rounds = 7, .clip = 5, .n_bytes = 600};
    outputs[1] = (struct model_output){.name = "p90", .params = output_params, .n_params = 2, .rounds = 9, .clip = (double)NAN,
                                       .n_bytes = MODEL_BYTES - 600, .corrections = corrections, .n_corrections = 3};
    m.target = target;
    m.outputs = outputs;
    m.n_outputs = 2;
    return m;
}

static void a_model_of_forecasts_says_what_a_score_needs(void **state)
{
    struct arena arena = ARENA_EMPTY;
    struct bytes b = BYTES_EMPTY, again = BYTES_EMPTY;
    struct forecast_def target;
    struct model_output outputs[2];
    struct model_record m = a_forecast_record(&target, outputs), m2;
    struct error err;

    (void)state;
    model_record_sign(&m, view_of(model_bytes, MODEL_BYTES), key, &b);
    same_by_avro_c("schemas/Model.avsc", view(&b), "\"lead_time\": 2");
    assert_int_equal(model_record_decode(view(&b), &arena, &m2, &err), OK);
    assert_int_equal(model_record_verify(view(&b), &m2, trusted, &err), OK);
    model_record_encode(&m2, &again);
    assert_true(view_eq(view(&b), view(&again)));
    assert_true(m2.n_outputs == 2 && m2.outputs[0].clip == 5 && isnan(m2.outputs[1].clip) && m2.outputs[1].corrections[2] == 0.125);
    assert_string_equal(m2.target->known[0].expr, "weekday(target_time - 1)");
    assert_string_equal(m2.target->zone_data, "2025b");
    bytes_done(&b);
    bytes_done(&again);
    arena_done(&arena);
}

static void a_model_of_forecasts_whose_parts_disagree_is_refused(void **state)
{
    static const char *const why[] = {"outputs: expected those of a target", "outputs: expected those of a target",
                                      "outputs.corrections: expected one a step", "target.lead_time: expected 0 to 2"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct arena arena = ARENA_EMPTY;
        struct bytes b = BYTES_EMPTY;
        struct forecast_def target;
        struct model_output outputs[2];
        struct model_record m = a_forecast_record(&target, outputs), m2;
        struct error err;

        if (i == 0)
            outputs[0].n_bytes--; /* then they are not the model's bytes */
        if (i == 1)
            m.n_outputs = 0;
        if (i == 2)
            outputs[1].n_corrections = 2;
        if (i == 3)
            target.lead_time = 3;
        model_record_sign(&m, view_of(model_bytes, MODEL_BYTES), key, &b);
        assert_int_equal(model_record_decode(view(&b), &arena, &m2, &err), ERR_RECORD);
        if (strstr(err.text, why[i]) == NULL)
            fail_msg("%s: %s", why[i], err.text);
        bytes_done(&b);
        arena_done(&arena);
    }
}

/* A record without its last n bytes before the signature, as it was signed then. */
static void check_former(struct model_record *m, size_t n, struct model_record *ret, struct arena *arena)
{
    struct bytes b = BYTES_EMPTY, old = BYTES_EMPTY;
    struct error err;
    uint8_t signature[SIGN_BYTES];

    model_record_sign(m, view_of(model_bytes, MODEL_BYTES), key, &b);
    bytes_append(&old, b.data, b.n - 2 - SIGN_BYTES - n);
    sign_bytes(key, SIGN_MODEL, view(&old), signature);
    bytes_append(&old, b.data + b.n - 2 - SIGN_BYTES, 2);
    bytes_append(&old, signature, SIGN_BYTES);
    if (model_record_decode(view(&old), arena, ret, &err) != OK || model_record_verify(view(&old), ret, trusted, &err) != OK)
        fail_msg("without the last %zu bytes: %s", n, err.text);
    bytes_done(&b);
    bytes_done(&old);
}

/* Before there were forecasts nothing lay between key_id and the signature, then no zone data behind the outputs. */
static void a_record_of_a_former_schema_is_read(void **state)
{
    struct model_record m = a_record(3), m2;
    struct arena arena = ARENA_EMPTY;
    struct model_output outputs[2];
    struct forecast_def target;

    (void)state;
    check_former(&m, /* target null, outputs and zone data empty */ 3, &m2, &arena);
    assert_true(m2.target == NULL && m2.n_outputs == 0 && m2.rows == 12);
    m = a_forecast_record(&target, outputs);
    check_former(&m, 1 + strlen(target.zone_data), &m2, &arena);
    assert_true(m2.n_outputs == 2 && m2.target->horizon == 2);
    assert_string_equal(m2.target->zone_data, "");
    arena_done(&arena);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_what_the_schemas_say),
        cmocka_unit_test(a_model_of_forecasts_says_what_a_score_needs),
        cmocka_unit_test(a_model_of_forecasts_whose_parts_disagree_is_refused),
        cmocka_unit_test(a_record_of_a_former_schema_is_read),
        cmocka_unit_test(what_is_decoded_encodes_to_the_same_bytes),
        cmocka_unit_test(no_changed_byte_of_a_signed_record_is_believed),
        cmocka_unit_test(random_bytes_in_records_end_in_an_error_or_a_record),
        cmocka_unit_test(wrong_fields_are_refused_by_name),
        cmocka_unit_test(keys_have_one_spelling),
        cmocka_unit_test(a_histogram_counts_every_value_once),
    };

    return cmocka_run_group_tests_name("modelrecord", tests, set_up, tear_down);
}
