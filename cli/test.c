/* millrace test: a pipeline's cases, each through the shipped workers on files (docs/files.md), no broker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/difference.h"
#include "cli/stages.h"
#include "ops/signals.h"
#include "wire/container.h"
#include "wire/plan.h"
#include "wire/text.h"
#include "wiring/cases.h"

struct run {
    struct stage_files files;
    const struct test_case *c;
    struct bytes said; /* a line for each difference */
    size_t n_said;
};

/* A topic that nobody gave and no stage made has no records. */
static enum status write_inputs(const struct run *r, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < r->c->n_in && st == OK; i++)
        st = stage_files_write(stage_files_topic(&r->files, r->c->in[i].topic->name), r->c->in[i].topic->schema, r->c->in[i].records,
                           r->c->in[i].n, err);
    return st;
}

/* ---- what came out ---- */

static enum status decoded(const struct schema *schema, struct view body, json_t **ret, struct error *err)
{
    struct bytes text = BYTES_EMPTY;
    enum status st = text_from_avro(schema, body, /* iso= */ true, &text, err);

    if (st == OK)
        st = json_read(view_of(text.data, text.n), ret, err);
    bytes_done(&text);
    return st;
}

/* Adds a file's records to the list. */
static enum status read_records(const char *path, json_t *ret_list, struct error *err)
{
    struct container_reader *file = NULL;
    enum status st = container_open(path, &file, err);

    while (st == OK) {
        struct view body;
        json_t *record;

        st = container_next(file, &body, err);
        if (st != OK || body.data == NULL)
            break;
        st = decoded(container_schema(file), body, &record, err);
        if (st == OK)
            json_array_append_new(ret_list, record);
    }
    container_close(file);
    return st;
}

/* ---- dead letters, as a case names them: stage, topic of the wiring, reason, and the record that was refused ---- */

static json_t *text_of(const struct batch *row, const char *col)
{
    struct view v = batch_col(row, col)->view[0];

    return json_stringn((const char *)v.data, v.n);
}

/* The refused record by its topic's schema; null where it does not decode. */
static json_t *event_of(const struct topic *t, const struct batch *row)
{
    const struct col *value = batch_col(row, "value");
    json_t *event = NULL;
    struct error err;

    if (t == NULL || value->null[0] || decoded(t->schema, value->view[0], &event, &err) != OK)
        return json_null();
    return event;
}

struct letters {
    const struct run *r;
    json_t *list;
};

static enum status add_letter(void *ctx, const struct batch *row, struct error *err)
{
    const struct letters *l = ctx;
    json_t *topic = text_of(row, "topic"), *letter = json_object();
    const struct topic *t = pipeline_topic(l->r->files.p, json_string_value(topic));

    (void)err;
    json_object_set_new(letter, "stage", text_of(row, "stage"));
    json_object_set_new(letter, "topic", t ? json_string(t->name) : json_incref(topic));
    json_object_set_new(letter, "reason", text_of(row, "reason"));
    json_object_set_new(letter, "event", event_of(t, row));
    json_array_append_new(l->list, letter);
    json_decref(topic);
    return OK;
}

static enum status read_dead_letters(const struct run *r, const char *path, json_t *ret_list, struct error *err)
{
    static const struct want wants[] = {
        {"stage", COL_STRING}, {"topic", COL_STRING}, {"reason", COL_STRING}, {"value", COL_BYTES}};
    struct letters letters = {r, ret_list};

    return stage_files_each(path, NULL, wants, ARRAY_LEN(wants), add_letter, &letters, err);
}

/* ---- a case ---- */

static enum status run_stages(const struct run *r, struct error *err)
{
    enum status st = write_inputs(r, err);

    for (size_t i = 0; i < r->c->n_stages && st == OK; i++)
        st = stage_files_run(&r->files, r->c->stages[i], err);
    return st;
}

static enum status compare_all(struct run *r, struct error *err)
{
    const struct test_case *c = r->c;
    json_auto_t *letters = json_array();
    enum status st = OK;

    for (size_t i = 0; i < c->n_out && st == OK; i++) {
        const struct topic *t = c->out[i].topic;
        json_auto_t *got = json_array();

        st = read_records(stage_files_topic(&r->files, t->name), got, err);
        if (st == OK)
            r->n_said += difference_put_records(&r->said, t, c->out[i].records, got, c->within);
    }
    for (size_t i = 0; i < c->n_stages && st == OK; i++)
        st = read_dead_letters(r, stage_files_dead_letters(&r->files, c->stages[i]), letters, err);
    if (st == OK)
        r->n_said += difference_put_dead_letters(&r->said, r->files.p, c->dead_letters, letters, c->within);
    return st;
}

/* Whether it passed; what it did not, is printed. */
static bool run_case(const struct pipeline *p, const struct test_case *c)
{
    struct run r = {.c = c, .files.models = c->models};
    struct error err;
    enum status st = stage_files_open(&r.files, p, &err);

    if (st == OK && (st = run_stages(&r, &err)) == OK)
        st = compare_all(&r, &err);
    stage_files_close(&r.files);
    if (st != OK) {
        bytes_printf(&r.said, "    %s\n", err.text);
        r.n_said++;
    }
    if (!signals_stopping()) {
        printf("%s %s\n", r.n_said ? "not ok" : "ok", c->name);
        printf("%.*s", (int)r.said.n, r.said.n ? (const char *)r.said.data : "");
        fflush(stdout);
    }
    bytes_done(&r.said);
    return r.n_said == 0;
}

/* pipelines/x.json: pipelines/x.test.json */
static struct cases *load_cases(const struct pipeline *p)
{
    const char *ending = strrchr(p->file, '.');
    int n = ending && strcmp(ending, ".json") == 0 ? (int)(ending - p->file) : (int)strlen(p->file);
    struct bytes faults = BYTES_EMPTY;
    struct cases *cases = NULL;
    struct error err;

    if (cases_load(arena_printf(p->arena, "%.*s.test.json", n, p->file), p, &cases, &faults, &err) != OK)
        fprintf(stderr, "%.*s", (int)faults.n, (const char *)faults.data);
    bytes_done(&faults);
    return cases;
}

int cli_test(int argc, char **argv)
{
    const char *file;
    struct pipeline *p;
    struct cases *cases;
    struct error err;
    size_t n_args, n_passed = 0, n = 0;

    if (!cli_options(argc, argv, NULL, 0, &file, 1, &n_args))
        return EXIT_CALL;
    if (n_args == 0)
        return cli_wrong("test", "expected a pipeline file");
    p = cli_pipeline(file);
    if (p == NULL)
        return EXIT_CALL;
    cases = load_cases(p);
    if (cases == NULL) {
        pipeline_free(p);
        return EXIT_CALL;
    }
    if (signals_start(&err) != OK)
        return cli_failed("test", &err);
    for (; n < cases->n && !signals_stopping(); n++)
        n_passed += run_case(p, &cases->cases[n]);
    if (!signals_stopping())
        printf("%zu passed, %zu failed\n", n_passed, n - n_passed);
    cases_free(cases);
    pipeline_free(p);
    return signals_stopping() ? SIGNALS_EXIT : n_passed == n ? 0 : 1;
}
