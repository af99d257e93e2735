/* common/stage/options.c: a worker's command line. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/internal.h"
#include "wire/text.h"

static void usage(const struct worker *w, FILE *f)
{
    fprintf(f,
            "usage: %s PIPELINE STAGE [options]\n"
            "  on Kafka:   [--brokers HOST:PORT] [--http ADDRESS:PORT] [--http-file FILE] [--instance NAME]\n"
            "  on files:   --in [TOPIC=]FILE ... --out [TOPIC=]FILE ...   (Avro container files; no broker)\n"
            "              in the order of the wiring; train reads features and labels and writes the models, which score takes\n"
            "              as its second --in; --out dead_letters=FILE\n"
            "  a replay:   --into TOPIC --replay-from TIME --replay-to TIME [--model NAME/VERSION]   (event time)\n"
            "  --since TIME, --until TIME   of train on files: it decides no boundary before the one, nor after the other\n"
            "  --batch N   records a batch at most (default 1000)\n"
            "example: %s pipelines/fraud.json customer --in transactions.avro --out enriched.avro\n",
            w->name, w->name);
}

static bool add_file(const struct worker *w, const char *option, const char **files, size_t *n)
{
    if (*n == FILES_MAX) {
        fprintf(stderr, "%s: %s: at most %d files, for a stage has at most %d topics on a side, and models or dead letters\n", w->name, option, FILES_MAX,
                INPUTS_MAX);
        return false;
    }
    files[(*n)++] = optarg;
    return true;
}

/* -1: go on; else the exit status. */
int options_read(const struct worker *w, int argc, char **argv, struct stage_options *o)
{
    static const struct option longs[] = {
        {"brokers", required_argument, NULL, 'b'}, {"http", required_argument, NULL, 'h'},
        {"http-file", required_argument, NULL, 'f'}, {"instance", required_argument, NULL, 'i'},
        {"in", required_argument, NULL, 'I'}, {"out", required_argument, NULL, 'O'},
        {"batch", required_argument, NULL, 'n'},   {"into", required_argument, NULL, 'T'},
        {"replay-from", required_argument, NULL, 'F'}, {"replay-to", required_argument, NULL, 'U'},
        {"model", required_argument, NULL, 'm'}, {"since", required_argument, NULL, 's'}, {"until", required_argument, NULL, 'u'},
        {"help", no_argument, NULL, '?'}, {0},
    };
    int c;

    *o = (struct stage_options){.batch = 1000, .instance = "0", .from_ms = INT64_MIN, .to_ms = INT64_MAX, .since_ms = INT64_MIN, .until_ms = INT64_MAX};
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 'b')
            o->brokers = optarg;
        else if (c == 'h')
            o->http = optarg;
        else if (c == 'f')
            o->http_file = optarg;
        else if (c == 'i')
            o->instance = optarg;
        else if (c == 'I' || c == 'O') {
            if (!(c == 'I' ? add_file(w, "--in", o->in, &o->n_in) : add_file(w, "--out", o->out, &o->n_out)))
                return 2;
        }
        else if (c == 'T')
            o->into = optarg;
        else if (c == 'm')
            o->model = optarg;
        else if (c == 'F' && text_parse_moment(view_str(optarg), &o->from_ms))
            continue;
        else if (c == 'U' && text_parse_moment(view_str(optarg), &o->to_ms))
            continue;
        else if (c == 's' && text_parse_moment(view_str(optarg), &o->since_ms))
            continue;
        else if (c == 'u' && text_parse_moment(view_str(optarg), &o->until_ms))
            continue;
        else if (c == 'n' && atoi(optarg) > 0)
            o->batch = (size_t)atoi(optarg);
        else {
            bool asked = c == '?' && optopt == 0 && optind > 0 && strcmp(argv[optind - 1], "--help") == 0;

            usage(w, asked ? stdout : stderr);
            return asked ? 0 : 2;
        }
    }
    if (argc - optind != 2) {
        usage(w, stderr);
        return 2;
    }
    o->pipeline = argv[optind];
    o->stage = argv[optind + 1];
    return -1;
}
