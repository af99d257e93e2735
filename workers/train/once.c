/* workers/train/once.c: one training by command over [from, to), published by a transaction of its own. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/kafka.h"
#include "stage/models.h"
#include "wire/frame.h"
#include "wire/text.h"
#include "workers/train/publish.h"
#include "workers/train/train.h"

#define PARAMS_MAX 128

struct once {
    const char *brokers, *files[2];
    int n_files;
    int64_t from_ms, to_ms, as_of_ms, holdout_ms;
    char *set;
    struct pipeline *pipeline;
    struct stage_def *def;
    struct registry *registry;
    struct models *models;
    struct sign_key *key;
    struct publish_schemas schemas;
    struct writer *writer;
    int n_partitions;
    struct booster_param params[PARAMS_MAX];
    struct job job;
};

static int usage(FILE *f)
{
    fputs("usage: train PIPELINE STAGE --once --from DATE --to DATE [--as-of DATE] [--holdout 7d] [--set NAME=VALUE,...]\n"
          "             [--brokers HOST:PORT]\n"
          "example: train pipelines/fraud.json learn --once --from 2018-07-25 --to 2018-08-01 --as-of 2018-08-08\n", f);
    return 2;
}

static bool read_span(const char *text, int64_t *ret_ms)
{
    char *end;
    double n = strtod(text, &end);
    int64_t unit = *end == 'd' ? 86400000 : *end == 'h' ? 3600000 : *end == 'm' ? 60000 : 0;

    *ret_ms = (int64_t)(n * (double)unit);
    return unit != 0 && end[1] == '\0' && n >= 0 && n < 1e6;
}

static bool read_options(struct once *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"once", no_argument, NULL, '1'}, {"from", required_argument, NULL, 'f'}, {"to", required_argument, NULL, 't'},
        {"as-of", required_argument, NULL, 'a'}, {"holdout", required_argument, NULL, 'h'},
        {"set", required_argument, NULL, 's'}, {"brokers", required_argument, NULL, 'b'}, {0},
    };
    int c;

    o->from_ms = o->to_ms = INT64_MIN;
    o->as_of_ms = INT64_MAX;
    o->holdout_ms = -1; /* not said */
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        bool ok = c == '1' || (c == 'f' && text_parse_moment(view_str(optarg), &o->from_ms)) ||
                  (c == 't' && text_parse_moment(view_str(optarg), &o->to_ms)) ||
                  (c == 'a' && text_parse_moment(view_str(optarg), &o->as_of_ms)) ||
                  (c == 'h' && read_span(optarg, &o->holdout_ms)) || c == 's' || c == 'b';

        if (!ok)
            return false;
        if (c == 's')
            o->set = optarg;
        if (c == 'b')
            o->brokers = optarg;
    }
    for (; optind < argc && o->n_files < 2; optind++)
        o->files[o->n_files++] = argv[optind];
    return o->n_files == 2 && optind == argc && o->from_ms != INT64_MIN && o->to_ms > o->from_ms + (o->holdout_ms > 0 ? o->holdout_ms : 0);
}

/* name=value,...: in place of the stage's own setting of that name, or beside them. */
static enum status set_params(struct once *o, struct error *err)
{
    for (char *item = o->set ? strtok(o->set, ",") : NULL; item; item = strtok(NULL, ",")) {
        char *eq = strchr(item, '=');
        size_t i = 0;

        if (eq == NULL || eq == item || eq[1] == '\0')
            return err_set(err, ERR_FATAL, "--set: expected NAME=VALUE, got '%.100s'", item);
        *eq = '\0';
        if (strcmp(item, "rounds") == 0) {
            o->job.rounds = atoi(eq + 1);
            continue;
        }
        while (i < o->job.n_params && strcmp(o->params[i].name, item) != 0)
            i++;
        if (i == PARAMS_MAX)
            return err_set(err, ERR_FATAL, "--set: more than %d settings", PARAMS_MAX);
        o->params[i] = (struct booster_param){item, eq + 1};
        o->job.n_params = i == o->job.n_params ? i + 1 : o->job.n_params;
    }
    return OK;
}

static enum status open_all(struct once *o, struct bytes *faults, struct error *err)
{
    const struct schema *kept;
    char path[4096];

    if (pipeline_load(o->files[0], &o->pipeline, faults, err) != OK)
        return err->status;
    o->def = pipeline_stage(o->pipeline, o->files[1]);
    if (o->def == NULL || strcmp(o->def->worker, "train") != 0)
        return err_set(err, ERR_FATAL, "%s: no stage '%s' that trains", o->files[0], o->files[1]);
    if (o->def->n_xgboost > PARAMS_MAX)
        return err_set(err, ERR_FATAL, "stage %s: more than %d settings", o->def->name, PARAMS_MAX);
    o->brokers = kafka_brokers(o->brokers);
    o->registry = registry_new();
    for (size_t i = 0; i < o->pipeline->n_topics; i++)
        if (registry_add(o->registry, NULL, view_str(schema_json(o->pipeline->topics[i].schema)), &kept, err) != OK)
            return err->status;
    models_key_path("secret", path, sizeof(path));
    if (train_check(o->pipeline, o->def, err) != OK || kafka_schemas_load(o->brokers, o->pipeline, o->registry, err) != OK ||
        sign_key_load(path, &o->key, err) != OK || publish_schemas_load(o->pipeline, &o->schemas, err) != OK ||
        models_open(o->brokers, o->pipeline, o->def->model, NULL, &o->models, err) != OK)
        return err->status;
    return models_check_owner(o->models, o->pipeline, o->def->model, err);
}

