/* millrace validate: every fault of a pipeline file, or its wiring in a few lines. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"

static void print_names(const struct pipeline *p, const int *topics, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? ", " : "", p->topics[topics[i]].name);
}

static void print_topic(const struct topic *t)
{
    printf("  %-20s %3d partition%s  %-14s", t->name, t->partitions, t->partitions == 1 ? " " : "s",
           t->schema_name ? t->schema_name : "(derived)");
    printf(" %zu fields", t->schema->n);
    if (t->key)
        printf(", key %s", t->key);
    if (t->time)
        printf(", time %s", t->time);
    if (t->ordered && t->writer >= 0)
        printf(", marked");
    printf("\n");
}

static void print_stage(const struct pipeline *p, const struct stage_def *s)
{
    printf("  %-12s %-11s ", s->name, s->worker);
    print_names(p, s->from, s->n_from);
    if (s->n_to > 0) {
        printf("%s-> ", s->n_from > 0 ? " " : "");
        print_names(p, s->to, s->n_to);
    }
    if (s->compiled)
        printf("  (%zu feature columns, set %s)", features_n_cols(s->compiled), s->feature_set);
    if (s->model)
        printf("  (model %s, %zu columns)", s->model, s->n_model_features);
    if (s->n_rules > 0)
        printf("  (%zu rule%s)", s->n_rules, s->n_rules == 1 ? "" : "s");
    printf("\n");
}

static int print_schema(void)
{
    struct bytes text = BYTES_EMPTY;

    pipeline_json_schema(&text);
    fwrite(text.data, 1, text.n, stdout);
    bytes_done(&text);
    return 0;
}

int cli_validate(int argc, char **argv)
{
    const char *args[1];
    bool schema = false;
    const struct cli_option options[] = {{"--schema", NULL, &schema}};
    struct pipeline *p;
    size_t n_args;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), args, ARRAY_LEN(args), &n_args))
        return EXIT_CALL;
    if (schema)
        return print_schema();
    if (n_args == 0)
        return cli_wrong("validate", "expected a pipeline file");
    p = cli_pipeline(args[0]);
    if (p == NULL)
        return EXIT_CALL;
    printf("%s: pipeline %s is well wired\ntopics\n", args[0], p->name);
    for (size_t i = 0; i < p->n_topics; i++)
        print_topic(&p->topics[i]);
    printf("stages\n");
    for (size_t i = 0; i < p->n_stages; i++)
        print_stage(p, &p->stages[i]);
    pipeline_free(p);
    return 0;
}
