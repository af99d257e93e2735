/* millrace: what an operator types. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"

#pragma weak cli_validate
#pragma weak cli_generate

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *use, *what, *example;
} commands[] = {
    {"validate", cli_validate, "PIPELINE | --schema", "check a pipeline file; every fault with its place. --schema: its JSON Schema, for editors",
     "millrace validate pipelines/fraud.json\n    millrace validate --schema >pipeline.schema.json"},
    {"test", cli_test, "PIPELINE", "run the cases of PIPELINE's .test.json: events in, events out, no broker",
     "millrace test pipelines/fraud.json"},
    {"backtest", cli_backtest, "PIPELINE --in [TOPIC=]FILE... [--origins N] [--apart 28d] [--span 1d] [--season ROWS] [--picture FILE.svg] [--output text|json]",
     "replay events from Avro files through the stages, judge the forecasts by what came",
     "millrace backtest pipelines/demand.json --origins 3 --in sales.avro --picture demand.svg"},
    {"generate", cli_generate, "fraud --days N --seed S [--out DIR]", "make card transactions and their labels",
     "millrace generate fraud --days 183 --seed 1 --out build/demo"},
    {"topics", cli_topics, "PIPELINE [--brokers A]", "make the topics and publish the schemas, nothing else",
     "millrace topics pipelines/fraud.json"},
    {"up", cli_up, "PIPELINE [--brokers A] [--log-dir DIR]",
     "make the topics and run every stage here, until Ctrl-C or `millrace down`", "millrace up pipelines/fraud.json"},
    {"down", cli_down, "PIPELINE|NAME", "end what `millrace up` runs elsewhere", "millrace down fraud"},
    {"publish", cli_publish, "TOPIC FILE|-... [--format csv|jsonl|avro] [--source NAME] [--again] [--pipeline FILE] [--brokers A]",
     "write CSV, JSON lines or Avro files (- is standard input) to a topic; resumes after a kill",
     "millrace publish fraud.transactions transactions.csv"},
    {"tail", cli_tail,
     "TOPIC [-o beginning|end|-N|s@MS|e@MS] [-c N] [-e] [-p PARTITION] [-f TEMPLATE] [--output text|json|avro] "
     "[--brokers A]",
     "print records as they come", "millrace tail fraud.alerts -o -3 -e\n    millrace tail fraud.scores -f '%{score}\\n'"},
    {"train", cli_train, "MODEL --from T --to T [--as-of T] [--holdout D] [--set k=v,...] [--pipeline FILE] [--brokers A]",
     "train once on a past range and publish the version",
     "millrace train fraud --from 2018-07-25 --to 2018-08-01 --set max_depth=6"},
    {"models", cli_models, "list | show NAME/VERSION [--output text|json] [--brokers A]", "the models and who is champion",
     "millrace models list\n    millrace models show fraud/3"},
    {"replay", cli_replay,
     "PIPELINE.STAGE --from T --to T --into TOPIC [--model NAME/VERSION] [--pipeline FILE] [--brokers A]",
     "run a stage again over a past range into another topic",
     "millrace replay fraud.score --from 2018-08-08 --to 2018-08-15 --into fraud.scores.try"},
};

static void list(FILE *out)
{
    fprintf(out, "millrace: machine-learning pipelines on Kafka\n\nUse: millrace COMMAND ...\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].what);
    fprintf(out, "\n`millrace help COMMAND` shows its options and an example. Kafka's address: --brokers, else "
                 "MILLRACE_BROKERS, else the local one of `make kafka`.\n");
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown(const char *name)
{
    const char *names[ARRAY_LEN(commands)], *near;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    near = nearest_name(name, names, ARRAY_LEN(commands));
    fprintf(stderr, "millrace: there is no command '%s'", name);
    if (near != NULL)
        fprintf(stderr, "; did you mean '%s'?", near);
    fprintf(stderr, "\n`millrace help` lists them.\n");
    return EXIT_CALL;
}

static int help(const struct command *c)
{
    printf("millrace %s %s\n\n  %s\n\nExample:\n    %s\n", c->name, c->use, c->what, c->example);
    return 0;
}

int main(int argc, char **argv)
{
    const struct command *c;

    log_name("millrace");
    /* For the workers that it starts: a fit's threads that spin while they wait take the cores from the other stages. */
    (void)setenv("OMP_WAIT_POLICY", "passive", 0);
    signal(SIGPIPE, SIG_IGN); /* `| head -1` ends quietly: writers look at their errors */
    if (argc < 2) {
        list(stderr);
        return EXIT_CALL;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        if (argc < 3) {
            list(stdout);
            return 0;
        }
        c = find(argv[2]);
        return c == NULL ? unknown(argv[2]) : help(c);
    }
    c = find(argv[1]);
    if (c == NULL)
        return unknown(argv[1]);
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return help(c);
    if (c->run == NULL)
        return cli_wrong(c->name, "not in this build");
    return c->run(argc - 1, argv + 1);
}