static enum status put_record(void *ctx, struct view key, const struct schema *schema, struct view body, struct error *err)
{
    struct once *o = ctx;
    struct bytes value = BYTES_EMPTY;
    enum status st;

    frame_put(&value, schema_id(schema));
    bytes_append(&value, body.data, body.n);
    st = writer_put(o->writer, MODELS_TOPIC, kafka_partition(key, o->n_partitions), key, view_of(value.data, value.n), err);
    bytes_done(&value);
    return st;
}

/* All that the topic holds by now: others train while this one fits. */
static enum status look_again(struct once *o, struct error *err)
{
    models_free(o->models);
    o->models = NULL;
    return models_open(o->brokers, o->pipeline, o->def->model, NULL, &o->models, err);
}

static enum status write_out(struct once *o, struct error *err)
{
    const struct model_record *r = &o->job.record;
    const struct model_version *v;
    char id[512];
    struct reader *reader = NULL;
    struct error failed;
    enum status st = reader_new(o->brokers, o->pipeline, &reader, err);

    if (st == OK)
        st = reader_partitions(reader, MODELS_TOPIC, &o->n_partitions, err);
    reader_free(reader);
    snprintf(id, sizeof(id), "%s.%s.once", o->pipeline->name, o->def->name);
    if (st != OK || writer_new(o->brokers, o->pipeline, id, &o->writer, err) != OK || look_again(o, err) != OK ||
        publish(&o->job, models_store(o->models), o->key, &o->schemas, clock_wall_ms(), put_record, o, err) != OK)
        return err->status;
    /* A commit that failed, as where another training has taken the name meanwhile, may have come through all the same. */
    st = writer_commit(o->writer, &failed);
    if (look_again(o, err) != OK)
        return err->status;
    v = model_store_version(models_store(o->models), r->name, r->version);
    if (v && memcmp(v->record->sha256, r->sha256, sizeof(r->sha256)) == 0)
        return OK;
    if (st == OK)
        return err_set(err, ERR_RETRY, "%s/%d was published by another training at the same moment: train again", r->name,
                       r->version);
    *err = failed;
    return st;
}

static void print_result(const struct once *o)
{
    const struct model_record *r = &o->job.record;
    char from[32];

    text_format_time(o->job.span.as_of_ms + o->def->model_lag_ms, from);
    printf("%s/%d: %" PRId64 " rows, ", r->name, r->version, r->rows);
    if (r->target == NULL)
        printf("%" PRId64 " positives, ", r->positives);
    printf("champion from %s\n", from);
    for (size_t i = 0; i < r->n_metrics; i++)
        printf("  %s %.6f\n", r->metrics[i].name, r->metrics[i].value);
}

static enum status run(struct once *o, struct bytes *faults, struct error *err)
{
    if (open_all(o, faults, err) != OK)
        return err->status;
    train_job(&o->job, o->pipeline, o->def, models_store(o->models), o->params);
    o->job.brokers = o->brokers;
    o->job.registry = o->registry;
    if (o->holdout_ms < 0) /* what is calibrated cannot be without */
        o->holdout_ms = o->def->target ? o->def->holdout_ms : 0;
    o->job.span = (struct span){o->from_ms, o->to_ms - o->holdout_ms, o->to_ms, o->as_of_ms, INT64_MIN};
    if (set_params(o, err) != OK)
        return err->status;
    job_run(&o->job);
    if (o->job.status != OK)
        return err_set(err, o->job.status, "%s", o->job.err.text);
    if (!o->job.trained)
        return err_set(err, ERR_RECORD, "nothing to train: %s", o->job.reason);
    if (write_out(o, err) != OK)
        return err_wrap(err, "publish");
    print_result(o);
    return OK;
}

int once_main(int argc, char **argv)
{
    struct once *o = xcalloc(1, sizeof(*o));
    struct bytes faults = BYTES_EMPTY;
    struct error err = {0};
    int code;

    if (!read_options(o, argc, argv)) {
        free(o);
        return usage(stderr);
    }
    code = run(o, &faults, &err) == OK ? 0 : o->def == NULL ? 2 : 1;
    if (faults.n)
        fwrite(faults.data, 1, faults.n, stderr);
    else if (code)
        fprintf(stderr, "train: %s\n", err.text);
    bytes_done(&faults);
    job_done(&o->job);
    writer_free(o->writer);
    models_free(o->models);
    sign_key_free(o->key);
    publish_schemas_done(&o->schemas);
    registry_free(o->registry);
    pipeline_free(o->pipeline);
    free(o);
    return code;
}
