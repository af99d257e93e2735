/* publish, train, replay: this process becomes the worker that does it. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "stage/models.h"

/* --pipeline FILE, else pipelines/<what comes before the first dot>.json. */
static const char *pipeline_of(const char *command, const char *given, const char *name)
{
    static char path[PATH_MAX];

    if (given != NULL)
        return given;
    snprintf(path, sizeof(path), "pipelines/%.*s.json", (int)strcspn(name, "."), name);
    if (access(path, R_OK) == 0)
        return path;
    (void)cli_wrong(command, "there is no %s: give --pipeline FILE", path);
    return NULL;
}

static const struct stage_def *stage_where(const struct pipeline *p, const char *worker, const char *model, int writes)
{
    for (size_t i = 0; i < p->n_stages; i++) {
        const struct stage_def *s = &p->stages[i];

        if (strcmp(s->worker, worker) != 0 || (model != NULL && (s->model == NULL || strcmp(s->model, model) != 0)))
            continue;
        if (writes < 0)
            return s;
        for (size_t j = 0; j < s->n_to; j++)
            if (s->to[j] == writes)
                return s;
    }
    return NULL;
}

int cli_publish(int argc, char **argv)
{
    const char *brokers = NULL, *file = NULL, *format = NULL, *source = NULL, *words[64];
    const char *args[80] = {NULL};
    bool again = false;
    const struct cli_option options[] = {{"--brokers", &brokers, NULL}, {"--pipeline", &file, NULL}, {"--format", &format, NULL},
                                         {"--source", &source, NULL},   {"--again", NULL, &again}};
    const struct stage_def *stage;
    const struct topic *topic;
    struct pipeline *p;
    size_t n = 0, n_words;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), words, 64, &n_words))
        return EXIT_CALL;
    if (n_words < 2)
        return cli_wrong("publish", "which topic, and which files?");
    if (source != NULL && n_words > 2)
        return cli_wrong("publish", "--source %s names one file, %zu are given", source, n_words - 1);
    if (format != NULL && strcmp(format, "csv") != 0 && strcmp(format, "jsonl") != 0 && strcmp(format, "avro") != 0)
        return cli_wrong("publish", "--format %s: expected csv, jsonl or avro", format);
    file = pipeline_of("publish", file, words[0]);
    if (file == NULL || (p = cli_pipeline(file)) == NULL)
        return EXIT_CALL;
    topic = pipeline_topic(p, words[0]);
    if (topic == NULL)
        return cli_wrong("publish", "%s has no topic '%s'", file, words[0]);
    stage = stage_where(p, "ingest", NULL, (int)(topic - p->topics));
    if (stage == NULL)
        return cli_wrong("publish", "no ingest stage of %s writes %s", file, topic->broker_name);
    args[n++] = file;
    args[n++] = stage->name;
    args[n++] = "--brokers";
    args[n++] = kafka_brokers(brokers);
    args[n++] = "--publish";
    args[n++] = topic->broker_name;
    if (format != NULL) {
        args[n++] = "--format";
        args[n++] = format;
    }
    if (source != NULL) {
        args[n++] = "--source";
        args[n++] = source;
    }
    if (again)
        args[n++] = "--again";
    args[n++] = "--";
    for (size_t i = 1; i < n_words; i++)
        args[n++] = words[i];
    return cli_exec("publish", "ingest", args);
}

