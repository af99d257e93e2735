/* test/unit/test_pipeline.c: pipeline files: what is loaded, and what is said about wrong ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "wiring/cases.h"

#define INVALID "test/data/invalid/pipeline"
#define CASES_MIN 100

static struct pipeline *load(const char *path)
{
    struct pipeline *p = NULL;
    struct bytes faults = BYTES_EMPTY;
    struct error err;

    if (pipeline_load(path, &p, &faults, &err) != OK)
        fail_msg("%s:\n%.*s", path, (int)faults.n, (const char *)faults.data);
    assert_int_equal(faults.n, 0);
    bytes_done(&faults);
    return p;
}

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 65536);

    if (f == NULL)
        fail_msg("%s is missing", path);
    assert_true(fread(text, 1, 65535, f) < 65535);
    fclose(f);
    return text;
}

static void replace_all(struct bytes *text, const char *what, const char *by)
{
    struct bytes out = BYTES_EMPTY;
    size_t n = strlen(what);

    for (size_t i = 0; i < text->n;) {
        if (text->n - i >= n && memcmp(text->data + i, what, n) == 0) {
            bytes_append(&out, by, strlen(by));
            i += n;
        } else {
            bytes_append(&out, text->data + i++, 1);
        }
    }
    bytes_done(text);
    *text = out;
}

/* The faults of a file, without the folder's path. MILLRACE_WANT=write puts them where they are compared with. */
static bool says_what_it_should(const char *name)
{
    char path[512], want_path[512], folder[512];
    struct pipeline *p = NULL;
    struct bytes got = BYTES_EMPTY;
    struct error err;
    char *want;
    bool same;

    snprintf(folder, sizeof(folder), INVALID "/%s/", name);
    snprintf(path, sizeof(path), INVALID "/%s/in.json", name);
    snprintf(want_path, sizeof(want_path), INVALID "/%s/want", name);
    if (pipeline_load(path, &p, &got, &err) == OK) {
        print_error("%s is taken\n", path);
        pipeline_free(p);
        return false;
    }
    replace_all(&got, folder, "");
    if (getenv("MILLRACE_WANT")) {
        FILE *f = fopen(want_path, "wb");

        assert_non_null(f);
        fwrite(got.data, 1, got.n, f);
        fclose(f);
    }
    want = read_text(want_path);
    same = strlen(want) == got.n && memcmp(want, got.data, got.n) == 0 && got.n > 0;
    if (!same)
        print_error("%s\nwant:\n%sgot:\n%.*s\n", path, want, (int)got.n, (const char *)got.data);
    free(want);
    bytes_done(&got);
    return same;
}

static void every_wrong_file_is_refused_with_its_message(void **state)
{
    DIR *dir = opendir(INVALID);
    struct dirent *e;
    int n = 0, wrong = 0;

    (void)state;
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.' || strcmp(e->d_name, "schemas") == 0)
            continue;
        n++;
        wrong += !says_what_it_should(e->d_name);
    }
    closedir(dir);
    if (wrong)
        fail_msg("%d of %d cases say something else", wrong, n);
    assert_true(n >= CASES_MIN);
}

static void a_file_that_is_not_there_is_named(void **state)
{
    struct pipeline *p;
    struct bytes faults = BYTES_EMPTY;
    struct error err;

    (void)state;
    assert_int_equal(pipeline_load("no/such.json", &p, &faults, &err), ERR_FATAL);
    bytes_append(&faults, "", 1);
    assert_string_equal((const char *)faults.data, "no/such.json: cannot be read: No such file or directory\n");
    bytes_done(&faults);
}

