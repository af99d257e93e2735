/* What every pipeline needs before a stage starts: topics and schemas. */
#define _GNU_SOURCE
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

struct pipeline *cli_pipeline(const char *path)
{
    struct bytes faults = BYTES_EMPTY;
    struct pipeline *p = NULL;
    struct error err = {0};

    if (pipeline_load(path, &p, &faults, &err) != OK) {
        if (faults.n > 0)
            fprintf(stderr, "%.*s", (int)faults.n, (const char *)faults.data);
        else
            fprintf(stderr, "%s\n", err.text);
        p = NULL;
    }
    bytes_done(&faults);
    return p;
}

/* A stage keeps one task of state per partition of its inputs; without inputs it has one task. */
static int tasks_of(const struct pipeline *p, const struct stage_def *s)
{
    int n = 1;

    for (size_t i = 0; i < s->n_from; i++)
        if (p->topics[s->from[i]].partitions > n)
            n = p->topics[s->from[i]].partitions;
    return n;
}

static enum status make_topics(const struct pipeline *p, const char *brokers, struct error *err)
{
    size_t n = 0, max = p->n_topics + p->n_stages + 3;
    struct topic_spec *specs = arena_zalloc(p->arena, max * sizeof(*specs));

    for (size_t i = 0; i < p->n_topics; i++)
        specs[n++] = (struct topic_spec){p->topics[i].broker_name, p->topics[i].partitions, false, p->topics[i].retention_ms};
    specs[n++] = (struct topic_spec){arena_printf(p->arena, "%s.dead_letters", p->name), 1, false, 0};
    for (size_t i = 0; i < p->n_stages; i++)
        specs[n++] = (struct topic_spec){arena_printf(p->arena, "%s.%s.changelog", p->name, p->stages[i].name),
                                         tasks_of(p, &p->stages[i]), true, 0};
    specs[n++] = (struct topic_spec){SCHEMAS_TOPIC, 1, true, 0};
    specs[n++] = (struct topic_spec){MODELS_TOPIC, 1, true, 0};
    return kafka_topics_ensure(brokers, p, specs, n, err);
}

/* A second schema under an id, or one that breaks a reader, is refused before anything is written. */
static enum status publish_one(const struct pipeline *p, struct registry *known, struct writer *w, const char *subject,
                               const struct schema *schema, struct error *err)
{
    const struct schema *latest = registry_latest(known, subject), *kept;

    if (latest != NULL && schema_id(latest) == schema_id(schema))
        return OK;
    if (latest != NULL && schema_compatible(latest, schema, err) != OK)
        return err_wrap(err, "the schema of %s in %s would break what reads the topic", subject, p->file);
    if (registry_add(known, subject, view_str(schema_json(schema)), &kept, err) != OK)
        return err_wrap(err, "the schema of %s", subject);
    return writer_put_schema(w, subject, schema, err);
}

static enum status publish_shared(const struct pipeline *p, struct registry *known, struct writer *w, struct error *err)
{
    static const struct {
        const char *name, *subject;
        bool per_pipeline;
    } shared[] = {
        {"DeadLetter", "dead_letters", true},          {"State", "changelog", true},
        {"Model", MODELS_TOPIC "-Model", false},       {"ModelPart", MODELS_TOPIC "-ModelPart", false},
        {"Routing", MODELS_TOPIC "-Routing", false},   {"Verdict", MODELS_TOPIC "-Verdict", false},
    };
    enum status s = OK;

    for (size_t i = 0; i < ARRAY_LEN(shared) && s == OK; i++) {
        struct schema *schema = NULL;
        const char *subject = shared[i].per_pipeline ? arena_printf(p->arena, "%s.%s-value", p->name, shared[i].subject)
                                                     : shared[i].subject;

        s = pipeline_schema(p, shared[i].name, &schema, err);
        if (s == OK)
            s = publish_one(p, known, w, subject, schema, err);
        schema_free(schema);
    }
    return s;
}

static enum status publish_schemas(const struct pipeline *p, const char *brokers, struct error *err)
{
    struct registry *known = registry_new();
    struct writer *w = NULL;
    enum status s = kafka_schemas_load(brokers, p, known, err);

    if (s == OK)
        s = writer_new(brokers, p, arena_printf(p->arena, "%s.schemas", p->name), &w, err);
    for (size_t i = 0; i < p->n_topics && s == OK; i++)
        s = publish_one(p, known, w, arena_printf(p->arena, "%s-value", p->topics[i].broker_name), p->topics[i].schema,
                        err);
    if (s == OK)
        s = publish_shared(p, known, w, err);
    if (s == OK)
        s = writer_commit(w, err);
    writer_free(w);
    registry_free(known);
    return s;
}

enum status cli_setup_topics(const struct pipeline *p, const char *brokers, struct error *err)
{
    enum status s = make_topics(p, brokers, err);

    return s == OK ? publish_schemas(p, brokers, err) : s;
}

const char *cli_bin(void)
{
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (n < 0)
        return ".";
    path[n] = '\0';
    return dirname(path);
}

int cli_exec(const char *command, const char *worker, const char *const *args)
{
    char path[PATH_MAX];
    size_t n = 0;
    char **argv;
    struct error err;

    while (args[n] != NULL)
        n++;
    argv = xcalloc(n + 2, sizeof(*argv));
    argv[0] = xstrdup(worker);
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = xstrdup(args[i]);
    snprintf(path, sizeof(path), "%s/%s", cli_bin(), worker);
    execv(path, argv);
    (void)err_set(&err, ERR_FATAL, "start %s: %s: build it with `make`", path, strerror(errno));
    return cli_failed(command, &err);
}