int cli_train(int argc, char **argv)
{
    const char *brokers = NULL, *file = NULL, *from = NULL, *to = NULL, *as_of = NULL, *holdout = NULL, *set = NULL, *model = NULL;
    const char *args[20] = {NULL};
    const struct cli_option options[] = {{"--brokers", &brokers, NULL}, {"--pipeline", &file, NULL},
                                         {"--from", &from, NULL},       {"--to", &to, NULL},
                                         {"--as-of", &as_of, NULL},     {"--holdout", &holdout, NULL},
                                         {"--set", &set, NULL}};
    const struct stage_def *stage;
    struct pipeline *p;
    struct error err;
    int64_t from_ms, to_ms, as_of_ms;
    size_t n = 0, n_args;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), &model, 1, &n_args))
        return EXIT_CALL;
    if (n_args != 1 || from == NULL || to == NULL)
        return cli_wrong("train", "which model, and which range (--from T --to T)?");
    if (!cli_time(from, &from_ms) || !cli_time(to, &to_ms) || (as_of != NULL && !cli_time(as_of, &as_of_ms)))
        return cli_wrong("train", "a time is a date (2018-07-25), a date and time, or milliseconds since 1970");
    if (from_ms >= to_ms)
        return cli_wrong("train", "--from %s is not before --to %s", from, to);
    file = pipeline_of("train", file, model);
    if (file == NULL || (p = cli_pipeline(file)) == NULL)
        return EXIT_CALL;
    stage = stage_where(p, "train", model, -1);
    if (stage == NULL)
        return cli_wrong("train", "no train stage of %s makes the model '%s'", file, model);
    if (models_keys_make(&err) != OK)
        return cli_failed("train", &err);
    args[n++] = file;
    args[n++] = stage->name;
    args[n++] = "--brokers";
    args[n++] = kafka_brokers(brokers);
    args[n++] = "--once";
    args[n++] = "--from";
    args[n++] = from;
    args[n++] = "--to";
    args[n++] = to;
    if (as_of != NULL) {
        args[n++] = "--as-of";
        args[n++] = as_of;
    }
    if (holdout != NULL) {
        args[n++] = "--holdout";
        args[n++] = holdout;
    }
    if (set != NULL) {
        args[n++] = "--set";
        args[n++] = set;
    }
    return cli_exec("train", "train", args);
}

/* Outputs of two runs in one topic could not be told apart. */
static enum status make_empty_topic(const char *brokers, const struct pipeline *p, const struct topic_spec *spec,
                                    struct error *err)
{
    struct reader *r = NULL;
    int64_t low, high;
    enum status s = kafka_topics_ensure(brokers, p, spec, 1, err);

    if (s == OK)
        s = reader_new(brokers, p, &r, err);
    for (int i = 0; i < spec->partitions && s == OK; i++) {
        s = reader_bounds(r, spec->name, i, &low, &high, err);
        if (s == OK && high > 0)
            s = err_set(err, ERR_FATAL, "--into %s: it holds records already; name a new topic", spec->name);
    }
    reader_free(r);
    return s;
}

int cli_replay(int argc, char **argv)
{
    const char *brokers = NULL, *file = NULL, *from = NULL, *to = NULL, *model = NULL, *into = NULL, *what = NULL, *dot;
    const char *args[20] = {NULL};
    const struct cli_option options[] = {{"--brokers", &brokers, NULL}, {"--pipeline", &file, NULL},
                                         {"--from", &from, NULL},       {"--to", &to, NULL},
                                         {"--model", &model, NULL},     {"--into", &into, NULL}};
    const struct stage_def *stage;
    struct topic_spec spec;
    struct pipeline *p;
    struct error err;
    int64_t from_ms, to_ms;
    size_t n = 0, n_args;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), &what, 1, &n_args))
        return EXIT_CALL;
    if (n_args != 1 || from == NULL || to == NULL || into == NULL || (dot = strchr(what, '.')) == NULL)
        return cli_wrong("replay", "expected PIPELINE.STAGE --from T --to T --into TOPIC");
    if (!cli_time(from, &from_ms) || !cli_time(to, &to_ms) || from_ms >= to_ms)
        return cli_wrong("replay", "--from and --to: two dates, dates and times, or milliseconds since 1970, in order");
    file = pipeline_of("replay", file, what);
    if (file == NULL || (p = cli_pipeline(file)) == NULL)
        return EXIT_CALL;
    stage = pipeline_stage(p, dot + 1);
    if (stage == NULL || stage->n_to == 0 || stage->n_from == 0)
        return cli_wrong("replay", "%s has no stage '%s' that reads and writes", file, dot + 1);
    if (model != NULL && strcmp(stage->worker, "score") != 0)
        return cli_wrong("replay", "--model goes with a stage that scores, and %s does not", what);
    if (pipeline_topic(p, into) != NULL)
        return cli_wrong("replay", "--into %s: a topic of the pipeline itself; name another", into);
    spec = (struct topic_spec){into, p->topics[stage->to[0]].partitions, false, 0};
    if (make_empty_topic(kafka_brokers(brokers), p, &spec, &err) != OK || models_keys_make(&err) != OK)
        return cli_failed("replay", &err);
    args[n++] = file;
    args[n++] = stage->name;
    args[n++] = "--brokers";
    args[n++] = kafka_brokers(brokers);
    args[n++] = "--replay-from";
    args[n++] = from;
    args[n++] = "--replay-to";
    args[n++] = to;
    args[n++] = "--into";
    args[n++] = into;
    if (model != NULL) {
        args[n++] = "--model";
        args[n++] = model;
    }
    return cli_exec("replay", stage->worker, args);
}