/* ---- what is loaded ---- */
static void a_value_that_is_not_given_has_its_default(void **state)
{
    struct pipeline *p = load("test/data/valid/pipeline/alert-only.json");
    struct topic *t = pipeline_topic(p, "readings");
    struct stage_def *s = pipeline_stage(p, "alarm");

    (void)state;
    assert_string_equal(t->broker_name, "tiny.readings");
    assert_int_equal(t->lateness_ms, 120000);
    assert_int_equal(t->time_min_ms, 946598400000);
    assert_int_equal(t->time_ahead_ms, 600000);
    assert_int_equal(t->writer, -1);
    assert_false(t->ordered); /* its reader has no cooldown, so no state */
    assert_int_equal(s->commit_interval_ms, 100);
    assert_int_equal(s->label_from, -1);
    assert_int_equal(s->rules[0].cooldown_ms, 0);
    assert_string_equal(s->rules[0].key, "meter");
    assert_null(pipeline_stage(p, "none"));
    assert_null(pipeline_topic(p, "none"));
    assert_ptr_equal(pipeline_topic(p, "tiny.readings"), t);
    pipeline_free(p);
}

static void outputs_inherit_partitions_time_lateness_and_marks(void **state)
{
    struct pipeline *p = load("test/data/valid/pipeline/whole.json");

    (void)state;
    for (size_t i = 0; i < p->n_topics; i++) {
        struct topic *t = &p->topics[i];

        assert_int_equal(t->partitions, 2);
        assert_non_null(t->schema);
        assert_string_equal(t->time, strcmp(t->name, "truths") == 0 ? "found_at" : "at");
        assert_string_equal(t->keyed_by, strcmp(t->name, "truths") == 0 || strcmp(t->name, "usage") == 0 ? "site" : "meter");
        assert_int_equal(t->ordered, strcmp(t->name, "alarms") != 0);
        assert_int_equal(t->lateness_ms, strcmp(t->name, "truths") == 0 ? 3600000 : 172800000);
    }
    assert_int_equal(pipeline_topic(p, "ratings")->writer, pipeline_stage(p, "rate") - p->stages);
    assert_int_equal(pipeline_drift(p, pipeline_topic(p, "truths")), 0);
    assert_int_equal(pipeline_drift(p, pipeline_topic(p, "usage")), INT64_C(86400000));
    assert_int_equal(pipeline_drift(p, pipeline_topic(p, "ratings")), INT64_C(172800000)); /* score keeps its input's */
    assert_null(pipeline_orders(p, pipeline_topic(p, "truths")));
    assert_string_equal(pipeline_orders(p, pipeline_topic(p, "usage"))->name, "meter");
    assert_string_equal(pipeline_orders(p, pipeline_topic(p, "ratings"))->name, "site");
    assert_int_equal(p->n_kafka, 4);
    assert_string_equal(p->kafka[1].value, "30000");
    assert_string_equal(p->kafka[2].value, "0.5");
    assert_string_equal(p->kafka[3].value, "true");
    pipeline_free(p);
}

static void a_derived_schema_is_the_input_the_features_and_lineage(void **state)
{
    static const char *const want[] = {"id", "at", "meter", "site", "kwh", "note", "night", "n_1d", "n_7d", "site_n_1d",
                                       "site_n_7d", "site_bad_1d", "site_bad_7d", "site_risk_1d", "site_risk_7d", "lineage"};
    struct pipeline *p = load("test/data/valid/pipeline/whole.json");
    const struct schema *s = pipeline_topic(p, "features")->schema;

    (void)state;
    assert_string_equal(s->name, "features");
    assert_int_equal(s->n, ARRAY_LEN(want));
    for (size_t i = 0; i < s->n; i++)
        assert_string_equal(s->fields[i].name, want[i]);
    assert_int_equal(schema_at(s, "night")->type, SCHEMA_UNION);
    assert_int_equal(schema_unwrap(schema_at(s, "night"))->type, SCHEMA_BOOLEAN);
    assert_int_equal(schema_unwrap(schema_at(s, "n_7d"))->type, SCHEMA_LONG);
    assert_int_equal(schema_unwrap(schema_at(s, "site_risk_7d"))->type, SCHEMA_DOUBLE);
    assert_int_equal(schema_at(s, "lineage.source.offset")->type, SCHEMA_LONG);
    s = pipeline_topic(p, "alarms")->schema;
    assert_string_equal(s->fields[s->n - 2].name, "severity");
    pipeline_free(p);
}

