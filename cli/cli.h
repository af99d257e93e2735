/* cli/cli.h */
/*
 * cli: the `millrace` command: one table of commands (main.c), one file each.
 *
 * Exit     0 done; 1 the work failed; 2 the call was wrong; 130 stopped by SIGINT or SIGTERM.
 * Shape    int cli_<command>(argc, argv), argv[0] being the command's own name.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "kafka/kafka.h"
#include "wiring/pipeline.h"

#define EXIT_CALL 2

int cli_validate(int argc, char **argv);
int cli_test(int argc, char **argv);
int cli_backtest(int argc, char **argv);
int cli_generate(int argc, char **argv);
int cli_topics(int argc, char **argv);
int cli_up(int argc, char **argv);
int cli_down(int argc, char **argv);
int cli_tail(int argc, char **argv);
int cli_models(int argc, char **argv);
int cli_publish(int argc, char **argv);
int cli_train(int argc, char **argv);
int cli_replay(int argc, char **argv);

/* ---- options.c ---- */
/* What is listed twice may be given twice, but no option with a value more often than it is listed. */
struct cli_option {
    const char *name;   /* "--brokers" or "-c": `--brokers A`, `--brokers=A`, `-c 5`, `-c5` */
    const char **value; /* takes a value */
    bool *flag;         /* or none */
};
/* False: the call is wrong and was explained. args: what is not an option, at most max. */
bool cli_options(int argc, char **argv, const struct cli_option *options, size_t n, const char **args, size_t max,
                 size_t *ret_n_args);
/* Prints "millrace <command>: text" and returns EXIT_CALL. */
int cli_wrong(const char *command, const char *fmt, ...) PRINTF(2, 3);
/* Prints the error and returns 1. */
int cli_failed(const char *command, const struct error *err);
/* A whole number within bounds; false: it is none. */
bool cli_number(const char *text, long long min, long long max, long long *ret);
/* ISO 8601 or epoch milliseconds. */
bool cli_time(const char *text, int64_t *ret_ms);

/* ---- setup.c ---- */
/* Loads the file; prints every fault. NULL: there were some. */
struct pipeline *cli_pipeline(const char *path);
/* Makes every topic that the pipeline needs and publishes its schemas. */
enum status cli_setup_topics(const struct pipeline *p, const char *brokers, struct error *err);
/* Folder of the binaries. */
const char *cli_bin(void);
/* Runs the worker in place of this process; returns only on failure. */
int cli_exec(const char *command, const char *worker, const char *const *args);

/* ---- down.c ---- */
/* The process that holds `millrace up`'s file; 0: none does. */
int cli_up_pid(const char *pid_file);

/* ---- scrape.c: what a worker's port says ---- */
struct scrape {
    bool answers;
    bool ready;
    int port; /* on 127.0.0.1; 0: not open yet */
    char why[160];
    double taken, lag, event_time_s; /* -1: not said */
};
void scrape_worker(const char *http_file, struct scrape *ret);

/* ---- print.c: records for people ---- */
enum print_how { PRINT_TEXT, PRINT_JSON, PRINT_AVRO };
/* One decoded record as lines of text. */
void print_record(const json_t *record, struct bytes *out);
/* The template of -f: %{path.of.field}, \n, \t, and kcat's %t %p %o %k. */
void print_template(const char *template, const json_t *record, const char *topic, const struct reader_msg *m,
                    struct bytes *out);

#endif