static void a_model_takes_its_families_in_the_order_asked_for(void **state)
{
    static const char *const want[] = {"kwh", "night", "n_1d", "n_7d", "site_risk_1d", "site_risk_7d"};
    struct pipeline *p = load("test/data/valid/pipeline/whole.json");
    struct stage_def *learn = pipeline_stage(p, "learn"), *rate = pipeline_stage(p, "rate");

    (void)state;
    assert_int_equal(learn->n_model_features, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(learn->model_features[i], want[i]);
    assert_ptr_equal(rate->model_features, learn->model_features);
    assert_string_equal(learn->feature_set, pipeline_stage(p, "site")->feature_set);
    assert_string_equal(rate->feature_set, learn->feature_set);
    assert_int_equal(learn->rounds, 100);
    assert_true(learn->label_value == 1 && learn->label_absent == 0 && learn->label_after_ms == 7 * 86400000LL);
    pipeline_free(p);
}

/* whole-other.json differs in one definition of the first of two stages. */
static void a_definition_upstream_changes_every_feature_set_behind_it(void **state)
{
    struct pipeline *p = load("test/data/valid/pipeline/whole.json");
    struct pipeline *other = load("test/data/valid/pipeline/whole-other.json");
    static const char *const stages[] = {"meter", "site", "learn", "rate"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stages); i++)
        assert_string_not_equal(pipeline_stage(p, stages[i])->feature_set, pipeline_stage(other, stages[i])->feature_set);
    assert_string_equal(features_fingerprint(pipeline_stage(p, "site")->compiled),
                        features_fingerprint(pipeline_stage(other, "site")->compiled));
    pipeline_free(other);
    pipeline_free(p);
}

/* Each shared contract is read as every stage reads it. */
static void the_fraud_pipeline_and_the_shared_schemas_are_whole(void **state)
{
    static const char *const shared[] = {"Lineage", "DeadLetter", "State", "Score", "Alert"};
    struct pipeline *p = load("pipelines/fraud.json");
    struct error err;

    (void)state;
    assert_int_equal(pipeline_stage(p, "learn")->n_model_features, 29);
    assert_string_equal(pipeline_stage(p, "learn")->model_features[28], "terminal_days_since_first_small_28d");
    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        struct schema *s = NULL;

        if (pipeline_schema(p, shared[i], &s, &err) != OK)
            fail_msg("%s", err.text);
        assert_string_equal(s->name, shared[i]);
        schema_free(s);
    }
    pipeline_free(p);
}

/* ---- nearest_name against the plainest recursion ---- */
static int distance(const char *a, const char *b)
{
    int d, best;

    if (*a == '\0' || *b == '\0')
        return (int)(strlen(a) + strlen(b));
    best = distance(a + 1, b + 1) + (*a != *b);
    if ((d = distance(a + 1, b) + 1) < best)
        best = d;
    if ((d = distance(a, b + 1) + 1) < best)
        best = d;
    if (a[1] && b[1] && a[0] == b[1] && a[1] == b[0] && (d = distance(a + 2, b + 2) + 1) < best)
        best = d;
    return best;
}

static void the_nearest_name_is_the_one_with_the_fewest_slips(void **state)
{
    const uint64_t seed = 20180401;
    struct rand r;

    (void)state;
    rand_seed(&r, seed);
    for (int round = 0; round < 3000; round++) {
        char texts[5][8] = {{0}};
        const char *candidates[4], *near;
        int best = 1000;

        for (size_t i = 0; i < 5; i++)
            for (uint64_t n = 1 + rand_below(&r, 6), k = 0; k < n; k++)
                texts[i][k] = (char)('a' + rand_below(&r, 3));
        for (size_t i = 0; i < 4; i++) {
            int d = distance(texts[4], candidates[i] = texts[i]);

            best = d < best ? d : best;
        }
        near = nearest_name(texts[4], candidates, 4);
        if (near && distance(texts[4], near) != best)
            fail_msg("seed %llu, round %d: '%s' for '%s'", (unsigned long long)seed, round, near, texts[4]);
        if (near == NULL && best <= (int)strlen(texts[4]) / 3)
            fail_msg("seed %llu, round %d: none for '%s'", (unsigned long long)seed, round, texts[4]);
    }
    assert_null(nearest_name("payments", (const char *const[]){"x", "labels"}, 2));
}

/* The model's record has no families: they are written out where they are an argument of their own. */
static void families_in_a_target_are_written_out(void **state)
{
    struct pipeline *p = load("test/data/valid/pipeline/forecasts.json");
    const struct forecast_def *d = pipeline_stage(p, "learn")->target;

    (void)state;
    assert_string_equal(d->scale, "max(1, n_1d, n_7d)");
    assert_string_equal(d->known[0].expr, "weekday(target_time - 1)");
    assert_string_equal(d->known[1].expr, "pick(step - 1, finding_id_ahead1, finding_id_ahead2) + min(finding_meter_ahead1, finding_meter_ahead2 , 7)");
    assert_string_equal(d->known[2].expr, "if(site_n_1d > 2, pick( step-1 ,n_1d, n_7d), coalesce(kwh, pick(0, kwh, night)))");
    pipeline_free(p);
}

/* ---- the reference ---- */
/* Each block between empty lines stands in the page as it is, with nothing more in it. */
static void holds_every_table(const char *path, void (*reference)(struct bytes *))
{
    struct bytes tables = BYTES_EMPTY, page = BYTES_EMPTY;
    char *text = read_text(path), *block, *end;

    bytes_printf(&page, "%s\n", text);
    bytes_append(&page, "", 1);
    reference(&tables);
    bytes_append(&tables, "\n\n", 3);
    for (block = (char *)tables.data; (end = strstr(block, "\n\n")); block = end) {
        char was;

        end += 2;
        was = *end;
        *end = '\0';
        if (strstr((char *)page.data, block) == NULL)
            fail_msg("%s lacks, or has more of:\n%s", path, block);
        *end = was;
    }
    free(text);
    bytes_done(&page);
    bytes_done(&tables);
}

static void the_pages_hold_every_key_word_for_word(void **state)
{
    (void)state;
    holds_every_table("docs/pipeline.md", pipeline_reference);
    holds_every_table("docs/pipeline-tests.md", cases_reference);
    holds_every_table("docs/features.md", features_reference);
}

/* `millrace validate --schema` makes it. */
static void the_json_schema_is_that_of_the_tables(void **state)
{
    struct bytes made = BYTES_EMPTY;
    char *file = read_text("schemas/pipeline.schema.json");

    (void)state;
    pipeline_json_schema(&made);
    if (made.n != strlen(file) || memcmp(made.data, file, made.n) != 0)
        fail_msg("schemas/pipeline.schema.json is not what `millrace validate --schema` prints now");
    if (strstr(file, "json_schema.c knows no such value"))
        fail_msg("schemas/pipeline.schema.json: a table in keys.c has a word for a value that json_schema.c does not know");
    free(file);
    bytes_done(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wrong_file_is_refused_with_its_message),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(a_value_that_is_not_given_has_its_default),
        cmocka_unit_test(outputs_inherit_partitions_time_lateness_and_marks),
        cmocka_unit_test(a_derived_schema_is_the_input_the_features_and_lineage),
        cmocka_unit_test(a_model_takes_its_families_in_the_order_asked_for),
        cmocka_unit_test(families_in_a_target_are_written_out),
        cmocka_unit_test(a_definition_upstream_changes_every_feature_set_behind_it),
        cmocka_unit_test(the_fraud_pipeline_and_the_shared_schemas_are_whole),
        cmocka_unit_test(the_nearest_name_is_the_one_with_the_fewest_slips),
        cmocka_unit_test(the_pages_hold_every_key_word_for_word),
        cmocka_unit_test(the_json_schema_is_that_of_the_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
